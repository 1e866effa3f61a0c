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
from qtorch.fixedpoint import Rounding, quantize_multiplier
from qtorch.gemmlowp import exp_on_negative, multiply, one_over_one_plus, rounding_divide_by_power_of_two
from qtorch.qparams import Grid, QParams
from qtorch.row import Attrs, Call, Match, OptionField, Refused, Row, Sample, TFLite, Unsupported, last_axis_stays
from qtorch.sigmoids import input_radius

_OUTPUT = Fixed({"int8": (1 / 256, -128)})
_DIFFERENCE_BITS, _SUM_BITS = 5, 12
#: The kernels abort on a difference below Q5.26's unit.
_SMALLEST_SCALE = 2.0**-25


def attributes(call: Call) -> dict[str, Any]:
    """Along the last axis only; PyTorch's default axis is the last one of a tensor of rank 2."""
    rank = len(call.shapes["input"])
    axis = call.get("dim")
    if axis is None:
        axis = 0 if rank in (1, 3) else 1
    if axis % rank != rank - 1:
        raise Refused(
            expected=f"the last axis, dim=-1 or dim={rank - 1}",
            got=f"dim={call.get('dim')} on shape {call.shapes['input']}",
            remedy="move the axis last first, for example x.movedim(1, -1)",
        )
    return {"beta": 1.0}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return torch.softmax(x["input"], -1)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Differences from the largest in Q5.26, their exponentials in Q0.31, the sum in Q12.19.

    What lies further below the largest than Q5.26 can say counts as 0.
    """
    # From Q5.26's unit: the scale of a difference, at most what a Q31 mantissa and 31 bits of shift can hold.
    real = (grids["input"].scale.to(torch.float64) * attrs["beta"] * 2.0 ** (31 - _DIFFERENCE_BITS)).clamp(
        max=2.0**31 - 1
    )
    mantissa, shift = quantize_multiplier(real)
    smallest = -input_radius(_DIFFERENCE_BITS, int(shift))
    x = codes["input"]
    differences = x - x.amax(-1, keepdim=True)
    # One exponential for each of the 256 possible differences.
    every = torch.arange(-255, 1)
    exponentials = exp_on_negative(multiply(every.clamp(min=smallest) << shift, mantissa), _DIFFERENCE_BITS)
    exponentials = torch.where(every < smallest, 0, exponentials)[differences + 255]
    total = rounding_divide_by_power_of_two(exponentials, _SUM_BITS).sum(-1, keepdim=True)
    # The sum as 2**bits * (1 + fraction).
    headroom = 32 - torch.frexp(total.to(torch.float64)).exponent.to(torch.int64)
    scale = one_over_one_plus((total << headroom) - 2**31)
    exponent = _SUM_BITS - headroom + 31 - 8
    found = rounding_divide_by_power_of_two(multiply(scale, exponentials), exponent) - 128
    return torch.where(differences < smallest, -128, found.clamp(-128, 127))


def samples() -> Iterable[Sample]:
    """Flat and sharp, one class and many, ties."""
    rng = np.random.default_rng(8)
    for scale, shape in [
        (0.1, (20, 12)),
        (0.004, (5, 2)),
        (0.9, (6, 3)),
        (0.06, (3, 2, 3, 40)),
        (9.0, (8, 5)),
        (_SMALLEST_SCALE, (8, 5)),
    ]:
        for zero_point in (-128, 5, 127):
            qparams = {"input": QParams((float(np.float32(scale)),), (zero_point,)), "output": _OUTPUT.qparams("int8")}
            arrays = {"input": rng.integers(-128, 128, shape, dtype=np.int8)}
            alike = ", alike" if scale == _SMALLEST_SCALE else ""
            yield Sample(f"int8 {scale}@{zero_point} {shape}{alike}", {"beta": 1.0}, arrays, qparams)
    qparams = {"input": QParams((0.5,), (0,)), "output": _OUTPUT.qparams("int8")}
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
    constraints={"input": Free(smallest=_SMALLEST_SCALE), "output": _OUTPUT},
    reference=reference,
    tflite=TFLite(
        operator="SOFTMAX",
        resolver="AddSoftmax",
        version=lambda qparams: 2,
        options="SoftmaxOptions",
        fields=(OptionField("beta", "Beta"),),
    ),
    onnx=Unsupported("the ONNX writer does not exist yet"),
    c=Unsupported("the C kernels do not exist yet"),
    samples=samples,
    transposed=last_axis_stays,
)
