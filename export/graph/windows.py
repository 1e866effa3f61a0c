"""Ops whose windows slide over an image, and how much of the image they read."""

from __future__ import annotations

from collections.abc import Mapping

from export.graph.ir import Node, Value

__all__ = ["WINDOWED", "read_extent", "window_and_stride"]

#: Ops with a window and padding at both ends; a transposed convolution's lies on its output.
WINDOWED = ("conv_2d", "depthwise_conv_2d", "average_pool_2d", "max_pool_2d")

_Pair = tuple[int, int]


def window_and_stride(values: Mapping[str, Value], node: Node) -> tuple[_Pair, _Pair]:
    """The window with its dilation, and the stride, each ``(height, width)``."""
    attrs = node.attrs
    stride = (attrs["stride_h"], attrs["stride_w"])
    if "filter_h" in attrs:
        return (attrs["filter_h"], attrs["filter_w"]), stride
    kernel = values[node.input_roles()["weight"]].shape[1:3]
    dilation = (attrs.get("dilation_h", 1), attrs.get("dilation_w", 1))
    return ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1), stride


def read_extent(values: Mapping[str, Value], node: Node) -> _Pair:
    """How many rows and columns of its input, from the first, the windows of a VALID op reach."""
    window, stride = window_and_stride(values, node)
    _, rows, columns, _ = values[node.output].shape
    return (rows - 1) * stride[0] + window[0], (columns - 1) * stride[1] + window[1]
