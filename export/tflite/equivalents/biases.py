"""Biases on the grid of the sums that they are added to, where kernels take them to lie whatever a file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator, FileTensor

__all__ = ["BIASED", "with_bias_of_sums"]

#: Where the input, the weights and the bias stand among an operator's inputs.
BIASED: Mapping[str, tuple[int, int, int]] = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}
_BIAS_TYPES = {schema.TensorType.INT32: "int32", schema.TensorType.INT64: "int64"}


def with_bias_of_sums(draft: Draft, operator: FileOperator) -> FileOperator:
    """The operator with a bias that lies on the grid of its sums; itself where that is so, or where it has none."""
    places = BIASED.get(operator.name)
    if places is None:
        return operator
    if len(operator.inputs) <= places[2] or operator.inputs[places[2]] == -1:
        return _with_zeros(draft, operator, places)
    source, weight, bias = (draft.tensors[operator.inputs[place]] for place in places)
    if bias.dtype not in _BIAS_TYPES.values() or len(source.scale) != 1 or not weight.scale or any(bias.zero_point):
        return operator
    product = np.float32(source.scale[0]) * np.asarray(weight.scale, np.float32)
    scale = tuple(float(each) for each in product)
    if bias.scale == scale:
        return operator
    inputs = list(operator.inputs)
    inputs[places[2]] = _on(draft, bias, scale)
    return replace(operator, inputs=tuple(inputs))


def _with_zeros(draft: Draft, operator: FileOperator, places: tuple[int, int, int]) -> FileOperator:
    """A bias of zeros where an option says how many bits sums have, which otherwise the bias's type does."""
    dtype = _BIAS_TYPES.get(operator.options.get("QuantizedBiasType", 0))
    if dtype is None:
        return operator
    outputs = draft.shape(operator.outputs[0])[-1:]
    bias = draft.constant(np.zeros(outputs, dtype))
    inputs = (*operator.inputs[: places[2]], bias)
    return with_bias_of_sums(draft, replace(operator, inputs=inputs))


def _on(draft: Draft, bias: FileTensor, scale: tuple[float, ...]) -> int:
    """The same codes with other scales: as a tensor of its own, because layers may share a bias."""
    made = replace(
        bias,
        index=len(draft.tensors),
        scale=scale,
        zero_point=(0,) * len(scale),
        axis=0 if len(scale) > 1 else None,
    )
    draft.tensors.append(made)
    return made.index
