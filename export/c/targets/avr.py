"""AVR: products of bytes, sums of 24 bits, and constants that are read byte by byte from flash."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.c.requantization import requantization
from export.c.short_requantization import Short, short_requantization
from export.c.targets.avr_immediates import cost_of_text, immediates
from export.c.targets.halves import DENSE_CODE_BYTES
from export.c.targets.kernel_row import Work
from export.c.targets.operands import accumulators, number
from export.c.targets.operands import weights as weights_of
from export.c.targets.small_cores import channel_by_channel
from qtorch.row.kernel_call import Accumulators, Argument, ConstantTable, KernelCall

__all__ = [
    "PANELS",
    "as_immediates",
    "depthwise",
    "immediates_code",
    "immediates_work",
    "panels",
    "panels_code",
    "panels_work",
]

#: Kernels of ``firmware/c`` that are sums of products of all inputs, and what they are called for AVR.
PANELS = {
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


def as_immediates(call: KernelCall) -> KernelCall | None:
    """A fully connected layer as code of its own, weights as immediates of instructions, up to 24 KiB of them."""
    weights, accumulators = _operands(call)
    short = short_requantization(accumulators)
    if short is None:
        return None
    code = immediates(weights, accumulators, short, number(call, "rows"))
    if code.code_bytes > _MOST_CODE_BYTES:
        return None
    arguments = {name: call.arguments[name] for name in ("in", "out")}
    return replace(call, kernel=code.name, arguments=arguments, text=code.text)


def immediates_work(call: KernelCall, made: KernelCall) -> Work:
    """What the code of :func:`as_immediates` takes: the cycles of its assembly, and those of its requantization."""
    cycles, _ = cost_of_text(made.text)
    rows, outputs = number(call, "rows"), number(call, "out_size")
    return {"calls": 1, "rows": rows, "cycles": rows * cycles, **_by_form(call, rows * outputs)}


def immediates_code(call: KernelCall, made: KernelCall) -> Work:
    """Its bytes: those of the assembly, and those of the requantization of each output."""
    _, bytes_ = cost_of_text(made.text)
    return {"functions": 1, "bytes": bytes_, **_by_form(call, number(call, "out_size"))}


def _by_form(call: KernelCall, outputs: float) -> Work:
    """Outputs, by the requantization that is proven for them."""
    short = short_requantization(_operands(call)[1])
    form = "exact" if short is None else f"{short.form}{' in two parts' if short.splits else ''}"
    return {f"outputs {form}": outputs}


def panels_work(call: KernelCall, made: KernelCall) -> Work:
    """What the kernels of :func:`panels` take."""
    groups = number(call, "groups")
    if "rows" in call.arguments:
        pixels, size, outputs = number(call, "rows"), number(call, "in_size"), number(call, "out_size")
    else:
        pixels = number(call, "out_h") * number(call, "out_w") * groups
        area = number(call, "window_h") * number(call, "window_w")
        size, outputs = area * number(call, "in_c") // groups, number(call, "out_c") // groups
    four = number(made, "weight_bits") == 4
    passes = pixels * -(-outputs // (_WIDEST_S4 if four else _WIDEST))
    bits = " of 4 bits" if four else ""
    return {
        "calls": 1,
        "pixels": pixels,
        "window codes": pixels * size * (call.kernel == "conv_2d_s8"),
        "window rows": pixels * number(call, "window_h") * (call.kernel == "conv_2d_s8"),
        "panels": passes,
        f"codes{bits}": passes * size,
        f"products{bits}": pixels * outputs * size,
        **_by_form(call, pixels * outputs),
    }


def panels_code(call: KernelCall, made: KernelCall) -> Work:
    """What takes code in them: panels that are narrower than others have loops of their own."""
    outputs = number(call, "out_size") if "rows" in call.arguments else number(call, "out_c") // number(call, "groups")
    widths = {len(part) for part in np.array_split(np.arange(outputs), -(-outputs // _WIDEST))}
    form = dict.fromkeys(_by_form(call, 1), 1.0)
    return {"functions": 1, "widths": len(widths), "of 4 bits": float(number(made, "weight_bits") == 4), **form}


def panels(call: KernelCall) -> KernelCall | None:
    """Sums of products of all inputs, five outputs at a time."""
    weights, accumulators = _operands(call)
    short = short_requantization(accumulators)
    groups = number(call, "groups")
    halves = _panels_s4(weights, groups) if number(call, "weight_bits") == 4 else None
    if halves is not None and weights.size - halves.size < DENSE_CODE_BYTES:
        halves = None
    shifted = halves is not None or len(weights) // groups >= _WIDEST
    largest = (255 if shifted else 128) * np.abs(weights).sum(1)
    # The kernels take turns down to one input; products alone must fit the sums.
    if weights.size == 0 or int(largest.max()) >= 1 << 23 or weights.shape[1] >= 1 << 16:
        return None
    moved = replace(accumulators, bias=accumulators.bias - (128 * weights.sum(1) if shifted else 0))
    if short is None and np.abs(moved.bias).max() >= 2**31:
        return None
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
    return replace(call, kernel=PANELS[call.kernel], arguments={**call.arguments, **prepared})


def _operands(call: KernelCall) -> tuple[np.ndarray, Accumulators]:
    """Weights, int64 ``[O, I]``, and what makes codes of sums."""
    table = weights_of(call)
    return table.reshape(len(table), -1).astype(np.int64), accumulators(call)


def depthwise(call: KernelCall) -> KernelCall | None:
    """A depthwise convolution of int8 that copies one channel after the other; ``None`` where it does not apply.

    Working memory grows by a byte for each pixel of the image, padding included.
    """
    alone = channel_by_channel(call)
    if alone is None:
        return None
    table, sums = weights_of(alone), accumulators(alone)
    along = "stride_h" if number(alone, "turned") else "stride_w"
    largest = 255 * np.abs(table.astype(np.int64)).sum((1, 2)).max()
    if number(alone, along) > _MOST_APART or max(table.shape[1:]) > _MOST_IN_A_BYTE or largest >= 1 << 23:
        return None
    arguments = {name: argument for name, argument in alone.arguments.items() if not name.startswith("dilation")}
    if any(number(alone, name) != 1 for name in alone.arguments.keys() - arguments.keys()):
        return None
    short = short_requantization(sums)
    numbers, channels = _exact(sums) if short is None else _short(sums, short)
    limits = {"zero_point": sums.zero_point, "low": sums.low, "high": sums.high}
    arguments |= {"channels": ConstantTable(channels), **limits, **numbers}
    return replace(alone, kernel="depthwise_conv_2d_avr", arguments=arguments)


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
