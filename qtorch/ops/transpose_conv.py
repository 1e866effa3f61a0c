"""TRANSPOSE_CONV: int8 with int32 bias, int16 with int64 bias; one group, no dilation.

The kernel scatters every input pixel's window into an output of the size that it is told, cutting off what lies
outside. ``torch.nn.ConvTranspose1d`` on ``[N, C, L]`` is one on ``[N, 1, L, C]``.
Source: TFLM ``kernels/internal/reference/integer_ops/transpose_conv.h``, ``micro/kernels/transpose_conv.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.families.accumulator import exact_products, output_codes, weighted_sums
from qtorch.families.convolution import cancelled_sample, weighted_sample
from qtorch.families.wide_sums import is_wide, wide_arguments
from qtorch.families.window_rows import rows_of_scattering
from qtorch.families.window_rules import scattered
from qtorch.families.windows import explicit_padding, pair
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.asked import always, none
from qtorch.row.constraints import ACCUMULATED, BiasFromAccumulator, Free, SymmetricWeight
from qtorch.row.fused_activation import FUSED_ACTIVATIONS, activate
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode, activated
from qtorch.row.row import Attrs, Call, Match, Operand, OptionField, Refused, Row, Sample, Shape, TFLite


def attributes(call: Call) -> dict[str, Any]:
    """Explicit padding here is what is cut off before; what is cut off after follows from the output's size."""
    if call.get("groups", 1) != 1 or set(pair(call.get("dilation", 1))) != {1}:
        raise Refused(
            expected="a transposed convolution of one group without dilation",
            got=f"groups={call.get('groups', 1)}, dilation={call.get('dilation', 1)}",
            remedy="upsample with nn.Upsample and convolve, or split the channels",
        )
    one_dimensional = len(call.shapes["input"]) == 3
    stride, cut = pair(call.get("stride", 1)), pair(call.get("padding", 0))
    if one_dimensional:
        stride, cut = (1, stride[1]), (0, cut[1])
    size = call.output_shape[2:]
    height, width = (1, size[0]) if one_dimensional else (size[0], size[1])
    return {
        "stride_h": stride[0],
        "stride_w": stride[1],
        "padding": ((cut[0], cut[0]), (cut[1], cut[1])),
        "output_shape": (1, height, width, call.output_shape[1]),
        "activation": "none",
    }


def _scatter(attrs: Attrs, image: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """``[N, C, H, W]`` and ``[C, O, h, w]`` to the output's size, PyTorch's axis order."""
    stride, size = (attrs["stride_h"], attrs["stride_w"]), attrs["output_shape"][1:3]
    window = (kernel.shape[2], kernel.shape[3])
    # Padding is that of the convolution in the other direction, from the output's size to the input's.
    cut = explicit_padding(attrs["padding"], size, window, stride)
    whole = F.conv_transpose2d(image, kernel, bias, stride)
    rows, columns = ((before, before + n) for (before, _), n in zip(cut, size, strict=True))
    missing = (max(0, rows[1] - whole.shape[2]), max(0, columns[1] - whole.shape[3]))
    if any(missing):
        fill = F.pad(whole, (0, missing[1], 0, missing[0]))
        if bias is not None:
            outside = F.pad(whole.new_zeros(whole.shape), (0, missing[1], 0, missing[0]), value=1.0)
            fill = fill + outside * bias[:, None, None]
        whole = fill
    return whole[:, :, rows[0] : rows[1], columns[0] : columns[1]]


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Input ``[N, C, H, W]``, weight ``[C, O, h, w]``, bias ``[O]`` or absent."""
    return activate(attrs["activation"], _scatter(attrs, x["input"], x["weight"], x.get("bias")))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Input ``[N, H, W, C]``, weight ``[O, h, w, C]``."""

    def convolve(image: Tensor, kernel: Tensor) -> Tensor:
        return _scatter(attrs, image.permute(0, 3, 1, 2), kernel.permute(3, 0, 1, 2)).permute(0, 2, 3, 1)

    accumulator = exact_products(convolve, codes["input"], grids["input"], codes["weight"], 0)
    # LiteRT's kernel rounds twice here too, even where its others round once.
    return output_codes(accumulator, codes, attrs, grids, Rounding.DOUBLE)


def macs(shapes: Mapping[str, Shape]) -> int:
    """Weight ``[O, h, w, C]``: every input meets every weight of its channel, whatever is cut off later."""
    outputs, height, width, _ = shapes["weight"]
    return outputs * height * width * math.prod(shapes["input"])


def kernel(operands: Operands) -> KernelCall:
    """The kernel subtracts the zero point: how many products a sum has depends on the pixel."""
    if is_wide(operands):
        return KernelCall(
            "transpose_conv_s16", {**wide_arguments(operands, operands.constants["weight"]), **_sizes(operands)}
        )
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"),
        "weights": ConstantTable(operands.constants["weight"]),
        "channels": weighted_sums(operands, channel_axis=0, folded=False),
        "out": TensorArgument("output"),
        **_sizes(operands),
        "in_zero_point": operands.grid("input").zero_point[0],
    }
    return KernelCall("transpose_conv_s8", arguments)


def _sizes(operands: Operands) -> dict[str, int]:
    attrs, (_, out_h, out_w, out_c) = operands.attrs, operands.shapes["output"]
    (_, in_h, in_w, in_c), (_, window_h, window_w, _) = operands.shapes["input"], operands.shapes["weight"]
    stride = (attrs["stride_h"], attrs["stride_w"])
    (top, _), (left, _) = explicit_padding(attrs["padding"], (out_h, out_w), (window_h, window_w), stride)
    return {
        "in_h": in_h, "in_w": in_w, "in_c": in_c, "out_h": out_h, "out_w": out_w, "out_c": out_c,
        "window_h": window_h, "window_w": window_w, "stride_h": stride[0], "stride_w": stride[1],
        "cut_top": top, "cut_left": left,
    }  # fmt: skip


def version(qparams: Mapping[str, QParams | None]) -> int:
    """3 reads a bias; LiteRT's 4 a fused activation."""
    return 4


def samples() -> Iterable[Sample]:
    """Strides, output padding, both paddings, extreme scales."""
    rng = np.random.default_rng(2)

    def attrs(size: tuple[int, int, int], stride: int = 2, padding: str = "same", activation: str = "none") -> Any:
        shape = (1, *size)
        both = {"stride_h": stride, "stride_w": stride}
        return {**both, "padding": padding, "output_shape": shape, "activation": activation}

    cases: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
        # label, attrs, input shape, weight shape, what weighted_sample takes
        ("same", attrs((10, 12, 4)), (2, 5, 6, 3), (4, 4, 4, 3), {}),
        ("same, odd window", attrs((9, 11, 4)), (2, 5, 6, 3), (4, 3, 3, 3), {}),
        ("valid", attrs((11, 13, 2), padding="valid"), (2, 5, 6, 3), (2, 3, 3, 3), {}),
        ("valid, output padding", attrs((12, 14, 2), padding="valid"), (2, 5, 6, 3), (2, 3, 3, 3), {}),
        ("stride beyond window", attrs((7, 7, 2), 3, "valid"), (1, 3, 3, 2), (2, 1, 1, 2), {}),
        ("stride one", attrs((5, 6, 2), 1), (2, 5, 6, 3), (2, 3, 3, 3), {}),
        ("relu", attrs((10, 12, 4), activation="relu"), (2, 5, 6, 3), (4, 4, 4, 3), {}),
        ("no bias", attrs((10, 12, 4)), (2, 5, 6, 3), (4, 4, 4, 3), {"bias": 0}),
        ("zero points at the ends", attrs((4, 4, 2)), (2, 2, 2, 3), (2, 2, 2, 3),
         {"input": (0.02, -128), "output": (0.1, 127)}),
        ("per tensor", attrs((4, 4, 2)), (2, 2, 2, 3), (2, 2, 2, 3), {"per_channel": False}),
        ("int16", attrs((10, 12, 4)), (2, 5, 6, 3), (4, 4, 4, 3),
         {"dtype": "int16", "input": (1e-4, 0), "output": (3e-4, 0)}),
    ]  # fmt: skip
    for label, attributes, image, kernel, options in cases:
        yield weighted_sample(rng, label, attributes, image, kernel, channel_axis=0, **options)
    for dtype in ("int8", "int16"):
        yield cancelled_sample(
            rng, f"{dtype}, cancelled", attrs((1, 1, 3), 1), (20, 1, 1, 1101), (3, 1, 1, 1101), channel_axis=0,
            dtype=dtype,
        )  # fmt: skip


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """What the output's size leaves over is cut off behind, or padded with what the bias alone gives."""
    attrs, kernel = operands.attrs, operands.shapes["weight"][1:3]
    stride, size = (attrs["stride_h"], attrs["stride_w"]), attrs["output_shape"][1:3]
    (top, _), (left, _) = explicit_padding(attrs["padding"], size, (kernel[0], kernel[1]), stride)
    axes = zip(operands.shapes["input"][1:3], kernel, stride, size, (top, left), strict=True)
    over = [(n - 1) * s + w - before - o for n, w, s, o, before in axes]
    attributes = {
        "strides": stride,
        "kernel_shape": kernel,
        "pads": (top, left, *(max(0, n) for n in over)),
        "output_padding": tuple(max(0, -n) for n in over),
    }
    bias = ("bias",) if "bias" in operands.shapes else ()
    return activated(operands, OnnxNode("ConvTranspose", ("input", "weight", *bias), attributes=attributes))


ROW = Row(
    name="transpose_conv",
    roles=("input", "weight", "bias"),
    matches=(
        Match("module", nn.ConvTranspose2d, attributes, rank=4),
        Match("module", nn.ConvTranspose1d, attributes, rank=3),
        Match("aten", "conv_transpose2d", attributes, tensors=3, rank=4),
        Match("aten", "conv_transpose1d", attributes, tensors=3, rank=3),
    ),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16")),
        "weight": SymmetricWeight(axis=0),
        "bias": BiasFromAccumulator(),
        "output": ACCUMULATED,
    },
    reference=reference,
    tflite=TFLite(
        operator="TRANSPOSE_CONV",
        resolver="AddTransposeConv",
        version=version,
        options="TransposeConvOptions",
        fields=(
            OptionField("stride_w", "StrideW"),
            OptionField("stride_h", "StrideH"),
            OptionField("padding", "Padding", "Padding"),
            OptionField("activation", "FusedActivationFunction", "ActivationFunctionType"),
        ),
        operands=(Operand("output_shape", 0),),
        order=("weight", "input", "bias"),
        # The type of sums, which the kernel of TFLM takes from the input's.
        unread=frozenset({"QuantizedBiasType"}),
    ),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=scattered,
    rows=rows_of_scattering,
    samples=samples,
    c=kernel,
    fusable=FUSED_ACTIVATIONS,
    channels_last=True,
    weight_order={"weight": (1, 2, 3, 0)},
    macs=macs,
    remedies={
        "fold": always(none("nn.ConvTranspose2d adds up windows as well, and has weights to learn")),
    },
)
