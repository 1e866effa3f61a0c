"""SQUARED_DIFFERENCE: ``(input - other) ** 2``.

Source: TFLM ``micro/kernels/squared_difference.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from qtorch.c_cells.broadcasting import call_for_each_pair, multiplier_arguments, table_or, zero_points
from qtorch.families.arithmetic import binary_samples, squared_difference
from qtorch.families.shape_rules import broadcast
from qtorch.families.steps import rounded_products, within
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.rescaling import rescale_any, rescaling
from qtorch.row.constraints import CoarserThan, Free
from qtorch.row.fused_activation import step_ends
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import NoForm, Onnx, OnnxNode
from qtorch.row.row import Attrs, Match, Row, Sample, TFLite, any_order

#: By how many bits a code is shifted before it is rescaled: as many as squares leave room for.
_SHIFT = {"int8": 7, "int16": 0}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Shapes broadcast."""
    return squared_difference(x["input"], x["other"])


def _multipliers(grids: Mapping[str, Grid]) -> dict[str, Multiplier]:
    return {name: quantize_multiplier(factor) for name, factor in _factors(grids).items()}


def _factors(grids: Mapping[str, Grid]) -> dict[str, Tensor]:
    """Of the two operands and of the square."""
    s_input, s_other, s_output = (grids[role].scale.to(torch.float64) for role in ("input", "other", "output"))
    twice = 2 * torch.maximum(s_input, s_other)
    # The kernel multiplies 2**14 by a float32 scale in float32, which is exact.
    square = twice * twice / (2 ** (2 * _SHIFT[grids["output"].dtype]) * s_output)
    return {"in": s_input / twice, "other": s_other / twice, "out": square}


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Both on a finer grid, subtracted, squared, brought to the output's; quotients in double."""
    output, multipliers = grids["output"], _multipliers(grids)
    finer = [
        requantize((codes[role] - grids[role].zero_point) << _SHIFT[output.dtype], multipliers[name], Rounding.DOUBLE)
        for name, role in (("in", "input"), ("other", "other"))
    ]
    squares = (finer[0] - finer[1]) ** 2
    # LiteRT's kernel rounds twice here too.
    return requantize(squares, multipliers["out"], Rounding.DOUBLE).add_(output.zero_point).clamp_(*output.limits)


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` in floating point: operands of 15 bits on the finer grid, whose squares are at most 2**30."""
    output = grids["output"]
    root = torch.sqrt(output.scale.to(torch.float64))
    a, b = (steps[role] * (grids[role].scale / root).to(torch.float32) for role in ("input", "other"))
    with torch.no_grad():
        factors = {name: rescaling(factor) for name, factor in _factors(grids).items()}
        finer = (
            rounded_products(steps[role], factors[name], _SHIFT[output.dtype])
            for name, role in (("in", "input"), ("other", "other"))
        )
        difference = next(finer) - next(finer)
        whole = rescale_any(difference * difference, factors["out"])
    return within(squared_difference(a, b), whole, step_ends("none", output))


def kernel(operands: Operands) -> KernelCall:
    """Three requantizations."""
    grids = {role: operands.grid(role).grid for role in ("input", "other", "output")}
    low, high = operands.grid("output").code_range
    numbers = {**multiplier_arguments(_multipliers(grids)), **zero_points(operands), "low": low, "high": high}
    return call_for_each_pair("squared_difference", operands, {**numbers, "bits": _SHIFT[grids["output"].dtype]})


def samples() -> Iterable[Sample]:
    """Those of two-operand arithmetic without activations."""
    for sample in binary_samples(14, tiny=4e-17):
        # Onto so fine a grid as that of saturating sums no 16-bit square can be brought.
        if sample.attrs["activation"] == "none" and sample.label != "int16 saturating":
            note = ", TFLM alone" if sample.label.startswith("int16") else ""
            yield Sample(sample.label + note, {}, sample.arrays, sample.qparams, sample.constants)


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """A product of the difference with itself, which is exact where a power may not be."""
    sink = operands.qparams["output"]
    if sink is not None and sink.dtype != "int8":
        raise NoForm("int16, whose kernel squares codes brought to twice the coarser grid: many steps off the square")
    return [OnnxNode("Sub", ("input", "other"), ("difference",)), OnnxNode("Mul", ("difference", "difference"))]


ROW = Row(
    name="squared_difference",
    roles=("input", "other"),
    runtime=2,
    matches=(Match("function", squared_difference, parameters=("input", "other"), tensors=2),),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16")),
        "other": Free(("int8", "int16")),
        # Squares of 30 bits leave no room for a shift to the left.
        "output": CoarserThan(
            ("int8", "int16"), others=("input", "other"), factors={"int8": 2.0**-12, "int16": 4.0}, combine="square"
        ),
    },
    reference=reference,
    tflite=TFLite(
        operator="SQUARED_DIFFERENCE",
        resolver="AddSquaredDifference",
        version=lambda qparams: 2,
        options="SquaredDifferenceOptions",
    ),
    # Small squares of coarse numbers keep little of the kernel's 7 bits; 4 is the most that was seen.
    onnx=Onnx(onnx_form, {"int8": 8}),
    shapes=broadcast,
    rows=same_row,
    samples=samples,
    c=table_or(reference, kernel),
    in_steps=in_steps,
    transposed=any_order,
)
