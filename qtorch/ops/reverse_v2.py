"""REVERSE_V2: the same codes, some axes in the reverse order.

Source: TFLM ``micro/kernels/reverse.cc``, which takes axes that follow one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from qtorch.c_cells.movement import Box, copied
from qtorch.c_cells.strides import row_major
from qtorch.families.shape_rules import axes_from_front, require_axes
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.axes import flipped
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import ImageRows, RowWindow
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, Operand, Row, Sample, Shape, TFLite
from qtorch.row.shape_rule import require


def attributes(call: Call) -> dict[str, Any] | None:
    """Of axes that follow one another; others are several calls, which the capture makes."""
    rank = len(call.shapes["input"])
    axes = tuple(sorted(int(axis) % rank for axis in call.get("dims")))
    return {"axes": axes} if _follow(axes) and axes[0] else None


def _follow(axes: tuple[int, ...]) -> bool:
    return bool(axes) and axes == tuple(range(axes[0], axes[-1] + 1))


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank."""
    return x["input"].flip(attrs["axes"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def transposed(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs | None:
    """The same axes, where they still follow one another."""
    moved = tuple(sorted(axes[axis] for axis in attrs["axes"]))
    return {"axes": moved} if _follow(moved) else None


def homogeneous(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Any axis that stays as it is."""
    return None if axis in attrs["axes"] else axis


def kernel(operands: Operands) -> KernelCall:
    """A copy that begins at the end of what is reversed."""
    sizes, strides = operands.shapes["input"], list(row_major(operands.shapes["input"]))
    first = 0
    for axis in operands.attrs["axes"]:
        first += (sizes[axis] - 1) * strides[axis]
        strides[axis] = -strides[axis]
    return copied(operands, sizes, Box(tuple(strides), first), Box.inside(sizes))


def rows_turned(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Rows that stay where they are; see :data:`qtorch.row.image_rows.RowsRule`."""
    return None if axis in attrs["axes"] else ImageRows({"input": RowWindow()})


def samples() -> Iterable[Sample]:
    """First, last and inner axes, one and several, of size 1."""
    rng = np.random.default_rng(7)
    for dtype in ("int8", "int16"):
        grid = QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        for shape, axes in [
            ((3, 4), (1,)),
            ((2, 3, 4), (1,)),
            ((2, 3, 4), (2,)),
            ((2, 3, 4), (1, 2)),
            ((2, 2, 3, 4), (2,)),
            ((2, 2, 3, 4), (1, 2)),
            ((2, 2, 3, 4), (1, 2, 3)),
            ((2, 3, 1, 2, 2), (2, 3)),
            ((2, 3, 2, 2, 2), (1, 2)),
        ]:
            codes = rng.integers(-100, 100, shape, dtype=dtype)
            yield Sample(f"{dtype} {shape} {axes}", {"axes": axes}, {"input": codes}, {"input": grid, "output": grid})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """A slice with steps of -1."""
    axes = np.array(operands.attrs["axes"], np.int64)
    ends = np.full_like(axes, np.iinfo(np.int64).min)
    return [OnnxNode("Slice", ("input", np.full_like(axes, -1), ends, axes, np.full_like(axes, -1)))]


def shapes_reversed(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's.

    Raises:
        BadShape: the axes do not follow one another behind the first.
    """
    require_axes(attrs["axes"], len(shapes["input"]))
    require(_follow(attrs["axes"]), "axes that follow one another, as the kernel takes them", f"axes {attrs['axes']}")
    return (shapes["input"],)


ROW = Row(
    name="reverse_v2",
    roles=("input",),
    matches=(Match("aten", "flip", attributes),),
    forward=forward,
    constraints={"input": Free(("int8", "int16"), whole=True), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="REVERSE_V2",
        resolver="AddReverseV2",
        version=lambda qparams: 3,
        options="ReverseV2Options",
        operands=(Operand("axes", 1),),
    ),
    onnx=Onnx(onnx_form),
    shapes=shapes_reversed,
    normalized=axes_from_front,
    rows=rows_turned,
    samples=samples,
    c=kernel,
    selects=True,
    transposed=transposed,
    homogeneous=homogeneous,
    remedies=dict.fromkeys(("flip", "flipud"), flipped),
)
