"""What earlier releases of CMSIS-NN ask for beyond :mod:`export.arena.cmsis_nn`, by the day of their source.

Read in the library's history of August 2022 to July 2026, and in that of TFLite Micro's ``kernels/cmsis_nn``.
"""

from __future__ import annotations

from datetime import date

from export.arena.kernels import Call, elements

__all__ = ["STEADY", "earlier_depthwise", "earlier_transpose_conv", "general_convolution"]

#: From 7.0.0 on functions ask for what they ask for today, but for weights of 4 bits; of a build that doesn't say which
#: release it has, no earlier one is assumed.
STEADY = date(2024, 11, 11)
#: 4.1.0: a convolution asks for what the way that it takes needs; before, in places, for what any way needs.
_BY_WAY = date(2023, 5, 8)
#: The same of weights of 4 bits.
_BY_WAY_INT4 = date(2026, 3, 6)
#: 22.12: a depthwise convolution of three by three asks for nothing, if padded too.
_THREE_BY_THREE = date(2022, 12, 5)
#: Blocks of channels with vectors; before, all channels.
_BLOCKS = date(2022, 9, 30)
#: TRANSPOSE_CONV becomes CMSIS-NN's; before 7.0.0 it writes out the product of each input and each weight.
_TRANSPOSED = date(2023, 11, 6)


def general_convolution(day: date, weights: str) -> bool:
    """Whether CONV_2D may ask for a general convolution's buffer, whichever way it takes."""
    return day < (_BY_WAY_INT4 if weights == "int4" else _BY_WAY)


def earlier_depthwise(day: date, unit: str, call: Call) -> int:
    """Bytes that DEPTHWISE_CONV_2D may have asked for then.

    Args:
        day: of the library's source.
        unit: the processor's instructions.
        call: the operator.
    """
    source, weights = call.input(0), call.input(1)
    if source.dtype != "int8":
        return 0
    window = source.shape[3] * weights.shape[1] * weights.shape[2]
    if unit == "mve":
        return 4 * window + 4 if day < _BLOCKS or (weights.dtype == "int4" and day < STEADY) else 0
    return 2 * window if unit == "dsp" and day < _THREE_BY_THREE else 0


def earlier_transpose_conv(day: date, call: Call) -> tuple[int, ...]:
    """Scratch buffers of TRANSPOSE_CONV of int8 before 7.0.0."""
    _, height, width, _ = call.input(1).shape
    _, rows, columns, _ = call.input(2).shape
    sums = 4 * elements(call.output)
    products = 4 * height * width * rows * columns * call.output.shape[3]
    return (products, sums) if day >= _TRANSPOSED else (sums,)
