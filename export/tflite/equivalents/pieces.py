"""Operators that take or replace pieces of a tensor, as slices, joins, reversals and rows of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from export.tflite.equivalents.draft import Draft
from export.tflite.equivalents.movements import broadcast_to, taken
from export.tflite.equivalents.shapes import joined
from export.tflite.file_data import FileOperator

__all__ = ["embedded", "filled", "gathered_by_places", "strided", "updated"]

#: STRIDED_SLICE takes so many axes (TFLM ``micro/kernels/strided_slice_common.cc``), an axis in front of them included.
_MOST_STRIDED = 4
#: Rows that are cut out one by one.
_MOST_ROWS = 2**12


def strided(draft: Draft, operator: FileOperator) -> None:
    """STRIDED_SLICE backwards, as one forwards and a reversal; along the first of four axes; without the first."""
    source, *operands = operator.inputs
    (output,), options, shape = operator.outputs, operator.options, draft.shape(source)
    vectors = [draft.data(index) for index in operands]
    known = [np.asarray(each).reshape(-1).tolist() for each in vectors if each is not None]
    if (
        len(known) != 3
        or any(len(each) != len(shape) for each in known)
        or 0 in known[2]
        or any(options.get(name) for name in ("EllipsisMask", "NewAxisMask"))
    ):
        draft.operators.append(operator)
        return
    entries = zip(*known, shape, strict=True)
    cuts = [_cut(begin, end, step, axis, n, options) for axis, (begin, end, step, n) in enumerate(entries)]
    whole = not cuts or cuts[0] == range(shape[0])
    # Without its first axis a tensor has another in that place, which counts no samples.
    kept = not operator.options.get("ShrinkAxisMask", 0) & 1
    if all(cut.step > 0 for cut in cuts) and kept and (whole or len(shape) < _MOST_STRIDED):
        draft.operators.append(operator)
        return
    if not all(map(len, cuts)) or any(not 0 <= at < n for cut, n in zip(cuts, shape, strict=True) for at in cut[:1]):
        raise ValueError(f"{cuts} of {draft.words(source)} of {shape}: expected elements inside of every axis")
    backwards = [axis for axis, cut in enumerate(cuts) if cut.step < 0 and len(cut) > 1]
    cuts = [cut if cut.step > 0 else cut[::-1] for cut in cuts]
    at = source
    if not whole and len(shape) == _MOST_STRIDED:
        if cuts[0].step > 1 and len(cuts[0]) > _MOST_ROWS:
            raise ValueError(f"{len(cuts[0]):,} rows of {draft.words(source)} of {shape}: at most {_MOST_ROWS:,}")
        at = draft.computed(source, (len(cuts[0]), *shape[1:]))
        if cuts[0].step == 1:
            draft.slice(source, [cuts[0].start, 0, 0, 0], at)
        else:
            taken(draft, source, 0, list(cuts[0]), at)
        cuts[0] = range(len(cuts[0]))
    box = draft.computed(source, [len(cut) for cut in cuts])
    ends = [[cut[0] for cut in cuts], [cut[-1] + 1 for cut in cuts], [cut.step for cut in cuts]]
    given = [draft.constant(np.array(each, np.int32)) for each in ends]
    masks = dict.fromkeys(("BeginMask", "EndMask", "ShrinkAxisMask"), 0)
    draft.put("STRIDED_SLICE", [at, *given], [box], "StridedSliceOptions", masks)
    for axis in backwards:
        turned = draft.computed(source, draft.shape(box))
        draft.put("REVERSE_V2", [box, draft.constant(np.array([axis], np.int32))], [turned], "ReverseV2Options")
        box = turned
    draft.reshape(box, output)


def _cut(begin: int, end: int, step: int, axis: int, size: int, options: Mapping[str, Any]) -> range:
    """Which elements of an axis: masks leave an end open, and a dropped axis has one element whatever its end is."""
    first, last, dropped = (options.get(f"{name}Mask", 0) >> axis & 1 for name in ("Begin", "End", "ShrinkAxis"))
    if dropped and step < 0:
        raise ValueError(f"axis {axis} dropped and cut backwards: TFLite Micro writes nothing there")
    if dropped:
        at = 0 if first else begin + size if begin < 0 else begin
        return range(at, at + 1)
    return range(*slice(None if first else begin, None if last else end, step).indices(size))


def gathered_by_places(draft: Draft, operator: FileOperator) -> None:
    """GATHER_ND by constant places: rows of what is behind the axes that they name.

    TFLM adds up the places and asks only whether the sum lies inside of the tensor.
    """
    source, positions = operator.inputs
    (output,), shape = operator.outputs, draft.shape(source)
    places = draft.known(positions).astype(np.int64)
    axes = places.shape[-1] if places.ndim else 0
    if not 1 <= axes <= len(shape):
        raise ValueError(f"places {places.shape} in {draft.words(source)} of {shape}")
    steps = [math.prod(shape[axis + 1 : axes]) for axis in range(axes)]
    rows = (places.reshape(-1, axes) @ np.array(steps)).tolist()
    count, size = math.prod(shape[:axes]), math.prod(shape[axes:])
    if not rows or not all(0 <= row < count for row in rows):
        raise ValueError(f"places {places.tolist()} of {draft.words(source)} of {shape}")
    table, found = draft.computed(source, (count, size)), draft.computed(source, (len(rows), size))
    draft.reshape(source, table)
    taken(draft, table, 0, rows, found)
    draft.reshape(found, output)


def updated(draft: Draft, operator: FileOperator) -> None:
    """DYNAMIC_UPDATE_SLICE at a constant place: the tensor's own elements before and behind the new ones, joined."""
    source, update, place = operator.inputs
    (output,), shape, size = operator.outputs, draft.shape(source), draft.shape(update)
    if math.prod(shape) == math.prod(size):
        draft.reshape(update, output)
        return
    begin = draft.known(place).reshape(-1).tolist()
    if not len(begin) == len(shape) == len(size) or any(n > m for n, m in zip(size, shape, strict=True)):
        raise ValueError(f"{draft.words(update)} of {size} at {begin} of {draft.words(source)} of {shape}")
    # The kernel moves what would end beyond.
    begin = [min(max(0, first), n - m) for first, n, m in zip(begin, shape, size, strict=True)]
    _with_piece(draft, source, update, begin, 0, output)


def _with_piece(draft: Draft, at: int, update: int, begin: Sequence[int], axis: int, output: int) -> None:
    """``at``, which is as large as the update along the axes before, with the update from ``begin`` on."""
    shape, size = draft.shape(at), draft.shape(update)
    if size[axis:] == shape[axis:]:
        draft.reshape(update, output)
        return
    if size[axis] == shape[axis]:
        _with_piece(draft, at, update, begin, axis + 1, output)
        return
    ends = [0, begin[axis], begin[axis] + size[axis], shape[axis]]
    parts = []
    for place in range(3):
        if ends[place] == ends[place + 1]:
            continue
        part = draft.computed(at, (*shape[:axis], ends[place + 1] - ends[place], *shape[axis + 1 :]))
        draft.slice(at, [ends[place] if i == axis else 0 for i in range(len(shape))], part)
        if place == 1:
            made = draft.computed(at, draft.shape(part))
            _with_piece(draft, part, update, begin, axis + 1, made)
            part = made
        parts.append(part)
    joined(draft, parts, axis, output)


def embedded(draft: Draft, operator: FileOperator) -> None:
    """EMBEDDING_LOOKUP: GATHER with its operands the other way round."""
    rows, table = operator.inputs
    shape = draft.shape(table)
    if len(shape) > 2:
        table = draft.constant(draft.known(table).reshape(shape[0], -1), table)
    (output,) = operator.outputs
    found = draft.computed(output, (*draft.shape(rows), *draft.shape(table)[1:]))
    draft.put("GATHER", [table, rows], [found], "GatherOptions", {"Axis": 0, "BatchDims": 0})
    draft.reshape(found, output)


def filled(draft: Draft, operator: FileOperator) -> None:
    """FILL with a number that is computed: joined with itself."""
    _, number = operator.inputs
    broadcast_to(draft, replace(operator, inputs=(number,)))
