"""What TFLite Micro's wrappers of CMSIS-NN ask for, by the processor's instructions.

Scratch buffers are those of the library's ``get_buffer_size`` functions (``Source/*/arm_*_get_buffer_sizes_*.c``, to
July 2026) with the conditions of the wrappers (``kernels/cmsis_nn``, to August 2026); where compilers differ, the
larger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Literal

from export.arena.cmsis_nn_earlier import (
    STEADY,
    earlier_depthwise,
    earlier_transpose_conv,
    general_convolution,
)
from export.arena.kernels import Call, Kernels, Needs, Rule, elements, rounded
from export.arena.reference import (
    RULES,
    lstm_state,
    per_channel,
    softmax_tables,
    svdf_sums,
    transposed_operands,
    wide_bias,
)

__all__ = ["cmsis_nn"]

Instructions = Literal["portable", "dsp", "mve"]
#: Channels of a depthwise convolution that are computed at once with vectors (``CH_IN_BLOCK_MVE``).
_CHANNELS_AT_ONCE = 124
#: A transposed convolution with more input channels and strides up to 2 becomes a convolution.
_FEW_CHANNELS = 16
_STRUCTURE = 64


def _buffers(*sizes: int) -> tuple[int, ...]:
    """Wrappers ask for no buffer of size 0."""
    return tuple(size for size in sizes if size > 0)


def convolution_scratch(unit: Instructions, dtype: str, weights: str, channels: int, kernel: tuple[int, int]) -> int:
    """Of a convolution in general: some windows of the input, laid out one after another."""
    window = channels * kernel[0] * kernel[1]
    if dtype == "int16":
        return 8 * rounded(window, 8) if unit == "mve" else 4 * window
    if unit == "mve":
        return 4 * rounded(window, 16)
    return 4 * (window if weights == "int4" else rounded(window, 4))


def _one_row(call: Call, padding: int, general: int) -> int:
    """Of a convolution along one row, with vectors: its padded ends; or ``general`` where it can't be taken apart."""
    (_, _, width, channels), kernel = call.input(0).shape, call.input(1).shape[2]
    output, stride = call.output.shape[2], call.strides[1]
    total = (output - 1) * stride + kernel - width
    # C's remainder, which has the sign of what is divided.
    odd = total % 2 if total >= 0 else -(-total % 2)
    right = max(1, (padding + odd + stride - 1) // stride) if padding + odd else 0
    left = max(1, (padding + stride - 1) // stride) if padding else 0
    if right + max(output - (right + left), 0) + left != output:
        return general
    if call.input(1).dtype == "int4":
        return 0
    ends = (padding * channels, right * channels if odd else padding * channels)
    return max(kernel * channels + ends[0], (kernel - 1) * channels + ends[1])


def _convolution(unit: Instructions, day: date, call: Call) -> Needs:
    source, weights = call.input(0), call.input(1)
    _, height, width, depth = weights.shape
    channels, padding = source.shape[3], call.leading_padding((height, width))
    general = convolution_scratch(unit, source.dtype, weights.dtype, channels, (height, width))
    size = general
    if source.dtype == "int8" and channels == depth and call.dilations == (1, 1):
        if padding == (0, 0) and (height, width) == (1, 1):
            # Arm's own compiler takes a faster way, with a buffer.
            size = 4 * channels if unit == "dsp" and call.strides == (1, 1) and weights.dtype == "int8" else 0
        elif source.shape[1] == 1 and height == 1 and call.strides[1] * channels % 4 == 0 and unit == "mve":
            size = _one_row(call, padding[1], general)
    if general_convolution(day, weights.dtype):
        size = max(size, general)
    return per_channel(call, call.output.shape[3], _STRUCTURE, *_buffers(size))


def _depthwise(unit: Instructions, day: date, call: Call) -> Needs:
    source, weights, outputs = call.input(0), call.input(1), call.output.shape[3]
    _, height, width, _ = weights.shape
    channels, size = source.shape[3], 0
    if source.dtype == "int8":
        if channels == outputs and source.shape[0] == 1 and call.dilations == (1, 1):
            around_three = (height, width) == (3, 3) and max(call.leading_padding((3, 3))) <= 1
            if unit == "mve":
                size = 4 * _CHANNELS_AT_ONCE * height * width
            elif weights.dtype == "int4" or (unit == "dsp" and not around_three):
                size = 2 * channels * height * width
        if unit == "mve" and channels == 1 and outputs > 1 and weights.dtype == "int8":
            # It becomes a convolution, with its filter turned.
            size = max(size, convolution_scratch(unit, "int8", "int8", 1, (height, width)) + elements(weights))
    size = max(size, earlier_depthwise(day, unit, call))
    return per_channel(call, outputs, _STRUCTURE, *_buffers(size))


def _transpose_conv(unit: Instructions, day: date, call: Call) -> Needs:
    channels, outputs = call.output.shape[3], elements(call.output)
    if call.output.dtype == "int16":
        return per_channel(call, channels, 80, *wide_bias(call), 8 * outputs)
    if day < STEADY:
        return per_channel(call, channels, 80, *earlier_transpose_conv(day, call))
    _, height, width, depth = call.input(1).shape
    down, across = call.strides
    if max(down, across) <= 2 and depth > _FEW_CHANNELS:
        return per_channel(
            call, channels, 80, convolution_scratch(unit, "int8", "int8", depth, (height, width)),
            elements(call.input(1)),
        )  # fmt: skip
    # One release takes the stride across, another the one down.
    row = ((call.input(2).shape[2] - 1) * across + max(width, down, across)) * channels
    return per_channel(call, channels, 80, 4 * row * max(height, down), 0)


def _fully_connected(unit: Instructions, kept: bool, call: Call) -> Needs:
    source, weights, outputs = call.input(0), call.input(1), call.output.shape[-1]
    persistent: tuple[int, ...] = (80,)
    if len(weights.scale) > 1:
        persistent += (4 * outputs,) * 2
    if source.dtype != "int8" or weights.dtype == "int4":
        return Needs(persistent)
    if len(call.output.shape) > 2 and weights.shape[-1] % 4 == 0:
        faked = () if len(weights.scale) > 1 else (8 * outputs,)
        return Needs(persistent, _buffers(*faked, 4 * weights.shape[-1] if unit == "dsp" else 0))
    if unit != "mve":
        return Needs(persistent)
    # Sums of weights: computed once where a library is built for speed, which is its default, else at each run.
    constant = weights.constant_bytes > 0 and all(each is None or each.constant_bytes for each in call.inputs[2:3])
    return Needs((*persistent, 4 * outputs)) if kept and constant else Needs(persistent, (4 * outputs,))


def _average_pool(unit: Instructions, call: Call) -> Needs:
    size = 4 * call.output.shape[3] if unit == "dsp" and call.output.dtype in ("int8", "int16") else 0
    return Needs((48,), _buffers(size))


def _batch_matmul(unit: Instructions, call: Call) -> Needs:
    shape = call.output.shape
    # The wrapper asks by the output's shape.
    sums = 4 * max(shape[-1], elements(call.output) // shape[0]) if unit == "mve" and call.output.dtype == "int8" else 0
    return Needs((96, 48, *transposed_operands(call), 4 + 4 * len(shape)), _buffers(sums))


def _lstm(unit: Instructions, call: Call) -> Needs:
    state, wide = lstm_state(call), 8 if call.input(0).dtype == "int16" else 4
    hidden = call.input(1).shape[0]
    return Needs((1024, *(wide * hidden,) * 8), (2 * state,) * 4)


def _svdf(unit: Instructions, kept: bool, call: Call) -> Needs:
    sums = 4 * call.input(1).shape[0] if unit == "mve" else 0
    if kept:
        return Needs((96, *_buffers(sums)), svdf_sums(call))
    return Needs((96,), (*svdf_sums(call), *_buffers(sums)))


def _rules(unit: Instructions, kept: bool, day: date, own: Iterable[str]) -> Mapping[str, Rule]:
    rules: dict[str, Rule] = {
        **RULES,
        "ADD": lambda call: Needs((80,)),
        "AVERAGE_POOL_2D": partial(_average_pool, unit),
        "BATCH_MATMUL": partial(_batch_matmul, unit),
        "CONV_2D": partial(_convolution, unit, day),
        "DEPTHWISE_CONV_2D": partial(_depthwise, unit, day),
        "FULLY_CONNECTED": partial(_fully_connected, unit, kept),
        "MAX_POOL_2D": lambda call: Needs((48,)),
        "SOFTMAX": lambda call: Needs((64, *softmax_tables(call))),
        "SVDF": partial(_svdf, unit, kept),
        "TRANSPOSE_CONV": partial(_transpose_conv, unit, day),
        "UNIDIRECTIONAL_SEQUENCE_LSTM": partial(_lstm, unit),
    }
    return {**rules, **{operator: RULES[operator] for operator in own}}


_KINDS: tuple[tuple[Instructions, str, str], ...] = (
    ("mve", "processors with vectors, such as Cortex-M55", "defined(__ARM_FEATURE_MVE)"),
    (
        "dsp",
        "processors with DSP instructions, such as Cortex-M4, M7 and M33",
        "defined(__ARM_FEATURE_DSP)",
    ),
    ("portable", "other processors, such as Cortex-M0 and M3", ""),
)


def cmsis_nn(
    day: date | None = None, reference: Sequence[tuple[str, ...]] = ((),)
) -> tuple[tuple[Kernels, ...], ...]:  # fmt: skip
    """By the processor's instructions; of each what a library built for speed takes, and one built for size.

    Args:
        day: of the library's source; ``None`` where nobody knows, which is any release from 7.0.0 on.
        reference: by build, operators that it leaves to TFLite Micro's own kernels.
    """
    of = f" of {day}" if day is not None else " (7.0.0 or newer)"
    return tuple(
        tuple(
            Kernels(f"cmsis_nn_{unit}", f"CMSIS-NN{of} on {about}", _rules(unit, kept, day or STEADY, own), condition)
            for own in reference
            for kept in (True, False)
        )
        for unit, about, condition in _KINDS
    )
