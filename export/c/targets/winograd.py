"""Cortex-M with the DSP extension: windows of 3x3 in sixteen products instead of 36, by Winograd's F(2x2, 3x3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.c.requantization import requantization
from export.c.targets.joined import in_halfwords, side_by_side
from export.c.targets.operands import accumulators, weights
from export.c.targets.windows import SIZES, padded_window, plain_windows
from qtorch.row.kernel_call import Accumulators, Argument, KernelCall, Rescaling

__all__ = ["minimal_filtering"]

#: Twice the matrix that makes four elements of three weights.
_OF_WEIGHTS = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
#: Sums come out so many times too large.
_UNIT = 4
#: Inputs whose products are one piece of code, and how often that is written out at most. Sums of no more products than
#: that are far from the ends of int32, four times too large.
_INPUTS, _MOST = 8, 16
#: Of a kernel of one window and one step.
_OWN_SIZES = tuple(name for name in SIZES if not name.startswith(("window", "stride")))


def minimal_filtering(call: KernelCall) -> KernelCall | None:
    """A convolution over all channels, of windows of 3x3 by steps of one, at least two outputs each way.

    Working memory: 32 bytes for each input and four outputs, of four times that many at a time; flash: 32 bytes for
    each nine weights.
    """
    sizes = plain_windows(call)
    if sizes is None or any(sizes[name] != 3 for name in ("window_h", "window_w")):
        return None
    blocks = -(-sizes["in_c"] // _INPUTS)
    if any(sizes[f"stride_{axis}"] != 1 or sizes[f"out_{axis}"] < 2 for axis in "hw") or blocks > _MOST:
        return None
    table, sums = weights(call).astype(np.int64), accumulators(call)
    rescaling = _rescaled(sums)
    if rescaling is None:
        return None
    elements = np.einsum("ih,ohwc,jw->oijc", _OF_WEIGHTS, table, _OF_WEIGHTS)
    halves = side_by_side(elements)
    halves = np.pad(halves, [(0, 0)] * 3 + [(0, _INPUTS * blocks - halves.shape[-1])])
    padded = padded_window(sizes)
    stream = np.concatenate([in_halfwords(halves).reshape(len(table), -1), rescaling.words], 1)
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "channels": replace(rescaling, words=np.ascontiguousarray(stream)),
        "out": call.arguments["out"],
        **{name: sizes[name] for name in _OWN_SIZES if name != "padding_code"},
        "padded": int(padded),
        "padding_code": sizes["padding_code"],
        "blocks": blocks,
    }
    scratch = 4 * 16 * 4 * (4 * blocks + 1) + (16 * sizes["in_c"] if padded else 0)
    return KernelCall("conv_2d_winograd_s8", arguments, scratch=scratch)


def _rescaled(sums: Accumulators) -> Rescaling | None:
    """Words of every output, those of the short form for sums :data:`_UNIT` times too large."""
    found = requantization(sums)
    limits = (sums.zero_point, sums.low, sums.high)
    if found.form != "Q_POSITIVE":
        return Rescaling(found.form, found.words, *limits)
    bias, multiplier, fraction = found.words.astype(np.int64).T
    start = bias * multiplier + (fraction & 0xFFFFFFFF) + (sums.zero_point << 32)
    if np.abs(start).max() >= 2**62 // _UNIT:
        return None
    start *= _UNIT
    words = np.stack([multiplier, start, start >> 32], 1)
    return Rescaling("Q_STARTED", (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32), *limits)
