"""L2_NORMALIZATION along the last axis: each vector divided by its length.

Source: TFLM ``kernels/internal/reference/integer_ops/l2normalization.h``, ``micro/kernels/l2norm.cc``. The kernel has
no epsilon: a vector of zeros stays one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qtorch.families.shape_rules import same_shape_of_vectors
from qtorch.families.steps import rescaling_by, rounded_products, within
from qtorch.numbers.fixedpoint import Multiplier, Rounding, fits_int32, requantize
from qtorch.numbers.gemmlowp import inverse_square_root
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.asked import none, same
from qtorch.remedies.axes import moved_last, normalized_product
from qtorch.row.constraints import Fixed, Free
from qtorch.row.fused_activation import step_ends
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import Argument, KernelCall, NoKernel, Operands, TensorArgument
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, Call, Match, Refused, Row, Sample, TFLite, last_axis_stays

_OUTPUT = Fixed({"int8": (1 / 128, 0)})
_OUTPUT_BITS = 7

#: A vector on the input's grid is zero or at least one step long, so a smaller epsilon than a step changes nothing.
LARGEST_EPSILON = 1e-6

#: As many the kernel's shapes have.
MOST_AXES = 4


def attributes(call: Call) -> dict[str, Any]:
    """Of ``F.normalize`` along the last axis."""
    rank = len(call.shapes["input"])
    axis, plain = call.get("dim", 1), call.get("p", 2.0) == 2
    if not plain or axis % rank != rank - 1:
        raise Refused(
            expected=f"p=2 and the last axis, dim={rank - 1}",
            got=f"p={call.get('p', 2.0)}, dim={call.get('dim', 1)}",
            remedy=same(moved_last("F.normalize({x}, dim=-1)", axis, rank))
            if plain and axis % rank
            else none("it divides by the root of a sum of squares, along an axis of each sample"),
        )
    if call.get("eps", 1e-12) > LARGEST_EPSILON:
        raise Refused(
            expected=f"eps of at most {LARGEST_EPSILON}, because the kernel has none",
            got=f"eps={call.get('eps')}",
            remedy="leave eps out",
        )
    return {}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return F.normalize(x["input"], dim=-1)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Each code times the inverse root of the sum of squares."""
    x = codes["input"] - grids["input"].zero_point
    mantissa, shift = inverse_square_root(fits_int32((x * x).sum(-1, keepdim=True), "sum of squares"))
    return requantize(x, Multiplier(mantissa, shift + _OUTPUT_BITS), Rounding.DOUBLE).clamp_(-128, 127)


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` with floating point for all but the root, of which each vector has one: int64 there."""
    x = steps["input"]
    with torch.no_grad():
        exact = x if x.shape[-1] * 255**2 < 2**24 else x.to(torch.float64)
        mantissa, shift = inverse_square_root((exact * exact).sum(-1, keepdim=True).to(torch.int64))
        whole = rounded_products(x, rescaling_by(Multiplier(mantissa, shift + _OUTPUT_BITS)))
    # A vector that is not zero is a step long at least, so as an epsilon a step changes none; the slope at zero is then
    # what a step makes. PyTorch's own epsilon makes it 1e12.
    real = F.normalize(x, dim=-1, eps=1.0) * 2.0**_OUTPUT_BITS
    return within(real, whole, step_ends("none", grids["output"]))


def sums(attrs: Attrs, shape: tuple[int, ...], low: int, high: int) -> tuple[int, int]:
    """Of squares."""
    return 0, max(-low, high) ** 2 * shape[-1]


def kernel(operands: Operands) -> KernelCall:
    """A root for each vector, computed there."""
    size = operands.shapes["input"][-1]
    if size * 255**2 >= 2**31:
        raise NoKernel(f"sums of {size} squares, which int32 does not hold")
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"),
        "out": TensorArgument("output"),
        "rows": operands.size("input") // size,
        "size": size,
        "in_zero_point": operands.grid("input").zero_point[0],
    }
    return KernelCall("l2_normalization_s8", arguments, in_place=frozenset({"input"}))


def samples() -> Iterable[Sample]:
    """Short and long vectors, among them zeros."""
    rng = np.random.default_rng(16)
    for shape, zero_point in [((20, 5), -3), ((9, 1), 0), ((2, 3, 64), 127), ((4, 2, 2, 7), -128)]:
        x = rng.integers(-128, 128, shape, dtype=np.int8)
        x[0] = zero_point
        qparams = {"input": QParams((float(np.float32(0.07)),), (zero_point,)), "output": _OUTPUT.qparams("int8")}
        yield Sample(f"int8 {shape}@{zero_point}", {}, {"input": x}, qparams)


ROW = Row(
    name="l2_normalization",
    roles=("input",),
    matches=(Match("function", F.normalize, attributes, parameters=("input", "p", "dim", "eps")),),
    forward=forward,
    constraints={"input": Free(), "output": _OUTPUT},
    reference=reference,
    tflite=TFLite(
        operator="L2_NORMALIZATION", resolver="AddL2Normalization", version=lambda qparams: 2, options="L2NormOptions"
    ),
    onnx=one_operator("LpNormalization", axis=-1, p=2),
    shapes=same_shape_of_vectors,
    rows=same_row,
    samples=samples,
    c=kernel,
    in_steps=in_steps,
    most_axes=MOST_AXES,
    transposed=last_axis_stays,
    sums=sums,
    remedies={
        "cosinesimilarity": normalized_product,
    },
)
