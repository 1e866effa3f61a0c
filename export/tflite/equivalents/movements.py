"""Operators that move elements to other places, as slices, joins, transpositions and reversals of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from export.tflite.equivalents.draft import Draft
from export.tflite.equivalents.shapes import joined
from export.tflite.file_data import FileOperator

__all__ = ["broadcast_to", "depth_to_space", "gathered", "mirrored", "space_to_depth", "taken"]


def gathered(draft: Draft, operator: FileOperator) -> None:
    """GATHER by constant indices: runs of neighbours are slices, which are joined. By others it stays as it is where a
    constant or floats are looked up."""
    source, positions = operator.inputs
    (output,) = operator.outputs
    indices, shape = draft.data(positions), draft.shape(source)
    if indices is None and draft.data(source) is None and draft.tensors[source].dtype == "int8":
        _picked(draft, operator)
        return
    if indices is None or operator.options.get("BatchDims", 0) != 0 or draft.data(source) is not None:
        draft.operators.append(operator)
        return
    axis = operator.options.get("Axis", 0) % max(1, len(shape))
    order = [int(each) for each in indices.reshape(-1)]
    if not order or not all(0 <= each < shape[axis] for each in order):
        raise ValueError(f"indices {order} into axis {axis} of {draft.words(source)} of {shape}")
    whole = (*shape[:axis], len(order), *shape[axis + 1 :])
    target = output if draft.shape(output) == whole else draft.computed(output, whole)
    taken(draft, source, axis, order, target)
    if target != output:
        draft.reshape(target, output)


#: Rows of a tensor of which some are picked: each of them costs a product for each number that is picked.
_MOST_PICKED = 64
#: The code of 1 among the rows of the identity: BATCH_MATMUL takes no factor of 1, and this one's leaves no remainder.
_ONE = 64


def _picked(draft: Draft, operator: FileOperator) -> None:
    """GATHER of what is computed by places that are: rows of the identity, times the tensor. A sum of one product, of 1
    and a number on the result's own grid, is that number to the bit."""
    (source, places), (output,), options = operator.inputs, operator.outputs, operator.options
    shape, picked = draft.shape(source), math.prod(draft.shape(places))
    axis = options.get("Axis", 0) % max(1, len(shape))
    rows, size = shape[axis], math.prod(shape[axis + 1 :])
    if math.prod(shape[:axis]) != 1 or not 0 < rows <= _MOST_PICKED:
        raise ValueError(
            f"{draft.words(source)} of {shape}, which is computed, along axis {axis} by {draft.words(places)}, which "
            f"is too: expected at most {_MOST_PICKED} there, and axes of size 1 in front. Cut the network there, and "
            "pick in the application"
        )
    flat, ones = draft.whole_numbers((1, picked)), draft.computed(source, (1, picked, rows))
    draft.tensors[ones] = replace(draft.tensors[ones], scale=(1 / _ONE,), zero_point=(0,), axis=None)
    table, found = draft.computed(source, (1, rows, size)), draft.computed(source, (1, picked, size))
    draft.reshape(places, flat)
    draft.reshape(source, table)
    identity = draft.constant(np.eye(rows, dtype=np.int8) * np.int8(_ONE), ones)
    draft.put("GATHER", [identity, flat], [ones], "GatherOptions", {"Axis": 0, "BatchDims": 0})
    draft.put("BATCH_MATMUL", [ones, table], [found], "BatchMatMulOptions", {"AdjX": False, "AdjY": False})
    draft.reshape(found, output)


def taken(draft: Draft, source: int, axis: int, order: Sequence[int], output: int) -> None:
    """Elements of an axis in any order, all inside of it: runs of neighbours are slices, which are joined."""
    shape = draft.shape(source)
    breaks = [0, *(i for i, (a, b) in enumerate(pairwise(order), 1) if b != a + 1), len(order)]
    runs = [(order[first], last - first) for first, last in pairwise(breaks)]
    parts = [output] if len(runs) == 1 else [draft.computed(source, _resized(shape, axis, n)) for _, n in runs]
    for part, (first, _) in zip(parts, runs, strict=True):
        draft.slice(source, [first if i == axis else 0 for i in range(len(shape))], part)
    if len(parts) > 1:
        joined(draft, parts, axis, output)


def _resized(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def depth_to_space(draft: Draft, operator: FileOperator) -> None:
    """DEPTH_TO_SPACE: a pixel's channels are a block of pixels, row by row; its rows and the image's columns swap."""
    (source,), (output,) = operator.inputs, operator.outputs
    count, height, width, channels = _image(draft, source)
    block = _block(draft, operator, channels % _size(operator) ** 2 == 0)
    _swapped(draft, source, (count * height, width, block, channels // block), output)


def space_to_depth(draft: Draft, operator: FileOperator) -> None:
    """SPACE_TO_DEPTH: the other way."""
    (source,), (output,) = operator.inputs, operator.outputs
    count, height, width, channels = _image(draft, source)
    size = _size(operator)
    block = _block(draft, operator, height % size == 0 and width % size == 0)
    _swapped(draft, source, (count * height // block, block, width // block, block * channels), output)


def _image(draft: Draft, index: int) -> tuple[int, ...]:
    shape = draft.shape(index)
    if len(shape) != 4:
        raise ValueError(f"{draft.words(index)} of {shape}: expected 4 axes")
    return shape


def _size(operator: FileOperator) -> int:
    return max(1, int(operator.options.get("BlockSize", 0)))


def _block(draft: Draft, operator: FileOperator, fits: bool) -> int:
    if operator.options.get("BlockSize", 0) < 1 or not fits:
        shape, block = draft.shape(operator.inputs[0]), operator.options.get("BlockSize", 0)
        raise ValueError(f"blocks of {block} of {draft.words(operator.inputs[0])} of {shape}")
    return _size(operator)


def _swapped(draft: Draft, source: int, shape: tuple[int, int, int, int], output: int) -> None:
    """``source`` in that shape with its two middle axes swapped, in ``output``'s."""
    rows, first, second, last = shape
    if math.prod(shape) != math.prod(draft.shape(source)):
        raise ValueError(f"{draft.words(source)} of {draft.shape(source)} as {shape}")
    taken, swapped = draft.computed(source, shape), draft.computed(source, (rows, second, first, last))
    draft.reshape(source, taken)
    permutation = draft.constant(np.array([0, 2, 1, 3], np.int32))
    draft.put("TRANSPOSE", [taken, permutation], [swapped], "TransposeOptions")
    draft.reshape(swapped, output)


#: MirrorPadMode of the schema: whether the element at the edge is repeated.
_SYMMETRIC = 1


def mirrored(draft: Draft, operator: FileOperator) -> None:
    """MIRROR_PAD: axis by axis a reversed slice on either side."""
    source, paddings = operator.inputs
    (output,) = operator.outputs
    pads = draft.known(paddings).reshape(-1, 2).tolist()
    # Without its table of options TFLM's mode is neither of both, and its kernel asks whether it is REFLECT.
    edge = 0 if not operator.options_kind or operator.options.get("Mode", 0) == _SYMMETRIC else 1
    shape = draft.shape(source)
    axes = [axis for axis, ends in enumerate(pads) if any(ends)]
    if len(pads) != len(shape) or any(not 0 <= n <= shape[axis] - edge for axis in axes for n in pads[axis]):
        raise ValueError(f"paddings {pads} of {draft.words(source)} of {shape}")
    at = source
    for axis in axes:
        before, after = pads[axis]
        size = draft.shape(at)[axis]
        wider = _resized(draft.shape(at), axis, before + size + after)
        target = output if axis == axes[-1] else draft.computed(source, wider)
        front = [_reversed(draft, at, axis, edge, before)] if before else []
        back = [_reversed(draft, at, axis, size - edge - after, after)] if after else []
        joined(draft, [*front, at, *back], axis, target)
        at = target
    if not axes:
        draft.reshape(source, output)


def _reversed(draft: Draft, source: int, axis: int, first: int, size: int) -> int:
    shape = draft.shape(source)
    part, turned = (draft.computed(source, _resized(shape, axis, size)) for _ in range(2))
    draft.slice(source, [first if i == axis else 0 for i in range(len(shape))], part)
    draft.put("REVERSE_V2", [part, draft.constant(np.array([axis], np.int32))], [turned], "ReverseV2Options")
    return turned


#: Copies of a tensor along an axis, each of which is an operand of CONCATENATION.
_MOST_COPIES = 2**14


def broadcast_to(draft: Draft, operator: FileOperator) -> None:
    """BROADCAST_TO: joined with itself along each axis of size 1 that has to be longer."""
    source, (output,) = operator.inputs[0], operator.outputs
    shape = draft.shape(output)
    own = (*(1,) * (len(shape) - len(draft.shape(source))), *draft.shape(source))
    if len(own) != len(shape) or any(n not in (1, wanted) for n, wanted in zip(own, shape, strict=True)):
        raise ValueError(f"{draft.words(source)} of {draft.shape(source)} as {shape}")
    if any(n != wanted > _MOST_COPIES for n, wanted in zip(own, shape, strict=True)):
        raise ValueError(
            f"{draft.words(source)} of {draft.shape(source)} as {shape}: more than {_MOST_COPIES:,} copies"
        )
    at = source
    if own != draft.shape(source):
        at = draft.computed(source, own)
        draft.reshape(source, at)
    longer = [axis for axis, (n, wanted) in enumerate(zip(own, shape, strict=True)) if n != wanted]
    for axis in longer:
        wider = _resized(draft.shape(at), axis, shape[axis])
        target = output if axis == longer[-1] else draft.computed(source, wider)
        joined(draft, [at] * shape[axis], axis, target)
        at = target
    if not longer:
        draft.reshape(at, output)
