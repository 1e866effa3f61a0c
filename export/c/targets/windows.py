"""The sizes of a convolution over all channels, as kernels take them that gather windows of several pixels."""

from __future__ import annotations

from collections.abc import Mapping

from export.c.targets.operands import numbers
from qtorch.row.kernel_call import KernelCall

__all__ = ["LEAST_WINDOW", "SIZES", "copied_windows", "padded_window", "plain_windows", "window_sizes"]

#: Pixels of a depthwise window from which on a copy of the image is worth its instructions (not on AVR: always there).
LEAST_WINDOW = 3
#: Parameters of such kernels.
SIZES = (
    *("in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "window_h", "window_w", "stride_h", "stride_w"),
    *("padding_top", "padding_left", "padding_code"),
)
_ONE_PIXEL = {
    **dict.fromkeys(("window_h", "window_w", "dilation_h", "dilation_w", "groups"), 1),
    **dict.fromkeys(("padding_top", "padding_left", "padding_code"), 0),
}


def window_sizes(call: KernelCall) -> dict[str, int] | None:
    """Numbers of a ``pointwise_s8`` as if it were a ``conv_2d_s8``, and those of that; ``None`` of another kernel."""
    if call.kernel not in ("pointwise_s8", "conv_2d_s8"):
        return None
    sizes = {**_ONE_PIXEL, **numbers(call)}
    sizes.setdefault("in_h", (sizes["out_h"] - 1) * sizes["stride_h"] + 1)
    return sizes


def plain_windows(call: KernelCall) -> dict[str, int] | None:
    """:func:`window_sizes` of three pixels at least; ``None`` of fewer, of dilation and of groups."""
    sizes = window_sizes(call)
    if sizes is None or any(sizes[name] != 1 for name in ("dilation_h", "dilation_w", "groups")):
        return None
    return sizes if sizes["out_h"] * sizes["out_w"] >= 3 else None


def padded_window(sizes: Mapping[str, int]) -> bool:
    """Whether windows reach beyond the image, on any side."""
    beyond = any(
        (sizes[f"out_{axis}"] - 1) * sizes[f"stride_{axis}"] + sizes[f"window_{axis}"] > sizes[f"in_{axis}"]
        for axis in "hw"
    )
    return bool(sizes["padding_top"] or sizes["padding_left"] or beyond)


def copied_windows(sizes: Mapping[str, int]) -> int:
    """Bytes of a row of three windows, if windows reach beyond the image."""
    return 3 * sizes["window_w"] * sizes["in_c"] if padded_window(sizes) else 0
