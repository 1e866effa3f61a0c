"""The sizes of a convolution over all channels, as kernels take them that gather windows of several pixels."""

from __future__ import annotations

from collections.abc import Mapping

from qtorch.row.kernel_call import Argument

__all__ = ["SIZES", "padded_window", "window_sizes"]

#: Parameters of such kernels.
SIZES = (
    *("in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "window_h", "window_w", "stride_h", "stride_w"),
    *("padding_top", "padding_left", "padding_code"),
)
_ONE_PIXEL = {"window_h": 1, "window_w": 1, "padding_top": 0, "padding_left": 0, "padding_code": 0}


def window_sizes(arguments: Mapping[str, Argument]) -> dict[str, int] | None:
    """Of a call of ``pointwise_s8`` or ``conv_2d_s8``, at least :data:`SIZES`; ``None`` of dilation and of groups."""
    if any(arguments.get(name, 1) != 1 for name in ("dilation_h", "dilation_w", "groups")):
        return None
    sizes = {name: number for name, number in arguments.items() if isinstance(number, int)}
    for name, number in _ONE_PIXEL.items():
        sizes.setdefault(name, number)
    if "in_h" not in sizes:
        sizes["in_h"] = (sizes["out_h"] - 1) * sizes["stride_h"] + 1
    return sizes


def padded_window(sizes: Mapping[str, int]) -> bool:
    """Whether windows reach beyond the image, on any side."""
    beyond = any(
        (sizes[f"out_{axis}"] - 1) * sizes[f"stride_{axis}"] + sizes[f"window_{axis}"] > sizes[f"in_{axis}"]
        for axis in "hw"
    )
    return bool(sizes["padding_top"] or sizes["padding_left"] or beyond)
