"""Remedies for calls that move, repeat or reduce along axes: written for the shape and the axes of the call itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from qtorch.remedies.asked import Asked, none, same

__all__ = [
    "SAMPLES",
    "flipped",
    "moved_last",
    "normalized_product",
    "picked",
    "repeated",
    "repeated_elements",
    "rolled",
    "softmin",
    "stacked",
    "summed",
    "unbound",
    "variance",
]

#: How many parts a concatenation takes.
_MOST_PARTS = 10
#: Of a call that takes the batch's axis with others.
SAMPLES = none("it takes the batch's axis as well, along which a device has one sample; name the other axes")


def moved_last(call: str, axis: int, rank: int, x: str = "x") -> str:
    """A call that works along the last axis of ``{x}``, along another one."""
    if axis % rank == rank - 1:
        return call.format(x=x)
    return f"{call.format(x=f'{x}.movedim({axis}, -1)')}.movedim(-1, {axis})"


def _axes(dims: object, rank: int) -> tuple[int, ...] | None:
    """Counted from the front, in order; ``None`` where the batch's is among them or none is named."""
    if isinstance(dims, bool) or dims is None or not rank:
        return None
    named = (dims,) if isinstance(dims, int) else tuple(dims) if isinstance(dims, Iterable) else ()
    axes = tuple(sorted(axis % rank for axis in named if isinstance(axis, int)))
    return None if not axes or axes[0] == 0 else axes


def _in_steps(forms: Iterable[str]) -> str:
    """Each of what the one before gives."""
    steps = list(forms) or ["x"]
    return same("; ".join([*(f"x = {step}" for step in steps[:-1]), steps[-1]]))


def _indexed(axis: int, order: str) -> str:
    return f"torch.cat([x.narrow({axis}, i, 1) for i in {order}], {axis})"


def picked(axis: int, indices: list[int], rank: int, buffer: str) -> str:
    """Elements along an axis in another order: cut and put together, or by a matrix of zeros and ones.

    Args:
        axis: counted from the front.
        indices: which element stands at each place.
        rank: of the tensor.
        buffer: the matrix, as an expression.
    """
    if len(indices) <= _MOST_PARTS:
        return same(_indexed(axis, str(indices)))
    return same(moved_last("F.linear({x}, weight)", axis, rank), f"weight being a buffer, {buffer}")


def flipped(ask: Asked) -> str:
    """``flip`` of the batch."""
    return SAMPLES


def rolled(ask: Asked) -> str:
    """``roll``."""
    shifts, dims = ask.pair("shifts", 1, 1), ask.get("dims", 2, None)
    if _axes(dims, len(ask.shape)) is None:
        return SAMPLES
    steps = []
    for shift, axis in zip(shifts, (dims,) if isinstance(dims, int) else dims, strict=True):
        axis, size = axis % len(ask.shape), ask.shape[axis]
        if shift % size:
            cut = size - shift % size
            steps.append(f"torch.cat([x.narrow({axis}, {cut}, {size - cut}), x.narrow({axis}, 0, {cut})], {axis})")
    return _in_steps(steps)


def repeated(ask: Asked) -> str:
    """``repeat`` and ``tile``."""
    repeats = ask.kwargs.get("repeats", ask.kwargs.get("dims", ask.args[1] if len(ask.args) == 2 else ask.args[1:]))
    counts = (repeats,) if isinstance(repeats, int) else tuple(repeats)
    counts = (1,) * (len(ask.shape) - len(counts)) + counts
    if len(counts) != len(ask.shape) or counts[0] != 1:
        return none(
            "it makes other samples out of the batch's; repeat along the other axes, and make axes by unsqueeze"
        )
    if max(counts) > _MOST_PARTS:
        return none(f"at most {_MOST_PARTS} parts are put together; additions and products spread an axis of size 1")
    return _in_steps(f"torch.cat([x] * {n}, {axis})" for axis, n in enumerate(counts) if n != 1)


def repeated_elements(ask: Asked) -> str:
    """``repeat_interleave``."""
    count, axes = ask.get("repeats", 1, 1), _axes(ask.get("dim", 2, None), len(ask.shape))
    if not isinstance(count, int) or axes is None or not 0 < count <= _MOST_PARTS:
        return none(f"one number of times, at most {_MOST_PARTS}, along an axis other than the batch's, it could be")
    at = axes[0]
    return same(f"torch.cat([x.unsqueeze({at + 1})] * {count}, {at + 1}).flatten({at}, {at + 1})")


def unbound(ask: Asked) -> str:
    """``unbind``."""
    axes = _axes(ask.get("dim", 1, 0), len(ask.shape))
    if axes is None:
        return none("a device has one sample; take parts along another axis")
    return same(f"[x[{':, ' * axes[0]}i] for i in range({ask.shape[axes[0]]})]", "a list of parts")


def summed(ask: Asked) -> str:
    """``sum``."""
    axes = _axes(dims := ask.get("dim", 1, None), len(ask.shape))
    if axes is None:
        return SAMPLES
    keep = ", keepdim=True" if ask.get("keepdim", 2, False) else ""
    return same(f"x.mean({dims}{keep}) * {math.prod(ask.shape[axis] for axis in axes)}")


def variance(root: bool) -> Callable[[Asked], str]:
    """``var`` and ``std``, with Bessel's correction as it was asked for."""

    def remedy(ask: Asked) -> str:
        axes = _axes(dims := ask.get("dim", 1, None), len(ask.shape))
        if axes is None:
            return SAMPLES
        correction = ask.kwargs.get("correction", 1)
        unbiased = ask.get("unbiased", 2, True)
        less = 0 if unbiased is False else 1 if correction is None else correction
        count = math.prod(ask.shape[axis] for axis in axes)
        if count <= less:
            return none(f"of {count} numbers it has no value; leave the correction out")
        keep = ", keepdim=True" if ask.get("keepdim", 3, False) else ""
        scale = f" * ({count} / {count - less})" if less else ""
        form = f"m = x - x.mean({dims}, keepdim=True); "
        square = f"(m * m).mean({dims}{keep}){scale}"
        if root:
            return same(f"{form}torch.sqrt({square})")
        return same(form + square)

    return remedy


def softmin(ask: Asked) -> str:
    """``softmin``; without an axis PyTorch takes that of :func:`qtorch.families.softmaxes.along_last_axis`."""
    rank = len(ask.shape)
    dim = ask.get("dim", 1, None)
    axis = (0 if rank in (1, 3) else 1) if dim is None else dim
    if axis % rank == 0:
        return none("along the batch's axis it mixes samples; name another")
    return same(moved_last("F.softmax({x}, -1)", axis, rank, "(x * -1)"))


def normalized_product(ask: Asked) -> str:
    """``cosine_similarity``."""
    rank, dim = len(ask.shape), ask.get("dim", 2, 1)
    length = ask.shape[dim] if ask.shape else "n"
    if not ask.shape or dim % rank == rank - 1:
        return same(f"(F.normalize(x, dim=-1) * F.normalize(y, dim=-1)).mean(-1) * {length}")
    x, y = (f"F.normalize({each}.movedim({dim}, -1), dim=-1)" for each in "xy")
    return same(f"({x} * {y}).mean(-1) * {length}")


def stacked(ask: Asked) -> str:
    """``stack``."""
    axis = ask.get("dim", 1, 0)
    if axis == 0:
        return none("it makes an axis before the batch's; along another it can")
    return same(
        f"torch.cat([x.unsqueeze({axis}), y.unsqueeze({axis})], {axis})", "along an axis other than the batch's"
    )
