"""C cells of ops with weights on int16 activations: sums of 48 bits, one rounding, one kernel for all convolutions.

Here and not in :mod:`qtorch.c_cells`, because they share a multiplier with :mod:`qtorch.families.accumulator`; sums of
two codes in C are in :mod:`qtorch.c_cells.short_sums`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qtorch.families.accumulator import sum_multiplier
from qtorch.numbers.fixedpoint import reduced_mantissa
from qtorch.row.fused_activation import activation_limits
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, NoKernel, Operands, TensorArgument

__all__ = ["is_wide", "wide_arguments", "wide_convolution"]


def is_wide(operands: Operands) -> bool:
    """Whether the activations have 16 bits."""
    return operands.grid("input").dtype == "int16"


def wide_convolution(operands: Operands, sizes: Mapping[str, int], weight: np.ndarray, groups: int) -> KernelCall:
    """The call for a weight ``[O, h, w, C / groups]``; ``sizes`` by the parameters' names."""
    if operands.qparams.get("bias") is not None and operands.grid("bias").dtype == "int32":
        return KernelCall("conv_2d_narrow_s16", {**_narrow_arguments(operands, weight), **sizes, "groups": groups})
    return KernelCall("conv_2d_s16", {**wide_arguments(operands, weight), **sizes, "groups": groups})


def _narrow_arguments(operands: Operands, weight: np.ndarray) -> dict[str, Argument]:
    """Those of :func:`wide_arguments`, for sums of 32 bits, which wrap where they do in TFLM."""
    grids = {role: operands.grid(role).grid for role in ("input", "weight", "output")}
    mantissa, shift = (number.expand(len(weight)).numpy() for number in sum_multiplier(grids))
    if int(shift.max()) > 0:
        raise NoKernel(f"sums of 32 bits, times 2 to the power of {int(shift.max())}")
    words = np.stack([operands.constants["bias"].astype(np.int64), mantissa, shift], 1)
    return {**_tensors_and_limits(operands, weight), "channels": ConstantTable(words.astype(np.int32))}


def _tensors_and_limits(operands: Operands, weight: np.ndarray) -> dict[str, Argument]:
    if any(operands.grid("weight").zero_point):
        raise NoKernel("int16 activations with weights whose zero point is not 0")
    low, high = activation_limits(operands.attrs["activation"], operands.grid("output").grid)
    return {
        "in": TensorArgument("input"),
        "weights": ConstantTable(np.ascontiguousarray(weight)),
        "channels": 0,
        "out": TensorArgument("output"),
        "low": low,
        "high": high,
    }


def wide_arguments(operands: Operands, weight: np.ndarray) -> dict[str, Argument]:
    """Tensors, biases, multipliers and limits, as ``firmware/c/wide.h`` describes them.

    Args:
        operands: of an op with a weight.
        weight: as the kernel reads it, output channels first.

    Raises:
        NoKernel: a sum may leave 48 bits, or a factor is 128 or more.
    """
    bias = operands.constants.get("bias", np.zeros(len(weight))).astype(np.int64)
    largest = np.abs(bias) + 2**15 * np.abs(weight.reshape(len(weight), -1).astype(np.int64)).sum(1)
    grids = {role: operands.grid(role).grid for role in ("input", "weight", "output")}
    multiplier = sum_multiplier(grids)
    numbers = (reduced_mantissa(multiplier.mantissa), multiplier.shift)
    reduced, shift = (number.expand(len(weight)).numpy() for number in numbers)
    if int(largest.max()) >= 2**47 or int(shift.max()) > 7:
        raise NoKernel(
            f"sums of up to {int(largest.max())} and shifts of up to {int(shift.max())}, beyond 48 bits and 7"
        )
    words = np.stack([bias & 0xFFFFFFFF, bias >> 32, reduced, 15 - shift], 1)
    channels = ConstantTable(words.astype(np.uint32).astype(np.int32))
    return {**_tensors_and_limits(operands, weight), "channels": channels}
