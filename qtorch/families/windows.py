"""Where a sliding window lies on an image: TFLite's SAME and VALID, PyTorch's explicit padding, and which is which.

Everything is per axis and in elements; ``(before, after)`` are counts of padding. Source: TFLM ``kernels/padding.h``.
"""

from __future__ import annotations

from typing import Any

from qtorch.row.kernel_call import Operands
from qtorch.row.row import Call

__all__ = ["Padding", "explicit_padding", "onnx_window", "output_size", "padding_name", "pair", "torch_padding"]

#: ``"same"``, ``"valid"``, or ``((top, bottom), (left, right))`` as long as no pass has put it into TFLite's terms.
Padding = Any


def pair(value: Any) -> tuple[int, int]:
    """A module's size argument as ``(height, width)``; one-dimensional ones act along the width."""
    if isinstance(value, int):
        return (value, value)
    values = tuple(int(v) for v in value)
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def output_size(size: int, window: int, stride: int, before: int, after: int) -> int:
    """How many windows fit; ``window`` includes dilation."""
    return (size + before + after - window) // stride + 1


def _same(size: int, window: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return (total // 2, total - total // 2)


def explicit_padding(
    padding: Padding, size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """``((top, bottom), (left, right))`` of any :data:`Padding` on an image of ``size``."""
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding == "same":
        rows, columns = (_same(n, w, s) for n, w, s in zip(size, window, stride, strict=True))
        return rows, columns
    rows, columns = padding
    return (rows[0], rows[1]), (columns[0], columns[1])


def padding_name(
    padding: Padding, size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> str | None:
    """``"valid"`` or ``"same"`` if that puts every window where ``padding`` puts it, else ``None``.

    What lies after the last window does not matter.
    """
    if isinstance(padding, str):
        return padding
    for name in ("valid", "same"):
        amounts = explicit_padding(name, size, window, stride)
        axes = list(zip(padding, amounts, size, window, stride, strict=True))
        if all(
            wanted[0] == got[0] and output_size(n, w, s, *wanted) == output_size(n, w, s, *got)
            for wanted, got, n, w, s in axes
        ):
            return name
    return None


def torch_padding(call: Call, window: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """A convolution's or pooling's ``padding`` argument, an int, a tuple or a string, as explicit padding."""
    padding = call.get("padding", 0)
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding == "same":
        # PyTorch puts the odd element after, at stride 1 only, as TFLite does.
        rows, columns = ((w - 1 - (w - 1) // 2, (w - 1) // 2) for w in window)
        return (rows[1], rows[0]), (columns[1], columns[0])
    one_dimensional = len(call.shapes["input"]) == 3
    sizes = (0, pair(padding)[1]) if one_dimensional else pair(padding)
    return (sizes[0], sizes[0]), (sizes[1], sizes[1])


def onnx_window(operands: Operands) -> dict[str, Any]:
    """ONNX's attributes of a convolution or pooling: strides, explicit padding, and its window or dilation."""
    attrs, (_, height, width, _) = operands.attrs, operands.shapes["input"]
    stride, dilation = (attrs["stride_h"], attrs["stride_w"]), (attrs.get("dilation_h", 1), attrs.get("dilation_w", 1))
    pooling = "filter_h" in attrs
    kernel = (attrs["filter_h"], attrs["filter_w"]) if pooling else operands.shapes["weight"][1:3]
    covered = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
    (top, bottom), (left, right) = explicit_padding(attrs["padding"], (height, width), covered, stride)
    onnx_attrs = {"strides": stride, "pads": (top, left, bottom, right), "kernel_shape": kernel}
    return onnx_attrs if pooling else {**onnx_attrs, "dilations": dilation}
