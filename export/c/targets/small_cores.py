"""Cortex-M0, M0+ and RV32: no instruction makes several products; loads, steps and branches are what can be saved."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from export.c.targets.operands import accumulators, number, numbers, weights
from export.c.targets.windows import LEAST_WINDOW, SIZES, window_sizes
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall

__all__ = ["channel_by_channel", "pixels_together", "planes_of_channels"]


def pixels_together(call: KernelCall, together: int) -> KernelCall | None:
    """A convolution of int8 that has two pixels in a word; ``None`` where it does not apply.

    Working memory has two bytes for each code of the windows of all pixels ``together``; weights take a byte each.
    """
    sizes = window_sizes(call)
    if sizes is None or sizes["groups"] != 1 or sizes["out_h"] * sizes["out_w"] < together:
        return None
    rows = weights(call)
    rows = rows.reshape(len(rows), -1)
    rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    if np.abs(rows.astype(np.int64)).reshape(len(rows), -1, 2).sum(2).max() > _MOST_OF_TWO:
        return None
    blocks = len(rows) // 4 * 4 if together == 4 else 0
    fours = rows[:blocks].reshape(-1, 4, rows.shape[1] // 2, 2).transpose(0, 2, 1, 3).reshape(-1)
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "weights": ConstantTable(np.concatenate([fours, rows[blocks:].reshape(-1)])),
        "channels": call.arguments["channels"],
        "out": call.arguments["out"],
        **{name: sizes[name] for name in _SIZES},
        "pixels": together,
    }
    return KernelCall("conv_2d_words_s8", arguments, scratch=2 * together * rows.shape[1])


#: Sizes of two neighbouring weights together, so that products of two codes stay within 16 bits.
_MOST_OF_TWO = 255
_SIZES = (*SIZES, "dilation_h", "dilation_w")


def planes_of_channels(call: KernelCall) -> KernelCall | None:
    """:func:`channel_by_channel` where windows are worth the copy; weights of 4 bits are unpacked by channel."""
    alone = channel_by_channel(call)
    if alone is None or math.prod(weights(alone).shape[1:]) < LEAST_WINDOW:
        return None
    bits, table, scratch = number(call, "weight_bits"), weights(alone), alone.scratch
    if bits == 4:
        pairs = np.pad(table, [(0, len(table) % 2), (0, 0), (0, 0)])
        table, scratch = pairs[::2] & 15 | pairs[1::2] << 4, scratch + math.prod(table.shape[1:])
    arguments = {**alone.arguments, "weights": ConstantTable(table), "weight_bits": bits}
    return replace(alone, arguments=arguments, scratch=scratch)


def channel_by_channel(call: KernelCall) -> KernelCall | None:
    """A depthwise convolution of int8 that copies one channel after the other; ``None`` where it does not apply.

    Working memory grows by a byte for each pixel of the image, padding included; weights take a byte each.
    """
    if call.kernel != "depthwise_conv_2d_s8":
        return None
    sums, sizes = accumulators(call), numbers(call)
    if sizes["multiplier"] != 1 or max(sizes["out_h"], sizes["out_w"]) < _WINDOWS:
        return None
    filters = weights(call).reshape(sizes["window_h"], sizes["window_w"], sizes["in_c"])
    # Codes are multiplied 128 too large, and where they lie outside they are the zero point.
    bias = sums.bias - (sizes["in_zero_point"] + 128) * filters.astype(np.int64).sum((0, 1))
    if np.abs(bias).max() >= 2**31:
        return None
    out_h, out_w = sizes["out_h"], sizes["out_w"]
    # Along the axis that has fewer windows left over.
    turned = _taken(out_h) * out_w < _taken(out_w) * out_h
    planes = [
        (sizes[f"out_{axis}"] - 1) * sizes[f"stride_{axis}"]
        + (sizes[f"window_{axis}"] - 1) * sizes[f"dilation_{axis}"]
        + 1
        for axis in "hw"
    ]
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "weights": ConstantTable(np.ascontiguousarray(filters.transpose((2, 1, 0) if turned else (2, 0, 1)))),
        "channels": replace(sums, bias=bias),
        "out": call.arguments["out"],
        **{name: sizes[name] for name in _SIZES if name not in ("out_c", "padding_code")},
        "padding_code": sizes["in_zero_point"],
        "turned": int(turned),
    }
    return KernelCall("depthwise_conv_2d_planes_s8", arguments, scratch=planes[0] * planes[1])


#: Windows that are computed at once.
_WINDOWS = 4


def _taken(count: int) -> int:
    """Windows that are computed for ``count`` of them."""
    return -(-count // _WINDOWS) * _WINDOWS if count >= _WINDOWS else 1 << 30
