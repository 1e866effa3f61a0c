"""Weights of 4 bits, two to a byte of flash, in the order in which kernels read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from qtorch.row.kernel_call import ConstantTable, KernelCall

__all__ = ["packed"]

#: Where products are summed 16 times too large, in 32 bits: what the magnitudes of an output's weights may add up to.
_MOST = 2**31 // (16 * 128)


def packed(call: KernelCall) -> KernelCall:
    """The call with half the bytes for weights of 4 bits, of a kernel that takes them so; any other as it is."""
    if call.arguments.get("weight_bits") != 4 or call.kernel not in _ORDERS:
        return call
    table = call.arguments["weights"]
    assert isinstance(table, ConstantTable)
    if table.data.size == 0 or np.abs(table.data.astype(np.int64)).reshape(len(table.data), -1).sum(1).max() >= _MOST:
        return replace(call, arguments={**call.arguments, "weight_bits": 8})
    return replace(call, arguments={**call.arguments, "weights": ConstantTable(_ORDERS[call.kernel](call, table.data))})


def _dense(call: KernelCall, weights: np.ndarray) -> np.ndarray:
    """``[O, ...]`` as firmware/c/dense.h reads it, for each group: outputs in pairs, a last odd one in bytes."""
    groups = call.arguments.get("groups", 1)
    assert isinstance(groups, int)
    rows = weights.reshape(groups, len(weights) // groups, -1)
    even = rows.shape[1] // 2 * 2
    return np.concatenate([pairs(rows[:, :even:2], rows[:, 1:even:2]), rows[:, even:]], 1)


def _by_channel(call: KernelCall, weights: np.ndarray) -> np.ndarray:
    """``[1, h, w, C]`` as firmware/c/depthwise_conv_2d_s8.h reads it: channels in pairs, nothing beside a last odd one."""
    even = np.pad(weights, [(0, 0)] * 3 + [(0, weights.shape[3] % 2)])
    return pairs(even[..., ::2], even[..., 1::2])


def pairs(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Two weights to a byte, int8 of the shape of each: int8 -8..7."""
    return (16 * high + low + 8).astype(np.int8)


_ORDERS: Mapping[str, Callable[[KernelCall, np.ndarray], np.ndarray]] = {
    **dict.fromkeys(("fully_connected_s8", "pointwise_s8", "conv_2d_s8"), _dense),
    "depthwise_conv_2d_s8": _by_channel,
}
