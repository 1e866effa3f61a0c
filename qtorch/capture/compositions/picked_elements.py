"""Elements at places along an axis that the network knows: slices, with steps where they lie evenly, side by side.

Lines that begin a little further each time, as relative positions do, are one slice in a shape whose lines are a little
longer or shorter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import Tensor

from qtorch.capture.compositions.table import (
    MOST_SLICED_AXES,
    concatenated,
    constant,
    permuted,
    reshaped,
    shape_of,
    sliced,
)

__all__ = ["MOST_PIECES", "even_runs", "every", "picked", "picked_by_line"]

aten = torch.ops.aten

#: More pieces than this are no way to move elements.
MOST_PIECES = 64
#: More pieces than this, and a slice of other lines is tried.
_FEW_PIECES = 3
#: Numbers of a matrix that takes elements out of others.
_MOST_OF_A_MATRIX = 1 << 17


def even_runs(places: Sequence[int]) -> list[range]:
    """``places`` as ranges with a positive step, as few as reading them in order gives."""
    runs: list[list[int]] = []
    for place in places:
        last = runs[-1] if runs else [place]
        if runs and place > last[-1] and (len(last) == 1 or place - last[-1] == last[1] - last[0]):
            last.append(place)
        else:
            runs.append([place])
    # Two in a run of their own may be the end of one and the beginning of the next.
    for one, other in pairwise(runs):
        if len(one) == 2 and len(other) > 1 and other[0] - one[1] == other[1] - other[0]:
            other.insert(0, one.pop())
    return [range(run[0], run[-1] + 1, run[1] - run[0] if len(run) > 1 else 1) for run in runs]


def every(x: Any, axis: int, places: range) -> Any:
    """Elements of ``x`` at evenly spaced places along ``axis``, an integer one; of any number of axes."""
    if places.step == 1:
        return sliced(x, axis, places.start, places.stop)
    shape = shape_of(x)
    if len(shape) <= MOST_SLICED_AXES:
        return aten.slice.Tensor(x, axis, places.start, places.stop, places.step)
    # The batch, what stands before, the axis, and what stands behind.
    box = reshaped(x, (shape[0], math.prod(shape[1:axis]), shape[axis], math.prod(shape[axis + 1 :])))
    taken = aten.slice.Tensor(box, 2, places.start, places.stop, places.step)
    return reshaped(taken, (*shape[:axis], len(places), *shape[axis + 1 :]))


def picked(x: Any, axis: int, places: Sequence[int], most: int = MOST_PIECES) -> Any:
    """Elements of ``x`` at ``places`` along ``axis``, each of 0 or more; None of too many pieces, or of none.

    Args:
        x: with any batch; ``axis`` is not the batch's.
        axis: of it.
        places: in the order of the result, any number of times each.
        most: pieces that may be put together.
    """
    runs = even_runs(places)
    if not runs:
        return None
    lines = _even_lines(places) if len(runs) > _FEW_PIECES else None
    if lines is not None:
        return _sliced_lines(x, axis, *lines)
    if len(runs) <= most:
        return concatenated([every(x, axis, run) for run in runs], axis)
    times = math.gcd(*(len(list(same)) for _, same in groupby(places)))
    if times > 1:
        # Each so many times in a row.
        taken = picked(x, axis, places[::times], most)
        return None if taken is None else _repeated(taken, axis, times)
    return _picked_by_product(x, axis, places)


def picked_by_line(x: Any, axis: int, places: Tensor) -> Any:
    """Elements of ``x`` along ``axis`` at places that differ from line to line; None of too many pieces.

    Args:
        x: ``[B, ...]``, ``axis`` not the batch's.
        axis: of it.
        places: int64 ``[1, ...]``, of as many axes, each of no more places than that of ``x`` but for ``axis``.
    """
    shape, sizes = shape_of(x), list(places.shape)
    others = [i for i in range(1, len(sizes)) if i != axis]
    for i in others:
        x = sliced(x, i, 0, sizes[i])
    same = [i for i in others if bool((places == places.narrow(i, 0, 1)).all())]
    differ = [i for i in others if i not in same]
    order = [0, *same, *differ, axis]
    lines = places.permute(order)[(0,) * (len(same) + 1)] % shape[axis]
    falls = lines.shape[-1] > 1 and bool((lines.diff() == lines.diff()[..., :1]).all() and (lines.diff() < 0).all())
    lines = lines.flip(-1) if falls else lines
    rows = lines.reshape(-1, sizes[axis])
    merged = reshaped(permuted(x, order), (shape[0], *(sizes[i] for i in same), len(rows) * shape[axis]))
    numbered = rows + shape[axis] * torch.arange(len(rows))[:, None]
    taken = picked(merged, len(same) + 1, numbered.flatten().tolist())
    if taken is None:
        return None
    taken = reshaped(taken, (shape[0], *(sizes[i] for i in order[1:])))
    taken = aten.flip.default(taken, [len(sizes) - 1]) if falls else taken
    return permuted(taken, [order.index(i) for i in range(len(order))])


def _even_lines(places: Sequence[int]) -> tuple[int, int, range] | None:
    """Places as lines of one length, each begun so far behind the one before, which lie side by side; else None.

    Returns:
        how many lines, how far from one's begin to the next, and the places of the first.
    """
    step = places[1] - places[0]
    length = next((i for i, (one, other) in enumerate(pairwise(places), 1) if other - one != step), len(places))
    count, rest = divmod(len(places), length)
    if step < 1 or count < 2 or rest:
        return None
    far, first = places[length] - places[0], range(places[0], places[length - 1] + 1, step)
    even = all(place == first[i % length] + i // length * far for i, place in enumerate(places))
    return (count, far, first) if even and far >= len(first) * step - step + 1 else None


def _sliced_lines(x: Any, axis: int, count: int, far: int, first: range) -> Any:
    """What :func:`_even_lines` found, of lines of ``far`` elements, which zeros make whole where the tensor ends."""
    shape = shape_of(x)
    front, size, behind = math.prod(shape[1:axis]), shape[axis], math.prod(shape[axis + 1 :])
    over = first.start + count * far - size
    earlier = max(0, min(over, first.start, far - (first[-1] + 1 - first.start)))
    start, over = first.start - earlier, over - earlier
    box = reshaped(x, (shape[0], front, size, behind))
    box = aten.constant_pad_nd.default(box, [0, 0, 0, over]) if over > 0 else box
    lines = reshaped(sliced(box, 2, start, start + count * far), (shape[0], front * count, far, behind))
    taken = every(lines, 2, range(earlier, earlier + first[-1] + 1 - first.start, first.step))
    return reshaped(taken, (*shape[:axis], count * len(first), *shape[axis + 1 :]))


def _repeated(x: Any, axis: int, times: int) -> Any:
    shape = list(shape_of(x))
    wide = aten.expand.default(
        aten.unsqueeze.default(x, axis + 1), [-1, *shape[1 : axis + 1], times, *shape[axis + 1 :]]
    )
    return reshaped(wide, (*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))


def _picked_by_product(x: Any, axis: int, places: Sequence[int]) -> Any:
    """A product with a matrix that has a one in every row, of a size that a file may have; None of a larger one."""
    shape = shape_of(x)
    if len(places) * shape[axis] > _MOST_OF_A_MATRIX or not x.node.meta["val"].is_floating_point():
        return None
    matrix = torch.eye(shape[axis])[list(places)]
    if axis == 1 and len(shape) in (3, 4):
        convolution = aten.conv1d if len(shape) == 3 else aten.conv2d
        return convolution.default(x, constant(x, matrix.reshape(*matrix.shape, *[1] * (len(shape) - 2))))
    order = [*(i for i in range(len(shape)) if i != axis), axis]
    taken = aten.linear.default(permuted(x, order), constant(x, matrix))
    return permuted(taken, [order.index(i) for i in range(len(shape))])
