"""MAX_POOL_2D, int8 and int16; padding never wins.

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
from qtorch.families.window_rows import rows_of_pooling
from qtorch.families.window_rules import pooled
from qtorch.families.windows import explicit_padding, onnx_window
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.remedies.asked import RANDOM, always
from qtorch.remedies.images import adaptive_3d, pooled_3d
from qtorch.row.constraints import Free, SameAs
from qtorch.row.fused_activation import activate, activation_limits
from qtorch.row.kernel_call import Operands
from qtorch.row.onnx_form import Onnx, OnnxNode, activated
from qtorch.row.row import Attrs, Call, Match, Refused, Row, TFLite


def attributes(call: Call) -> dict[str, Any]:
    """Of ``max_pool1d`` and ``max_pool2d``."""
    _require_no_indices(call)
    return pooling_attributes(call)


def adaptive(call: Call) -> dict[str, Any]:
    """Of ``adaptive_max_pool1d`` and ``adaptive_max_pool2d``."""
    _require_no_indices(call)
    return adaptive_attributes(call)


def with_indices(call: Call) -> dict[str, Any]:
    """Of the operators that give indices too; where nobody reads them the capture has made a ``max_pool`` of it."""
    adaptive_attributes(call)
    raise Refused(expected="the largest values alone", got="their indices too", remedy="leave the indices out")


def _require_no_indices(call: Call) -> None:
    if call.get("return_indices", False):
        raise Refused(expected="return_indices=False", got="True", remedy="leave the indices out")


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``[N, C, H, W]``, float32."""
    image = x["input"]
    window, stride = (attrs["filter_h"], attrs["filter_w"]), (attrs["stride_h"], attrs["stride_w"])
    padding = explicit_padding(attrs["padding"], (image.shape[2], image.shape[3]), window, stride)
    return activate(attrs["activation"], F.max_pool2d(padded(image, padding, -torch.inf), window, stride))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, H, W, C]``; every code is exactly a float32, and their order is the same; limits of an activation."""
    image = codes["input"].permute(0, 3, 1, 2).to(torch.float32)
    largest = forward({**attrs, "activation": "none"}, {"input": image}).permute(0, 2, 3, 1).to(torch.int64)
    return largest.clamp(*activation_limits(attrs["activation"], grids["output"]))


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """The largest of what is held between limits: ONNX Runtime 1.31's optimizer makes an invalid node of the other."""
    if operands.attrs["activation"] == "none":
        return [OnnxNode("MaxPool", ("input",), attributes=onnx_window(operands))]
    held = activated(operands, OnnxNode("Identity", ("input",)))
    *before, last = held
    return [
        *before,
        OnnxNode(last.operator, last.inputs, ("held",), last.attributes),
        OnnxNode("MaxPool", ("held",), attributes=onnx_window(operands)),
    ]


ROW = Row(
    name="max_pool_2d",
    roles=("input",),
    matches=(
        Match("module", nn.MaxPool2d, attributes, rank=4),
        Match("module", nn.MaxPool1d, attributes, rank=3),
        Match("module", nn.AdaptiveMaxPool2d, adaptive, rank=4),
        Match("module", nn.AdaptiveMaxPool1d, adaptive, rank=3),
        Match("aten", "max_pool2d", attributes, rank=4),
        Match("aten", "max_pool1d", attributes, rank=3),
        Match("aten", "adaptive_max_pool2d", with_indices, rank=4),
        Match("aten", "adaptive_max_pool1d", with_indices, rank=3),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="MAX_POOL_2D",
        resolver="AddMaxPool2D",
        version=pooling_version,
        options="Pool2DOptions",
        fields=POOLING_FIELDS,
    ),
    onnx=Onnx(onnx_form),
    shapes=pooled,
    rows=rows_of_pooling,
    samples=lambda: pooling_samples(3),
    c=pooling_kernel("max_pool_2d_s8"),
    selects=True,
    channels_last=True,
    homogeneous=homogeneous,
    remedies={
        "maxpool3d": pooled_3d("max_pool2d"),
        "adaptivemaxpool3d": adaptive_3d("max"),
        **{f"fractionalmaxpool{n}d": always(RANDOM + "; nn.MaxPool2d changes the network") for n in (2, 3)},
    },
)
