"""SOFTMAX along the last axis.

Source: TFLM ``kernels/internal/reference/softmax.h``, ``micro/kernels/softmax_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.constraints import Fixed, Free
from qtorch.fixedpoint import Rounding
from qtorch.gemmlowp import multiply, one_over_one_plus, rounding_divide_by_power_of_two
from qtorch.qparams import Grid, QParams
from qtorch.row import Attrs, Call, Match, OptionField, Row, Sample, TFLite, last_axis_stays
from qtorch.softmaxes import SMALLEST_SCALE, SUM_BITS, Differences, along_last_axis

_OUTPUT = Fixed({"int8": (1 / 256, -128)})


#: The kernel aborts on a sum of exponentials from 512 up, which as many equal codes have.
_MOST = 511


def attributes(call: Call) -> dict[str, Any]:
    """Along the last axis."""
    return {**along_last_axis(call, _MOST), "beta": 1.0}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return torch.softmax(x["input"], -1)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Exponentials of the differences from the largest, times the reciprocal of their sum.

    Raises:
        OverflowError: that sum is one on which the kernel aborts.
    """
    found = Differences.of(codes["input"], grids["input"], attrs["beta"])
    total = found.total()
    if int(total.max()) >= (_MOST + 1) << (31 - SUM_BITS):
        raise OverflowError(f"softmax: expected a sum of exponentials below {_MOST + 1}, or the kernel aborts")
    # The sum as 2**bits * (1 + fraction).
    headroom = 32 - torch.frexp(total.to(torch.float64)).exponent.to(torch.int64)
    scale = one_over_one_plus((total << headroom) - 2**31)
    exponent = SUM_BITS - headroom + 31 - 8
    result = rounding_divide_by_power_of_two(multiply(scale, found.exponentials()), exponent) - 128
    return torch.where(found.codes < found.smallest, -128, result.clamp(-128, 127))


def samples() -> Iterable[Sample]:
    """Flat and sharp, one class and many, ties."""
    rng = np.random.default_rng(8)
    for scale, shape in [
        (0.1, (20, 12)),
        (0.004, (5, 2)),
        (0.9, (6, 3)),
        (0.06, (3, 2, 3, 40)),
        (9.0, (8, 5)),
        (SMALLEST_SCALE, (8, 5)),
    ]:
        for zero_point in (-128, 5, 127):
            qparams = {"input": QParams((float(np.float32(scale)),), (zero_point,)), "output": _OUTPUT.qparams("int8")}
            arrays = {"input": rng.integers(-128, 128, shape, dtype=np.int8)}
            alike = ", alike" if scale == SMALLEST_SCALE else ""
            yield Sample(f"int8 {scale}@{zero_point} {shape}{alike}", {"beta": 1.0}, arrays, qparams)
    qparams = {"input": QParams((0.5,), (0,)), "output": _OUTPUT.qparams("int8")}
    flat = {"input": np.zeros((2, _MOST), np.int8)}
    flat["input"][1, ::2] = -3
    yield Sample("int8 as many classes as there may be", {"beta": 1.0}, flat, qparams)
    yield Sample("int8 one class, alike", {"beta": 1.0}, {"input": np.arange(9, dtype=np.int8)[:, None]}, qparams)


ROW = Row(
    name="softmax",
    roles=("input",),
    matches=(
        Match("module", nn.Softmax, attributes),
        Match("function", F.softmax, attributes, parameters=("input", "dim")),
        Match("function", torch.softmax, attributes, parameters=("input", "dim")),
        Match("method", "softmax", attributes, parameters=("input", "dim")),
    ),
    forward=forward,
    constraints={"input": Free(smallest=SMALLEST_SCALE), "output": _OUTPUT},
    reference=reference,
    tflite=TFLite(
        operator="SOFTMAX",
        resolver="AddSoftmax",
        version=lambda qparams: 2,
        options="SoftmaxOptions",
        fields=(OptionField("beta", "Beta"),),
    ),
    samples=samples,
    fake_exactly=True,
    transposed=last_axis_stays,
)
