"""BATCH_MATMUL: products of matrices of which both are computed at run time, int8 and int16.

The kernel adds products of codes less their zero points, of int8 in int32 and of int16 in int64, and rescales once by
``s_input * s_other / s_output``: of int8 with two roundings of a Q31 mantissa, of int16 with one of a Q15 mantissa. The
output has no activation. It reads both matrices along their rows: ``adj_y`` says that ``other`` lies so already, and
without it the kernel turns ``other`` round in memory of its own at each call, as it does ``input`` with ``adj_x``.

Source: TFLM ``micro/kernels/batch_matmul.cc``, ``kernels/internal/reference/batch_matmul.h``. CMSIS-NN's kernel takes
tensors of 4 axes at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.broadcasting import multiplier_arguments, zero_points
from qtorch.c_cells.strides import row_major
from qtorch.families.accumulator import sum_factor
from qtorch.families.shape_rules import broadcast_shape
from qtorch.numbers.fixedpoint import (
    Rounding,
    fits_int32,
    quantize_multiplier,
    reduced_mantissa,
    requantize,
    requantize_wide,
)
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.rescaled_sums import rescale_and_hold
from qtorch.numbers.rescaling import rescaling, rescaling_of_16_bits
from qtorch.remedies.asked import PRODUCT
from qtorch.row.constraints import CoarserThan, Free
from qtorch.row.fused_activation import step_ends
from qtorch.row.image_rows import ImageRows, RowWindow
from qtorch.row.kernel_call import Argument, KernelCall, NoKernel, Operands, TensorArgument
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, OptionField, Refused, Row, Sample, Shape, TFLite
from qtorch.row.shape_rule import require

#: An output's step is above so many of its products' steps. Of int8 a sum then never has to be shifted to the left; of
#: int16 a sum of fewer than twice as many products is an int32 once it is requantized.
_COARSER = {"int8": 1.01, "int16": 512.0}

#: How far a code can be from its zero point.
_REACH = {"int8": 2**8 - 1, "int16": 2**15}


def attributes(call: Call) -> dict[str, Any]:
    """Matrices ``[..., M, K]`` and ``[..., K, N]``, both with the batch in front, of one rank."""
    shapes = [call.shapes[role] for role in ("input", "other")]
    if min(map(len, shapes)) < 2 or max(map(len, shapes)) < 3:
        raise Refused(
            expected="matrices of each sample, the batch's axis in front of theirs",
            got=f"shapes {shapes}, of which a product mixes samples",
            remedy=f"{PRODUCT}, as of nn.Linear or F.linear(x, weight); or write x.unsqueeze(1) for a vector that is a "
            "matrix of one row",
        )
    if 0 in call.output_shape or 0 in (size for shape in shapes for size in shape):
        raise Refused(expected="at least one element", got=f"shapes {shapes}", remedy="leave the product out")
    return {"adj_x": False, "adj_y": False}


def _matrices(attrs: Attrs, x: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """As ``[..., M, K]`` and ``[..., K, N]``."""
    turned = ("input", attrs["adj_x"]), ("other", attrs["adj_y"])
    first, second = (x[role].mT if adjoint else x[role] for role, adjoint in turned)
    return first, second


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Leading axes broadcast."""
    return torch.matmul(*_matrices(attrs, x))


def _factor(grids: Mapping[str, Grid], rounding: Rounding = Rounding.DOUBLE) -> Tensor:
    return sum_factor(*(grids[role].scale for role in ("input", "other", "output")), rounding=rounding)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Sums of products, exact, and one requantization by a quotient in double; LiteRT rounds twice here too."""
    output = grids["output"]
    centred = {role: (codes[role] - grids[role].zero_point).to(torch.float64) for role in ("input", "other")}
    # Products of 30 bits: float64 holds the sum of 2**22 of them.
    sums = torch.matmul(*_matrices(attrs, centred)).to(torch.int64)
    multiplier = quantize_multiplier(_factor(grids, rounding))
    if output.dtype == "int16":
        scaled = requantize_wide(sums, multiplier)
    else:
        scaled = requantize(fits_int32(sums, "sum of products"), multiplier, Rounding.DOUBLE)
    return scaled.add_(output.zero_point).clamp_(*output.limits)


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` in floating point.

    Products of int8 steps are below 2**16, so that float32 holds sums of up to 257, in whatever order they are added,
    and of factors that PyTorch may take in fewer bits; float64 all others. Sums of int16 ones are below 2**41.
    """
    output = grids["output"]
    first, second = _matrices(attrs, steps)
    largest = first.shape[-1] * _REACH[output.dtype] ** 2
    if largest >= 2**24:
        first, second = first.to(torch.float64), second.to(torch.float64)
    sums, ends = torch.matmul(first, second), step_ends("none", output)
    if output.dtype == "int16":
        return rescale_and_hold(sums, rescaling_of_16_bits(_factor(grids)), ends, any_sum=largest >= 2**38)
    return rescale_and_hold(sums, rescaling(_factor(grids)), ends, any_sum=largest >= 2**21)


def sums(attrs: Attrs, shape: Shape, low: int, high: int) -> tuple[int, int]:
    """What the kernel has as int32: of int8 the sums, of int16 what they are requantized to."""
    length = shape[-2] if attrs["adj_x"] else shape[-1]
    wide = high - low >= 2**8
    furthest = _REACH["int16"] ** 2 // int(_COARSER["int16"]) if wide else max(-low, high) * _REACH["int8"]
    return -length * furthest, length * furthest


def macs(shapes: Mapping[str, Shape]) -> int:
    """As many products as an axis that both share, for each output."""
    rows, columns = shapes["output"][-2:]
    batch = math.prod(shapes["input"][:-2])
    return math.prod(shapes["output"]) * (math.prod(shapes["input"]) // (batch * rows) if batch and columns else 0)


def kernel(operands: Operands) -> KernelCall:
    """Sums of products, both matrices read where they lie."""
    shapes, attrs = operands.shapes, operands.attrs
    *batch, rows, columns = shapes["output"]
    if len(batch) > 3:
        if any(size > 1 for size in batch[:-3]):
            raise NoKernel(f"{len(batch)} axes in front of the matrices', where 3 are the most")
        batch = batch[-3:]
    batch = [1] * (3 - len(batch)) + batch
    numbers: dict[str, Argument] = {f"n_{i}": size for i, size in enumerate(batch)}
    steps = {}
    for name, role, adjoint in (("in", "input", attrs["adj_x"]), ("other", "other", attrs["adj_y"])):
        shape = ((1,) * 5 + shapes[role])[-5:]
        strides = [0 if size == 1 else step for size, step in zip(shape, row_major(shape), strict=True)]
        numbers |= {f"{name}_{i}": step for i, step in enumerate(strides[:3])}
        steps[name] = (1, shape[-1]) if adjoint else (shape[-1], 1)
        numbers[f"{name}_flash"] = int(role in operands.constants)
    depth = shapes["input"][-2] if attrs["adj_x"] else shapes["input"][-1]
    numbers |= {
        "rows": rows, "columns": columns, "depth": depth,
        "in_row": steps["in"][0], "in_step": steps["in"][1],
        "other_step": steps["other"][0], "other_column": steps["other"][1],
    }  # fmt: skip
    tensors: dict[str, Argument] = {
        "in": TensorArgument("input"), "other": TensorArgument("other"), "out": TensorArgument("output")
    }  # fmt: skip
    multiplier = quantize_multiplier(_factor({role: operands.grid(role).grid for role in shapes}))
    if operands.grid("output").dtype == "int16":
        scaled = {"mantissa": int(reduced_mantissa(multiplier.mantissa)), "shift": 15 - int(multiplier.shift)}
        turned = columns >= 2 and steps["in"][1] == 1 and steps["other"][0] != 1
        return KernelCall("batch_matmul_s16", {**tensors, **numbers, **scaled}, scratch=4 * depth if turned else 4)
    numbers |= {**zero_points(operands), **multiplier_arguments({"": multiplier})}
    by_columns = columns >= 4 and steps["in"][1] == 1
    # Four of them, or of the rows, in words, of which a single row needs less; vectors; bytes behind a number a row.
    words = 8 * depth if rows > 1 else 2 * depth
    scratch = max(words, 64 * -(-depth // 16), 4 * rows + 4 * depth) if by_columns else 4
    return KernelCall("batch_matmul_s8", {**tensors, **numbers}, scratch=scratch)


def version(qparams: Mapping[str, QParams | None]) -> int:
    """2 is the first with int8, 3 with int16."""
    source = qparams["input"]
    return 1 if source is None else 3 if source.dtype == "int16" else 2


def rows_of_products(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """A row of a matrix is that row of the first by all of the other, or a matrix is one of each.

    See :data:`qtorch.row.image_rows.RowsRule`.
    """
    output = shapes["output"]
    if len(output) <= axis + 1 or len({len(shape) for shape in shapes.values()}) > 1:
        return None
    of_matrix = axis == len(output) - 2
    if of_matrix and attrs["adj_x"]:
        return None
    reads = {}
    for role in ("input", "other"):
        whole = shapes[role][axis] == 1 < output[axis] or (of_matrix and role == "other")
        reads[role] = RowWindow(stride=0) if whole else RowWindow()
    return ImageRows(reads)


def samples() -> Iterable[Sample]:
    """Both at run time and either constant; each way round; broadcasting; extremes; sums that tell roundings apart."""
    rng = np.random.default_rng(31)
    both, second, first = frozenset[str](), frozenset({"other"}), frozenset({"input"})
    coarse, scores = (0.11, 4), (4.0, 90)
    cases: list[tuple[str, Any, Any, tuple[float, int], tuple[float, int], tuple[float, int], frozenset[str]]] = [
        # label, shapes, grids of the operands and of the output at 16 products, constants
        ("plain", (3, 4, 5), (3, 5, 6), (0.05, -3), (0.03, 7), coarse, both),
        ("heads", (2, 3, 7, 8), (2, 3, 8, 5), (0.05, -128), (0.03, 127), scores, both),
        ("eight rows", (2, 8, 7), (2, 7, 10), (0.05, -3), (0.03, 7), coarse, both),
        ("probabilities", (2, 3, 5, 9), (2, 3, 9, 4), (1 / 256, -128), (0.03, 5), (0.01, 3), both),
        ("rank 5", (2, 1, 3, 4, 5), (2, 2, 1, 5, 3), (0.05, 127), (0.03, -128), scores, both),
        ("broadcast", (3, 1, 4, 5), (3, 2, 5, 6), (0.05, 11), (0.03, 7), coarse, both),
        ("broadcast the other way", (3, 4, 4, 5), (3, 1, 5, 6), (0.05, 11), (0.03, 7), coarse, both),
        ("constant second", (4, 2, 3, 6), (1, 2, 6, 5), (0.05, 11), (0.03, 7), coarse, second),
        ("one constant for all", (4, 2, 3, 6), (1, 1, 6, 5), (0.05, 11), (0.03, 7), coarse, second),
        ("constant first", (1, 2, 3, 6), (4, 2, 6, 5), (0.05, 11), (0.03, 7), coarse, first),
        ("a row", (5, 1, 9), (5, 9, 6), (0.05, 11), (0.03, 7), coarse, both),
        ("a column", (5, 6, 9), (5, 9, 1), (0.05, 11), (0.03, 7), coarse, both),
        ("outer", (5, 4, 1), (5, 1, 6), (0.05, 11), (0.03, 7), (0.1, 0), both),
        ("inner", (5, 1, 37), (5, 37, 1), (0.05, 11), (0.03, 7), (0.4, 0), both),
        ("saturating", (3, 4, 16), (3, 16, 6), (0.7, 11), (0.9, 7), (0.9, 1), both),
        ("long sums", (2, 2, 400), (2, 400, 3), (0.05, -128), (0.03, 127), (60.0, 90), both),
        ("tiny factor", (2, 3, 8), (2, 8, 3), (1e-3, 11), (1e-4, 7), (5e-4, 3), both),
    ]
    turns = [{"adj_x": x, "adj_y": y} for x in (False, True) for y in (False, True)]
    for dtype in ("int8", "int16"):
        low, high = CODE_RANGE[dtype]
        for label, shape, other_shape, s_input, s_other, s_output, constants in cases:
            zeros = [grid[1] if dtype == "int8" else 0 for grid in (s_input, s_other, s_output)]
            scales = [s_input[0], s_other[0], s_output[0]]
            if dtype == "int16":
                # A step of the output is above 512 of the products'.
                scales = [scales[0] / 256, scales[1] / 256, max(scales[2] / 256, 520 * scales[0] * scales[1] / 2**16)]
            qparams = {
                role: QParams((float(np.float32(scale)),), (zero,), dtype)
                for role, scale, zero in zip(("input", "other", "output"), scales, zeros, strict=True)
            }
            for attrs in (
                turns if label in ("plain", "eight rows", "heads", "constant second", "constant first") else turns[:1]
            ):
                arrays = {
                    "input": rng.integers(low, high, _turned(shape, attrs["adj_x"]), dtype=dtype, endpoint=True),
                    "other": rng.integers(low, high, _turned(other_shape, attrs["adj_y"]), dtype=dtype, endpoint=True),
                }
                turned = "".join(f", {name}" for name, is_so in attrs.items() if is_so)
                yield Sample(f"{dtype} {label}{turned}", attrs, arrays, qparams, constants)
    yield from _product_rounding_samples()


def _turned(shape: tuple[int, ...], adjoint: bool) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if adjoint else shape


def _product_rounding_samples() -> Iterable[Sample]:
    """Every product of two codes, by quotients of scales that are 0.75 if their product is taken in float32, and just
    below or above in double: odd halves round to one side or the other."""
    every = np.arange(-128, 128, dtype=np.int8)
    arrays = {"input": every.reshape(1, 256, 1), "other": every.reshape(1, 1, 256)}
    for side, s_other, s_output in [
        ("below", 0.04560002312064171, 0.0007478403858840466),
        ("above", 0.04560001194477081, 0.0007478401530534029),
    ]:
        scales = {"input": 0.012299999594688416, "other": s_other, "output": s_output}
        qparams = {role: QParams((scale,), (0,)) for role, scale in scales.items()}
        yield Sample(f"product in double, {side}", {"adj_x": False, "adj_y": False}, arrays, qparams)


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """A MatMul; an Einsum of matrices that lie turned, since ONNX Runtime takes a Transpose apart to no valid graph."""
    attrs = operands.attrs
    if not (attrs["adj_x"] or attrs["adj_y"]):
        return [OnnxNode("MatMul", ("input", "other"))]
    first, second = "km" if attrs["adj_x"] else "mk", "nk" if attrs["adj_y"] else "kn"
    return [OnnxNode("Einsum", ("input", "other"), attributes={"equation": f"...{first},...{second}->...mn"})]


def leading_axes_move(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs | None:
    """The axes in front of the matrices' may lie in any order; a matrix that lies turned, the layout says by itself."""
    return attrs if axes[-2:] == (rank - 2, rank - 1) else None


def shapes_of_product(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Axes in front of the matrices' broadcast.

    Raises:
        BadShape: they don't, or the matrices have no axis in common.
    """
    ranks = [len(shapes[role]) for role in ("input", "other")]
    require(min(ranks) >= 2, "matrices, of at least two axes", f"{dict(shapes)}")
    first, second = _turned(shapes["input"], attrs["adj_x"]), _turned(shapes["other"], attrs["adj_y"])
    require(
        first[-1] == second[-2],
        f"matrices {first[-2:]} and ({first[-1]}, N) once they are turned as adj_x and adj_y say",
        f"{first[-2:]} and {second[-2:]}",
    )
    return ((*broadcast_shape([first[:-2] or (1,), second[:-2] or (1,)])[: max(ranks) - 2], first[-2], second[-1]),)


ROW = Row(
    name="batch_matmul",
    roles=("input", "other"),
    runtime=2,
    matches=tuple(Match("aten", name, attributes, tensors=2) for name in ("matmul", "bmm", "mm")),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16")),
        "other": Free(("int8", "int16")),
        "output": CoarserThan(("int8", "int16"), others=("input", "other"), factors=_COARSER, combine="product"),
    },
    reference=reference,
    tflite=TFLite(
        operator="BATCH_MATMUL",
        resolver="AddBatchMatMul",
        version=version,
        options="BatchMatMulOptions",
        fields=(OptionField("adj_x", "AdjX"), OptionField("adj_y", "AdjY")),
        # Of float activations beside integer weights, which TFLM has no kernels for.
        unread=frozenset({"AsymmetricQuantizeInputs"}),
    ),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=shapes_of_product,
    rows=rows_of_products,
    samples=samples,
    c=kernel,
    in_steps=in_steps,
    transposed=leading_axes_move,
    sums=sums,
    macs=macs,
    # Its kernel multiplies the operands' scales in float32.
    litert_lsb={"int8": 1},
)
