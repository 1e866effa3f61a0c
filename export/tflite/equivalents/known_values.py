"""Operators whose results are known when the file is read: shapes, which are static here, and arithmetic on constants.

Whole numbers without a scale alone are computed with; of quantized constants elements are moved, which rounds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator

__all__ = ["settled"]

_Options = Mapping[str, Any]
#: Arrays and options to the result.
_Evaluation = Callable[[Sequence[np.ndarray], _Options], np.ndarray]


def _shrunk(result: np.ndarray, mask: int) -> np.ndarray:
    return result[tuple(0 if mask >> axis & 1 else slice(None) for axis in range(result.ndim))]


def _strided_slice(arrays: Sequence[np.ndarray], options: _Options) -> np.ndarray:
    source, begins, ends, strides = arrays
    if options.get("EllipsisMask") or options.get("NewAxisMask"):
        raise ValueError("STRIDED_SLICE with an ellipsis or a new axis")
    masks = {name: options.get(f"{name}Mask", 0) for name in ("Begin", "End", "ShrinkAxis")}
    cuts = []
    for axis, (begin, end, stride) in enumerate(zip(begins.tolist(), ends.tolist(), strides.tolist(), strict=True)):
        shrinks = masks["ShrinkAxis"] >> axis & 1
        first = None if masks["Begin"] >> axis & 1 else begin
        last = None if masks["End"] >> axis & 1 else end
        cuts.append(slice(begin, begin + 1 or None) if shrinks else slice(first, last, stride))
    return _shrunk(source[tuple(cuts)], masks["ShrinkAxis"])


def _quotient(arrays: Sequence[np.ndarray]) -> np.ndarray:
    if not np.all(arrays[1]):
        raise ValueError("a division by 0")
    quotient: np.ndarray = arrays[0] // arrays[1]
    return quotient


def _broadcast_shape(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.array(np.broadcast_shapes(*(tuple(each.tolist()) for each in arrays)), arrays[0].dtype)


#: Only of whole numbers without a scale.
_ARITHMETIC: Mapping[str, _Evaluation] = {
    "ADD": lambda arrays, options: arrays[0] + arrays[1],
    "BROADCAST_ARGS": lambda arrays, options: _broadcast_shape(arrays),
    "SUB": lambda arrays, options: arrays[0] - arrays[1],
    "MUL": lambda arrays, options: arrays[0] * arrays[1],
    "FLOOR_DIV": lambda arrays, options: _quotient(arrays),
    "FLOOR_MOD": lambda arrays, options: arrays[0] - _quotient(arrays) * arrays[1],
    "MAXIMUM": lambda arrays, options: np.maximum(arrays[0], arrays[1]),
    "MINIMUM": lambda arrays, options: np.minimum(arrays[0], arrays[1]),
    "REDUCE_PROD": lambda arrays, options: np.prod(
        arrays[0],
        axis=tuple(arrays[1].reshape(-1).tolist()),
        keepdims=bool(options.get("KeepDims")),
        dtype=arrays[0].dtype,
    ),
    "RANGE": lambda arrays, options: np.arange(*(int(each) for each in arrays), dtype=arrays[0].dtype),
}
#: Of whatever there is.
_MOVEMENT: Mapping[str, _Evaluation] = {
    "BROADCAST_TO": lambda arrays, options: np.broadcast_to(arrays[0], tuple(arrays[1].tolist())),
    "CONCATENATION": lambda arrays, options: np.concatenate(arrays, options.get("Axis", 0)),
    "EXPAND_DIMS": lambda arrays, options: arrays[0],
    "FILL": lambda arrays, options: np.full(tuple(arrays[0].tolist()), arrays[1].reshape(-1)[0]),
    "GATHER": lambda arrays, options: np.take(arrays[0], arrays[1], options.get("Axis", 0)),
    "PACK": lambda arrays, options: np.stack(
        [each.reshape(arrays[0].shape) for each in arrays], options.get("Axis", 0)
    ),
    "RESHAPE": lambda arrays, options: arrays[0],
    "SLICE": lambda arrays, options: arrays[0][
        tuple(slice(b, None if n == -1 else b + n) for b, n in zip(*(a.tolist() for a in arrays[1:]), strict=True))
    ],
    "SQUEEZE": lambda arrays, options: arrays[0],
    "STRIDED_SLICE": _strided_slice,
    "TILE": lambda arrays, options: np.tile(arrays[0], tuple(arrays[1].tolist())),
    "TRANSPOSE": lambda arrays, options: np.transpose(arrays[0], tuple(arrays[1].tolist())),
}
_WHOLE = ("int32", "int64")
#: Elements of a result that is written out.
_MOST = 2**26


def settled(draft: Draft, operator: FileOperator) -> bool:
    """Whether an operator's result is known; its output is a constant then, and it need not be put."""
    if len(operator.outputs) != 1 or -1 in operator.outputs:
        return False
    (output,) = operator.outputs
    if operator.name == "SHAPE":
        dtype = draft.tensors[output].dtype
        if dtype not in _WHOLE:
            return False
        draft.settle(output, np.array(draft.shape(operator.inputs[0]), dtype))
        return True
    if operator.name == "ZEROS_LIKE" and draft.tensors[output].dtype in ("int8", *_WHOLE):
        # Codes of 0, whatever the zero point is.
        _require_few(draft, output)
        draft.settle(output, np.zeros(draft.shape(output), draft.tensors[output].dtype))
        return True
    if operator.name in _MOVEMENT:
        evaluation, fits = _MOVEMENT.get(operator.name), _on_one_grid(draft, operator, output)
    else:
        evaluation = _ARITHMETIC.get(operator.name)
        fits = all(_plain(draft, index) for index in (*operator.inputs, output))
    if evaluation is None or not fits or draft.tensors[output].variable or not operator.inputs:
        return False
    arrays = [None if index == -1 else draft.data(index) for index in operator.inputs]
    present = [array for array in arrays if array is not None]
    if len(present) < len(arrays):
        return False
    _require_few(draft, output)
    result = np.asarray(evaluation(present, operator.options))
    if result.size != np.prod(draft.shape(output), dtype=np.int64):
        raise ValueError(
            f"{draft.words(output)} of {draft.shape(output)}, whose values are known and have {result.shape}"
        )
    draft.settle(output, result.astype(draft.tensors[output].dtype))
    return True


def _require_few(draft: Draft, output: int) -> None:
    if math.prod(draft.shape(output)) > _MOST:
        raise ValueError(f"{draft.words(output)} of {draft.shape(output)}: at most {_MOST:,} elements are written out")


def _plain(draft: Draft, index: int) -> bool:
    return index != -1 and draft.tensors[index].dtype in _WHOLE and not draft.tensors[index].scale


def _on_one_grid(draft: Draft, operator: FileOperator, output: int) -> bool:
    """Whether what is moved lies on the output's grid: of the tensors that are joined, else of the first."""
    joins = operator.name in ("CONCATENATION", "PACK")
    moved = operator.inputs if joins else operator.inputs[1:2] if operator.name == "FILL" else operator.inputs[:1]
    return all(index != -1 and draft.tensors[index].grid == draft.tensors[output].grid for index in moved)
