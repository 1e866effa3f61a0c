"""Samples of another shape than the example's: whether a prepared network makes of them what its float network does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from qtorch.capture.evaluation_comparison import difference
from qtorch.capture.reference import Reference
from qtorch.errors import BadData
from qtorch.network.calibration import in_mode
from qtorch.network.mode import Mode

__all__ = ["require_samples"]

#: Samples that are compared.
_SAMPLES = 3


def require_samples(
    prepared: nn.Module, reference: Reference, samples: Sequence[tuple[int, ...]], tensors: Sequence[Tensor]
) -> None:
    """Refuse samples of a shape of which a prepared network makes something else than its float network.

    Args:
        prepared: it.
        reference: runs that.
        samples: shapes of the example's samples, one per input.
        tensors: its inputs.

    Raises:
        BadData: so it does, or one of them does not take them.
    """
    inputs = [tensor.detach()[:_SAMPLES] if tensor.dim() else tensor for tensor in tensors]
    try:
        expected = reference.run_network(inputs)
        with in_mode(prepared, Mode.FLOAT):
            apart = difference(prepared, reference, inputs, expected)
    except Exception as error:
        apart = f"of which the network itself makes {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    else:
        apart = apart and f"of which it makes something else than the network that it was made of: {apart}"
    if apart:
        raise BadData(
            where="the network's input",
            expected=f"samples of shape {_listed(samples)}, as in the example that it was prepared with",
            got=f"{_listed(tensor.shape[1:] for tensor in tensors)}, {apart}",
            remedy="pass samples of the example's shape, or prepare the network with an example of this one",
        )


def _listed(shapes: Iterable[Sequence[int]]) -> str:
    return " and ".join(str(tuple(shape)) for shape in shapes)
