"""MUL, int8 and int16, with broadcasting and a constant on either side.

Source: TFLM ``kernels/internal/reference/integer_ops/mul.h``, ``micro/kernels/mul_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.broadcasting import call_for_each_pair, multiplier_arguments, table_or, zero_points
from qtorch.families.arithmetic import binary_matches, binary_samples
from qtorch.families.shape_rules import broadcast
from qtorch.families.whole_numbers import are_whole, of_whole_numbers, whole_or
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.rescaled_sums import rescale_and_hold
from qtorch.numbers.rescaling import rescaling
from qtorch.remedies.elementwise import divided
from qtorch.row.constraints import CoarserThan, Free
from qtorch.row.fused_activation import FUSED_ACTIVATIONS, activate, activation_limits, step_ends
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, OptionField, Row, Sample, TFLite, any_order


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Shapes broadcast."""
    return activate(attrs["activation"], x["input"] * x["other"])


def _factor(grids: Mapping[str, Grid]) -> Tensor:
    """From the products' grid to the output's, float64."""
    s_input, s_other, s_output = (grids[role].scale.to(torch.float64) for role in ("input", "other", "output"))
    return s_input * s_other / s_output


def _multiplier(grids: Mapping[str, Grid]) -> Multiplier:
    return quantize_multiplier(_factor(grids))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """One requantization by ``s_input * s_other / s_output`` in double."""
    if are_whole(grids):
        return of_whole_numbers("mul", attrs, codes)
    a, b, output = grids["input"], grids["other"], grids["output"]
    products = (codes["input"] - a.zero_point) * (codes["other"] - b.zero_point)
    # LiteRT's kernel rounds twice here too.
    scaled = requantize(products, _multiplier(grids), Rounding.DOUBLE).add_(output.zero_point)
    return scaled.clamp_(*activation_limits(attrs["activation"], output))


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` in floating point: products of int8 steps stay below 2**16, those of int16 codes up to 2**30."""
    output, narrow = grids["output"], grids["output"].dtype == "int8"
    products = (steps["input"] if narrow else steps["input"].to(torch.float64)) * steps["other"]
    ends = step_ends(attrs["activation"], output)
    return rescale_and_hold(products, rescaling(_factor(grids)), ends, any_sum=not narrow)


def kernel(operands: Operands) -> KernelCall:
    """A product and a requantization."""
    grids = {role: operands.grid(role).grid for role in ("input", "other", "output")}
    low, high = activation_limits(operands.attrs["activation"], grids["output"])
    numbers = {**multiplier_arguments({"": _multiplier(grids)}), **zero_points(operands), "low": low, "high": high}
    return call_for_each_pair("mul", operands, numbers)


def version(qparams: Mapping[str, QParams | None]) -> int:
    """2 reads int8 and int16."""
    return 2


def samples() -> Iterable[Sample]:
    """Those of :func:`qtorch.families.arithmetic.binary_samples`; and small products, whose factor shifts by 1."""
    yield from binary_samples(12, tiny=4e-17)
    rng = np.random.default_rng(13)
    arrays = {role: rng.integers(-17, 18, (9, 40), dtype=np.int8) for role in ("input", "other")}
    scales = {"input": 0.5, "other": 0.5, "output": 0.7}
    qparams = {role: QParams((float(np.float32(scale)),), (0,)) for role, scale in scales.items()}
    yield Sample("a shift of one", {"activation": "none"}, arrays, qparams)


ROW = Row(
    name="mul",
    roles=("input", "other"),
    runtime=2,
    matches=binary_matches("mul", "multiply"),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16"), whole=True),
        "other": Free(("int8", "int16"), whole=True),
        # Products of 16 or 30 bits leave this much room for a shift to the left.
        "output": CoarserThan(
            ("int8", "int16"),
            others=("input", "other"),
            factors={"int8": 2.0**-14, "int16": 1.0},
            combine="product",
            whole=True,
        ),
    },
    reference=reference,
    tflite=TFLite(
        operator="MUL",
        resolver="AddMul",
        version=version,
        options="MulOptions",
        fields=(OptionField("activation", "FusedActivationFunction", "ActivationFunctionType"),),
    ),
    onnx=one_operator("Mul"),
    shapes=broadcast,
    rows=same_row,
    samples=samples,
    c=whole_or("mul", table_or(reference, kernel)),
    in_steps=in_steps,
    litert_lsb={"int16": 1},
    fusable=FUSED_ACTIVATIONS,
    transposed=any_order,
    remedies={
        **dict.fromkeys(("truediv", "itruediv", "div", "divide", "truedivide"), divided),
    },
)
