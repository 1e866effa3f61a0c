"""What the convolution rows share: PyTorch's arguments, the float and the integer convolution, options, samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.families.accumulator import exact_products, output_codes
from qtorch.families.windows import explicit_padding, pair, torch_padding
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.fused_activation import activate
from qtorch.row.kernel_call import Operands
from qtorch.row.row import Attrs, Call, Match, OptionField, Sample

__all__ = [
    "CONVOLUTION_FIELDS",
    "cancelled_sample",
    "convolution_attributes",
    "convolution_forward",
    "convolution_matches",
    "convolution_reference",
    "convolution_sizes",
    "convolve",
    "image_and_window",
    "is_depthwise",
    "padded",
    "weighted_sample",
]

_Pair = tuple[int, int]

#: The options that all convolutions have.
CONVOLUTION_FIELDS = (
    OptionField("stride_w", "StrideW"),
    OptionField("stride_h", "StrideH"),
    OptionField("dilation_w", "DilationWFactor"),
    OptionField("dilation_h", "DilationHFactor"),
    OptionField("padding", "Padding", "Padding"),
    OptionField("activation", "FusedActivationFunction", "ActivationFunctionType"),
)


def convolution_matches(attributes: Callable[[Call], dict[str, Any] | None]) -> tuple[Match, ...]:
    """Modules and operators over one and two axes."""
    return (
        Match("module", nn.Conv2d, attributes, rank=4),
        Match("module", nn.Conv1d, attributes, rank=3),
        Match("aten", "conv2d", attributes, tensors=3, rank=4),
        Match("aten", "conv1d", attributes, tensors=3, rank=3),
    )


def is_depthwise(call: Call) -> bool:
    """Whether every input channel has filters of its own; one channel in all is an ordinary convolution."""
    channels = call.shapes["input"][1]
    return channels > 1 and call.get("groups", 1) == channels


def convolution_attributes(call: Call) -> dict[str, Any]:
    """The attributes that all convolutions have, with explicit padding."""
    kernel = call.shapes["weight"][2:]
    stride, dilation = (pair(call.get(name, 1)) for name in ("stride", "dilation"))
    if len(kernel) == 1:
        stride, dilation, kernel = (1, stride[1]), (1, dilation[1]), (1, *kernel)
    window = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
    return {
        "stride_h": stride[0],
        "stride_w": stride[1],
        "dilation_h": dilation[0],
        "dilation_w": dilation[1],
        "padding": torch_padding(call, window),
        "activation": "none",
    }


def image_and_window(attrs: Attrs, image: Sequence[int], kernel: Sequence[int]) -> tuple[_Pair, _Pair, _Pair, _Pair]:
    """Sizes as ``(height, width)``: of the image, of the dilated window, of the stride, and the dilation."""
    stride = (attrs["stride_h"], attrs["stride_w"])
    dilation = (attrs["dilation_h"], attrs["dilation_w"])
    window = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
    return (image[0], image[1]), window, stride, dilation


def padded(image: Tensor, padding: tuple[_Pair, _Pair], value: float = 0.0) -> Tensor:
    """``[N, C, H, W]`` with ``((top, bottom), (left, right))`` more of ``value``."""
    rows, columns = padding
    return F.pad(image, (*columns, *rows), value=value) if any((*rows, *columns)) else image


def convolve(
    image: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[_Pair, _Pair], stride: _Pair, dilation: _Pair
) -> Tensor:
    """``conv2d`` on ``[N, C, H, W]`` with padding of any kind; the groups follow from the channels."""
    groups = image.shape[1] // weight.shape[1]
    if image.shape[1] == 1:
        # oneDNN's kernel for a single channel (torch 2.13) gives wrong sums for some strides and widths, in float32,
        # from plain PyTorch too; a second channel of zeros makes it take another.
        image, weight = (torch.cat([t, torch.zeros_like(t)], 1) for t in (image, weight))
    (top, bottom), (left, right) = padding
    # oneDNN crashes on some windows that lie wholly in its own padding.
    inside = top < weight.shape[2] and left < weight.shape[3]
    if top == bottom and left == right and inside:
        return F.conv2d(image, weight, bias, stride, (top, left), dilation, groups)
    return F.conv2d(padded(image, padding), weight, bias, stride, 0, dilation, groups)


def convolution_forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Input ``[N, C, H, W]``, weight ``[O, C / groups, h, w]``, bias ``[O]`` or absent; float32."""
    image, weight = x["input"], x["weight"]
    size, window, stride, dilation = image_and_window(attrs, image.shape[2:], weight.shape[2:])
    padding = explicit_padding(attrs["padding"], size, window, stride)
    return activate(attrs["activation"], convolve(image, weight, x.get("bias"), padding, stride, dilation))


def convolution_reference(
    attrs: Attrs,
    codes: Mapping[str, Tensor],
    grids: Mapping[str, Grid],
    channel_axis: int,
    kernel_order: tuple[int, ...],
) -> Tensor:
    """Input ``[N, H, W, C]``; padding is the zero point, which adds nothing.

    Args:
        attrs: explicit padding or TFLite's.
        codes: int64, the weight as the device stores it: its height and width are axes 1 and 2.
        grids: by role.
        channel_axis: the stored weight's output channels.
        kernel_order: the stored weight's axes in PyTorch's order.
    """
    weight = codes["weight"]
    size, window, stride, dilation = image_and_window(attrs, codes["input"].shape[1:3], weight.shape[1:3])
    padding = explicit_padding(attrs["padding"], size, window, stride)

    def product(image: Tensor, kernel: Tensor) -> Tensor:
        image, kernel = image.permute(0, 3, 1, 2), kernel.permute(kernel_order)
        return convolve(image, kernel, None, padding, stride, dilation).permute(0, 2, 3, 1)

    accumulator = exact_products(product, codes["input"], grids["input"], weight, channel_axis)
    # LiteRT's kernels round twice here too, even where its others round once.
    return output_codes(accumulator, codes, attrs, grids, Rounding.DOUBLE)


def convolution_sizes(operands: Operands) -> dict[str, int]:
    """What the C kernels of convolutions are told, by their parameters' names; the weight's axes 1 and 2 slide."""
    (_, in_h, in_w, in_c), (_, out_h, out_w, out_c) = operands.shapes["input"], operands.shapes["output"]
    attrs, window = operands.attrs, operands.shapes["weight"][1:3]
    size, covered, stride, dilation = image_and_window(attrs, (in_h, in_w), window)
    (top, _), (left, _) = explicit_padding(attrs["padding"], size, covered, stride)
    return {
        "in_h": in_h, "in_w": in_w, "in_c": in_c, "out_h": out_h, "out_w": out_w, "out_c": out_c,
        "window_h": window[0], "window_w": window[1], "stride_h": stride[0], "stride_w": stride[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1], "padding_top": top, "padding_left": left,
    }  # fmt: skip


def weighted_sample(
    rng: np.random.Generator,
    label: str,
    attrs: dict[str, Any],
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    *,
    channel_axis: int,
    input: tuple[float, int] = (0.05, -3),
    output: tuple[float, int] = (0.2, 4),
    bias: int = 2**9,
    per_channel: bool = True,
    extreme: bool = False,
    dtype: str = "int8",
    weights: str = "int8",
    wide: str = "",
    weight_zero_point: int = 0,
) -> Sample:
    """A sample of an op with weights: random codes and biases up to ``bias`` (0: none), scales as given.

    ``wide`` is the bias's type where it is not the usual one.
    """
    channels = kernel[channel_axis]
    source, sink = (QParams((float(np.float32(s)),), (z,), dtype) for s, z in (input, output))
    scales = (rng.uniform(0.3, 1.0, channels if per_channel else 1) * 0.02).astype(np.float32)
    low, high = CODE_RANGE[weights]
    codes = rng.integers(low + 1, high + 1, kernel, dtype=np.int8)
    arrays = {
        "input": rng.integers(*CODE_RANGE[dtype], image, dtype=dtype, endpoint=True),
        "weight": np.where(codes < 0, low + 1, high).astype(np.int8) if extreme else codes,
    }
    if bias:
        arrays["bias"] = rng.integers(-bias, bias, channels, dtype=wide or _WIDE[dtype])
    axis = channel_axis if per_channel else None
    qparams = _with_weights(arrays, source, sink, scales, axis, weights)
    if weight_zero_point:
        qparams["weight"] = QParams((float(scales[0]),), (weight_zero_point,))
    return Sample(label, attrs, arrays, qparams)


def cancelled_sample(
    rng: np.random.Generator,
    label: str,
    attrs: dict[str, Any],
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    *,
    channel_axis: int,
    dtype: str = "int8",
) -> Sample:
    """A sample whose sums of products pass 2**25, where float32 counts in fours, and whose biases leave little of them.

    One step of a sum is most of a step of the output, so that each that is off by as much as a rounding shows. The last
    eight products of each sum are small and differ from input to input.

    Args:
        rng: of the codes.
        label: of the sample.
        attrs: of the op.
        image: shape; a sum is over everything, or over all pixels of a channel.
        kernel: shape, whose axes but ``channel_axis`` are summed over.
        channel_axis: of the output channels.
        dtype: of the activations.
    """
    channels = kernel[channel_axis]
    taps = int(np.prod(kernel)) // channels
    zero_point = -128 if dtype == "int8" else 0
    high = CODE_RANGE[dtype][1]
    scales = (rng.uniform(0.8, 1.0, channels) * 0.01).astype(np.float32)
    source = QParams((float(np.float32(0.05)),), (zero_point,), dtype)
    sink = QParams((float(np.float32(0.0006)),), (0,), dtype)
    codes = np.full((image[0], taps, int(np.prod(image[1:])) // taps), high, dtype)
    codes[:, -8:] -= rng.integers(0, 11, codes[:, -8:].shape, dtype=dtype)
    weights = np.full((channels, taps), 127, np.int8)
    weights[:, -8:] = rng.choice(np.array([-1, 1], np.int8), (channels, 8))
    sums = (high - zero_point) * weights.astype(np.int64).sum(1)
    others = tuple(n for axis, n in enumerate(kernel) if axis != channel_axis)
    arrays = {
        "input": codes.reshape(image),
        "weight": np.ascontiguousarray(np.moveaxis(weights.reshape(channels, *others), 0, channel_axis)),
        "bias": (-sums).astype(_WIDE[dtype]),
    }
    return Sample(label, attrs, arrays, _with_weights(arrays, source, sink, scales, channel_axis, "int8"))


#: The type of a bias by that of activations.
_WIDE = {"int8": "int32", "int16": "int64"}


def _with_weights(
    arrays: Mapping[str, np.ndarray], source: QParams, sink: QParams, scales: np.ndarray, axis: int | None, weights: str
) -> dict[str, QParams | None]:
    """Quantizations by role; of a bias, where there is one, by the products of the input's scale and the weights'."""
    qparams: dict[str, QParams | None] = {
        "input": source,
        "weight": QParams(tuple(map(float, scales)), (0,) * len(scales), weights, axis),
        "output": sink,
    }
    if "bias" in arrays:
        products = np.float32(source.scale[0]) * scales
        qparams["bias"] = QParams(
            tuple(map(float, products)), (0,) * len(scales), arrays["bias"].dtype.name, None if axis is None else 0
        )
    return qparams
