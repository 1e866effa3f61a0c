"""LOG_SOFTMAX along the last axis.

Source: TFLM ``kernels/internal/reference/log_softmax.h``, ``micro/kernels/log_softmax.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qtorch.c_cells.broadcasting import multiplier_arguments
from qtorch.families.shape_rules import same_shape_of_vectors
from qtorch.families.softmaxes import DIFFERENCE_BITS, SMALLEST_SCALE, SUM_BITS, Differences, along_last_axis
from qtorch.numbers.fixedpoint import Multiplier, Rounding, power_of_two, quantize_multiplier, requantize
from qtorch.numbers.gemmlowp import log_of_at_least_one, rounding_divide_by_power_of_two
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Fixed, Free
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, Call, Match, Row, Sample, TFLite, last_axis_stays

_OUTPUT = Fixed({"int8": (16 / 256, 127)})
_OUTPUT_BITS = 4

#: The kernel's sum of exponentials leaves int32 at 4096, which as many equal codes have.
_MOST = 4095


def attributes(call: Call) -> dict[str, Any]:
    """Along the last axis."""
    return along_last_axis(call, _MOST, "log_softmax")


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return torch.log_softmax(x["input"], -1)


def _inverse(multiplier: Multiplier) -> Multiplier:
    """From Q5.26 back to codes."""
    return quantize_multiplier(power_of_two(31 - multiplier.shift) / multiplier.mantissa.to(torch.float64))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Differences from the largest in Q5.26 less the logarithm of the sum of their exponentials."""
    differences = Differences.of(codes["input"], grids["input"], 1.0)
    logarithm = log_of_at_least_one(differences.total(), SUM_BITS)
    # The lowest difference that Q5.26 holds after the subtraction, in codes again.
    lowest = requantize(logarithm - 2**31, _inverse(differences.scaled.multiplier), Rounding.DOUBLE)
    lowest = torch.maximum(lowest, differences.scaled.smallest - 1)
    result = rounding_divide_by_power_of_two(differences.fixed() - logarithm, 31 - DIFFERENCE_BITS - _OUTPUT_BITS) + 127
    return torch.where(differences.codes > lowest, result.clamp(-128, 127), -128)


def kernel(operands: Operands) -> KernelCall:
    """Exponentials by table, the logarithm of their sum computed."""
    size = operands.shapes["input"][-1]
    differences = Differences.of(torch.arange(0, -256, -1), operands.grid("input").grid, 1.0)
    exponentials = differences.exponentials().numpy()
    terms = int(np.count_nonzero(exponentials))
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"), "out": TensorArgument("output"), "rows": operands.size("input") // size,
        "size": size, "exponentials": ConstantTable(exponentials[:terms].astype(np.int32)), "terms": terms,
        **multiplier_arguments({"": differences.scaled.multiplier, "back": _inverse(differences.scaled.multiplier)}),
        "smallest": int(differences.scaled.smallest),
    }  # fmt: skip
    return KernelCall("log_softmax_s8", arguments, in_place=frozenset({"input"}))


def samples() -> Iterable[Sample]:
    """Flat and sharp, few classes and many."""
    rng = np.random.default_rng(15)
    for scale, shape in [(0.1, (20, 12)), (0.004, (5, 2)), (0.9, (6, 3)), (0.06, (3, 2, 3, 40)), (9.0, (8, 5))]:
        for zero_point in (-128, 5, 127):
            qparams = {"input": QParams((float(np.float32(scale)),), (zero_point,)), "output": _OUTPUT.qparams("int8")}
            arrays = {"input": rng.integers(-128, 128, shape, dtype=np.int8)}
            yield Sample(f"int8 {scale}@{zero_point} {shape}", {}, arrays, qparams)
    flat = {"input": np.zeros((2, _MOST), np.int8)}
    flat["input"][1, ::2] = -12
    qparams = {"input": QParams((0.125,), (0,)), "output": _OUTPUT.qparams("int8")}
    yield Sample("int8 as many classes as there may be", {}, flat, qparams)


ROW = Row(
    name="log_softmax",
    roles=("input",),
    matches=(
        Match("module", nn.LogSoftmax, attributes),
        Match("aten", "log_softmax", attributes),
        Match("aten", "special_log_softmax", attributes, written=("log_softmax",)),
    ),
    forward=forward,
    constraints={"input": Free(smallest=SMALLEST_SCALE), "output": _OUTPUT},
    reference=reference,
    tflite=TFLite(
        operator="LOG_SOFTMAX", resolver="AddLogSoftmax", version=lambda qparams: 2, options="LogSoftmaxOptions"
    ),
    # The lowest codes are all -128 to the kernel; 5 is the most that was seen, in random networks.
    onnx=one_operator("LogSoftmax", {"int8": 8}, axis=-1),
    shapes=same_shape_of_vectors,
    rows=same_row,
    samples=samples,
    c=kernel,
    transposed=last_axis_stays,
)
