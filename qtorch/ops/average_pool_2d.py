"""AVERAGE_POOL_2D, int8 and int16: an integer mean on the input's own grid.

TFLite's SAME divides by the pixels inside the image; explicit padding, as PyTorch counts it by default, consists of
zeros that are counted, and becomes a PAD before the pooling.
Source: TFLM ``kernels/internal/reference/integer_ops/pooling.h``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.families.convolution import padded
from qtorch.families.pooling import (
    POOLING_FIELDS,
    adaptive_attributes,
    homogeneous,
    pooling_attributes,
    pooling_kernel,
    pooling_samples,
    pooling_version,
)
from qtorch.families.steps import half_away, within
from qtorch.families.window_rows import rows_of_pooling
from qtorch.families.window_rules import pooled
from qtorch.families.windows import explicit_padding, onnx_window, padding_name
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.remedies.asked import always, none
from qtorch.remedies.images import pooled_3d
from qtorch.row.constraints import Free, SameAs
from qtorch.row.fused_activation import activate, activation_limits, step_ends
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode, activated
from qtorch.row.row import Attrs, Call, Match, Refused, Row, TFLite


def attributes(call: Call) -> dict[str, Any]:
    """Of ``avg_pool1d`` and ``avg_pool2d``."""
    attrs = pooling_attributes(call)
    rows, columns = attrs["padding"]
    if call.get("divisor_override") is not None:
        raise Refused(expected="no divisor_override", got=f"{call.get('divisor_override')}", remedy="scale afterwards")
    if not any((*rows, *columns)):
        return attrs
    if call.get("ceil_mode", False):
        raise Refused(expected="ceil_mode=False", got="True", remedy="pad the image so that windows fit")
    if call.get("count_include_pad", True):
        return attrs
    shape = call.shapes["input"]
    image = (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])
    window, stride = (attrs["filter_h"], attrs["filter_w"]), (attrs["stride_h"], attrs["stride_w"])
    name = padding_name(attrs["padding"], image, window, stride)
    if name is None:
        raise Refused(
            expected="padding that TensorFlow's SAME or VALID describes, where it is not counted",
            got=f"padding={call.get('padding')} on an image of {image}",
            remedy="use count_include_pad=True, or an image size that the stride divides",
        )
    return {**attrs, "padding": name}


def _window(attrs: Attrs) -> tuple[tuple[int, int], tuple[int, int]]:
    return (attrs["filter_h"], attrs["filter_w"]), (attrs["stride_h"], attrs["stride_w"])


def _sums(attrs: Attrs, image: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over windows and how many pixels each divides by, ``[N, C, H, W]`` and ``[1, 1, H, W]``."""
    window, stride = _window(attrs)
    padding = explicit_padding(attrs["padding"], (image.shape[2], image.shape[3]), window, stride)
    inside = padded(torch.ones_like(image[:1, :1]), padding, 0.0 if attrs["padding"] == "same" else 1.0)
    sums, counts = (F.avg_pool2d(x, window, stride, divisor_override=1) for x in (padded(image, padding), inside))
    return sums, counts


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``[N, C, H, W]``, float32."""
    if not isinstance(attrs["padding"], str) and not any(n for ends in attrs["padding"] for n in ends):
        return activate(attrs["activation"], F.avg_pool2d(x["input"], *_window(attrs)))
    sums, counts = _sums(attrs, x["input"])
    return activate(attrs["activation"], sums / counts)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, H, W, C]``; the sum of codes divided half away from zero, the zero point left in, within limits."""
    zero_point = grids["input"].zero_point
    # Padding is the code of zero, so it is what is subtracted here and comes back with the count.
    image = (codes["input"] - zero_point).permute(0, 3, 1, 2).to(torch.float64)
    sums, counts = (t.to(torch.int64) for t in _sums(attrs, image))
    totals = sums + counts * zero_point
    half = torch.div(counts, 2, rounding_mode="floor")
    means = torch.div(torch.where(totals > 0, totals + half, totals - half), counts, rounding_mode="trunc")
    return means.permute(0, 2, 3, 1).clamp(*activation_limits(attrs["activation"], grids["output"]))


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` in floating point: sums of steps, of codes once the zero points are added, and one division.

    Sums of steps and of codes below 2**24 are exact in float32, in any order, and so is their division.
    """
    x, source = steps["input"], grids["input"]
    count = attrs["filter_h"] * attrs["filter_w"]
    low, high = source.limits
    wide = count * (high - low + 1) >= 2**24
    sums, counts = _sums(attrs, x.to(torch.float64) if wide else x)
    with torch.no_grad():
        means = half_away(sums + counts * source.zero_point, counts) - source.zero_point
    ends = None if attrs["activation"] == "none" else step_ends(attrs["activation"], grids["output"])
    return within(sums / counts, means, ends)


def sums(attrs: Attrs, shape: tuple[int, ...], low: int, high: int) -> tuple[int, int]:
    """Of the codes themselves, and half of the count that is added to round; SAME counts what lies in the image."""
    window, image = (attrs["filter_h"], attrs["filter_w"]), (1, *shape[2:])[-2:]
    if attrs["padding"] == "same":
        window = (min(window[0], image[0]), min(window[1], image[1]))
    count, half = window[0] * window[1], (high - low + 1) // 2
    return -half * count - count // 2, (half - 1) * count + count // 2


ROW = Row(
    name="average_pool_2d",
    roles=("input",),
    matches=(
        Match("module", nn.AvgPool2d, attributes, rank=4),
        Match("module", nn.AvgPool1d, attributes, rank=3),
        Match("module", nn.AdaptiveAvgPool2d, adaptive_attributes, rank=4),
        Match("module", nn.AdaptiveAvgPool1d, adaptive_attributes, rank=3),
        Match("aten", "avg_pool2d", attributes, rank=4),
        Match("aten", "avg_pool1d", attributes, rank=3),
        Match("aten", "adaptive_avg_pool2d", adaptive_attributes, rank=4),
        Match("aten", "adaptive_avg_pool1d", adaptive_attributes, rank=3),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="AVERAGE_POOL_2D",
        resolver="AddAveragePool2D",
        version=pooling_version,
        options="Pool2DOptions",
        fields=POOLING_FIELDS,
    ),
    onnx=Onnx(
        lambda operands: activated(operands, OnnxNode("AveragePool", ("input",), attributes=onnx_window(operands))),
        NEAREST,
    ),
    shapes=pooled,
    rows=rows_of_pooling,
    samples=lambda: pooling_samples(4),
    c=pooling_kernel("average_pool_2d_s8"),
    in_steps=in_steps,
    channels_last=True,
    sums=sums,
    homogeneous=homogeneous,
    remedies={
        "avgpool3d": pooled_3d("avg_pool2d"),
        "lppool3d": always(none("nothing has three dimensions; F.lp_pool2d over two of the axes changes the network")),
    },
)
