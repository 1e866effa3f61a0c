"""SLICE: a box of codes.

Source: TFLM ``micro/kernels/slice.cc``: at most 5 axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from qtorch.c_cells.movement import Box, copied
from qtorch.families.shape_rules import require_lengths
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import cut_rows
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, Operand, Refused, Row, Sample, Shape, TFLite, require_elements
from qtorch.row.shape_rule import require


def attributes(call: Call) -> dict[str, Any]:
    """Of ``narrow(dim, start, length)``; of the batch all, which is a size of -1."""
    require_elements(call)
    shape = call.shapes["input"]
    axis = call.axis(call.get("dim"), "input")
    if not isinstance(call.get("start"), int):
        raise Refused(expected="a start that is a number", got="a tensor", remedy="name the place: a device's is fixed")
    start = call.get("start") % shape[axis]
    begin = tuple(start if a == axis else 0 for a in range(len(shape)))
    size = tuple(call.get("length") if a == axis else n for a, n in enumerate(shape))
    return {"begin": begin, "size": (-1, *size[1:])}


def transposed(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs:
    """The same box of the same axes."""
    begin, size = [0] * rank, [1] * rank
    for axis, first, count in zip(axes, attrs["begin"], attrs["size"], strict=True):
        begin[axis], size[axis] = first, count
    return {"begin": tuple(begin), "size": tuple(size)}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank; the whole batch."""
    y = x["input"]
    for axis, (first, count) in enumerate(zip(attrs["begin"], attrs["size"], strict=True)):
        y = y.narrow(axis, first, count) if axis else y
    return y


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def kernel(operands: Operands) -> KernelCall:
    """A box."""
    shape, sizes = operands.shapes["input"], operands.shapes["output"]
    return copied(operands, sizes, Box.inside(shape, (0, *operands.attrs["begin"][1:])), Box.inside(sizes))


def samples() -> Iterable[Sample]:
    """Boxes at either end and inside."""
    for dtype in ("int8", "int16", "int32"):
        grid = INDICES if dtype == "int32" else QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        codes = np.arange(120).astype(dtype).reshape(2, 3, 4, 5)
        for begin, size in [
            ((0, 1, 0, 2), (-1, 2, 4, 1)),
            ((0, 0, 3, 0), (-1, 3, 1, 5)),
            ((0, 0, 0, 1), (-1, 1, 2, 4)),
        ]:
            attrs = {"begin": begin, "size": size}
            yield Sample(f"{dtype} {size} at {begin}", attrs, {"input": codes}, {"input": grid, "output": grid})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """Every axis but the batch's."""
    begin, size = (np.array(operands.attrs[name][1:], np.int64) for name in ("begin", "size"))
    return [OnnxNode("Slice", ("input", begin, begin + size, np.arange(1, len(begin) + 1)))]


def resolved(attrs: Attrs, shapes: Mapping[str, Shape]) -> Attrs:
    """Sizes of -1 as what is left of the axis, but of the first, where -1 stands for all."""
    begin, size, shape = attrs["begin"], attrs["size"], shapes["input"]
    if not (isinstance(size, tuple) and isinstance(begin, tuple) and len(begin) == len(size) == len(shape)):
        return attrs
    axes = zip(begin, size, shape, strict=True)
    left = tuple(n - first if count == -1 else count for first, count, n in axes)
    whole = begin[:1] == (0,) and left[:1] == shape[:1]
    return {**attrs, "size": (-1, *left[1:]) if whole else left}


def shapes_cut(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """A box inside of the input that has all samples.

    Raises:
        BadShape: it ends beyond the input, has no element, or leaves samples out.
    """
    shape, rank = shapes["input"], len(shapes["input"])
    require_lengths(attrs, ("begin", "size"), rank)
    begin, size = attrs["begin"], attrs["size"]
    require(
        rank >= 1 and begin[0] == 0 and size[0] == -1,
        f"all {shape[:1]} of the first axis, which counts samples",
        f"{size[:1]} from {begin[:1]} on",
    )
    for axis in range(1, rank):
        first, count = begin[axis], size[axis]
        require(
            first >= 0 and count >= 1 and first + count <= shape[axis],
            f"a slice inside of axis {axis}, which has {shape[axis]}",
            f"{count} from {first} on",
        )
    return ((shape[0], *size[1:]),)


ROW = Row(
    name="slice",
    roles=("input",),
    matches=(Match("aten", "narrow", attributes),),
    forward=forward,
    constraints={"input": Free(("int8", "int16", "int32")), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="SLICE",
        resolver="AddSlice",
        version=lambda qparams: 2,
        operands=(Operand("begin", 1), Operand("size", 2)),
    ),
    onnx=Onnx(onnx_form),
    shapes=shapes_cut,
    rows=cut_rows,
    normalized=resolved,
    samples=samples,
    c=kernel,
    selects=True,
    transposed=transposed,
)
