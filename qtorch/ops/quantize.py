"""QUANTIZE: float32 to integers at the input of a model with a float interface, integers to another grid inside.

Source: TFLM ``kernels/internal/reference/quantize.h``: float32 division, half away from zero, clamp;
``kernels/internal/reference/requantize.h``: one requantization by ``s_in / s_out`` in double.

The kernel converts the steps to int32 before it clamps. From 2**31 steps on, for infinity and for NaN, that is
undefined in C: x86 then gives one end of the range for both signs, ARM the end that belongs to the sign. What is
computed here is the latter, and what is tried against the kernel ends at :data:`FURTHEST`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.code_tables import by_table, rescaling
from qtorch.c_cells.strides import bytes_each
from qtorch.families.shape_rules import same_shape
from qtorch.numbers import functional
from qtorch.numbers.fixedpoint import Rounding, quantize_multiplier, requantize
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import AnyGrid, CoarserThan
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import Argument, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import NEAREST, NoForm, Onnx, OnnxNode
from qtorch.row.row import Attrs, Row, Sample, TFLite, any_order

#: Types that come in or go out with a zero point where others wrote the file.
_SHIFTED = ("int16", "int32")


@dataclass(frozen=True)
class _Output(CoarserThan):
    """No finer than what leaves room for the multiplier's shift: codes of 32 bits have none."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`qtorch.row.constraints.Constraint`."""
        got, source = qparams[role], qparams["input"]
        finer = got is not None and source is not None and got.scale[0] < source.scale[0]
        if source is not None and source.dtype == "int32" and finer:
            return f"expected a scale of at least the input's, int32's, {source.scale[0]}, got {got}"
        return super().violation(role, qparams)


#: int16 codes may come in for any type, and leave 15 bits less for the multiplier's shift than int8 codes do.
_OUTPUT = _Output(
    ("int8", "int16", "int32"), factors={"int8": 2.0**-13, "int16": 2.0**-13, "int32": 2.0**-13}, shifted=_SHIFTED
)


#: As many steps of its grid a float may lie from zero for its code to be defined: the largest float32 below 2**31.
FURTHEST = 2.0**31 - 2.0**7


def far_values(scale: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """float32 values far outside a grid, of either sign, up to :data:`FURTHEST` steps of ``scale`` from zero."""
    step = np.float32(scale)
    steps = np.minimum(2.0 ** rng.uniform(8, 31, shape), FURTHEST)
    # A share at the very limit.
    steps = np.where(rng.random(shape) < 0.1, FURTHEST, steps).astype(np.float32)
    x = np.where(rng.random(shape) < 0.5, steps, -steps) * step
    too_far = np.abs(x / step) > np.float32(FURTHEST)
    values: np.ndarray = np.where(too_far, np.nextafter(x, np.float32(0)), x)
    return values


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """The identity: in training the quantizer of the tensor does the work."""
    return x["input"]


def factors(attrs: Attrs, grids: Mapping[str, Grid]) -> tuple[Tensor, Tensor]:
    """One quotient in double on either side of zero."""
    quotient = grids["input"].scale.to(torch.float64) / grids["output"].scale.to(torch.float64)
    return quotient, quotient


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """float32 or int64 codes in, int64 codes out."""
    output = grids["output"]
    if "input" not in grids:
        return functional.quantize(codes["input"], output, *output.limits)
    source = grids["input"]
    multiplier = quantize_multiplier(factors(attrs, grids)[0])
    # LiteRT's kernel rounds twice here too.
    scaled = requantize(codes["input"] - source.zero_point, multiplier, Rounding.DOUBLE)
    return scaled.add_(output.zero_point).clamp_(*output.limits)


def samples() -> Iterable[Sample]:
    """Values on ties, next to ties, out of range, far out and at random; every code onto other grids."""
    rng = np.random.default_rng(1)
    for scale, zero_point in [(0.5, 0), (0.1, -128), (1 / 255, 127), (0.0123, -7)]:
        step = np.float32(scale)
        ties = (np.arange(-40, 40, dtype=np.float32) + np.float32(0.5)) * step
        near = np.concatenate([np.nextafter(ties, np.float32(-9e9)), np.nextafter(ties, np.float32(9e9))])
        wide = rng.normal(0, 200 * scale, 160).astype(np.float32)
        far = far_values(scale, (80,), rng)
        ends = np.array([0, -0.0, 1e9 * scale, -1e9 * scale], np.float32)
        x = np.concatenate([ties, near, wide, ends, far])[:, None]
        qparams = {"input": None, "output": QParams((float(step),), (zero_point,))}
        yield Sample(f"{scale:.4f}@{zero_point}", {}, {"input": x}, qparams)
    for source, sink in [("int8", "int8"), ("int8", "int16"), ("int16", "int8"), ("int16", "int16")]:
        for s_in, s_out, zero_points in [(0.1, 0.07, (-3, 20)), (0.02, 0.5, (127, 127)), (0.3, 0.3, (-128, -20))]:
            grids = []
            for dtype, scale, zero_point in zip((source, sink), (s_in, s_out), zero_points, strict=True):
                narrow = dtype == "int8"
                scale = float(np.float32(scale if narrow else scale / 256))
                grids.append(QParams((scale,), (zero_point if narrow else 0,), dtype))
            low, high = CODE_RANGE[source]
            codes = np.linspace(low, high, 512).astype(source).reshape(8, 64)
            qparams = {"input": grids[0], "output": grids[1]}
            yield Sample(f"{source} to {sink}, {s_in} to {s_out}", {}, {"input": codes}, qparams)
    # A zero point that other converters write beside 16 bits.
    qparams = {"input": QParams((1 / 65536,), (-(2**15),), "int16"), "output": QParams((1 / 256,), (-128,))}
    codes = np.linspace(-(2**15), 2**15 - 1, 512).astype(np.int16).reshape(8, 64)
    yield Sample("int16 to int8, zero point at the end, TFLM alone", {}, {"input": codes}, qparams)
    # The finest output that is allowed, from the lowest and highest codes.
    qparams = {
        "input": QParams((0.5,), (0,), "int16"),
        "output": QParams((float(np.float32(0.50001 * 2.0**-13)),), (-3,)),
    }
    codes = np.array([[-(2**15), 2**15 - 1, 0, 1, -1]], np.int16)
    yield Sample("int16 to int8, finest", {}, {"input": codes}, qparams)


def onnx_form(operands: Operands) -> tuple[OnnxNode, ...]:
    """Nothing between the two grids."""
    sink = operands.qparams["output"]
    if sink is not None and sink.dtype == "int32":
        raise NoForm("codes of 32 bits, which QuantizeLinear does not write")
    return ()


def kernel(operands: Operands) -> KernelCall | tuple[KernelCall, ...]:
    """A table of int8 codes; wider ones are requantized each."""
    if "int32" not in (operands.grid("input").dtype, operands.grid("output").dtype):
        return _OF_SHORT_CODES(operands)
    grids = {role: operands.grid(role) for role in ("input", "output")}
    mantissa, shift = quantize_multiplier(factors(operands.attrs, {role: q.grid for role, q in grids.items()})[0])
    low, high = grids["output"].code_range
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"),
        "out": TensorArgument("output"),
        "width": bytes_each(grids["input"].dtype),
        "out_width": bytes_each(grids["output"].dtype),
        "size": operands.size("output"),
        "in_zero_point": grids["input"].zero_point[0],
        "zero_point": grids["output"].zero_point[0],
        "mantissa": int(mantissa),
        "shift": int(shift),
        "low": low,
        "high": high,
    }
    return KernelCall("rescale_32", arguments)


_OF_SHORT_CODES = by_table(reference, rescaling(factors))


ROW = Row(
    name="quantize",
    roles=("input",),
    matches=(),
    forward=forward,
    constraints={"input": AnyGrid(("float32", "int8", "int16", "int32"), _SHIFTED), "output": _OUTPUT},
    reference=reference,
    tflite=TFLite(operator="QUANTIZE", resolver="AddQuantize", version=lambda qparams: 1),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=same_shape,
    rows=same_row,
    samples=samples,
    c=kernel,
    by_table=True,
    # As many as the shapes of TFLM's kernels can have.
    most_axes=6,
    transposed=any_order,
)
