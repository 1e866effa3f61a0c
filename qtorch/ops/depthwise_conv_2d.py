"""DEPTHWISE_CONV_2D: every input channel has ``depth_multiplier`` filters of its own.

Stands for ``nn.Conv2d`` and ``nn.Conv1d`` whose groups are their input channels.
Source: TFLM ``kernels/internal/reference/integer_ops/depthwise_conv.h``, ``micro/kernels/depthwise_conv_common.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from qtorch.families.accumulator import weighted_sums
from qtorch.families.convolution import (
    CONVOLUTION_FIELDS,
    cancelled_sample,
    convolution_attributes,
    convolution_forward,
    convolution_matches,
    convolution_reference,
    convolution_sizes,
    is_depthwise,
    weighted_sample,
)
from qtorch.families.convolution_call import convolution_call
from qtorch.families.wide_sums import is_wide, wide_convolution
from qtorch.families.window_rows import rows_of_convolution
from qtorch.families.window_rules import convolved_by_channel
from qtorch.families.windows import onnx_window
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import ACCUMULATED, BiasFromAccumulator, Free, SymmetricWeight
from qtorch.row.fused_activation import FUSED_ACTIVATIONS
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode, activated
from qtorch.row.row import Attrs, Call, OptionField, Row, Sample, Shape, TFLite

#: Filters from which on they share a window.
_SHARING = 4


def attributes(call: Call) -> dict[str, Any] | None:
    """``None`` where the row of ordinary convolutions is the one."""
    if not is_depthwise(call):
        return None
    multiplier = call.shapes["weight"][0] // call.shapes["input"][1]
    return {**convolution_attributes(call), "depth_multiplier": multiplier}


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Weight ``[1, h, w, C * depth_multiplier]``."""
    return convolution_reference(attrs, codes, grids, channel_axis=3, kernel_order=(3, 0, 1, 2))


def macs(shapes: Mapping[str, Shape]) -> int:
    """Weight ``[1, h, w, O]``: a window of one channel for each output."""
    _, height, width, _ = shapes["weight"]
    return height * width * math.prod(shapes["output"])


def kernel(operands: Operands) -> KernelCall:
    """The kernel subtracts the zero point, so that it can skip padding.

    Several filters of a lone channel are a convolution of it, whose kernels share what they read among filters.
    """
    sizes = convolution_sizes(operands)
    as_convolution = operands.constants["weight"].transpose(3, 1, 2, 0)
    if is_wide(operands):
        return wide_convolution(operands, sizes, as_convolution, sizes["in_c"])
    if sizes["in_c"] == 1 and sizes["out_c"] >= _SHARING:
        return convolution_call(operands, sizes, np.ascontiguousarray(as_convolution), channel_axis=3)
    del sizes["out_c"]
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"),
        "weights": ConstantTable(operands.constants["weight"]),
        "weight_bits": operands.grid("weight").bits,
        "channels": weighted_sums(operands, channel_axis=3, folded=False),
        "out": TensorArgument("output"),
        **sizes,
        "multiplier": operands.attrs["depth_multiplier"],
        "in_zero_point": operands.grid("input").zero_point[0],
    }
    return KernelCall("depthwise_conv_2d_s8", arguments)


def version(qparams: Mapping[str, QParams | None]) -> int:
    """3 reads int8, 5 int16, 6 int4 weights."""
    source, weight = qparams["input"], qparams["weight"]
    if weight is not None and weight.dtype == "int4":
        return 6
    return 5 if source is not None and source.dtype == "int16" else 3


def samples() -> Iterable[Sample]:
    """Multipliers above one, strides, dilation, both paddings, odd and single-pixel images."""
    rng = np.random.default_rng(1)
    plain = {
        "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid", "activation": "none",
        "depth_multiplier": 1,
    }  # fmt: skip
    same = {**plain, "padding": "same"}
    strided = {**same, "stride_h": 2, "stride_w": 2}
    cases: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
        # label, attrs, input shape, weight shape, what weighted_sample takes
        ("valid", plain, (3, 5, 7, 4), (1, 3, 3, 4), {}),
        ("same", same, (2, 5, 6, 3), (1, 3, 3, 3), {}),
        ("multiplier", {**same, "depth_multiplier": 3}, (2, 5, 6, 2), (1, 3, 3, 6), {}),
        ("one channel, multiplier", {**same, "depth_multiplier": 4}, (2, 5, 6, 1), (1, 3, 3, 4), {}),
        ("stride", strided, (2, 7, 8, 3), (1, 3, 3, 3), {}),
        ("dilation", {**same, "dilation_h": 2, "dilation_w": 2}, (2, 9, 9, 2), (1, 3, 3, 2), {}),
        ("relu", {**same, "activation": "relu"}, (2, 4, 4, 5), (1, 3, 3, 5), {"output": (0.05, -128)}),
        ("relu6", {**same, "activation": "relu6"}, (2, 4, 4, 5), (1, 3, 3, 5), {"output": (0.031, -100)}),
        ("one pixel", same, (4, 1, 1, 3), (1, 3, 3, 3), {}),
        ("per tensor", same, (2, 3, 3, 4), (1, 3, 3, 4), {"per_channel": False}),
        ("zero points at the ends", same, (2, 4, 4, 2), (1, 3, 3, 2), {"input": (0.02, -128), "output": (0.1, 127)}),
        ("saturating", same, (2, 4, 4, 8), (1, 3, 3, 8), {"output": (0.001, 3)}),
        ("bias near its limit", same, (2, 4, 4, 2), (1, 1, 1, 2), {"bias": 2**29, "output": (4000.0, 0)}),
        ("int16", same, (2, 5, 5, 3), (1, 3, 3, 3), {"dtype": "int16", "input": (1e-4, 0), "output": (3e-4, 0)}),
        ("int4", same, (2, 5, 5, 3), (1, 3, 3, 3), {"weights": "int4"}),
        ("int16, stride, multiplier", {**strided, "depth_multiplier": 2}, (2, 7, 8, 3), (1, 3, 2, 6),
         {"dtype": "int16", "input": (1e-4, 0), "output": (3e-4, 0)}),
    ]  # fmt: skip
    for label, attrs, image, kernel, options in cases:
        yield weighted_sample(rng, label, attrs, image, kernel, channel_axis=3, **options)
    for dtype in ("int8", "int16"):
        yield cancelled_sample(
            rng, f"{dtype}, cancelled", plain, (10, 31, 35, 3), (1, 31, 35, 3), channel_axis=3, dtype=dtype
        )
    for label, attrs, image, kernel in (
        ("in halves", strided, (2, 4, 3, 59), (1, 3, 3, 59)),
        ("in halves, multiplier", {**same, "depth_multiplier": 3}, (2, 3, 3, 21), (1, 3, 3, 63)),
    ):
        yield weighted_sample(rng, f"int4, {label}", attrs, image, kernel, channel_axis=3, weights="int4")


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """A group for each channel."""
    bias = ("bias",) if "bias" in operands.shapes else ()
    attributes = {**onnx_window(operands), "group": operands.shapes["input"][3]}
    return activated(operands, OnnxNode("Conv", ("input", "weight", *bias), attributes=attributes))


ROW = Row(
    name="depthwise_conv_2d",
    roles=("input", "weight", "bias"),
    matches=convolution_matches(attributes),
    forward=convolution_forward,
    constraints={
        "input": Free(("int8", "int16")),
        "weight": SymmetricWeight(axis=3, dtypes=("int8", "int4")),
        "bias": BiasFromAccumulator(),
        "output": ACCUMULATED,
    },
    reference=reference,
    tflite=TFLite(
        operator="DEPTHWISE_CONV_2D",
        resolver="AddDepthwiseConv2D",
        version=version,
        options="DepthwiseConv2DOptions",
        fields=(OptionField("depth_multiplier", "DepthMultiplier"), *CONVOLUTION_FIELDS),
    ),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=convolved_by_channel,
    rows=rows_of_convolution,
    samples=samples,
    c=kernel,
    fusable=FUSED_ACTIVATIONS,
    channels_last=True,
    needs_bias=True,
    weight_order={"weight": (1, 2, 3, 0)},
    macs=macs,
    takes_front=True,
    hybrid=True,
)
