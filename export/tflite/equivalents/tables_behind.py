"""What an operator does to its own codes beside what its row says, as a table of codes behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema

from export.tflite.equivalents.draft import Draft
from export.tflite.equivalents.tables import put_table
from export.tflite.file_data import FileOperator
from qtorch.numbers.functional import round_half_away

__all__ = ["TableBehind", "table_behind"]

_EVERY = np.arange(-128, 128)
#: Copy codes as they are, whatever grids their tensors have (TFLM ``micro/kernels``); TensorFlow's converter gives
#: REVERSE_V2 two of them, in a Bidirectional layer for one.
_COPIES = frozenset(
    {"EXPAND_DIMS", "GATHER", "RESHAPE", "REVERSE_V2", "SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"}
)
_FUSED, _NONE, _LIMITED = (
    "FusedActivationFunction", schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU_N1_TO_1
)  # fmt: skip


class TableBehind(NamedTuple):
    """The operator with another tensor as its output, and the table that makes the file's own of it."""

    operator: FileOperator
    codes: np.ndarray
    output: int

    def put(self, draft: Draft) -> None:
        """Behind the operator."""
        put_table(draft, self.operator.outputs[0], self.codes.astype(np.int8), self.output)


def table_behind(draft: Draft, operator: FileOperator) -> TableBehind | None:
    """What is behind an operator of int8: limits of -1 and 1, or another grid for the same codes; mostly nothing."""
    if len(operator.outputs) != 1 or not operator.inputs or -1 in (operator.outputs[0], operator.inputs[0]):
        return None
    (output,), source = operator.outputs, operator.inputs[0]
    given, made = draft.tensors[source], draft.tensors[output]
    if (given.dtype, made.dtype) != ("int8", "int8") or len(made.scale) != 1 or len(made.zero_point) != 1:
        return None
    if operator.options.get(_FUSED) == _LIMITED:
        options = {**operator.options, _FUSED: _NONE}
        codes = _EVERY.clip(*_limits(made.scale[0], made.zero_point[0]))
        inner = draft.computed(output, made.shape)
        return TableBehind(replace(operator, options=options, outputs=(inner,)), codes, output)
    if operator.name in _COPIES and len(given.scale) == 1 and given.grid != made.grid and draft.data(source) is None:
        inner = draft.computed(source, made.shape)
        return TableBehind(replace(operator, outputs=(inner,)), _EVERY, output)
    return None


def _limits(scale: float, zero_point: int) -> tuple[int, int]:
    """Codes of -1 and 1 (TFLM ``kernels/kernel_util.cc``, ``CalculateActivationRangeQuantized``): by the scale in
    float32."""
    step = int(round_half_away(torch.tensor(1.0) / torch.tensor(scale, dtype=torch.float32)).clamp(max=2.0**30))
    return max(-128, zero_point - step), min(127, zero_point + step)
