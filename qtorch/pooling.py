"""What the pooling rows share: reading PyTorch's arguments."""

from __future__ import annotations

from typing import Any

from qtorch.row import Call, Refused
from qtorch.windows import pair

__all__ = ["adaptive_attributes", "pooling_attributes"]


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


def _attributes(window: tuple[int, int], stride: tuple[int, int], padding: Any) -> dict[str, Any]:
    return {
        "filter_h": window[0],
        "filter_w": window[1],
        "stride_h": stride[0],
        "stride_w": stride[1],
        "padding": padding,
    }
