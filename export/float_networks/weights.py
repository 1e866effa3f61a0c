"""Weights of a file put into a network: by their names, or by what is left of them without a wrapper's prefix."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from qtorch.errors import BadCheckpoint, NotFinite

__all__ = ["is_state", "load_weights"]

#: What stands before names: of DataParallel and DistributedDataParallel, of torch.compile, of who holds the network.
_PREFIXES = ("module.", "_orig_mod.", "net.", "model.", "network.")
#: Compiling a layer inside a network puts this into the middle of names.
_COMPILED = "_orig_mod."
#: Of batch norms; older files have none, and evaluation reads none.
_COUNTS = "num_batches_tracked"
#: Of names that do not fit, as many as a sentence holds.
_SHOWN = 4


def load_weights(net: nn.Module, weights: Mapping[str, Tensor], where: str) -> tuple[str, ...]:
    """Put weights into a network, which is changed in place.

    Args:
        net: in float.
        weights: by name, as ``net.state_dict()`` has them, or with a prefix before all of them.
        where: they are from, for messages.

    Returns:
        What was done for them to fit, a sentence each.

    Raises:
        BadCheckpoint: names are missing or too many, with the nearest of the others; or shapes differ.
        NotFinite: NaN or infinity is among them.
    """
    expected = net.state_dict()
    fitting, prefix, others = _fitting(weights, expected)
    if _missing(fitting, expected) or _unexpected(fitting, expected):
        raise _other_names(fitting, expected, type(net).__name__, where)
    shapes = [
        f"{name} of shape {tuple(fitting[name].shape)} for {tuple(each.shape)}"
        for name, each in expected.items()
        if name in fitting and fitting[name].shape != each.shape
    ]
    if shapes:
        raise BadCheckpoint(
            where=where, expected=f"weights of the shapes that {type(net).__name__} has", got=_some(shapes),
            remedy="give --model the arguments that the network was made with, as in --model.width 8",
        )  # fmt: skip
    for name, each in fitting.items():
        if each.is_floating_point() and not bool(each.isfinite().all()):
            raise NotFinite(
                where=where, expected="finite weights",
                got=f"{int((~each.isfinite()).sum())} NaN or infinite in {name}",
                remedy="train again: a run that lost its numbers has no network to quantize",
            )  # fmt: skip
    net.load_state_dict(dict(fitting), strict=False)
    return tuple(_remarks(fitting, prefix, others))


def _fitting(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], str, tuple[str, ...]]:
    """The names nearest to those that are expected; the prefix that was taken off them, and names without it."""
    best: tuple[Mapping[str, Tensor], str, tuple[str, ...]] = (weights, "", ())
    for candidate, prefix, others in _stripped(weights):
        if _misfits(candidate, expected) < _misfits(best[0], expected):
            best = candidate, prefix, others
    return best


def _stripped(weights: Mapping[str, Tensor]) -> Iterator[tuple[Mapping[str, Tensor], str, tuple[str, ...]]]:
    """Weights with one prefix after another taken off; those without it, as a loss's own, stay behind."""
    pending: list[tuple[Mapping[str, Tensor], str, tuple[str, ...]]] = [(weights, "", ())]
    while pending:
        current, taken, others = pending.pop()
        for prefix in _PREFIXES:
            inside = {name.removeprefix(prefix): each for name, each in current.items() if name.startswith(prefix)}
            if inside:
                outside = tuple(name for name in current if not name.startswith(prefix))
                pending.append((inside, taken + prefix, others + outside))
                yield pending[-1]
    if any(_COMPILED in name for name in weights):
        without = {name.replace(_COMPILED, ""): each for name, each in weights.items()}
        yield without, _COMPILED, ()
        yield from ((inside, _COMPILED + prefix, others) for inside, prefix, others in _stripped(without))


def _misfits(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> int:
    return len(_missing(weights, expected)) + len(_unexpected(weights, expected))


def _missing(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    return [name for name in expected if name not in weights and not name.endswith(_COUNTS)]


def _unexpected(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    return [name for name in weights if name not in expected]


def _other_names(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], network: str, where: str
) -> BadCheckpoint:
    missing, unexpected = _missing(weights, expected), _unexpected(weights, expected)
    parts = [
        f"{what}: {_some([_with_nearest(name, others) for name in names])}"
        for what, names, others in (("missing", missing, unexpected), ("not in the network", unexpected, missing))
        if names
    ]
    return BadCheckpoint(
        where=where, expected=f"the {len(expected)} weights of {network}", got="; ".join(parts),
        remedy="name the class that was trained with --model, and its arguments, as in --model.width 8",
    )  # fmt: skip


def _with_nearest(name: str, others: list[str]) -> str:
    near = difflib.get_close_matches(name, others, 1)
    return f"{name} (nearest: {near[0]})" if near else name


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _remarks(weights: Mapping[str, Any], prefix: str, others: tuple[str, ...]) -> Iterator[str]:
    if prefix:
        yield f"weights are taken without the prefix {prefix!r} of their names"
    if others:
        yield f"not of the network, and left out: {_some(list(others))}"
    types = sorted({str(each.dtype).removeprefix("torch.") for each in weights.values() if each.is_floating_point()})
    if set(types) - {"float32"}:
        yield f"weights of type {', '.join(types)} are taken as float32"


def is_state(value: Any) -> bool:
    """Whether it is weights by name, at least one."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) for name in value)
        and any(isinstance(each, Tensor) for each in value.values())
        and all(isinstance(each, Tensor) or name.endswith("_extra_state") for name, each in value.items())
    )
