"""RESIZE_BILINEAR of images: weights of 10 bits for rows and columns, on the input's own grid.

Source: TFLM ``kernels/internal/reference/resize_bilinear.h``, ``ResizeBilinearInteger``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.families.resizing import require_image, resized_shapes, window_of_rows
from qtorch.families.steps import within
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.asked import always, none
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import ImageRows
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode
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
from qtorch.row.shape_rule import require

_ONE = 1 << 10


def of_layer(call: Call) -> dict[str, Any] | None:
    """Of ``nn.Upsample``; the row of nearest neighbours stands for another mode."""
    return attributes(call) if call.get("mode") == "bilinear" else None


def antialiased(call: Call) -> dict[str, Any]:
    """Of ``antialias=True``: weights of another kind."""
    raise Refused(expected="antialias=False", got="True", remedy="pool before resizing")


def attributes(call: Call) -> dict[str, Any]:
    """PyTorch's two ways of aligning are TFLite's two flags."""
    image, result = require_image(call)
    factor = call.get("scale_factor" if call.module is not None else "scale_factors")
    if factor is not None and not call.get("recompute_scale_factor"):
        factors = (factor, factor) if isinstance(factor, int | float) else tuple(factor)
        if any(n * f != o for n, f, o in zip(image, factors, result, strict=True)):
            raise Refused(
                expected=f"a factor that makes whole numbers of {image}",
                got=f"{factor}",
                remedy="give the size, or recompute_scale_factor=True",
            )
    align = bool(call.get("align_corners"))
    attrs = {"size": result, "align_corners": align, "half_pixel_centers": not align}
    # Above some 1,000 rows the rounded step adds up to a pixel, and the kernel would read behind the image.
    if any(int(_neighbours(attrs, n, o)[0].max()) >= n for n, o in zip(image, result, strict=True)):
        raise Refused(
            expected="a size at which the kernel's rounded steps stay inside the image",
            got=f"{image} to {result}",
            remedy="resize to at most 1024 rows and columns",
        )
    return attrs


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``[N, C, H, W]``."""
    return F.interpolate(x["input"], attrs["size"], mode="bilinear", align_corners=attrs["align_corners"])


def _neighbours(
    attrs: Attrs, size: int, result: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of the result: the two rows it lies between, and the weight of the second out of 1024."""
    step = (_ONE * size + result // 2) // result
    if attrs["align_corners"] and result > 1:
        step = (_ONE * (size - 1) + (result - 1) // 2) // (result - 1)
    at = torch.arange(result, device=device) * step
    if attrs["half_pixel_centers"]:
        at = at + step // 2 - _ONE // 2
    low = torch.div(at, _ONE, rounding_mode="trunc").clamp_min(0)
    high = torch.div(at + _ONE - 1, _ONE, rounding_mode="trunc").clamp_max(size - 1)
    return low, high, at - _ONE * low


def _between(attrs: Attrs, x: Tensor, axis: int, result: int) -> Tensor:
    """Weighted sums of neighbours along ``axis``, 1024 times as large."""
    low, high, weight = _neighbours(attrs, x.shape[axis], result, x.device)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(4)])
    return x.index_select(axis, low) * (_ONE - weight) + x.index_select(axis, high) * weight


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, H, W, C]``: exact sums of 20 bits more, rounded once, half away from zero; LiteRT does the same."""
    x = codes["input"]
    for axis in (1, 2):
        x = _between(attrs, x, axis, attrs["size"][axis - 1])
    return torch.div(torch.where(x > 0, x + 2**19, x - 2**19), 2**20, rounding_mode="trunc")


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` in floating point: along rows float32 holds the sums of 19 bits, along columns float64 those of 29.

    Weights sum up to 2**20, by which steps differ from codes by that many zero points. A power of two divides exactly.
    """
    real, zero_point = forward(attrs, steps), grids["input"].zero_point
    with torch.no_grad():
        rows = _between(attrs, steps["input"], 2, attrs["size"][0])
        codes = _between(attrs, rows.to(torch.float64), 3, attrs["size"][1]).mul_(2.0**-20).add_(zero_point)
        means = torch.floor(codes.abs() + 0.5).mul_(torch.sign(codes)).sub_(zero_point)
    return within(real, means)


def kernel(operands: Operands) -> KernelCall:
    """Neighbours and weights by table; all rows, from the first on."""
    (_, in_h, in_w, depth), (out_h, out_w) = operands.shapes["input"], operands.attrs["size"]
    rows, columns = (
        ConstantTable(torch.stack(_neighbours(operands.attrs, before, after), 1).numpy().astype(np.int16))
        for before, after in ((in_h, out_h), (in_w, out_w))
    )
    arguments: dict[str, Argument] = {"in": TensorArgument("input"), "out": TensorArgument("output"), "rows": rows}
    sizes = {"in_w": in_w, "depth": depth, "first": 0, "row": 0, "out_h": out_h, "out_w": out_w}
    return KernelCall("resize_bilinear_s8", {**arguments, "columns": columns, **sizes})


def rows_between(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Each row lies between two, whose weights stand in the table; see :data:`qtorch.row.image_rows.RowsRule`."""
    if axis != 1:
        return None
    size, result = shapes["input"][1], attrs["size"][0]
    low, high, _ = _neighbours(attrs, size, result)
    window = window_of_rows(low, high, size)
    if window is None:
        return None
    return ImageRows({"input": window}, numbers={"first": "{from}", "row": "{step}", "out_h": "1"}, whole_image=True)


def samples() -> Iterable[Sample]:
    """Up and down, whole factors and not, every flag."""
    rng = np.random.default_rng(18)
    for zero_point in (-128, 3):
        grid = QParams((0.5,), (zero_point,))
        for size, align, half in [
            ((6, 8), False, True),
            ((2, 3), False, True),
            ((7, 9), True, False),
            ((5, 5), False, False),
        ]:
            attrs = {"size": size, "align_corners": align, "half_pixel_centers": half}
            arrays = {"input": rng.integers(-128, 128, (2, 3, 4, 2), dtype=np.int8)}
            label = f"{size}, aligned {align}, half pixels {half}, zero {zero_point}"
            # PyTorch has no such form.
            label += "" if align or half else ", no float form"
            yield Sample(label, attrs, arrays, {"input": grid, "output": grid})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """TFLite's two flags are ONNX's ways of aligning.

    Sizes of all four axes: given those of two, ONNX Runtime 1.31's optimizer makes an invalid node of it.
    """
    attrs = operands.attrs
    align = "align_corners" if attrs["align_corners"] else "half_pixel" if attrs["half_pixel_centers"] else "asymmetric"
    known = np.array((operands.shapes["input"][3], *attrs["size"]), np.int64)
    return [
        OnnxNode("Shape", ("input",), ("batch",), {"start": 0, "end": 1}),
        OnnxNode("Concat", ("batch", known), ("sizes",), {"axis": 0}),
        OnnxNode(
            "Resize", ("input", "", "", "sizes"), attributes={"mode": "linear", "coordinate_transformation_mode": align}
        ),
    ]


def shapes_of_one_flag(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """As :func:`qtorch.families.resizing.resized_shapes`.

    Raises:
        BadShape: it is no image, the size is none, or both flags are set, which the kernel refuses.
    """
    both = attrs["align_corners"] and attrs["half_pixel_centers"]
    require(not both, "one of align_corners and half_pixel_centers", "both")
    return resized_shapes(attrs, shapes)


ROW = Row(
    name="resize_bilinear",
    roles=("input",),
    matches=(
        Match("module", nn.Upsample, of_layer),
        Match("module", nn.UpsamplingBilinear2d, of_layer),
        Match("aten", "upsample_bilinear2d", attributes, written=("interpolate",)),
        Match("aten", "_upsample_bilinear2d_aa", antialiased, written=("interpolate",)),
    ),
    forward=forward,
    constraints={"input": Free(), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="RESIZE_BILINEAR",
        resolver="AddResizeBilinear",
        version=lambda qparams: 3,
        options="ResizeBilinearOptions",
        fields=(
            OptionField("align_corners", "AlignCorners"),
            OptionField("half_pixel_centers", "HalfPixelCenters"),
        ),
        operands=(Operand("size", 1),),
    ),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=shapes_of_one_flag,
    rows=rows_between,
    samples=samples,
    c=kernel,
    in_steps=in_steps,
    channels_last=True,
    homogeneous=homogeneous_within_channels,
    remedies=dict.fromkeys(
        ("upsamplebicubic2d", "upsampletrilinear3d"),
        always(none("the kernels resize images [N, C, H, W], to the nearest pixel or by two of each axis")),
    ),
)
