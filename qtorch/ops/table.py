"""A table of 256 codes: any function of one int8 tensor, or a chain of them, in one lookup.

In a .tflite file it is three operators: CAST brings the codes to int32, ADD of 128 counts them from 0 on, GATHER takes
the results from a constant of 256 codes. In C it is one. The table is made at the export and stands in the file: no
device computes an exponential, and none has to agree with another's.

Where TFLite Micro has a kernel that is exact and is one operator, a row of its own stands for the call: LOGISTIC, TANH,
RELU, LEAKY_RELU, HARD_SWISH, RSQRT. Its ELU takes ``exp`` of whatever C library it is linked with, and SiLU would be
LOGISTIC and MUL, which round twice; so these are tables, as is any clamp but RELU and RELU6.

Source: TFLM ``micro/kernels/cast.cc``, ``micro/kernels/add.cc``, ``micro/kernels/gather.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.functions_of_one_number import (
    FUNCTIONS,
    Steps,
    computed,
    in_one_table,
    matches_of,
    steps_of_table,
    within_factors,
)
from qtorch.families.masked_scores import NOTHING
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.functional import dequantize, round_half_away_
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Match, Row, Sample, Shape, TFLite, any_order
from qtorch.row.shape_rule import require

#: ONNX's number for int64, in which indices are.
_ONNX_INT64 = 7


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape; the steps of the chain one after the other, as PyTorch computes them."""
    return computed(attrs["steps"], x["input"])


def table_codes(steps: Steps, source: Grid, output: Grid) -> Tensor:
    """The output code of every input code from -128 on, int64 ``[256]``.

    The chain is computed in float64, of the float32 number that each code stands for; divided by the output's scale;
    rounded once, half away from zero; and held to the grid, infinity as well. Where the chain has no number, as the
    logarithm of -1, its result is 0.
    """
    every = torch.arange(-128, 128, device=source.scale.device)
    # float32 in between, because that is where a function that jumps sees a number on one side or the other.
    x = dequantize(every, source).to(torch.float64)
    y = round_half_away_(computed(steps, x) / output.scale.to(torch.float64))
    # Bounded before the conversion, because float to integer is undefined beyond the integer's range.
    whole = y.nan_to_num(0.0, 1e9, -1e9).clamp(-1e9, 1e9).to(torch.int64)
    return (whole + output.zero_point).clamp(*output.limits)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """The table's entry at each code; the table is the one that is there, or made of the chain."""
    table = codes.get("codes")
    if table is None:
        table = table_codes(attrs["steps"], grids["input"], grids["output"])
    return table.to(codes["input"].device)[codes["input"] + 128]


def frozen(attrs: Attrs, grids: Mapping[str, Grid]) -> Mapping[str, Tensor]:
    """The table itself, which is all that the file has of the chain."""
    return {"codes": table_codes(attrs["steps"], grids["input"], grids["output"])}


def kernel(operands: Operands) -> KernelCall:
    """One lookup for each element, which may be written where it was read."""
    return KernelCall(
        "lookup_s8",
        {
            "in": TensorArgument("input"),
            "table": ConstantTable(operands.constants["codes"]),
            "out": TensorArgument("output"),
            "size": operands.size("input"),
        },
        in_place=frozenset({"input"}),
    )


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """The same lookup: the input's code, counted from 0 on, is exact again after a division and a rounding."""
    source = operands.grid("input")
    return [
        OnnxNode("Div", ("input", np.array(source.scale[0], np.float32)), ("steps",)),
        OnnxNode("Round", ("steps",), ("whole",)),
        OnnxNode("Add", ("whole", np.array(128 + source.zero_point[0], np.float32)), ("place",)),
        OnnxNode("Cast", ("place",), ("index",), {"to": _ONNX_INT64}),
        OnnxNode("Gather", ("codes", "index"), attributes={"axis": 0}),
    ]


def measured(attrs: Attrs, y: Tensor, x: Mapping[str, Tensor]) -> Tensor:
    """Limits of masked scores lie beyond every grid, on the ends of the one that the scores have."""
    return torch.where(y.abs() < NOTHING, y, 0.0) if _has_limits(attrs["steps"]) else y


def _has_limits(steps: Steps) -> bool:
    return bool(steps) and steps[-1][0] == "where" and steps[-1][2] == (("fill", NOTHING),)


def homogeneous(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Factors pass through what is linear on either side of 0."""
    return axis if within_factors(attrs["steps"]) else None


#: Chains with the grids on which they are tried: scale and zero point of the input, and of the output.
_SAMPLES: tuple[tuple[Steps, float, int, float, int], ...] = (
    ((("gelu", "none"),), 0.04, -3, 0.02, -119),
    ((("gelu", "tanh"),), 0.04, -3, 0.02, -119),
    ((("silu",),), 0.06, 12, 0.03, -117),
    ((("mish",),), 0.05, 0, 0.025, -115),
    ((("elu", 0.7),), 0.03, 0, 0.015, -81),
    ((("selu",),), 0.03, 0, 0.02, -40),
    ((("celu", 0.4),), 0.02, 0, 0.011, -90),
    ((("softplus", 2.0, 20.0),), 0.08, 0, 0.04, -128),
    # Steps beside the threshold, and one of the output that is coarse.
    ((("softplus", 1.0, 1.0),), 0.01, -20, 0.007, -128),
    ((("softsign",),), 0.05, 0, 1 / 128, 0),
    ((("log_sigmoid",),), 0.05, 0, 0.03, 127),
    ((("hardsigmoid",),), 0.04, 5, 1 / 255, -128),
    ((("hardtanh", -0.5, 2.0),), 0.02, 0, 0.01, -77),
    ((("clamp", None, 0.5),), 0.02, 0, 0.02, 0),
    ((("clamp_min", -0.25),), 0.02, 0, 0.01, -103),
    ((("clamp_max", 0.75),), 0.02, 0, 0.02, 60),
    ((("threshold", 0.2, -0.6),), 0.01, 0, 0.01, -20),
    ((("hardshrink", 0.3),), 0.01, 0, 0.01, 0),
    ((("softshrink", 0.3),), 0.01, 0, 0.008, 0),
    ((("tanhshrink",),), 0.02, 0, 0.013, 0),
    ((("exp",),), 0.02, 40, 0.04, -128),
    ((("exp2",),), 0.02, 0, 0.025, -128),
    ((("expm1",),), 0.01, 0, 0.02, -100),
    # From the pole at 0 on, and across it: -infinity saturates, what has no number is 0.
    ((("log",),), 0.05, -128, 0.03, 20),
    ((("log",),), 0.05, -10, 0.03, 20),
    ((("log2",),), 0.05, -128, 0.05, 0),
    ((("log10",),), 0.05, -128, 0.02, 0),
    ((("log1p",),), 0.05, -128, 0.011, -128),
    ((("sqrt",),), 0.05, -128, 0.015, -128),
    ((("reciprocal",),), 0.03, 0, 0.25, 3),
    ((("square",),), 0.02, 3, 0.027, -128),
    ((("pow", 2.5),), 0.02, -128, 0.2, -128),
    ((("sin",),), 0.03, 0, 1 / 127, 0),
    ((("cos",),), 0.03, 0, 1 / 127, 0),
    ((("tan",),), 0.01, 0, 0.03, 0),
    ((("asin",),), 1 / 127, 0, 0.0125, 0),
    ((("acos",),), 1 / 127, 0, 0.0125, -128),
    ((("atan",),), 0.05, 0, 0.012, 0),
    ((("sinh",),), 0.02, 0, 0.05, 0),
    ((("cosh",),), 0.02, 0, 0.03, -128),
    ((("asinh",),), 0.05, 0, 0.02, 0),
    ((("acosh",),), 0.05, -128, 0.02, -128),
    ((("atanh",),), 1 / 128, 0, 0.03, 0),
    ((("erf",),), 0.02, 0, 1 / 127, 0),
    ((("erfc",),), 0.02, 0, 1 / 127, -128),
    ((("erfinv",),), 1 / 128, 0, 0.015, 0),
    ((("special_erfcx",),), 0.02, -50, 0.03, -128),
    ((("special_log_ndtr",),), 0.03, 0, 0.04, 127),
    ((("special_ndtri",),), 1 / 256, -128, 0.02, 0),
    ((("special_entr",),), 0.01, -120, 0.004, 0),
    ((("logit", None),), 1 / 256, -128, 0.05, 0),
    ((("logit", 0.1),), 1 / 256, -128, 0.02, 0),
    ((("lgamma",),), 0.02, -128, 0.02, 0),
    ((("digamma",),), 0.02, -120, 0.03, 0),
    ((("i0",),), 0.03, 0, 0.04, -128),
    ((("special_i0e",),), 0.03, 0, 1 / 255, -128),
    ((("special_i1",),), 0.03, 0, 0.06, 0),
    ((("special_i1e",),), 0.03, 0, 0.002, 0),
    ((("sinc",),), 0.04, 0, 1 / 127, 0),
    ((("neg",),), 0.02, -128, 0.02, 127),
    # Every second code lies on a tie, which goes away from 0: half to even, or up, would differ.
    ((("neg",),), 0.5, 0, 1.0, 0),
    ((("sign",),), 0.02, 3, 1 / 127, 0),
    ((("floor",),), 0.02, 0, 0.03, 0),
    ((("ceil",),), 0.02, 0, 0.03, 0),
    ((("trunc",),), 0.02, 0, 0.03, 0),
    ((("frac",),), 0.02, 0, 0.01, 0),
    # Halves go to the even one; hundredths; what is left takes the sign of what divides, or of what is divided.
    ((("round", 0.0),), 0.25, 0, 0.3, 0),
    ((("round", 2.0),), 0.00307, 0, 0.004, 0),
    ((("remainder", 0.7),), 0.0207, 0, 0.003, -128),
    ((("fmod", -0.7),), 0.0207, 0, 0.006, 0),
    ((("nan_to_num", None, None, None),), 0.02, 0, 0.03, 0),
    ((("mul", 0.5), ("erf",), ("add", 1.0), ("relu",)), 0.04, 0, 0.008, -128),
    ((("sigmoid",), ("rsub", 1.0), ("log",), ("neg",)), 0.05, 0, 0.03, -128),
    ((("abs",), ("sub", 1.0), ("hardswish",), ("tanh",), ("leaky_relu", 0.3), ("neg",)), 0.04, 0, 0.01, 0),
    ((("exp",), ("relu6",)), 0.03, 0, 0.025, -128),
    # On both sides of the number that is compared with, and at it; codes of which none is that number.
    ((("gt", 0.0),), 0.05, 3, 1 / 255, -128),
    ((("ge", 0.5),), 0.25, -3, 1 / 255, -128),
    ((("lt", 0.26),), 0.25, -3, 1 / 255, -128),
    ((("le", -0.5),), 0.25, 0, 1 / 255, -128),
    ((("eq", 1.5),), 0.25, 0, 1 / 255, -128),
    ((("ne", 1.5), ("mul", -3.0)), 0.25, 0, 3 / 255, 127),
    ((("where", (("gt", 0.5),), (), (("mul", 0.1),)),), 0.25, 0, 0.25, 0),
    ((("where", (("abs",), ("lt", 2.0)), (("square",), ("mul", 0.25)), (("fill", 1.0),)),), 0.05, 7, 1 / 255, -128),
    # A result that is far beyond the grid, and one that is a tiny share of its step.
    ((("exp",),), 3.0, 0, 0.01, 0),
    ((("sin",),), 1e-6, 0, 1e-6, 0),
)


def samples() -> Iterable[Sample]:
    """Every code of every function, in an order that is not the table's, and images and features."""
    rng = np.random.default_rng(21)
    shapes = [(8, 32), (4, 4, 4, 4), (16, 2, 8)]
    for number, (steps, s_in, z_in, s_out, z_out) in enumerate(_SAMPLES):
        codes = rng.permutation(np.arange(-128, 128)).astype(np.int8).reshape(shapes[number % 3])
        qparams = {
            "input": QParams((float(np.float32(s_in)),), (z_in,)),
            "output": QParams((float(np.float32(s_out)),), (z_out,)),
        }
        # Of what has no number PyTorch gives NaN.
        real = computed(steps, torch.from_numpy(qparams["input"].dequantize(codes)))
        numberless = ", no float form" if bool(real.isnan().any()) else ""
        label = f"{' '.join(str(part) for step in steps for part in step)} {s_in}@{z_in} to {s_out}@{z_out}"
        yield Sample(label + numberless, {"steps": steps}, {"input": codes}, qparams)


def looked_up(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's; where codes stand in the file there are as many as an input can be.

    Raises:
        BadShape: there are fewer or more.
    """
    codes = shapes.get("codes", (2**8,))
    require(codes == (2**8,), f"a table of {2**8} codes", f"shape {codes}")
    return (shapes["input"],)


ROW = Row(
    name="table",
    roles=("input", "codes"),
    matches=(
        *(match for name in FUNCTIONS for match in matches_of(name)),
        Match(
            "function",
            in_one_table,
            steps_of_table,
            ("input", "steps"),
            written=("torch.where(x > 0, x, 0.1 * x)", "x * (x > 0)"),
        ),
    ),
    gives_way=True,
    forward=forward,
    # int8 alone: no kernel looks up codes of 16 bits.
    constraints={"input": Free(), "codes": SameAs("output"), "output": Free()},
    reference=reference,
    tflite=TFLite(
        operator="GATHER",
        resolver="AddGather",
        version=lambda qparams: 2,
        options="GatherOptions",
        order=("codes", "input"),
        counted_from_zero=True,
    ),
    onnx=Onnx(onnx_form),
    shapes=looked_up,
    rows=same_row,
    samples=samples,
    c=kernel,
    by_table=True,
    transposed=any_order,
    homogeneous=homogeneous,
    frozen=frozen,
    measured=measured,
)
