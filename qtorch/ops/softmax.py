"""SOFTMAX along the last axis, of its input times a number; int8, int16, and int8 to int16 in files of others.

Source: TFLM ``kernels/internal/reference/softmax.h``, ``micro/kernels/softmax_common.cc``. LiteRT fills the 16-bit
tables in double, TFLM in float32: two entries of the reciprocal's differ, and outputs with them by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qtorch.c_cells.broadcasting import multiplier_arguments
from qtorch.errors import AccumulatorOverflow
from qtorch.families.masked_scores import scaled_softmax
from qtorch.families.shape_rules import same_shape_of_vectors
from qtorch.families.softmaxes import SMALLEST_SCALE, SUM_BITS, Differences, along_last_axis
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize
from qtorch.numbers.gemmlowp import multiply, one_over_one_plus, rounding_divide_by_power_of_two
from qtorch.numbers.grid import Grid
from qtorch.numbers.lookup import interpolated, table_of
from qtorch.numbers.qparams import QParams
from qtorch.remedies.asked import always, same
from qtorch.remedies.axes import softmin
from qtorch.row.constraints import Fixed, Free
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, OptionField, Row, Sample, Shape, TFLite, last_axis_stays

_SAME = frozenset({"input"})

#: The kernel knows its results' scale, and lets files be a thousandth off it.
_OUTPUT = Fixed(
    {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)},
    {("int8", "int16"): (1 / 65536, -(2**15), 1e-3), ("int16", "int16"): (1 / 32768, 0, 1e-3)},
)


#: The 8-bit kernel aborts on a sum of exponentials from 512 up, which as many equal codes have.
_MOST = 511

#: Of int16 codes, each at most 32767, whose sum is an int32.
_MOST_16 = 65535

#: Of int8 codes to int16: from 4096 up the sum leaves its 12 bits.
_MOST_WIDE = 4095

#: Of a result.
_BITS = {"int8": 8, "int16": 16}


#: The 16-bit kernel takes its exponentials and their sum's reciprocal from tables: the largest probability comes out up
#: to one in a hundred off. The most that was seen is 351, in random rows of 2 to 300 classes.
_ONNX_LSB = {"int8": 1, "int16": 512}

#: It has no exponential below that of -10, and rounds each to 15 bits: every number that is far below the largest adds
#: up to 2 to a sum of 32768. The most that was seen is 1.96, of 300 numbers of which one is far larger than the rest.
_ONNX_LSB_EACH = {"int16": 2}


#: Above it the 16-bit kernel shifts differences to the left out of int32.
_LARGEST_SCALE = {"int16": 5.0}


def attributes(call: Call) -> dict[str, Any]:
    """Along the last axis."""
    return {**along_last_axis(call, _MOST_16, "softmax"), "beta": 1.0}


def scaled_attributes(call: Call) -> dict[str, Any]:
    """Along the last axis, of an input times ``beta``, which is a float32."""
    last = replace(call, arguments={**call.arguments, "dim": -1})
    return {**along_last_axis(last, _MOST_16, "softmax"), "beta": float(np.float32(call.get("beta")))}


def narrowest(shape: Shape) -> str:
    """16 bits beyond what the 8-bit kernel sums up."""
    return "int8" if shape[-1] <= _MOST else "int16"


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    beta = attrs["beta"]
    return torch.softmax(x["input"], -1) if beta == 1 else scaled_softmax(x["input"], beta)


@cache
def _tables() -> tuple[Tensor, Tensor]:
    """``exp(x)`` from -10 to 0 and ``1 / (1 + x)`` from 0 to 1, on which the kernel puts int16 codes."""
    span = np.float32(65535)
    ten, one = np.float32(10) / span, np.float32(1) / span
    exponential = table_of(torch.exp, float(ten * np.float32(-65535)), 0.0)
    return exponential, table_of(lambda x: 1 / (1 + x), 0.0, float(one * span))


def _to_table(grid: Grid, beta: float) -> Multiplier:
    """From codes to 65535 steps for 10."""
    scale = grid.scale.to(torch.float64)
    # By a tensor: a GPU divides by a number of the host by multiplying with its reciprocal.
    return quantize_multiplier(scale * beta / torch.full_like(scale, 10.0 / 65535.0))


def _int16_codes(x: Tensor, grid: Grid, beta: float) -> Tensor:
    """Exponentials and the sum's reciprocal in Q0.15, each from its table; LiteRT too rounds twice."""
    exponential, reciprocal = _tables()
    difference = requantize(x - x.amax(-1, keepdim=True), _to_table(grid, beta), Rounding.DOUBLE)
    exponentials = interpolated((difference + 32767).clamp(-(2**15), 2**15 - 1), exponential)
    total = exponentials.sum(-1, keepdim=True)
    # The sum as 2**bits * (1 + fraction), the fraction in 16 bits and then as an int16 code.
    headroom = 31 - torch.frexp(total.to(torch.float64)).exponent.to(torch.int64)
    fraction = (((total << headroom) + 2**13) >> 14) - (2**16 + 2**15)
    scale = interpolated(fraction.clamp(-(2**15), 2**15 - 1), reciprocal)
    shift = 30 - headroom
    return ((exponentials * scale + (torch.ones_like(shift) << (shift - 1))) >> shift).clamp(0, 2**15 - 1)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Exponentials of the differences from the largest, times the reciprocal of their sum; int16 by tables.

    Raises:
        AccumulatorOverflow: that sum is one on which the kernel aborts.
    """
    if grids["input"].dtype == "int16":
        return _int16_codes(codes["input"], grids["input"], attrs["beta"])
    differences = Differences.of(codes["input"], grids["input"], attrs["beta"])
    total = differences.total()
    most = _MOST if grids["output"].dtype == "int8" else _MOST_WIDE
    if codes["input"].shape[-1] > most and int(total.max()) >= (most + 1) << (31 - SUM_BITS):
        raise AccumulatorOverflow(
            where="softmax",
            expected=f"a sum of exponentials below {most + 1}, or the kernel aborts",
            got=f"{int(total.max()) / 2 ** (31 - SUM_BITS):.1f}",
            remedy="give it fewer values along its axis, or end the network before it: the largest value is the same",
        )
    # The sum as 2**bits * (1 + fraction).
    headroom = 32 - torch.frexp(total.to(torch.float64)).exponent.to(torch.int64)
    scale = one_over_one_plus((total << headroom) - 2**31)
    output = grids["output"]
    exponent = SUM_BITS - headroom + 31 - _BITS[output.dtype]
    low, high = output.limits
    result = rounding_divide_by_power_of_two(multiply(scale, differences.exponentials()), exponent) + low
    return torch.where(differences.codes < differences.scaled.smallest, low, result.clamp(low, high))


def kernel(operands: Operands) -> KernelCall:
    """Exponentials by table; of two classes the results themselves, since they depend on the difference alone."""
    source, size = operands.grid("input"), operands.shapes["input"][-1]
    arguments: dict[str, Argument] = {"in": TensorArgument("input"), "out": TensorArgument("output")}
    arguments["rows"] = operands.size("input") // size
    if source.dtype == "int16":
        tables = zip(("exponential", "reciprocal"), _tables(), strict=True)
        arguments |= {name: ConstantTable(table.numpy().astype(np.int16)) for name, table in tables}
        numbers = multiplier_arguments({"": _to_table(source.grid, operands.attrs["beta"])})
        return KernelCall("softmax_s16", {**arguments, **numbers, "size": size}, in_place=_SAME)
    wide = operands.grid("output").dtype == "int16"
    if size == 2 and not wide:
        pairs = torch.tensor([(max(d, 0) - 128, max(-d, 0) - 128) for d in range(-255, 256)])
        grids = {role: operands.grid(role).grid for role in ("input", "output")}
        first = reference(operands.attrs, {"input": pairs}, grids, Rounding.DOUBLE)[:, 0].numpy().astype(np.int8)
        reach = next((d for d in range(256) if (first[255 + d :] == first[-1]).all() and
                      (first[: 256 - d] == first[0]).all()), 255)  # fmt: skip
        table = ConstantTable(first[255 - reach : 256 + reach])
        return KernelCall("softmax_pair_s8", {**arguments, "table": table, "reach": reach}, in_place=_SAME)
    falling = torch.arange(0, -256, -1)
    exponentials = Differences.of(falling, source.grid, operands.attrs["beta"]).exponentials().numpy()
    terms = int(np.count_nonzero(exponentials))
    arguments |= {"exponentials": ConstantTable(exponentials[:terms].astype(np.int32)), "size": size, "terms": terms}
    if wide:
        return KernelCall("softmax_s8_s16", arguments)
    return KernelCall("softmax_s8", arguments, in_place=_SAME)


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """A Softmax, of a product where there is a factor."""
    beta = operands.attrs["beta"]
    scaled = [] if beta == 1 else [OnnxNode("Mul", ("input", np.array(beta, np.float32)), ("scaled",))]
    return [*scaled, OnnxNode("Softmax", ("scaled" if scaled else "input",), attributes={"axis": -1})]


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
    for scale, beta in [
        (0.3, 0.35355338),
        (1.7, 0.0625),
        (40.0, 2.0**-10),
        (0.004, 3.7),
        (SMALLEST_SCALE / 0.125, 0.125),
    ]:
        qparams = {"input": QParams((float(np.float32(scale)),), (4,)), "output": _OUTPUT.qparams("int8")}
        arrays = {"input": rng.integers(-128, 128, (9, 7), dtype=np.int8)}
        alike = ", alike" if scale < 1e-3 else ""
        yield Sample(f"int8 {scale} times {beta}{alike}", {"beta": float(np.float32(beta))}, arrays, qparams)
    qparams = {"input": QParams((0.5,), (0,)), "output": _OUTPUT.qparams("int8")}
    flat = {"input": np.zeros((2, _MOST), np.int8)}
    flat["input"][1, ::2] = -3
    yield Sample("int8 as many classes as there may be", {"beta": 1.0}, flat, qparams)
    yield Sample("int8 one class, alike", {"beta": 1.0}, {"input": np.arange(9, dtype=np.int8)[:, None]}, qparams)
    for scale, shape in [(3e-4, (20, 12)), (1e-5, (5, 2)), (2e-3, (6, 3)), (1e-4, (3, 2, 3, 40)), (5.0, (8, 5))]:
        qparams = {"input": QParams((float(np.float32(scale)),), (0,), "int16"), "output": _OUTPUT.qparams("int16")}
        arrays = {"input": rng.integers(-(2**15), 2**15, shape, dtype=np.int16)}
        yield Sample(f"int16 {scale} {shape}", {"beta": 1.0}, arrays, qparams)
    for scale, beta in [(3e-3, 0.35355338), (0.02, 0.0625)]:
        qparams = {"input": QParams((float(np.float32(scale)),), (0,), "int16"), "output": _OUTPUT.qparams("int16")}
        arrays = {"input": rng.integers(-(2**15), 2**15, (9, 7), dtype=np.int16)}
        yield Sample(f"int16 {scale} times {beta}", {"beta": float(np.float32(beta))}, arrays, qparams)
    yield from _samples_from_int8_to_int16(rng)
    # As large a sum as there may be, and one of which the tables leave little.
    many = np.zeros((2, _MOST_16), np.int16)
    many[1] = rng.integers(-(2**15), 2**15, _MOST_16)
    qparams = {"input": QParams((float(np.float32(3e-4)),), (0,), "int16"), "output": _OUTPUT.qparams("int16")}
    yield Sample("int16 as many classes as there may be", {"beta": 1.0}, {"input": many}, qparams)
    # Every difference, beside a largest one that makes up most of the sum.
    every = np.arange(-(2**15), 2**15 - 1).astype(np.int16).reshape(-1, 255)
    every = np.concatenate([np.full((len(every), 1), 2**15 - 1, np.int16), every], 1)
    qparams = {"input": QParams((float(np.float32(1.6e-4)),), (0,), "int16"), "output": _OUTPUT.qparams("int16")}
    yield Sample("int16 every code", {"beta": 1.0}, {"input": every}, qparams)


def _samples_from_int8_to_int16(rng: np.random.Generator) -> Iterable[Sample]:
    """As keyword spotters of TFLM's examples end: two classes, many, flat, and a scale that is a little off."""
    for scale, zero_point, shape, s_out in [
        (0.06996273, 2, (40, 2), 1.5259022e-5),
        (0.1, -128, (20, 12), 1 / 65536),
        (0.9, 127, (6, 3), 1 / 65536),
        (0.004, 0, (5, 700), 1 / 65536),
    ]:
        qparams = {
            "input": QParams((float(np.float32(scale)),), (zero_point,)),
            "output": QParams((float(np.float32(s_out)),), (-(2**15),), "int16"),
        }
        arrays = {"input": rng.integers(-128, 128, shape, dtype=np.int8)}
        yield Sample(f"int8 to int16 {scale}@{zero_point} {shape}", {"beta": 1.0}, arrays, qparams)


ROW = Row(
    name="softmax",
    roles=("input",),
    matches=(
        Match("module", nn.Softmax, attributes),
        Match("aten", "softmax", attributes),
        Match("aten", "special_softmax", attributes, written=("softmax",)),
        Match("function", scaled_softmax, scaled_attributes, ("input", "beta"), written=("softmax",)),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16"), SMALLEST_SCALE, _LARGEST_SCALE), "output": _OUTPUT},
    reference=reference,
    tflite=TFLite(
        operator="SOFTMAX",
        resolver="AddSoftmax",
        version=lambda qparams: 2,
        options="SoftmaxOptions",
        fields=(OptionField("beta", "Beta"),),
    ),
    onnx=Onnx(onnx_form, _ONNX_LSB, _ONNX_LSB_EACH),
    shapes=same_shape_of_vectors,
    rows=same_row,
    samples=samples,
    c=kernel,
    litert_lsb={"int16": 1},
    narrowest=narrowest,
    transposed=last_axis_stays,
    remedies={
        "softmin": softmin,
        "softmax2d": always(same("F.softmax(x.movedim(1, -1), -1).movedim(-1, 1)")),
    },
)
