"""Operators that only give the same elements another shape, as RESHAPE; joins and cuts along an axis that is new."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from export.tflite.contents import FileOperator
from export.tflite.equivalents.draft import Draft

__all__ = ["dense", "packed", "reshaped", "split_by_sizes", "transposed_convolution", "unpacked"]

#: CONCATENATION takes at most so many tensors (TFLM ``micro/kernels/concatenation.cc``).
_MOST_JOINED = 10


def reshaped(draft: Draft, operator: FileOperator) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: TFLM looks at the output's shape alone, not at options or a second input."""
    draft.reshape(operator.inputs[0], operator.outputs[0])


def packed(draft: Draft, operator: FileOperator) -> None:
    """PACK: each tensor with an axis of size 1, one behind the other along it."""
    (output,) = operator.outputs
    shape = draft.shape(output)
    axis = operator.options.get("Axis", 0) % max(1, len(shape))
    slices = []
    for source in operator.inputs:
        made = draft.computed(source, (*shape[:axis], 1, *shape[axis + 1 :]))
        draft.reshape(source, made)
        slices.append(made)
    joined(draft, slices, axis, output)


def joined(draft: Draft, sources: list[int], axis: int, output: int) -> None:
    """Tensors one behind the other, in groups where there are more than CONCATENATION takes."""
    parts = sources
    while len(parts) > _MOST_JOINED:
        group, rest = parts[:_MOST_JOINED], parts[_MOST_JOINED:]
        shape = list(draft.shape(group[0]))
        shape[axis] = sum(draft.shape(part)[axis] for part in group)
        made = draft.computed(group[0], shape)
        draft.join(group, axis, made)
        parts = [made, *rest]
    if len(parts) == 1:
        draft.reshape(parts[0], output)
    else:
        draft.join(parts, axis, output)


def unpacked(draft: Draft, operator: FileOperator) -> None:
    """UNPACK: a slice for each output, without the axis."""
    (source,) = operator.inputs
    shape = draft.shape(source)
    axis = operator.options.get("Axis", 0) % max(1, len(shape))
    for at, output in enumerate(operator.outputs):
        begin = [0] * len(shape)
        begin[axis] = at
        made = draft.computed(output, (*shape[:axis], 1, *shape[axis + 1 :]))
        draft.slice(source, begin, made)
        draft.reshape(made, output)


def split_by_sizes(draft: Draft, operator: FileOperator) -> None:
    """SPLIT_V: a slice for each output; the sizes are the outputs' own."""
    source, _, axes = operator.inputs
    shape = draft.shape(source)
    axis = int(draft.known(axes).reshape(-1)[0]) % max(1, len(shape))
    ends = np.cumsum([0, *(draft.shape(output)[axis] for output in operator.outputs)])
    if ends[-1] != shape[axis]:
        raise ValueError(f"{draft.words(source)} of {shape} in pieces that end at {ends[-1]} along axis {axis}")
    for output, (first, _) in zip(operator.outputs, pairwise(ends), strict=True):
        begin = [0] * len(shape)
        begin[axis] = int(first)
        draft.slice(source, begin, output)


def dense(draft: Draft, operator: FileOperator) -> None:
    """FULLY_CONNECTED of a vector, which is one row."""
    source, output = operator.inputs[0], operator.outputs[0]
    if len(draft.shape(source)) != 1 or draft.data(source) is not None or len(operator.outputs) != 1:
        draft.operators.append(operator)
        return
    row = draft.computed(source, (1, *draft.shape(source)))
    draft.reshape(source, row)
    made = draft.computed(output, (1, *draft.shape(output)[-1:]))
    draft.operators.append(replace(operator, inputs=(row, *operator.inputs[1:]), outputs=(made,)))
    draft.reshape(made, output)


def transposed_convolution(draft: Draft, operator: FileOperator) -> None:
    """TRANSPOSE_CONV whose shape of the output is computed: kernels take it from the output itself."""
    size, *others = operator.inputs
    if draft.data(size) is None:
        size = draft.constant(np.array(draft.shape(operator.outputs[0]), np.int32))
    draft.operators.append(replace(operator, inputs=(size, *others)))
