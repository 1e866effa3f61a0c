"""Cortex-M0, M0+ and RV32: no instruction makes several products, so loads, steps and branches are what can be saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qtorch.row.kernel_call import Accumulators, Argument, ConstantTable, KernelCall

__all__ = ["channel_by_channel", "pixels_together"]


def pixels_together(call: KernelCall, together: int) -> KernelCall | None:
    """A convolution of int8 that has two pixels in a word; ``None`` where it does not apply.

    Working memory has two bytes for each code of the windows of all pixels ``together``; weights take the same flash.
    """
    if call.kernel not in ("conv_2d_s8", "pointwise_s8"):
        return None
    sums, table = call.arguments["channels"], call.arguments["weights"]
    assert isinstance(sums, Accumulators)
    assert isinstance(table, ConstantTable)
    sizes = {**_ONE_PIXEL, **{name: number for name, number in call.arguments.items() if isinstance(number, int)}}
    if sizes["groups"] != 1 or sizes["weight_bits"] != 8 or sizes["out_h"] * sizes["out_w"] < together:
        return None
    sizes.setdefault("in_h", (sizes["out_h"] - 1) * sizes["stride_h"] + 1)
    rows = table.data.reshape(len(table.data), -1)
    rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    if np.abs(rows.astype(np.int64)).reshape(len(rows), -1, 2).sum(2).max() > _MOST_OF_TWO:
        return None
    blocks = len(rows) // 4 * 4 if together == 4 else 0
    fours = rows[:blocks].reshape(-1, 4, rows.shape[1] // 2, 2).transpose(0, 2, 1, 3).reshape(-1)
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "weights": ConstantTable(np.concatenate([fours, rows[blocks:].reshape(-1)])),
        "channels": sums,
        "out": call.arguments["out"],
        **{name: sizes[name] for name in _SIZES},
        "pixels": together,
    }
    return KernelCall("conv_2d_words_s8", arguments, scratch=2 * together * rows.shape[1])


#: Sizes of two neighbouring weights together, so that products of two codes stay within 16 bits.
_MOST_OF_TWO = 255
_ONE_PIXEL = {
    **dict.fromkeys(("window_h", "window_w", "dilation_h", "dilation_w", "groups"), 1),
    **dict.fromkeys(("padding_top", "padding_left", "padding_code"), 0),
}
_SIZES = (
    *("in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "window_h", "window_w", "stride_h", "stride_w"),
    *("dilation_h", "dilation_w", "padding_top", "padding_left", "padding_code"),
)


def channel_by_channel(call: KernelCall) -> KernelCall | None:
    """A depthwise convolution of int8 that copies one channel after the other; ``None`` where it does not apply.

    Working memory grows by a byte for each pixel of the image, padding included; weights take the same flash.
    """
    if call.kernel != "depthwise_conv_2d_s8":
        return None
    sums, table = call.arguments["channels"], call.arguments["weights"]
    assert isinstance(sums, Accumulators)
    assert isinstance(table, ConstantTable)
    sizes = {name: number for name, number in call.arguments.items() if isinstance(number, int)}
    if sizes["multiplier"] != 1 or sizes["weight_bits"] != 8 or max(sizes["out_h"], sizes["out_w"]) < _WINDOWS:
        return None
    image = {axis: {name: sizes[f"{name}_{axis}"] for name in _BY_AXIS} for axis in "hw"}
    channels, zero_point = sizes["in_c"], sizes["in_zero_point"]
    for axis, padding, width in (("h", "padding_top", sizes["in_w"]), ("w", "padding_left", 1)):
        image[axis] |= {
            "padding": sizes[padding],
            "in_step": channels * width,
            "out_step": channels * (sizes["out_w"] if axis == "h" else 1),
        }
    for of in image.values():
        of["plane"] = (of["out"] - 1) * of["stride"] + (of["window"] - 1) * of["dilation"] + 1
    filters = table.data.reshape(sizes["window_h"], sizes["window_w"], channels)
    # Windows are taken in fours along the axis that has fewer left over.
    out_h, out_w = sizes["out_h"], sizes["out_w"]
    along, across = ("w", "h") if _taken(out_w) * out_h <= _taken(out_h) * out_w else ("h", "w")
    h, w = image[across], image[along]
    order = (2, 0, 1) if along == "w" else (2, 1, 0)
    # Codes are multiplied 128 too large, and where they lie outside they are the zero point.
    bias = sums.bias - (zero_point + 128) * filters.astype(np.int64).sum((0, 1))
    if np.abs(bias).max() >= 2**31:
        return None
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "weights": ConstantTable(np.ascontiguousarray(filters.transpose(order))),
        "channels": replace(sums, bias=bias),
        "out": call.arguments["out"],
        **{"in_h": h["in"], "in_w": w["in"], "in_c": channels, "in_row": h["in_step"], "in_column": w["in_step"]},
        **{"out_h": h["out"], "out_w": w["out"], "out_row": h["out_step"], "out_column": w["out_step"]},
        **{"window_h": h["window"], "window_w": w["window"], "stride_h": h["stride"], "stride_w": w["stride"]},
        **{"dilation_h": h["dilation"], "dilation_w": w["dilation"]},
        **{"padding_top": h["padding"], "padding_left": w["padding"], "padding_code": zero_point},
        **{"plane_h": h["plane"], "plane_w": w["plane"]},
    }
    return KernelCall("depthwise_conv_2d_planes_s8", arguments, scratch=h["plane"] * w["plane"])


#: Windows that are computed at once.
_WINDOWS = 4
_BY_AXIS = ("in", "out", "window", "stride", "dilation")


def _taken(count: int) -> int:
    """Windows that are computed for ``count`` of them."""
    return -(-count // _WINDOWS) * _WINDOWS if count >= _WINDOWS else 1 << 30
