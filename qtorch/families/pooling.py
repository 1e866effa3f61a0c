"""What the pooling rows share: reading PyTorch's arguments, options, samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from qtorch.c_cells.strides import bytes_each
from qtorch.families.windows import explicit_padding, pair
from qtorch.numbers.qparams import QParams
from qtorch.row.fused_activation import activation_limits
from qtorch.row.kernel_call import Argument, KernelCall, KernelCell, NoKernel, Operands, TensorArgument
from qtorch.row.row import Attrs, Call, OptionField, Refused, Sample, Shape, homogeneous_within_channels

__all__ = [
    "POOLING_FIELDS",
    "adaptive_attributes",
    "homogeneous",
    "pooling_attributes",
    "pooling_kernel",
    "pooling_samples",
    "pooling_version",
]

#: The options that both poolings have.
POOLING_FIELDS = (
    OptionField("stride_w", "StrideW"),
    OptionField("stride_h", "StrideH"),
    OptionField("filter_w", "FilterWidth"),
    OptionField("filter_h", "FilterHeight"),
    OptionField("padding", "Padding", "Padding"),
    OptionField("activation", "FusedActivationFunction", "ActivationFunctionType"),
)


def pooling_version(qparams: Mapping[str, QParams | None]) -> int:
    """2 reads int8, 3 int16."""
    source = qparams["input"]
    return 3 if source is not None and source.dtype == "int16" else 2


def pooling_kernel(kernel: str) -> KernelCell:
    """The cell of a pooling that looks at the pixels inside the image only; a fused activation is a second call."""

    def cell(operands: Operands) -> KernelCall | tuple[KernelCall, KernelCall]:
        pooled, grid = _pooled(kernel, operands), operands.grid("output")
        low, high = activation_limits(operands.attrs["activation"], grid.grid)
        if (low, high) == grid.code_range:
            return pooled
        sizes = {"width": bytes_each(grid.dtype), "count": operands.size("output"), "low": low, "high": high}
        return pooled, KernelCall("clamped_codes", {"out": TensorArgument("output"), **sizes})

    return cell


def homogeneous(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Within channels, but for an activation that has a limit above 0."""
    return None if attrs["activation"] == "relu6" else homogeneous_within_channels(attrs, axis, before, after)


def _pooled(kernel: str, operands: Operands) -> KernelCall:
    attrs, (_, in_h, in_w, depth) = operands.attrs, operands.shapes["input"]
    window, stride = (attrs["filter_h"], attrs["filter_w"]), (attrs["stride_h"], attrs["stride_w"])
    (top, _), (left, _) = explicit_padding(attrs["padding"], (in_h, in_w), window, stride)
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"), "out": TensorArgument("output"), "in_h": in_h, "in_w": in_w, "depth": depth,
        "out_h": operands.shapes["output"][1], "out_w": operands.shapes["output"][2],
        "window_h": window[0], "window_w": window[1], "stride_h": stride[0], "stride_w": stride[1],
        "padding_top": top, "padding_left": left,
    }  # fmt: skip
    if operands.grid("input").dtype == "int8":
        return KernelCall(kernel, arguments)
    if window[0] * window[1] > 2**15:
        raise NoKernel(f"sums of {window[0] * window[1]} codes of 16 bits, which int32 does not hold")
    return KernelCall("pool_2d_s16", {**arguments, "largest": int(kernel == "max_pool_2d_s8")})


def pooling_samples(seed: int) -> Iterable[Sample]:
    """Windows that overlap and that do not, even counts (which have ties), both paddings, odd sizes, one pixel."""
    rng = np.random.default_rng(seed)
    for label, shape, window, stride, padding, dtype, zero_point in [
        ("valid", (3, 4, 6, 2), (2, 2), (2, 2), "valid", "int8", -5),
        ("overlapping", (2, 7, 7, 3), (3, 3), (2, 2), "valid", "int8", 127),
        ("same", (2, 7, 8, 3), (3, 3), (2, 2), "same", "int8", -128),
        ("uneven", (2, 5, 9, 1), (1, 4), (1, 3), "same", "int8", 0),
        ("global", (2, 8, 8, 5), (8, 8), (8, 8), "valid", "int8", 10),
        ("one pixel", (4, 1, 1, 3), (3, 3), (1, 1), "same", "int8", 3),
        ("int16", (2, 6, 6, 3), (2, 2), (2, 2), "same", "int16", 0),
    ]:
        grid = QParams((float(np.float32(0.03)),), (zero_point,), dtype)
        limits = np.iinfo(dtype)
        codes = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        attrs = _attributes(window, stride, padding)
        yield Sample(label, attrs, {"input": codes}, {"input": grid, "output": grid})
    grid = QParams((float(np.float32(0.03)),), (0,), "int16")
    codes = rng.integers(-(2**15), 2**15, (2, 7, 9, 3), dtype=np.int16)
    uneven = _attributes((2, 3), (1, 2), "same")
    yield Sample("int16, uneven", uneven, {"input": codes}, {"input": grid, "output": grid})
    yield Sample(
        "int16, beyond float32",
        _attributes((27, 27), (1, 1), "valid"),
        {"input": _sums_next_to_ties(rng)},
        {"input": grid, "output": grid},
    )
    # An activation holds the codes between limits; the scale's own are within, below and above them.
    for dtype, zero_point in (("int8", -5), ("int8", -128), ("int16", 0)):
        limits = np.iinfo(dtype)
        grid = QParams((float(np.float32(0.06 if dtype == "int8" else 3e-4)),), (zero_point,), dtype)
        for activation in ("relu", "relu6"):
            codes = rng.integers(limits.min, limits.max, (3, 6, 7, 5), dtype=dtype, endpoint=True)
            attrs = _attributes((2, 1), (2, 1), "same", activation)
            label = f"{dtype}@{zero_point} {activation}, no float form"
            yield Sample(label, attrs, {"input": codes}, {"input": grid, "output": grid})
    # The sum of codes as bytes without sign passes 16 bits.
    grid = QParams((float(np.float32(0.03)),), (-5,))
    codes = (rng.integers(100, 118, (2, 17, 17, 5)) + rng.integers(0, 10, (2, 1, 1, 5))).astype(np.int8)
    yield Sample(
        "wide, high", _attributes((17, 17), (1, 1), "valid"), {"input": codes}, {"input": grid, "output": grid}
    )


def _sums_next_to_ties(rng: np.random.Generator) -> np.ndarray:
    """Codes ``[2, 27, 27, 16]`` whose sums pass 2**24 and lie half a step before or behind the middle of two means."""
    codes = rng.integers(29_000, 31_000, (2, 27 * 27, 16), dtype=np.int64)
    wanted = 27 * 27 // 2 + rng.integers(0, 2, (2, 16))
    codes[:, 0] += (wanted - codes.sum(1)) % (27 * 27)
    return codes.reshape(2, 27, 27, 16).astype(np.int16)


def pooling_attributes(call: Call) -> dict[str, Any]:
    """Window, stride and explicit padding of a pooling module or function; ``ceil_mode`` becomes padding after.

    Raises:
        Refused: dilation.
    """
    one_dimensional = len(call.shapes["input"]) == 3
    kernel = pair(call.get("kernel_size"))
    stride = pair(call.get("stride") or call.get("kernel_size"))
    before = pair(call.get("padding", 0))
    if one_dimensional:
        kernel, stride, before = (1, kernel[1]), (1, stride[1]), (0, before[1])
    if set(pair(call.get("dilation", 1))) != {1}:
        raise Refused(expected="dilation=1", got=f"dilation={call.get('dilation')}", remedy="use a plain window")
    image, result = _sizes(call.shapes["input"]), _sizes(call.output_shape)
    needed = [(o - 1) * s + k - n - b for n, o, k, s, b in zip(image, result, kernel, stride, before, strict=True)]
    rows, columns = ((b, max(b, after)) for b, after in zip(before, needed, strict=True))
    return _attributes(kernel, stride, (rows, columns))


def adaptive_attributes(call: Call) -> dict[str, Any]:
    """An adaptive pooling whose windows are all of one size.

    Raises:
        Refused: they are not.
    """
    image, result = _sizes(call.shapes["input"]), _sizes(call.output_shape)
    if any(n % o for n, o in zip(image, result, strict=True)):
        raise Refused(
            expected=f"an output size that divides the image's {image}",
            got=f"{result}",
            remedy="choose a divisor, or a pooling with a fixed window",
        )
    window = (image[0] // result[0], image[1] // result[1])
    return _attributes(window, window, ((0, 0), (0, 0)))


def _sizes(shape: tuple[int, ...]) -> tuple[int, int]:
    return (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])


def _attributes(
    window: tuple[int, int], stride: tuple[int, int], padding: Any, activation: str = "none"
) -> dict[str, Any]:
    return {
        "filter_h": window[0],
        "filter_w": window[1],
        "stride_h": stride[0],
        "stride_w": stride[1],
        "padding": padding,
        "activation": activation,
    }
