"""DIV of int8, and of whole numbers; no layer is exported as one, other converters' are.

A quotient is a product with the divisor's reciprocal in Q0.31, by three of Newton's steps, as TFLM computes it. Of a
divisor of 0 it is what the kernel makes, too, where int32 wraps.

Source: TFLM ``kernels/internal/reference/div.h``, ``micro/kernels/div.cc``, ``GetReciprocal`` in
``kernels/internal/common.h``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.broadcasting import call_for_each_pair, multiplier_arguments, table_or, zero_points
from qtorch.families.arithmetic import binary_samples
from qtorch.families.shape_rules import broadcast
from qtorch.families.whole_numbers import are_whole, of_whole_numbers, whole_or
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier
from qtorch.numbers.gemmlowp import multiply, one_over_one_plus, rounding_divide_by_power_of_two
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Free, all_whole
from qtorch.row.fused_activation import activate, activation_limits
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import KernelCall, NoKernel, Operands
from qtorch.row.row import Attrs, OptionField, Row, Sample, TFLite

#: What the kernel takes for the reciprocal of 0, in Q0.31: Newton's steps leave int32, and wrap.
_OF_ZERO = -1515870788


def _bits(x: Tensor) -> Tensor:
    """How many bits a number that is not negative has."""
    return torch.frexp(x.to(torch.float64)).exponent.to(torch.int64)


def _headroom(x: Tensor) -> Tensor:
    """By how many bits an int32 can be shifted to the left."""
    return torch.where(x == 0, 31, 31 - _bits(torch.where(x < 0, -x - 1, x)))


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Shapes broadcast."""
    return activate(attrs["activation"], x["input"] / x["other"])


def _multiplier(grids: Mapping[str, Grid], of_scales: torch.dtype = torch.float64) -> Multiplier:
    """The quotient of scales, of that type; in TFLM until October 2026 in float32."""
    source, other, output = (grids[role].scale.to(of_scales) for role in ("input", "other", "output"))
    return quantize_multiplier((source / (other * output)).to(torch.float64))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Both signs of the divisor to the dividend, the reciprocal, two products, two roundings."""
    if are_whole(grids):
        return of_whole_numbers("div", attrs, codes)
    of_scales = torch.float32 if rounding is Rounding.EARLIER else torch.float64
    output, multiplier = grids["output"], _multiplier(grids, of_scales)
    x, y = (codes[role] - grids[role].zero_point for role in ("input", "other"))
    x, y = torch.where(y < 0, -x, x), y.abs()
    zeros = 32 - _bits(y)
    inverse = torch.where(y == 0, _OF_ZERO, one_over_one_plus((y.clamp_min(1) << zeros.clamp_max(31)) - 2**31))
    headroom = _headroom(x)
    quotient = multiply(x << headroom, inverse)
    exponent = (31 - zeros) + headroom - multiplier.shift
    result = rounding_divide_by_power_of_two(multiply(quotient, multiplier.mantissa), exponent)
    return result.add_(output.zero_point).clamp_(*activation_limits(attrs["activation"], output))


@dataclass(frozen=True)
class _Quotient(Free):
    """Any grid for which the kernel shifts every quotient to the right by 0 to 31 bits: beyond, C defines no result."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`qtorch.row.constraints.Constraint`."""
        broken = super().violation(role, qparams)
        if broken or all_whole(qparams):
            return broken
        source, other, output = (qparams[name] for name in ("input", "other", "output"))
        if source is None or other is None or output is None:
            return f"expected quantized operands, got {source} and {other}"
        shift = int(_multiplier({"input": source.grid, "other": other.grid, "output": output.grid}).shift)
        low, high = (code - source.zero_point[0] for code in source.code_range)
        divisors = [code - other.zero_point[0] for code in other.code_range]
        signed = divisors[0] < 0
        dividends = {low, high, *((-high, -low) if signed else ())}
        # 1 and -1 have the most headroom.
        dividends = {each for each in (*dividends, 1, -1) if each and min(dividends) <= each <= max(dividends)}
        headroom = _headroom(torch.tensor(sorted(dividends))).tolist()
        largest = max(abs(each) for each in divisors).bit_length() - 1
        least, most = min(headroom) - 1 - shift, max(headroom) + largest - shift
        if least >= 0 and most <= 31:
            return None
        return f"expected a scale by which quotients are shifted by 0 to 31 bits, got {output}: by {least} to {most}"


def kernel(operands: Operands) -> KernelCall:
    """A reciprocal for each divisor."""
    grids = {role: operands.grid(role).grid for role in ("input", "other", "output")}
    low, high = activation_limits(operands.attrs["activation"], grids["output"])
    numbers = {**multiplier_arguments({"": _multiplier(grids)}), **zero_points(operands), "low": low, "high": high}
    return call_for_each_pair("div_s8", operands, numbers)


def whole_kernel(operands: Operands) -> KernelCall | tuple[KernelCall, ...]:
    """Of whole numbers by constants: what a division by 0 does is up to the processor."""
    divisors = operands.constants.get("other")
    if operands.grid("output").dtype == "int32" and (divisors is None or not np.all(divisors)):
        raise NoKernel("whole numbers that are divided by others than constants, which may be 0")
    return whole_or("div", table_or(reference, kernel))(operands)


def samples() -> Iterable[Sample]:
    """Operands at run time and constant, broadcasting, every fused activation; every pair, with divisors of 0."""
    for sample in binary_samples(41, dtypes=("int8",)):
        if sample.label.removeprefix("int8 ") in ("scales far apart", "saturating", "tiny scales"):
            continue
        source, other = sample.qparams["input"], sample.qparams["other"]
        assert source is not None
        assert other is not None
        output = QParams((float(np.float32(source.scale[0] / other.scale[0] / 400)),), (-3,))
        qparams = {**sample.qparams, "output": output}
        yield Sample(f"{sample.label}, TFLM alone", sample.attrs, sample.arrays, qparams, sample.constants)
    every = np.arange(-128, 128, dtype=np.int8)
    arrays = {"input": np.tile(every[:, None], (1, 256)), "other": np.tile(every[None], (256, 1))}
    for s_in, z_in, s_other, z_other, s_out, z_out in [
        (0.05, -128, 0.03, -128, 0.02, -128),
        (0.02, -128, 0.06, -128, 0.004, 5),
        (0.05, 3, 0.07, -20, 0.01, 0),
    ]:
        scales = {"input": (s_in, z_in), "other": (s_other, z_other), "output": (s_out, z_out)}
        qparams = {role: QParams((float(np.float32(s)),), (z,)) for role, (s, z) in scales.items()}
        label = f"int8 every pair, {s_in}@{z_in} by {s_other}@{z_other}, TFLM alone"
        yield Sample(label, {"activation": "none"}, arrays, qparams)


ROW = Row(
    name="div",
    roles=("input", "other"),
    runtime=2,
    matches=(),
    forward=forward,
    constraints={"input": Free(whole=True), "other": Free(whole=True), "output": _Quotient(whole=True)},
    reference=reference,
    tflite=TFLite(
        operator="DIV",
        resolver="AddDiv",
        version=lambda qparams: 2,
        options="DivOptions",
        fields=(OptionField("activation", "FusedActivationFunction", "ActivationFunctionType"),),
    ),
    shapes=broadcast,
    rows=same_row,
    samples=samples,
    c=whole_kernel,
    divides_scales=True,
)
