"""Weights of 4 bits, two to a byte of flash, in the order in which kernels read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from qtorch.row.kernel_call import ConstantTable, KernelCall

__all__ = ["DENSE_CODE_BYTES", "in_fields", "packed"]

#: By how much the code of sums over all inputs grows, as compiled for Cortex-M and RV32; of AVR, as assembled.
DENSE_CODE_BYTES = 128
#: The same of sums by channel.
_CODE_BYTES = 256
#: Products that a sum may have: it is 16 times too large on the way, in 32 bits.
_MOST = 2**16


def packed(call: KernelCall) -> KernelCall:
    """The call with half the bytes for weights of 4 bits, of a kernel that takes them so; any other as it is.

    They stay bytes where a table saves less than the code that takes halves out of bytes.
    """
    if call.arguments.get("weight_bits") != 4 or call.kernel not in _ORDERS:
        return call
    order, code_bytes = _ORDERS[call.kernel]
    table = call.arguments["weights"]
    assert isinstance(table, ConstantTable)
    data = order(call, table.data)
    if table.data.nbytes - data.nbytes < code_bytes or math.prod(table.data.shape[1:]) >= _MOST:
        return replace(call, arguments={**call.arguments, "weight_bits": 8})
    return replace(call, arguments={**call.arguments, "weights": ConstantTable(data)})


def _dense(call: KernelCall, weights: np.ndarray) -> np.ndarray:
    """``[O, ...]`` as firmware/c/dense_s4.h reads it, for each group: outputs in pairs, a last odd one in bytes."""
    groups = call.arguments.get("groups", 1)
    assert isinstance(groups, int)
    return _paired(weights.reshape(groups, len(weights) // groups, -1))


def _paired(rows: np.ndarray) -> np.ndarray:
    """``[groups, outputs, inputs]`` with two outputs in the bytes of one."""
    even = rows.shape[1] // 2 * 2
    pairs = 16 * rows[:, 1:even:2] + (rows[:, :even:2] + 8)
    return np.concatenate([pairs, rows[:, even:]], 1)


def in_fields(call: KernelCall) -> KernelCall | None:
    """The call of a kernel that makes two products of one multiplication; ``None`` of what it does not take.

    Four outputs at a time lie in words, what is left of them as in :func:`packed`.
    """
    kernel, groups = _OF_FIELDS.get(call.kernel), call.arguments.get("groups", 1)
    table = call.arguments.get("weights")
    if kernel is None or call.arguments.get("weight_bits") != 4:
        return None
    assert isinstance(table, ConstantTable)
    assert isinstance(groups, int)
    rows = table.data.reshape(groups, len(table.data) // groups, -1)
    fours = rows.shape[1] // 4 * 4
    parts = [_fields(rows[:, :fours]), _paired(rows[:, fours:])]
    data = np.concatenate([part.reshape(groups, math.prod(part.shape[1:])) for part in parts], 1)
    if groups > 1:
        data = np.pad(data, [(0, 0), (0, -data.shape[1] % 4)])
    if rows.shape[2] >= _MOST or table.data.nbytes - data.nbytes < DENSE_CODE_BYTES:
        return None
    arguments = {**call.arguments, "weights": ConstantTable(data, words=True)}
    del arguments["weight_bits"]
    if "groups" in arguments:
        arguments["group_bytes"] = data.shape[1]
    return replace(call, kernel=kernel, arguments=arguments)


def _fields(rows: np.ndarray) -> np.ndarray:
    """``[groups, outputs, inputs]`` as firmware/c/dense_fields_s4.h reads it: of an input beyond the last nothing."""
    groups, outputs, inputs = rows.shape
    codes = np.pad((rows + 8).astype(np.uint32), [(0, 0), (0, 0), (0, inputs % 2)])
    codes = codes.reshape(groups, outputs // 4, 4, inputs // 2 + inputs % 2, 2)
    places = np.array([0, 16, 4, 20], np.uint32)[:, None, None] + np.array([0, 8], np.uint32)
    words = (codes << places).sum((2, 4), dtype=np.uint32).astype("<u4")
    return words.view(np.int8)


def _by_channel(call: KernelCall, weights: np.ndarray) -> np.ndarray:
    """``[1, h, w, C]`` as firmware/c/depthwise_conv_2d_s8.h reads it: channels in pairs, a last odd one alone."""
    even = np.pad(weights, [(0, 0)] * 3 + [(0, weights.shape[3] % 2)])
    return even[..., ::2] & 15 | even[..., 1::2] << 4


#: By kernel, which stands in its place.
_OF_FIELDS = {"fully_connected_s8": "fully_connected_s4", "pointwise_s8": "pointwise_s4", "conv_2d_s8": "conv_2d_s4"}
#: By kernel, and by how many bytes its code grows.
_ORDERS: Mapping[str, tuple[Callable[[KernelCall, np.ndarray], np.ndarray], int]] = {
    **dict.fromkeys(("fully_connected_s8", "pointwise_s8", "conv_2d_s8"), (_dense, DENSE_CODE_BYTES)),
    "depthwise_conv_2d_s8": (_by_channel, _CODE_BYTES),
}
