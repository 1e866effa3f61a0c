"""SPLIT into equal parts along an axis.

Source: TFLM ``micro/kernels/split.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from qtorch.c_cells.movement import Box, copied
from qtorch.families.shape_rules import axis_from_front, require_axis
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import along
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, Operand, OptionField, Refused, Row, Sample, Shape, TFLite
from qtorch.row.shape_rule import require


def _equal(call: Call, parts: int) -> dict[str, Any]:
    axis = call.axis(call.get("dim", 0), "input")
    size = call.shapes["input"][axis]
    if size % parts:
        raise Refused(
            expected="parts of one size", got=f"{size} in {parts} parts", remedy="cut the parts with slices, x[:, a:b]"
        )
    return {"axis": axis, "num_splits": parts}


def chunked(call: Call) -> dict[str, Any]:
    """Of ``chunk(chunks, dim)``, which may give fewer chunks than were asked for."""
    axis = call.axis(call.get("dim", 0), "input")
    size = call.shapes["input"][axis]
    return _equal(call, -(-size // -(-size // call.get("chunks"))))


def split(call: Call) -> dict[str, Any]:
    """Of ``split(size or sizes, dim)``."""
    axis = call.axis(call.get("dim", 0), "input")
    size, parts = call.shapes["input"][axis], call.get("split_size", call.get("split_sizes"))
    sizes = [parts] if isinstance(parts, int) else list(parts)
    if len(set(sizes)) != 1 or size % sizes[0]:
        raise Refused(expected="parts of one size", got=f"{sizes}", remedy="cut the parts with slices, x[:, a:b]")
    return _equal(call, size // sizes[0])


def tensor_split(call: Call) -> dict[str, Any]:
    """Of ``tensor_split(sections or indices, dim)``."""
    size, at = call.shapes["input"][call.axis(call.get("dim"), "input")], call.get("indices")
    if isinstance(call.get("sections"), int):
        return _equal(call, call.get("sections"))
    if at is None:
        raise Refused(expected="numbers to cut at", got="a tensor", remedy="name the places: a device's are fixed")
    parts = len(at) + 1
    if list(at) != [i * size // parts for i in range(1, parts)]:
        raise Refused(expected="parts of one size", got=f"cuts at {at}", remedy="cut the parts with slices, x[:, a:b]")
    return _equal(call, parts)


def transposed(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs:
    """The same axis, where it lies."""
    return {**attrs, "axis": axes[attrs["axis"]]}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Any rank."""
    return x["input"].tensor_split(attrs["num_splits"], attrs["axis"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Any:
    """As :func:`forward`."""
    return forward(attrs, codes)


def kernel(operands: Operands) -> tuple[KernelCall, ...]:
    """A box for each output."""
    shape, sizes, axis = operands.shapes["input"], operands.shapes["output_0"], operands.attrs["axis"]
    target = Box.inside(sizes)
    corners = [[part * size if i == axis else 0 for i, size in enumerate(sizes)]
               for part in range(operands.attrs["num_splits"])]  # fmt: skip
    return tuple(copied(operands, sizes, Box.inside(shape, corner), target, ("input", f"output_{part}"))
                 for part, corner in enumerate(corners))  # fmt: skip


def samples() -> Iterable[Sample]:
    """Every axis."""
    for dtype in ("int8", "int16"):
        grid = QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        codes = np.arange(2 * 4 * 6 * 2).astype(dtype).reshape(2, 4, 6, 2)
        for axis, parts in [(1, 2), (2, 3), (3, 2), (1, 4)]:
            qparams = {"input": grid, **{f"output_{i}": grid for i in range(parts)}}
            yield Sample(f"{dtype} axis {axis}", {"axis": axis, "num_splits": parts}, {"input": codes}, qparams)


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """Equal parts."""
    count = operands.attrs["num_splits"]
    attributes = {"axis": operands.attrs["axis"], "num_outputs": count}
    return [OnnxNode("Split", ("input",), tuple(f"output_{i}" for i in range(count)), attributes)]


def parts(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Equal ones.

    Raises:
        BadShape: the axis is none, or can't be divided so.
    """
    shape, axis, count = shapes["input"], attrs["axis"], attrs["num_splits"]
    require_axis(axis, len(shape))
    require(count >= 1 and shape[axis] % count == 0, f"a number of parts that divides {shape[axis]}", f"{count}")
    return ((*shape[:axis], shape[axis] // count, *shape[axis + 1 :]),) * count


ROW = Row(
    name="split",
    roles=("input",),
    many=True,
    matches=(
        Match("aten", "chunk", chunked),
        Match("aten", "split", split),
        Match("aten", "split_with_sizes", split, written=("split",)),
        Match("aten", "tensor_split", tensor_split),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16"), whole=True), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="SPLIT",
        resolver="AddSplit",
        version=lambda qparams: 2,
        options="SplitOptions",
        fields=(OptionField("num_splits", "NumSplits"),),
        operands=(Operand("axis", 0),),
    ),
    onnx=Onnx(onnx_form),
    shapes=parts,
    rows=along("axis"),
    normalized=axis_from_front,
    samples=samples,
    c=kernel,
    selects=True,
    transposed=transposed,
)
