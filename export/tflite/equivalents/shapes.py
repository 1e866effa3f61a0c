"""Operators that only give the same elements another shape, as RESHAPE; joins and cuts along an axis that is new."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator

__all__ = ["batch_first", "dense", "packed", "reshaped", "split_by_sizes", "transposed_convolution", "unpacked"]

#: CONCATENATION takes at most so many tensors (TFLM ``micro/kernels/concatenation.cc``).
_MOST_JOINED = 10
#: Axes of a tensor that is joined or cut along the first one, which has another in front of it then: SLICE takes five.
_MOST_AXES = 4


def reshaped(draft: Draft, operator: FileOperator) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: TFLM looks at the output's shape alone, not at options or a second input."""
    draft.reshape(operator.inputs[0], operator.outputs[0])


def packed(draft: Draft, operator: FileOperator) -> None:
    """PACK: each tensor with an axis of size 1, one behind the other along it."""
    (output,) = operator.outputs
    shape = draft.shape(output)
    axis = operator.options.get("Axis", 0) % max(1, len(shape))
    target = output
    if len(shape) > _MOST_AXES:
        shape, axis = _in_three_axes(shape, axis), 1
        target = draft.computed(output, shape)
    slices = []
    for source in operator.inputs:
        made = draft.computed(source, (*shape[:axis], 1, *shape[axis + 1 :]))
        draft.reshape(source, made)
        slices.append(made)
    joined(draft, slices, axis, target)
    if target != output:
        draft.reshape(target, output)


def _in_three_axes(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """With all axes before one as one, and all behind it."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


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
    if len(shape) > _MOST_AXES:
        shape, axis = _in_three_axes(shape, axis), 1
        joint = draft.computed(source, shape)
        draft.reshape(source, joint)
        source = joint
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
    """FULLY_CONNECTED of a vector, which is one row; by weights that are computed, the product of two matrices."""
    source, output = operator.inputs[0], operator.outputs[0]
    if _is_product(draft, operator):
        _put_product(draft, operator)
        return
    if len(draft.shape(source)) != 1 or draft.data(source) is not None or len(operator.outputs) != 1:
        draft.operators.append(operator)
        return
    row = draft.computed(source, (1, *draft.shape(source)))
    draft.reshape(source, row)
    made = draft.computed(output, (1, *draft.shape(output)[-1:]))
    draft.operators.append(replace(operator, inputs=(row, *operator.inputs[1:]), outputs=(made,)))
    draft.reshape(made, output)


def _is_product(draft: Draft, operator: FileOperator) -> bool:
    """Whether both operands are computed, and nothing is added."""
    _, weights, *bias = operator.inputs
    if weights == -1 or any(index != -1 for index in bias) or operator.options.get("FusedActivationFunction"):
        return False
    operands = [*operator.inputs[:2], *operator.outputs]
    return draft.data(weights) is None and all(draft.tensors[index].dtype == "int8" for index in operands)


def _put_product(draft: Draft, operator: FileOperator) -> None:
    """BATCH_MATMUL with the other operand's rows, of one sample: rows here count nothing."""
    (one, other, *_), (output,) = operator.inputs, operator.outputs
    depth = draft.shape(other)[-1]
    operands = [draft.computed(each, (1, math.prod(draft.shape(each)) // depth, depth)) for each in (one, other)]
    for given, made in zip((one, other), operands, strict=True):
        draft.reshape(given, made)
    product = draft.computed(output, (1, *(draft.shape(each)[1] for each in operands)))
    draft.put("BATCH_MATMUL", operands, [product], "BatchMatMulOptions", {"AdjX": False, "AdjY": True})
    draft.reshape(product, output)


def transposed_convolution(draft: Draft, operator: FileOperator) -> None:
    """TRANSPOSE_CONV whose shape of the output is computed: kernels take it from the output itself."""
    size, *others = operator.inputs
    if draft.data(size) is None:
        size = draft.constant(np.array(draft.shape(operator.outputs[0]), np.int32))
    draft.operators.append(replace(operator, inputs=(size, *others)))


def batch_first(draft: Draft, operator: FileOperator) -> None:
    """UNIDIRECTIONAL_SEQUENCE_LSTM of a single sequence whose first axis is time, between two RESHAPEs."""
    if not operator.options.get("TimeMajor"):
        draft.operators.append(operator)
        return
    source, output = operator.inputs[0], operator.outputs[0]
    if any(len(draft.shape(each)) != 3 or draft.shape(each)[1] != 1 for each in (source, output)):
        raise ValueError(
            f"a sequence with time as the first axis of {draft.shape(source)}; expected one sequence, or the batch as "
            "the first axis. Convert it with time_major=False"
        )
    turned = []
    for each in (source, output):
        steps, one, size = draft.shape(each)
        turned.append(draft.computed(each, (one, steps, size)))
    draft.reshape(source, turned[0])
    inputs, outputs = (turned[0], *operator.inputs[1:]), (turned[1], *operator.outputs[1:])
    draft.operators.append(
        replace(operator, inputs=inputs, outputs=outputs, options={**operator.options, "TimeMajor": False})
    )
    draft.reshape(turned[1], output)
