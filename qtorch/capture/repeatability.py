"""A network's outputs hang on its inputs alone: called twice in evaluation it computes the same and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from qtorch.capture.nearness import same
from qtorch.capture.not_running import not_running
from qtorch.capture.recorded_calls import first_difference, line_that, recorded_calls
from qtorch.capture.reference import Reference, probes
from qtorch.errors import BadInput, UnsupportedLayer
from qtorch.remedies.asked import CLIPPED

__all__ = ["require_repeatable", "state_refused"]

_OUTSIDE = "keep that state outside the network: pass it in as an input, and take its new value as an output"

#: Of parameters that are clipped where they are used, and not yet.
_AT_REST = (
    "call the network once before it is prepared, so that it writes what is there already, and write it in training "
    "behind every step, under torch.no_grad()"
)


def require_repeatable(reference: Reference, examples: Sequence[Tensor]) -> None:
    """Refuse a network whose outputs hang on more than its inputs: on random numbers, on the call before, on a clock.

    Args:
        reference: that runs it.
        examples: a tensor per input.

    Raises:
        BadConfiguration: it does not run on the example.
        UnsupportedLayer: so they do; names the buffer that is written, or the first call that differs.
    """
    tensors = reference.tensors()
    try:
        first = reference.run_network(examples)
    except BadInput:
        raise
    except Exception as error:
        raise not_running(
            examples,
            error,
            expected="an example that the network accepts in evaluation",
            remedy="pass one example batch in the shape that the network is trained on",
        ) from error
    name = reference.written(tensors)
    if name and not _writes_what_is_there(reference, examples, tensors):
        raise _writing(reference, examples, name)
    second = reference.run_network(examples, seed=1)
    if all(same(*pair) for pair in zip(first, second, strict=True)):
        return
    attributes = reference.attributes()
    alike = zip(*(reference.run_network(examples) for _ in range(2)), strict=True)
    random = all(same(*pair) for pair in alike)
    one, other = (recorded_calls(reference.net, partial(reference.run_network, examples, seed)) for seed in (0, 1))
    call = first_difference(one, other, same)
    moved = [key for key, value in reference.attributes().items() if not _unchanged(attributes.get(key), value)]
    raise UnsupportedLayer(
        where=type(reference.net).__name__,
        expected="the same outputs for the same inputs in evaluation, every time",
        got=f"others at the second call, first in {call}"
        + (", which draws random numbers" if random else f"; attribute {moved[0]!r} has changed" if moved else ""),
        remedy="draw random numbers in training only, by nn.Dropout, F.dropout(x, p, self.training) or `if "
        "self.training:`"
        if random
        else "keep counters, clocks and earlier inputs outside the network, and pass in what it needs of them",
    )


def state_refused(kind: str, name: str, line: str, remedy: str = _OUTSIDE) -> UnsupportedLayer:
    """What is said of a parameter or buffer, ``kind``, that forward writes; ``line`` does, if it is known."""
    return UnsupportedLayer(
        where=f"{kind} {name!r}" + (f" ({line})" if line else ""),
        expected=f"a {kind} that forward only reads, since a device has it as a constant",
        got="one that forward writes",
        remedy=remedy,
    )


def _unchanged(before: object, now: object) -> bool:
    if isinstance(before, Tensor) and isinstance(now, Tensor):
        return before.shape == now.shape and same(before, now)
    return type(before) is type(now) and before == now


def _writing(reference: Reference, examples: Sequence[Tensor], name: str) -> UnsupportedLayer:
    # Once more from the beginning: what was clipped once is clipped.
    reference = Reference(reference.made_of, reference.form)
    before = reference.tensors()
    kind = "buffer" if name in dict(reference.net.named_buffers()) else "parameter"
    line = line_that(lambda: reference.written(before) == name, lambda: reference.run_network(examples))
    layer = reference.net.get_submodule(name.rpartition(".")[0])
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.max_norm is not None:
        remedy = CLIPPED
    elif kind == "parameter" and not reference.written(_after_a_call(reference, examples)):
        remedy = _AT_REST
    else:
        remedy = _OUTSIDE
    return state_refused(kind, name, line, remedy)


def _writes_what_is_there(
    reference: Reference, examples: Sequence[Tensor], tensors: dict[str, tuple[Tensor, Tensor]]
) -> bool:
    """Whether attributes were only set anew, to what they were, whatever came in: such as to filters of parameters."""
    if reference.written(tensors, alike=True):
        return False
    others = [each[1:] for each in probes(examples, 3) if each.dim()]
    try:
        reference.run_network(others)
    except Exception:
        return False
    return not reference.written(tensors, alike=True)


def _after_a_call(reference: Reference, examples: Sequence[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """The network's tensors as one call leaves them; another has been made since."""
    reference.run_network(examples)
    tensors = reference.tensors()
    reference.run_network(examples)
    return tensors
