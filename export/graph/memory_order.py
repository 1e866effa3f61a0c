"""How a value lies in memory where its axes are not the stored tensor's: permuted, merged and split axes alike.

Reshapes and transposes of a value then cost nothing: they change its :class:`MemoryOrder` alone. Numbers are moved only
where an op wants another order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, combinations, pairwise

import numpy as np

__all__ = ["MemoryOrder", "blocks_to_move", "parts_to_move", "steps"]


@dataclass(frozen=True)
class MemoryOrder:
    """Parts of a stored tensor, and which of them each axis of a value is made of.

    Example: images ``[N, H, W, C]`` whose channels were shuffled in two groups are, as PyTorch's ``[N, C, H, W]``,
    ``MemoryOrder((1, H, W, 2, C / 2), ((0,), (4, 3), (1,), (2,)))``.

    Attributes:
        sizes: of the parts, the slowest in memory first; part 0 is the batch's.
        axes: for each axis of the value its parts, the slowest first; none for some axes of size 1. Parts in no axis
            have size 1.
    """

    sizes: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]

    @classmethod
    def identity(cls, shape: tuple[int, ...]) -> MemoryOrder:
        """As PyTorch's contiguous tensor of a shape."""
        return cls(shape, tuple((axis,) for axis in range(len(shape))))

    @classmethod
    def permuted(cls, shape: tuple[int, ...], order: Sequence[int]) -> MemoryOrder:
        """Stored with its axes in another order, the slowest first."""
        return cls(tuple(shape[axis] for axis in order), tuple((order.index(axis),) for axis in range(len(order))))

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's."""
        return tuple(math.prod(self.sizes[part] for part in parts) for parts in self.axes)

    @property
    def is_permutation(self) -> bool:
        """Whether each axis of the value is at most one part."""
        return all(len(parts) <= 1 for parts in self.axes)

    def transposed(self, perm: Iterable[int]) -> MemoryOrder:
        """Of the value with its axes permuted."""
        return MemoryOrder(self.sizes, tuple(self.axes[axis] for axis in perm))

    def without(self, axis: int) -> MemoryOrder:
        """Of the value without one of its axes, of which each is one part, in the stored tensor without that part."""
        rest = [parts[0] for at, parts in enumerate(self.axes) if at != axis]
        sizes = tuple(self.sizes[part] for part in sorted(rest))
        return MemoryOrder(sizes, tuple((sorted(rest).index(part),) for part in rest))

    def reshaped(self, shape: Sequence[int]) -> MemoryOrder | None:
        """Of the value in another shape; ``None`` where an axis would take a share of a part that does not divide it.

        Args:
            shape: of as many elements; the batch axis stays.
        """
        sizes: list[list[int]] = [[size] for size in self.sizes]
        # What is left to be named, the slowest first: a part, and which piece of it.
        left = [(part, 0) for part in chain(*self.axes[1:]) if self.sizes[part] > 1][::-1]
        axes: list[list[tuple[int, int]]] = [[(0, 0)]]
        for wanted in shape[1:]:
            taken: list[tuple[int, int]] = []
            while wanted > 1:
                part, piece = left.pop()
                size = sizes[part][piece]
                if size > wanted:
                    if size % wanted:
                        return None
                    sizes[part][piece:] = [wanted, size // wanted]
                    left.append((part, piece + 1))
                    size = wanted
                if wanted % size:
                    return None
                taken.append((part, piece))
                wanted //= size
            axes.append(taken)
        first = [sum(len(pieces) for pieces in sizes[:part]) for part in range(len(sizes))]
        return MemoryOrder(
            tuple(chain(*sizes)), tuple(tuple(first[part] + piece for part, piece in axis) for axis in axes)
        )

    def of(self, shape: tuple[int, ...]) -> MemoryOrder:
        """The same for a value of another shape: of other sizes where an axis is one part, of size 1 elsewhere."""
        sizes = [1] * len(self.sizes)
        for size, mine, parts in zip(shape, self.shape, self.axes, strict=True):
            for part in parts:
                sizes[part] = self.sizes[part] if size == mine else size
        return MemoryOrder(tuple(sizes), self.axes)

    def cut_as(self, other: MemoryOrder) -> MemoryOrder | None:
        """Of the value whose axes are the parts in which ``other`` has it, in that one's order of memory; ``None`` if
        it can't be cut so."""
        named = list(chain(*other.axes))
        sizes = other.of(self.shape).sizes
        refined = self.reshaped([sizes[part] for part in named])
        return None if refined is None else refined.transposed(np.argsort(named))

    def coarsest(self) -> MemoryOrder:
        """The same with as few parts as say it: none of size 1 but the batch's, and no two of an axis side by side."""
        long = [part for part, size in enumerate(self.sizes) if part and size > 1]
        behind = dict(pairwise(long))
        runs: list[list[list[int]]] = []
        for parts in self.axes[1:]:
            runs.append([])
            for part in (part for part in parts if self.sizes[part] > 1):
                if runs[-1] and behind.get(runs[-1][-1][-1]) == part:
                    runs[-1][-1].append(part)
                else:
                    runs[-1].append([part])
        blocks = sorted(chain(*runs))
        sizes = (self.sizes[0], *(math.prod(self.sizes[part] for part in block) for block in blocks))
        return MemoryOrder(sizes, ((0,), *(tuple(1 + blocks.index(block) for block in axis) for axis in runs)))

    def order_of_axes(self) -> tuple[int, ...]:
        """The value's axes as their first parts lie in memory; each of size 1 behind the one before it."""
        first = {
            axis: min(part for part in parts if self.sizes[part] > 1)
            for axis, parts in enumerate(self.axes)
            if axis and self.shape[axis] > 1
        }
        order = [0, *sorted(first, key=lambda axis: first[axis])]
        for axis in range(1, len(self.axes)):
            if axis not in first:
                order.insert(order.index(axis - 1) + 1, axis)
        return tuple(order)

    def in_memory_order(self, array: np.ndarray) -> np.ndarray:
        """A constant ``[1, *shape[1:]]`` of the value's shape, or with sizes of 1 in it, its axes the parts in order.

        Raises:
            ValueError: it has another shape.
        """
        # One that the value's own axis of size 1 is spread to has its own size there.
        cut = [
            [array.shape[axis]] if len(parts) == 1 else [self.sizes[p] if array.shape[axis] > 1 else 1 for p in parts]
            for axis, parts in enumerate(self.axes)
        ]
        named = list(chain(*self.axes))
        turned = array.reshape(list(chain(*cut))).transpose(np.argsort(named))
        shape = [1] * len(self.sizes)
        for part, size in zip(sorted(named), turned.shape, strict=True):
            shape[part] = size
        return np.ascontiguousarray(turned.reshape(shape))


def steps(blocks: MemoryOrder, most_axes: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes and permutations, one after the other, that bring blocks of memory into the order of their one axis.

    Args:
        blocks: the coarsest parts, of a value ``[N, elements]``.
        most_axes: that a tensor may have, at least 5. More blocks take several steps: each swaps two neighbouring runs,
            those after which the fewest blocks are left.
    """
    count = len(blocks.sizes)
    if count > most_axes:
        swaps = [
            (*range(1, i), *range(j, k), *range(i, j), *range(k, count))
            for i, j, k in combinations(range(1, count + 1), 3)
        ]
        options = []
        for swap in swaps:
            sizes = (blocks.sizes[0], *(blocks.sizes[block] for block in swap))
            axis = tuple(1 + swap.index(block) for block in blocks.axes[1])
            options.append((MemoryOrder(sizes, ((0,), axis)).coarsest(), swap))
        left, swap = min(options, key=lambda option: len(option[0].sizes))
        return [_transpose(MemoryOrder(blocks.sizes, ((0,), swap)).coarsest()), *steps(left, most_axes)]
    return [_transpose(blocks)]


def _transpose(blocks: MemoryOrder) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return blocks.sizes, (0, *blocks.axes[1])


@cache
def blocks_to_move(source: MemoryOrder, order: MemoryOrder) -> MemoryOrder | None:
    """What has to be moved so that a value lies in another order: blocks of memory, and the one axis in which they then
    follow one another; ``None`` if nothing has to."""
    cut = _cut(source, order)
    parts = tuple(part for part in chain(*cut.axes[1:]) if cut.sizes[part] > 1)
    return None if list(parts) == sorted(parts) else MemoryOrder(cut.sizes, ((0,), parts)).coarsest()


@cache
def parts_to_move(source: MemoryOrder, order: MemoryOrder) -> tuple[int, ...] | None:
    """The same for the parts of the source as they are, those of one element where the order has some or at the end;
    ``None`` if it has to be cut finer."""
    cut = _cut(source, order)
    if cut.sizes != source.sizes:
        return None
    long, perm = [part for part, size in enumerate(cut.sizes) if part == 0 or size > 1], list[int]()
    short = [part for part in range(len(cut.sizes)) if part not in long]
    for parts in cut.axes:
        perm += parts or short[:1]
        short = short if parts else short[1:]
    return (*perm, *short)


def _cut(source: MemoryOrder, order: MemoryOrder) -> MemoryOrder:
    cut = source.cut_as(order)
    assert cut is not None, f"{source} was to be cut as {order}"
    return cut
