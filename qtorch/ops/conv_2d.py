"""CONV_2D: int8 activations and weights with int32 bias, int16 activations with int64 or int32
bias; groups, dilation.

``torch.nn.Conv1d`` on ``[N, C, L]`` is one on ``[N, 1, L, C]``. A convolution whose groups are its input channels is a
depthwise one: see :mod:`qtorch.ops.depthwise_conv_2d`.
Source: TFLM ``kernels/internal/reference/integer_ops/conv.h``, ``micro/kernels/conv_common.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

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
from qtorch.families.window_rules import convolved
from qtorch.families.windows import onnx_window
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.asked import always, none
from qtorch.remedies.images import windows
from qtorch.row.constraints import ACCUMULATED, EITHER_BIAS, BiasFromAccumulator, Free, SymmetricWeight
from qtorch.row.fused_activation import FUSED_ACTIVATIONS
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode, activated
from qtorch.row.row import Attrs, Call, Row, Sample, Shape, TFLite


def attributes(call: Call) -> dict[str, Any] | None:
    """``None`` where the row of depthwise convolutions is the one."""
    return None if is_depthwise(call) else convolution_attributes(call)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Weight ``[O, h, w, C / groups]``."""
    return convolution_reference(attrs, codes, grids, channel_axis=0, kernel_order=(0, 3, 1, 2))


def macs(shapes: Mapping[str, Shape]) -> int:
    """Weight ``[O, h, w, C / groups]``: a window of them for each output."""
    _, height, width, depth = shapes["weight"]
    return height * width * depth * math.prod(shapes["output"])


def kernel(operands: Operands) -> KernelCall:
    """Of groups too."""
    sizes = convolution_sizes(operands)
    weight = operands.constants["weight"]
    if is_wide(operands):
        return wide_convolution(operands, sizes, weight, sizes["in_c"] // weight.shape[3])
    return convolution_call(operands, sizes, weight, channel_axis=0)


def version(qparams: Mapping[str, QParams | None]) -> int:
    """3 reads int8, 4 int16, 7 int4 weights."""
    source, weight = qparams["input"], qparams["weight"]
    if weight is not None and weight.dtype == "int4":
        return 7
    return 4 if source is not None and source.dtype == "int16" else 3


def samples() -> Iterable[Sample]:
    """Strides, dilation, both paddings, groups, odd and single-pixel images, extreme scales, large biases."""
    rng = np.random.default_rng(0)
    plain = {
        "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid", "activation": "none"
    }  # fmt: skip
    same, strided = {**plain, "padding": "same"}, {**plain, "stride_h": 2, "stride_w": 3}
    cases: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
        # label, attrs, input shape, weight shape, what weighted_sample takes
        ("valid", plain, (3, 5, 7, 4), (6, 3, 3, 4), {}),
        ("same", same, (2, 5, 6, 3), (5, 3, 3, 3), {}),
        ("same, stride", {**strided, "padding": "same"}, (2, 7, 8, 3), (4, 3, 4, 3), {}),
        ("valid, stride", strided, (2, 9, 9, 2), (3, 2, 2, 2), {}),
        ("dilation", {**same, "dilation_h": 2, "dilation_w": 3}, (2, 9, 9, 2), (3, 3, 3, 2), {}),
        ("groups", same, (2, 5, 5, 6), (9, 3, 3, 2), {}),
        ("pointwise relu", {**plain, "activation": "relu"}, (2, 4, 4, 16), (8, 1, 1, 16), {"output": (0.05, -128)}),
        ("relu6", {**plain, "activation": "relu6"}, (2, 4, 4, 5), (8, 2, 2, 5), {"output": (0.031, -100)}),
        ("one pixel", same, (4, 1, 1, 3), (2, 3, 3, 3), {}),
        ("one channel, per tensor", same, (2, 3, 3, 1), (1, 3, 3, 1), {"per_channel": False}),
        ("zero points at the ends", same, (2, 4, 4, 2), (3, 3, 3, 2), {"input": (0.02, -128), "output": (0.1, 127)}),
        ("and the other way", same, (2, 4, 4, 2), (3, 3, 3, 2), {"input": (0.02, 127), "output": (0.1, -128)}),
        ("saturating", same, (2, 4, 4, 8), (3, 3, 3, 8), {"output": (0.001, 3)}),
        ("tiny scales", same, (2, 4, 4, 8), (3, 3, 3, 8), {"input": (1e-12, 3), "output": (1e-12, 3)}),
        ("bias near its limit", same, (2, 4, 4, 2), (3, 1, 1, 2), {"bias": 2**29, "output": (4000.0, 0)}),
        ("beyond float32", plain, (1, 5, 5, 80), (2, 3, 3, 80), {"extreme": True, "output": (3.0, 0)}),
        ("int16", same, (2, 5, 5, 3), (4, 3, 3, 3), {"dtype": "int16", "input": (1e-4, 0), "output": (3e-4, 0)}),
        ("int16 wide", plain, (2, 5, 5, 9), (4, 5, 5, 9), {"dtype": "int16", "input": (1e-4, 0), "output": (1e-3, 0)}),
        ("int4", same, (2, 5, 5, 3), (5, 3, 3, 3), {"weights": "int4"}),
        ("int16, stride", {**strided, "padding": "same"}, (2, 7, 9, 3), (4, 2, 3, 3),
         {"dtype": "int16", "input": (1e-4, 0), "output": (3e-4, 0)}),
        ("int16, valid, stride", strided, (2, 9, 8, 2), (3, 3, 2, 2),
         {"dtype": "int16", "input": (1e-4, 0), "output": (3e-4, 0)}),
    ]  # fmt: skip
    for label, attrs, image, kernel, options in cases:
        yield weighted_sample(rng, label, attrs, image, kernel, channel_axis=0, **options)
    for dtype in ("int8", "int16"):
        yield cancelled_sample(
            rng, f"{dtype}, cancelled", plain, (20, 3, 3, 123), (3, 3, 3, 123), channel_axis=0, dtype=dtype
        )
    for label, attrs in (("", {**same, "activation": "relu"}), (", stride", strided)):
        yield weighted_sample(
            rng, f"int16, int32 bias{label}, TFLM alone", attrs, (2, 5, 7, 4), (6, 3, 2, 2), channel_axis=0,
            dtype="int16", input=(1e-4, 0), output=(3e-4, 0), wide="int32", bias=2**20,
        )  # fmt: skip
    for label, attrs, image, kernel in (
        ("in halves", {**same, "activation": "relu"}, (2, 5, 4, 5), (13, 3, 3, 5)),
        ("in halves, groups", strided, (2, 5, 5, 8), (14, 3, 3, 4)),
        ("in halves, pointwise", plain, (2, 3, 3, 31), (11, 1, 1, 31)),
    ):
        yield weighted_sample(rng, f"int4, {label}", attrs, image, kernel, channel_axis=0, weights="int4")


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """Groups follow from the channels."""
    bias = ("bias",) if "bias" in operands.shapes else ()
    attributes = {**onnx_window(operands), "group": operands.shapes["input"][3] // operands.shapes["weight"][3]}
    return activated(operands, OnnxNode("Conv", ("input", "weight", *bias), attributes=attributes))


ROW = Row(
    name="conv_2d",
    roles=("input", "weight", "bias"),
    matches=convolution_matches(attributes),
    forward=convolution_forward,
    constraints={
        "input": Free(("int8", "int16")),
        "weight": SymmetricWeight(axis=0, dtypes=("int8", "int4")),
        "bias": BiasFromAccumulator(dtypes=EITHER_BIAS),
        "output": ACCUMULATED,
    },
    reference=reference,
    tflite=TFLite(
        operator="CONV_2D",
        resolver="AddConv2D",
        version=version,
        options="Conv2DOptions",
        fields=CONVOLUTION_FIELDS,
        # The type of sums of int16 codes, which the bias's own says where there is one; sums of int8 are int32. All but
        # INT32 (TensorType 2) stand for 64 bits.
        unread_beside_bias=frozenset({"QuantizedBiasType"}),
        alike={"QuantizedBiasType": frozenset({4})},
    ),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=convolved,
    rows=rows_of_convolution,
    samples=samples,
    c=kernel,
    fusable=FUSED_ACTIVATIONS,
    channels_last=True,
    needs_bias=True,
    weight_order={"weight": (0, 2, 3, 1)},
    macs=macs,
    takes_front=True,
    hybrid=True,
    remedies={
        **dict.fromkeys(("unfold", "im2col"), windows),
        **dict.fromkeys(
            ("conv3d", "convtranspose3d", "convtbc"),
            always(none("nothing has three dimensions; nn.Conv2d over two of the axes changes the network")),
        ),
    },
)
