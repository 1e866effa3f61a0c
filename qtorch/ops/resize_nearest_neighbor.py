"""RESIZE_NEAREST_NEIGHBOR of images: rows and columns picked by index.

Source: TFLM ``kernels/internal/reference/resize_nearest_neighbor.h``: indices in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qtorch.c_cells.movement import Box, copied
from qtorch.c_cells.strides import bytes_each
from qtorch.families.resizing import require_image, resized, resized_shapes, window_of_rows
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.asked import always, none
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import ImageRows
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import (
    Attrs,
    Call,
    Match,
    Operand,
    OptionField,
    Refused,
    Row,
    Sample,
    Shape,
    TFLite,
    homogeneous_within_channels,
)


def indices(size: int, result: int, *, align_corners: bool, half_pixel_centers: bool) -> Tensor:
    """Which of ``size`` rows stands at each of ``result``, as the kernel counts."""
    align = align_corners and result > 1
    ends = (size - 1, result - 1) if align else (size, result)
    step = torch.tensor(ends[0], dtype=torch.float32) / torch.tensor(ends[1], dtype=torch.float32)
    at = (torch.arange(result, dtype=torch.float32) + (0.5 if half_pixel_centers else 0.0)) * step
    whole = torch.trunc(at + 0.5) if align_corners else torch.floor(at)
    return whole.to(torch.int64).clamp(0, size - 1)


def of_layer(call: Call) -> dict[str, Any] | None:
    """Of ``nn.Upsample``; the row of bilinear resizing stands for another mode."""
    mode = call.get("mode")
    return attributes(call, mode) if mode in ("nearest", "nearest-exact") else None


def attributes(call: Call, mode: str = "nearest") -> dict[str, Any]:
    """The flags with which the kernel picks the rows and columns that PyTorch picks."""
    image, result = require_image(call)
    # What PyTorch picks is seen by resizing an image of indices.
    rows = resized(call, torch.arange(image[0]).float()[:, None].expand(image), mode)[:, 0]
    columns = resized(call, torch.arange(image[1]).float()[None, :].expand(image), mode)[0]
    for flags in ((False, False), (False, True)):
        options = {"align_corners": flags[0], "half_pixel_centers": flags[1]}
        picked = [indices(n, o, **options) for n, o in zip(image, result, strict=True)]
        if torch.equal(picked[0].float(), rows) and torch.equal(picked[1].float(), columns):
            return {"size": result, **options}
    raise Refused(
        expected="a size at which TensorFlow Lite picks the same pixels",
        got=f"{image} to {result}",
        remedy="resize by a whole factor",
    )


def _pick(attrs: Attrs, x: Tensor, axes: tuple[int, int]) -> Tensor:
    flags = {name: attrs[name] for name in ("align_corners", "half_pixel_centers")}
    for axis, result in zip(axes, attrs["size"], strict=True):
        x = x.index_select(axis, indices(x.shape[axis], result, **flags).to(x.device))
    return x


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``[N, C, H, W]``."""
    return _pick(attrs, x["input"], (2, 3))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, H, W, C]``."""
    return _pick(attrs, codes["input"], (1, 2))


def kernel(operands: Operands) -> KernelCall:
    """By whole factors a strided copy that stays where it is; else rows and columns by table."""
    (_, in_h, in_w, depth), (out_h, out_w) = operands.shapes["input"], operands.attrs["size"]
    flags = {name: operands.attrs[name] for name in ("align_corners", "half_pixel_centers")}
    rows, columns = indices(in_h, out_h, **flags), indices(in_w, out_w, **flags)
    down, across = max(out_h // in_h, 1), max(out_w // in_w, 1)
    if all(
        torch.equal(picked, torch.arange(len(picked)) // factor) for picked, factor in ((rows, down), (columns, across))
    ):
        sizes = (out_h // down, down, out_w // across, across, depth)
        return copied(operands, sizes, Box((in_w * depth, 0, depth, 0, 1)), Box.inside(sizes))
    arguments: dict[str, Argument] = {"in": TensorArgument("input"), "out": TensorArgument("output"),
        "rows": ConstantTable(rows.numpy().astype(np.int16)),
        "columns": ConstantTable(columns.numpy().astype(np.int16)),
        "in_w": in_w, "pixel": depth * bytes_each(operands.grid("input").dtype), "out_h": out_h, "out_w": out_w,
    }  # fmt: skip
    return KernelCall("resize_nearest_neighbor", arguments)


def rows_picked(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Each row is one of the input's, its pixels picked; see :data:`qtorch.row.image_rows.RowsRule`."""
    flags = {name: attrs[name] for name in ("align_corners", "half_pixel_centers")}
    size, result = shapes["input"][axis], attrs["size"]
    rows = indices(size, result[axis - 1], **flags)
    window = window_of_rows(rows, rows, size)
    if window is None or window.window > 1:
        return None
    return ImageRows({"input": window}, {"size": (1, result[1]) if axis == 1 else (result[0], 1)})


def samples() -> Iterable[Sample]:
    """Up and down, whole factors and not, every flag."""
    rng = np.random.default_rng(17)
    for dtype in ("int8", "int16"):
        grid = QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        for size, align, half in [((6, 8), False, False), ((2, 3), False, True), ((7, 9), True, False)]:
            attrs = {"size": size, "align_corners": align, "half_pixel_centers": half}
            arrays = {"input": rng.integers(-100, 100, (2, 3, 4, 2), dtype=dtype)}
            yield Sample(f"{dtype} {size} {align} {half}", attrs, arrays, {"input": grid, "output": grid})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """Gathers by the kernel's own indices: Resize computes them in other steps, and may round to another."""
    flags = {name: operands.attrs[name] for name in ("align_corners", "half_pixel_centers")}
    sizes = zip(operands.shapes["input"][1:3], operands.attrs["size"], strict=True)
    rows, columns = (indices(n, result, **flags).numpy() for n, result in sizes)
    return [
        OnnxNode("Gather", ("input", rows), ("rows",), {"axis": 2}),
        OnnxNode("Gather", ("rows", columns), attributes={"axis": 3}),
    ]


ROW = Row(
    name="resize_nearest_neighbor",
    roles=("input",),
    matches=(
        Match("module", nn.Upsample, of_layer),
        Match("module", nn.UpsamplingNearest2d, of_layer),
        *(
            Match("aten", f"{operator}{axes}d", partial(attributes, mode=mode), written=("interpolate",))
            for operator, mode in (("upsample_nearest", "nearest"), ("_upsample_nearest_exact", "nearest-exact"))
            for axes in (1, 2, 3)
        ),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="RESIZE_NEAREST_NEIGHBOR",
        resolver="AddResizeNearestNeighbor",
        version=lambda qparams: 3,
        options="ResizeNearestNeighborOptions",
        fields=(
            OptionField("align_corners", "AlignCorners"),
            OptionField("half_pixel_centers", "HalfPixelCenters"),
        ),
        operands=(Operand("size", 1),),
    ),
    onnx=Onnx(onnx_form),
    shapes=resized_shapes,
    rows=rows_picked,
    samples=samples,
    c=kernel,
    selects=True,
    channels_last=True,
    homogeneous=homogeneous_within_channels,
    remedies={
        **{f"maxunpool{n}d": always(none("there are no indices; nn.Upsample changes the network")) for n in (1, 2, 3)},
    },
)
