"""What QUANTIZE makes of floats; and floats that are codes from the start, though a converter wrote them between.

TFLM ``kernels/internal/reference/quantize.h``: the quotient in float32, rounded half away from zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator, FileTensor
from qtorch.numbers.fixedpoint import quantize_multiplier, requantize
from qtorch.numbers.functional import round_half_away

__all__ = ["codes_of", "dequantized", "fit", "in_steps", "looked_through", "other_codes", "rows_of_codes"]


def in_steps(values: np.ndarray, made: FileTensor) -> np.ndarray:
    """Floats in steps of a grid."""
    with np.errstate(all="ignore"):
        steps: np.ndarray = values / np.float32(made.scale[0])
    return steps


def fit(steps: np.ndarray) -> np.ndarray:
    """Which of them C makes an integer of that it says."""
    return np.abs(steps) < np.float32(2**30)


def codes_of(steps: np.ndarray, made: FileTensor) -> np.ndarray:
    """What QUANTIZE makes of them, int64."""
    ends = np.iinfo(made.dtype)
    whole = round_half_away(torch.from_numpy(steps)).numpy().astype(np.int64)
    return (whole + made.zero_point[0]).clip(ends.min, ends.max)


def rows_of_codes(draft: Draft, operator: FileOperator) -> bool:
    """Rows of a table of floats, as nn.Embedding has them: the table of codes has the same rows."""
    (source,), (output,) = operator.inputs, operator.outputs
    made = draft.tensors[output]
    if made.dtype != "int8" or len(made.scale) != 1 or len(made.zero_point) != 1:
        return False
    makers = {each: maker for maker in draft.operators for each in maker.outputs}
    maker = makers.get(source)
    while maker is not None and maker.name == "RESHAPE":
        maker = makers.get(maker.inputs[0])
    if maker is None or maker.name != "GATHER":
        return False
    table, places = maker.inputs
    rows = draft.data(table)
    if rows is None or rows.dtype != np.float32 or not fit(in_steps(rows, made)).all():
        return False
    codes = draft.constant(codes_of(in_steps(rows, made), made).astype(np.int8), output)
    found = draft.computed(output, draft.shape(maker.outputs[0]))
    draft.operators.append(replace(maker, inputs=(codes, places), outputs=(found,)))
    draft.reshape(found, output)
    return True


def other_codes(draft: Draft, operator: FileOperator) -> bool:
    """QUANTIZE behind DEQUANTIZE of int16: the QUANTIZE of integers, where all codes say that it computes the same."""
    (source,), (output,) = operator.inputs, operator.outputs
    makers = [each for each in draft.operators if source in each.outputs and each.name == "DEQUANTIZE"]
    if not makers:
        return False
    (codes,) = makers[0].inputs
    given, made = draft.tensors[codes], draft.tensors[output]
    if given.dtype != "int16" or made.dtype not in ("int8", "int16") or len(given.scale) != 1 or len(made.scale) != 1:
        return False
    if given.grid == made.grid:
        draft.reshape(codes, output)
        return True
    every = np.arange(-(2**15), 2**15)
    steps = in_steps((given.scale[0] * (every - given.zero_point[0])).astype(np.float32), made)
    multiplier = quantize_multiplier(torch.tensor(given.scale[0] / made.scale[0], dtype=torch.float64))
    integers = requantize(torch.from_numpy(every - given.zero_point[0]), multiplier).numpy() + made.zero_point[0]
    ends = np.iinfo(made.dtype)
    if not fit(steps).all() or (codes_of(steps, made) != integers.clip(ends.min, ends.max)).any():
        return False
    draft.put("QUANTIZE", [codes], [output], "QuantizeOptions")
    return True


def dequantized(draft: Draft, index: int) -> int | None:
    """The codes of int8 of which DEQUANTIZE made floats; greater ones have greater numbers."""
    makers = [each for each in draft.operators if index in each.outputs and each.name == "DEQUANTIZE"]
    if not makers or draft.tensors[makers[0].inputs[0]].dtype != "int8":
        return None
    (codes,) = makers[0].inputs
    return codes if len(draft.tensors[codes].scale) == 1 and draft.data(codes) is None else None


def looked_through(draft: Draft, operator: FileOperator) -> None:
    """ARG_MAX and ARG_MIN of floats that DEQUANTIZE made: the places of the codes are theirs."""
    codes = dequantized(draft, operator.inputs[0])
    inputs = operator.inputs if codes is None else (codes, *operator.inputs[1:])
    draft.operators.append(replace(operator, inputs=inputs))
