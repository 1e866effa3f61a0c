"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND where they are no dilation: pixels of a block as pictures, and back."""

from __future__ import annotations

import math

import numpy as np

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator

__all__ = ["batch_to_space", "space_to_batch"]


def space_to_batch(draft: Draft, operator: FileOperator) -> None:
    """SPACE_TO_BATCH_ND: every so many pixels of a picture are one of their own; padded with the code of zero."""
    source, (output,) = operator.inputs[0], operator.outputs
    (down, right), ends = _blocks(draft, operator)
    count, height, width, channels = _image(draft, source)
    height, width = height + sum(ends[0]), width + sum(ends[1])
    if height % down or width % right:
        raise ValueError(f"blocks of {down}x{right} of {draft.words(source)} of {height}x{width} with {ends} around it")
    _require(draft, output, (count * down * right, height // down, width // right, channels))
    at = draft.computed(source, (count, height, width, channels))
    if ends == [[0, 0], [0, 0]]:
        draft.reshape(source, at)
    else:
        image = draft.computed(source, _image(draft, source))
        draft.reshape(source, image)
        pads = draft.constant(np.array([[0, 0], *ends, [0, 0]], np.int32))
        draft.put("PAD", [image, pads], [at], "PadOptions")
    columns = count * height * (width // right)
    at = _turned(draft, at, (columns, right, channels), (1, 0, 2))
    rows = right, count * height // down, down, width // right * channels
    draft.reshape(_turned(draft, at, rows, (2, 0, 1, 3)), output)


def batch_to_space(draft: Draft, operator: FileOperator) -> None:
    """BATCH_TO_SPACE_ND: the other way; what is too much at the edges is cut off."""
    source, (output,) = operator.inputs[0], operator.outputs
    (down, right), ends = _blocks(draft, operator)
    pictures, height, width, channels = _image(draft, source)
    if pictures % (down * right):
        raise ValueError(f"blocks of {down}x{right} of {draft.words(source)}, which are {pictures} pictures")
    count = pictures // (down * right)
    sizes = [n - sum(cut) for n, cut in zip((height * down, width * right), ends, strict=True)]
    _require(draft, output, (count, *sizes, channels))
    at = _turned(draft, source, (down, right, count * height, width * channels), (1, 2, 0, 3))
    at = _turned(draft, at, (right, count * height * down * width, channels), (1, 0, 2))
    whole = draft.computed(source, (count, height * down, width * right, channels))
    draft.reshape(at, whole)
    if ends != [[0, 0], [0, 0]]:
        cut = draft.computed(source, (count, *sizes, channels))
        draft.slice(whole, [0, ends[0][0], ends[1][0], 0], cut)
        whole = cut
    draft.reshape(whole, output)


def _blocks(draft: Draft, operator: FileOperator) -> tuple[tuple[int, int], list[list[int]]]:
    """Rows and columns of a block, and what is before and behind them; of a picture without columns one each."""
    source, *operands = operator.inputs
    block, ends = (draft.known(index) for index in operands)
    axes = len(draft.shape(source)) - 2
    if axes not in (1, 2) or block.size != axes or ends.size != 2 * axes or block.min() < 1 or ends.min() < 0:
        got = f"{draft.words(source)} of {draft.shape(source)}, blocks of {block.tolist()}, {ends.tolist()} at the ends"
        raise ValueError(f"expected pictures with one or two axes of pixels, got {got}")
    sizes, pairs = block.reshape(-1).tolist(), ends.reshape(-1, 2).tolist()
    return (sizes[0], sizes[1] if axes == 2 else 1), [*pairs, *[[0, 0]] * (2 - axes)]


def _image(draft: Draft, index: int) -> tuple[int, int, int, int]:
    count, height, *columns, channels = draft.shape(index)
    return count, height, columns[0] if columns else 1, channels


def _require(draft: Draft, output: int, shape: tuple[int, ...]) -> None:
    found = _image(draft, output) if len(draft.shape(output)) in (3, 4) else draft.shape(output)
    if found != shape:
        raise ValueError(
            f"{draft.words(output)} of {found}, where the blocks give {shape}. A batch whose size was left open is "
            "written so: convert again with a batch of 1"
        )


def _turned(draft: Draft, source: int, shape: tuple[int, ...], order: tuple[int, ...]) -> int:
    """``source`` in another shape, with its axes in another order."""
    assert math.prod(shape) == math.prod(draft.shape(source))
    taken = draft.computed(source, shape)
    turned = draft.computed(source, [shape[axis] for axis in order])
    draft.reshape(source, taken)
    draft.put("TRANSPOSE", [taken, draft.constant(np.array(order, np.int32))], [turned], "TransposeOptions")
    return turned
