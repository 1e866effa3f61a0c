"""Numbers of places, which CAST makes of what ARG_MAX and ARG_MIN find: for each place its row of a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator

__all__ = ["is_number_of_place", "numbers_of_places"]

_FINDING = frozenset({"ARG_MAX", "ARG_MIN"})
#: Codes from 0 on, on a grid on which each stands for itself.
_MOST = 128


def is_number_of_place(draft: Draft, operator: FileOperator) -> bool:
    """Whether an operator is a CAST of places along an axis of int8, each of which has a code, to int8 or float32."""
    return _found(draft, operator) is not None


def numbers_of_places(draft: Draft, operator: FileOperator) -> None:
    """CAST of places: GATHER of their codes, and behind that DEQUANTIZE for floats; any other stays as it is."""
    found = _found(draft, operator)
    if found is None:
        draft.operators.append(operator)
        return
    looked_through, count = found
    (source,), (output,) = operator.inputs, operator.outputs
    floats = draft.tensors[output].dtype == "float32"
    codes = draft.computed(looked_through, draft.shape(output)) if floats else output
    draft.tensors[codes] = replace(draft.tensors[codes], scale=(1.0,), zero_point=(0,), axis=None)
    table = draft.constant(np.arange(count, dtype=np.int8).reshape(-1, 1), codes)
    rows = draft.computed(codes, (*draft.shape(source), 1))
    draft.put("GATHER", [table, source], [rows], "GatherOptions", {"Axis": 0, "BatchDims": 0})
    draft.reshape(rows, codes)
    if floats:
        draft.put("DEQUANTIZE", [codes], [output])


def _found(draft: Draft, operator: FileOperator) -> tuple[int, int] | None:
    """The tensor that is looked through, and how many places there are along its axis."""
    if operator.name != "CAST" or len(operator.inputs) != 1 or len(operator.outputs) != 1:
        return None
    (source,), made = operator.inputs, draft.tensors[operator.outputs[0]]
    finding = [each for each in draft.operators if each.name in _FINDING and source in each.outputs]
    if source == -1 or not finding or made.dtype not in ("int8", "float32") or made.scale:
        return None
    looked_through, axis = finding[0].inputs
    shape, axes = draft.shape(looked_through), draft.data(axis)
    if draft.tensors[looked_through].dtype != "int8" or axes is None or axes.size != 1:
        return None
    count = shape[int(axes.reshape(-1)[0])]
    return (looked_through, count) if 0 < count <= _MOST else None
