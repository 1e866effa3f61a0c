"""Where the batch is in a tensor's shape, and the tensor with it in front that stands for that one.

A tensor has the batch in one of its axes: alone, as axis 1 of ``[T, B, C]``, or merged with others, as in
``[B * T, C]`` or ``[T * B, C]``. It is *held* as one whose axis 0 is the batch and nothing else: the other axes follow
in their order, and what an axis has beside the batch stays in that axis's place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

__all__ = ["Layout", "batch_of", "has_batch", "is_plain", "layout_of"]

#: Numbers of samples that a size is computed for.
_COUNTS = (1009, 1013)


@dataclass(frozen=True)
class Layout:
    """A tensor's shape, one of whose axes has the batch: ``outer * B * inner`` of them, the first the slowest.

    Attributes:
        sizes: of all axes, as they are for a batch of one.
        axis: the one with the batch; ``sizes[axis] == outer * inner``.
        outer: how often the whole batch is repeated in that axis.
        inner: how many places of that axis are next to each other for every sample.
    """

    sizes: tuple[int, ...]
    axis: int
    outer: int = 1
    inner: int = 1

    @property
    def rank(self) -> int:
        """How many axes the tensor has."""
        return len(self.sizes)

    @property
    def merged(self) -> bool:
        """Whether the batch's axis has more than the batch."""
        return self.outer * self.inner > 1

    @property
    def plain(self) -> bool:
        """Whether the tensor is held as it is."""
        return not self.axis and not self.merged

    @property
    def batch(self) -> tuple[int, int, int]:
        """Where in its axis, and in which axis, counted from the last, the batch is."""
        return self.axis - self.rank, self.outer, self.inner

    @property
    def held(self) -> tuple[int, ...]:
        """The sizes behind the batch of what stands for the tensor."""
        return tuple(size for axis, size in enumerate(self.sizes) if axis != self.axis or self.merged)

    def place(self, axis: int) -> int:
        """Where an axis is in what stands for the tensor; that of the batch, if there is more in it."""
        return axis + (1 if axis <= self.axis or self.merged else 0)

    def with_sizes(self, shape: Sequence[Any], axis: int | None = None) -> Layout:
        """The batch in a result of this shape in the same way; in ``axis``, if that is another."""
        axis = self.axis if axis is None else axis
        return layout_of(shape, axis, self.outer, self.inner)

    def without(self, axis: int) -> Layout:
        """The layout of a part of the tensor that lacks an axis."""
        sizes = self.sizes[:axis] + self.sizes[axis + 1 :]
        return Layout(sizes, self.axis - (axis < self.axis), self.outer, self.inner)

    def reshaped(self, shape: Sequence[Any]) -> Layout | None:
        """The layout of the tensor in another shape; None where the batch would be torn apart."""
        found = batch_of(shape)
        if found is None:
            return None
        axis, count = found
        before = math.prod(self.sizes[: self.axis]) * self.outer
        others = math.prod(int(size) for size in shape[:axis])
        outer = before // others if others and before % others == 0 else 0
        return layout_of(shape, axis, outer, count // outer) if outer and count % outer == 0 else None

    def logical(self, held: Tensor) -> Tensor:
        """The tensor that one with the batch in front stands for."""
        count = held.shape[0]
        sizes = list(self.sizes)
        sizes[self.axis : self.axis + 1] = [self.outer, self.inner]
        moved = held.reshape(count, *sizes).movedim(0, self.axis + 1)
        sizes = list(self.sizes)
        sizes[self.axis] *= count
        return moved.reshape(sizes)

    def in_front(self, tensor: Tensor) -> Tensor:
        """What stands for a tensor."""
        sizes = list(tensor.shape)
        count = sizes[self.axis] // (self.outer * self.inner)
        sizes[self.axis : self.axis + 1] = [self.outer, count, self.inner]
        return tensor.reshape(sizes).movedim(self.axis + 1, 0).reshape(count, *self.held)


def layout_of(shape: Sequence[Any], axis: int, outer: int, inner: int) -> Layout:
    """The layout of a shape with the batch in ``axis``."""
    return Layout(tuple(outer * inner if i == axis else int(n) for i, n in enumerate(shape)), axis, outer, inner)


def batch_of(shape: Sequence[Any]) -> tuple[int, int] | None:
    """The one axis whose size grows with the batch, and by how much with every sample; None where there is none."""
    axes = [axis for axis, size in enumerate(shape) if not isinstance(size, int)]
    count = multiple_of_batch(shape[axes[0]]) if len(axes) == 1 else 0
    return (axes[0], count) if count else None


def has_batch(shape: Sequence[Any]) -> bool:
    """Whether a size grows with the batch."""
    return not all(isinstance(size, int) for size in shape)


def is_plain(shape: Sequence[Any]) -> bool:
    """Whether axis 0 is the batch, and nothing else of a shape grows with it."""
    return batch_of(shape) == (0, 1)


def multiple_of_batch(size: Any) -> int:
    """How many times the batch's size a size is; 0 where it is no such multiple."""
    return 0 if isinstance(size, int) else _multiple(size.node.expr)


@lru_cache(maxsize=4096)
def _multiple(expression: Any) -> int:
    symbols = expression.free_symbols
    if len(symbols) != 1:
        return 0
    (symbol,) = symbols
    few, many = (int(expression.subs(symbol, count)) for count in _COUNTS)
    count = few // _COUNTS[0]
    return count if (few, many) == (count * _COUNTS[0], count * _COUNTS[1]) else 0
