"""Cortex-M with the DSP extension: four weights of 4 bits in a halfword, half the flash of bytes.

See firmware/c/joined_s4.h.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.c.targets.cortex_m import started
from export.c.targets.joined import in_halfwords, side_by_side
from export.c.targets.operands import accumulators, number, weights
from export.c.targets.windows import SIZES, padded_window, plain_windows
from qtorch.row.kernel_call import Argument, KernelCall, Rescaling

__all__ = ["joined_convolution_s4", "joined_dense_s4"]

#: By what the four weights of a halfword are multiplied, and how much more than they are they come in it.
_UNITS, _MORE = np.array([4096, 256, 16, 1]), np.array([0, 8, 8, 8])


def joined_convolution_s4(call: KernelCall) -> KernelCall | None:
    """A convolution over all channels, three pixels at least; working memory: four bytes for each code in a window."""
    sizes = plain_windows(call)
    found = None if sizes is None else _joined(call, sizes["window_h"], 4)
    if sizes is None or found is None:
        return None
    channels, steps = found
    padded = padded_window(sizes)
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "channels": channels,
        "out": call.arguments["out"],
        **{name: sizes[name] for name in SIZES},
        "padded": int(padded),
        "steps": steps,
    }
    return KernelCall("conv_2d_joined_s4", arguments, scratch=8 * steps + padded * sizes["window_w"] * sizes["in_c"])


def joined_dense_s4(call: KernelCall) -> KernelCall | None:
    """A fully connected layer of eight inputs and four outputs at least; working memory: two bytes for each input."""
    if call.kernel != "fully_connected_s8":
        return None
    rows, inputs, outputs = (number(call, name) for name in ("rows", "in_size", "out_size"))
    found = _joined(call, 1, 8) if inputs >= 8 and outputs >= 4 else None
    if found is None:
        return None
    channels, steps = found
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "channels": channels,
        "out": call.arguments["out"],
        "rows": rows,
        "in_size": inputs,
        "out_size": outputs,
        "steps": steps,
    }
    return KernelCall("fully_connected_joined_s4", arguments, scratch=4 * steps)


def _joined(call: KernelCall, rows: int, multiple: int) -> tuple[Rescaling, int] | None:
    """Words of four outputs each, int32 ``[ceil(O / 4), steps + 4 * words]``, and ``steps``, so many at a time.

    ``None`` where sums may be too large, or codes are cut off elsewhere than at the ends of int8.
    """
    table, sums = weights(call), accumulators(call)
    if number(call, "weight_bits") != 4 or (sums.low, sums.high) != (-128, 127):
        return None
    matrix = table.reshape(len(table), rows, -1).astype(np.int64)
    matrix = np.pad(matrix, ((0, -len(matrix) % 4), (0, 0), (0, 0)))
    fours = matrix.reshape(-1, 4, *matrix.shape[1:])
    largest = 128 * np.abs(fours + _MORE[:, None, None]).sum((2, 3)).max(0)
    if np.any((largest * _UNITS)[:-1] >= 2**31):
        return None
    rescaling = started(sums, np.zeros(len(table), np.int64))
    if rescaling.form not in ("Q_STARTED", "Q_EXACT"):
        return None
    halves = side_by_side(((fours + _MORE[:, None, None]) * _UNITS[:, None, None]).sum(1)).reshape(len(fours), -1)
    words = in_halfwords(np.pad(halves, ((0, 0), (0, -halves.shape[1] % (2 * multiple)))))
    channels = np.pad(rescaling.words, ((0, len(matrix) - len(table)), (0, 0)))
    stream = np.concatenate([words, channels.reshape(len(fours), -1)], 1)
    return replace(rescaling, words=np.ascontiguousarray(stream.reshape(-1))), words.shape[1]
