"""Cortex-M with the DSP extension: two weights in a halfword, in no more flash than bytes; see firmware/c/joined.h."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.c.requantization import requantization
from export.c.targets.operands import accumulators, number, weights
from export.c.targets.windows import SIZES, copied_windows, padded_window, plain_windows
from qtorch.row.kernel_call import Accumulators, Argument, KernelCall, Rescaling

__all__ = ["in_halfwords", "joined_convolution", "joined_dense", "side_by_side"]

#: The first weight of two is so many times the second one's unit.
_UNIT = 256


def joined_convolution(call: KernelCall) -> KernelCall | None:
    """A convolution over all channels, three pixels at least; working memory: six bytes for each code in a window."""
    sizes = plain_windows(call)
    found = None if sizes is None else _joined(call, sizes["window_h"])
    if sizes is None or found is None:
        return None
    halves, rescaling = found
    blocks = -(-halves.shape[1] // 4)
    words = in_halfwords(np.pad(halves, ((0, 0), (0, 4 * blocks - halves.shape[1]))))
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "channels": _stream([words], [rescaling.words], rescaling),
        "out": call.arguments["out"],
        **{name: sizes[name] for name in SIZES},
        "padded": int(padded_window(sizes)),
        "blocks": blocks,
    }
    return KernelCall("conv_2d_joined_s8", arguments, scratch=24 * blocks + copied_windows(sizes))


def joined_dense(call: KernelCall) -> KernelCall | None:
    """A fully connected layer of eight inputs and four outputs at least; working memory: two bytes for each input."""
    if call.kernel != "fully_connected_s8":
        return None
    rows, inputs, outputs = (number(call, name) for name in ("rows", "in_size", "out_size"))
    found = _joined(call, 1) if inputs >= 8 and outputs >= 4 else None
    if found is None:
        return None
    halves, rescaling = found
    blocks = -(-inputs // 8)
    words = in_halfwords(np.pad(halves, ((0, 0), (0, 8 * blocks - halves.shape[1]))))  # [pairs, steps]
    fours = outputs // 4
    beside = words[: 2 * fours].reshape(fours, 2, -1).swapaxes(1, 2).reshape(fours, -1)
    channels = rescaling.words
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "channels": _stream([beside, words[2 * fours :]], [channels[: 4 * fours], channels[4 * fours :]], rescaling),
        "out": call.arguments["out"],
        "rows": rows,
        "in_size": inputs,
        "out_size": outputs,
        "blocks": blocks,
    }
    return KernelCall("fully_connected_joined_s8", arguments, scratch=16 * blocks)


def _joined(call: KernelCall, rows: int) -> tuple[np.ndarray, Rescaling] | None:
    """Weights of two outputs each, int64 ``[ceil(O / 2), rows * even(K / rows)]``, and the words of every output.

    ``None`` where sums may be too large, or codes are cut off elsewhere than at the ends of int8.
    """
    table, sums = weights(call), accumulators(call)
    if number(call, "weight_bits") != 8 or (sums.low, sums.high) != (-128, 127):
        return None
    matrix = table.reshape(len(table), rows, -1).astype(np.int64)
    odd = len(matrix) % 2
    matrix = np.concatenate([matrix[:-1], 0 * matrix[-1:], matrix[-1:]]) if odd else matrix
    first, second = matrix[0::2], matrix[1::2]
    if 128 * np.abs(first).sum((1, 2)).max() >= 2**31 // _UNIT:
        return None
    rescaling = _rescaled(sums, odd)
    if rescaling is None:
        return None
    return side_by_side(_UNIT * first + second).reshape(len(first), -1), rescaling


def side_by_side(rows: np.ndarray) -> np.ndarray:
    """``[..., K]`` as ``q_widened`` puts codes side by side: of each four, the first and the third come first."""
    count = rows.shape[-1]
    fours = rows[..., : count // 4 * 4].reshape(*rows.shape[:-1], -1, 4)[..., [0, 2, 1, 3]]
    rest = rows[..., count // 4 * 4 :]
    rest = np.pad(rest, [(0, 0)] * (rest.ndim - 1) + [(0, rest.shape[-1] % 2)])
    return np.concatenate([fours.reshape(*rows.shape[:-1], -1), rest], -1)


def _rescaled(sums: Accumulators, odd: int) -> Rescaling | None:
    """Words of every output, the first of two for sums :data:`_UNIT` times too large; ``odd`` puts none before it."""
    found = requantization(sums)
    words = found.words.astype(np.int64)
    words = np.concatenate([words[:-1], 0 * words[-1:], words[-1:]]) if odd else words
    limits = (sums.zero_point, sums.low, sums.high)
    if found.form == "Q_EXACT":
        return Rescaling("Q_EXACT", words.astype(np.int32), *limits)
    if found.form != "Q_POSITIVE":
        return None
    bias, multiplier, fraction = words.T
    start = bias * multiplier + (fraction & 0xFFFFFFFF) + (sums.zero_point << 32)
    if np.abs(start).max() >= 2**62 // _UNIT:
        return None
    start[0::2] *= _UNIT
    words = np.stack([multiplier, start, start >> 32], 1)
    return Rescaling("Q_STARTED", (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32), *limits)


def in_halfwords(halves: np.ndarray) -> np.ndarray:
    """Halfwords ``[..., 2 * K]`` in words, the first one low: ``[..., K]``."""
    return np.ascontiguousarray(halves.astype("<i2")).view("<i4")


def _stream(weights: list[np.ndarray], channels: list[np.ndarray], rescaling: Rescaling) -> Rescaling:
    """Words of some outputs each, int32 ``[n, ...]``, and behind each of them these outputs' words of the form."""
    parts = [
        np.concatenate([each.reshape(len(each), -1), words.reshape(len(each), -1)], 1)
        for each, words in zip(weights, channels, strict=True)
        if len(each)
    ]
    return replace(rescaling, words=np.ascontiguousarray(np.concatenate([part.reshape(-1) for part in parts])))
