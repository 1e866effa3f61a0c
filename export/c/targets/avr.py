"""AVR: products of bytes, sums of 24 bits, and constants that are read byte by byte from flash."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.c.requantization import requantization
from export.c.short_requantization import Short, short_requantization
from export.c.targets.avr_immediates import immediates
from export.c.targets.halves import DENSE_CODE_BYTES
from export.c.targets.small_cores import channel_by_channel
from qtorch.row.kernel_call import Accumulators, Argument, ConstantTable, KernelCall

__all__ = ["adapted"]

#: Kernels of ``firmware/c`` that are sums of products of all inputs, and what they are called for AVR.
_DENSE = {
    "fully_connected_s8": "fully_connected_avr",
    "pointwise_s8": "pointwise_avr",
    "conv_2d_s8": "conv_2d_avr",
}
#: Outputs that a panel has at most, and from which on weights are stored without sign (firmware/c/panel_avr.h).
_WIDEST = 5
#: The same of weights of 4 bits, two to a byte, all but the last panel of a group.
_WIDEST_S4 = 4
#: That a layer may take for weights as immediates, some ten bytes each; a larger one has them in a table.
_MOST_CODE_BYTES = 24 * 1024
#: Of a depthwise convolution: the largest stride along its fours of windows, and of rows and columns of a window.
_MOST_APART, _MOST_IN_A_BYTE = 2, 255
_FORMS = {"Q_POSITIVE": 0, "Q_EXACT": 1, "Q_WIDE": 2}


def adapted(call: KernelCall, speed: bool) -> KernelCall:
    """The call with kernels for AVR, where there are any for it.

    Args:
        call: of any kernel.
        speed: weights of fully connected layers as immediates of instructions, up to 24 KiB of them in each layer.
    """
    if call.kernel not in _DENSE:
        return depthwise(call) or call
    table, accumulators = call.arguments["weights"], call.arguments["channels"]
    assert isinstance(table, ConstantTable)
    assert isinstance(accumulators, Accumulators)
    weights = table.data.reshape(len(table.data), -1).astype(np.int64)
    short = short_requantization(accumulators)
    if speed and short is not None and call.kernel == "fully_connected_s8":
        code = immediates(weights, accumulators, short, _number(call, "rows"))
        if code.code_bytes <= _MOST_CODE_BYTES:
            arguments = {name: call.arguments[name] for name in ("in", "out")}
            return replace(call, kernel=code.name, arguments=arguments, text=code.text)
    groups = _number(call, "groups") if "groups" in call.arguments else 1
    halves = _panels_s4(weights, groups) if _number(call, "weight_bits") == 4 else None
    if halves is not None and weights.size - halves.size < DENSE_CODE_BYTES:
        halves = None
    shifted = halves is not None or len(weights) // groups >= _WIDEST
    largest = (255 if shifted else 128) * np.abs(weights).sum(1)
    # The kernels take turns down to one input; products alone must fit the sums.
    if weights.size == 0 or int(largest.max()) >= 1 << 23 or weights.shape[1] >= 1 << 16:
        return call
    moved = replace(accumulators, bias=accumulators.bias - (128 * weights.sum(1) if shifted else 0))
    if short is None and np.abs(moved.bias).max() >= 2**31:
        return call
    numbers, channels = _exact(moved) if short is None else _short(moved, short)
    prepared = {
        "weights": ConstantTable(_panels(weights + 128 if shifted else weights, groups) if halves is None else halves),
        "weight_bits": 8 if halves is None else 4,
        "channels": ConstantTable(channels),
        "zero_point": accumulators.zero_point,
        "low": accumulators.low,
        "high": accumulators.high,
        **numbers,
    }
    return replace(call, kernel=_DENSE[call.kernel], arguments={**call.arguments, **prepared})


def depthwise(call: KernelCall) -> KernelCall | None:
    """A depthwise convolution of int8 that copies one channel after the other; ``None`` where it does not apply.

    Working memory grows by a byte for each pixel of the image, padding included.
    """
    alone = channel_by_channel(call)
    if alone is None:
        return None
    table, sums = alone.arguments["weights"], alone.arguments["channels"]
    assert isinstance(table, ConstantTable)
    assert isinstance(sums, Accumulators)
    along = "stride_h" if _number(alone, "turned") else "stride_w"
    largest = 255 * np.abs(table.data.astype(np.int64)).sum((1, 2)).max()
    if _number(alone, along) > _MOST_APART or max(table.data.shape[1:]) > _MOST_IN_A_BYTE or largest >= 1 << 23:
        return None
    arguments = {name: argument for name, argument in alone.arguments.items() if not name.startswith("dilation")}
    if any(_number(alone, name) != 1 for name in alone.arguments.keys() - arguments.keys()):
        return None
    short = short_requantization(sums)
    numbers, channels = _exact(sums) if short is None else _short(sums, short)
    limits = {"zero_point": sums.zero_point, "low": sums.low, "high": sums.high}
    arguments |= {"channels": ConstantTable(channels), **limits, **numbers}
    return replace(alone, kernel="depthwise_conv_2d_avr", arguments=arguments)


def _number(call: KernelCall, name: str) -> int:
    number = call.arguments[name]
    assert isinstance(number, int)
    return number


def _panels(weights: np.ndarray, groups: int) -> np.ndarray:
    """Weights ``[O, I]`` in the order in which the kernel reads them, uint8, one row for all."""
    parts = [
        panel.T.reshape(-1)
        for group in np.split(weights, groups)
        for panel in np.array_split(group, -(-len(group) // _WIDEST))
    ]
    return (np.concatenate(parts) & 255).astype(np.uint8)


def _panels_s4(weights: np.ndarray, groups: int) -> np.ndarray:
    """The same of weights of 4 bits, 8 added to each: outputs in fours, the last ones in as many bytes as they need."""
    parts = []
    for group in np.split(weights + 8, groups):
        for first in range(0, len(group), _WIDEST_S4):
            panel = group[first : first + _WIDEST_S4]
            even = np.pad(panel, ((0, len(panel) % 2), (0, 0)))
            parts.append((even[::2] + 16 * even[1::2]).T.reshape(-1))
    return np.concatenate(parts).astype(np.uint8)


def _exact(accumulators: Accumulators) -> tuple[dict[str, Argument], np.ndarray]:
    rescaling = requantization(accumulators)
    return {"form": _FORMS[rescaling.form], "splits": 0}, rescaling.words.astype("<i4").view(np.uint8)


def _short(accumulators: Accumulators, short: Short) -> tuple[dict[str, Argument], np.ndarray]:
    columns = [(accumulators.bias - short.origin, 3), (short.multiplier, 3 if short.form == 24 else 4)]
    if short.splits:
        columns += [(short.below, 3), (-short.origin, 3), (short.above, 3)]
    else:
        columns += [(short.above, 3)]
    bytes_ = np.concatenate([_bytes(column, count) for column, count in columns], 1)
    return {"form": short.form, "splits": int(short.splits)}, bytes_


def _bytes(numbers: np.ndarray, count: int) -> np.ndarray:
    """uint8 ``[C, count]``, low bytes first, negative numbers in two's complement."""
    return (numbers[:, None] >> 8 * np.arange(count) & 255).astype(np.uint8)
