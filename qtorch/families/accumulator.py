"""What every op with weights shares: exact integer sums of products, and their way back to output codes.

Sums are computed by floating-point kernels, which are fast, in the narrowest type that holds every partial sum exactly:
no order of summation can then change the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.errors import AccumulatorOverflow
from qtorch.numbers.fixedpoint import Multiplier, Rounding, fits_int32, quantize_multiplier, requantize, requantize_wide
from qtorch.numbers.grid import Grid
from qtorch.row.fused_activation import activation_limits
from qtorch.row.kernel_call import Accumulators, NoKernel, Operands
from qtorch.row.row import Attrs

__all__ = [
    "exact_products",
    "is_narrow",
    "output_codes",
    "require_room",
    "sum_factor",
    "sum_multiplier",
    "weighted_sums",
]

#: By type of the activations: how far a code may lie from its zero point, and the largest number an accumulator holds
#: (16-bit kernels requantize 48 bits).
_REACH = {"int8": (2**8 - 1, 2**31 - 1), "int16": (2**15, 2**47)}


def exact_products(
    product: Callable[[Tensor, Tensor], Tensor], codes: Tensor, grid: Grid, weight: Tensor, channel_axis: int
) -> Tensor:
    """``product(codes - zero_point, weight)`` without rounding, int64.

    Args:
        product: a convolution or matrix product, linear in both arguments; every sum it forms must be one over
            products of one output channel's weights with inputs.
        codes: int64 input codes.
        grid: of the input.
        weight: int64, ``channel_axis`` its output channels.
        channel_axis: see ``weight``.
    """
    low, high = grid.limits
    largest = max(high - int(grid.zero_point), int(grid.zero_point) - low)
    bound = largest * int(weight.abs().movedim(channel_axis, 0).flatten(1).sum(1).max()) if weight.numel() else 0
    # Every partial sum is an integer of at most this size; float32 holds those below 2**24, float64 below 2**53.
    # Where PyTorch is allowed to multiply float32 in fewer bits (bfloat16, TF32), those still hold up to 2**8.
    dtype = torch.float32 if bound < 2**24 and largest <= 2**8 else torch.float64
    centred = codes.to(dtype).sub_(int(grid.zero_point))
    return product(centred, weight.to(dtype)).to(torch.int64)


def output_codes(
    accumulator: Tensor,
    codes: Mapping[str, Tensor],
    attrs: Attrs,
    grids: Mapping[str, Grid],
    rounding: Rounding,
) -> Tensor:
    """Bias, one requantization per output channel (the last axis), zero point, fused activation.

    The multiplier is ``s_in * s_w / s_out`` in float64. TFLM's fully connected kernel took the product of the scales
    in float32 until October 2026, where there is one weight scale.

    Args:
        accumulator: int64 ``[..., O]``; overwritten.
        codes: ``"bias"`` is int64 ``[O]``, or absent.
        attrs: ``"activation"``.
        grids: by role.
        rounding: for int8; int16 has one rounding everywhere, but for two where its sums have 32 bits.
    """
    if "bias" in codes:
        accumulator.add_(codes["bias"])
    output, multiplier = grids["output"], sum_multiplier(grids, rounding)
    if is_narrow(grids):
        # TFLM adds them up in int32, where they wrap.
        scaled = requantize(accumulator.add_(2**31).remainder_(2**32).sub_(2**31), multiplier, Rounding.DOUBLE)
    elif output.dtype == "int16":
        scaled = requantize_wide(accumulator, multiplier)
    else:
        scaled = requantize(fits_int32(accumulator, "accumulator"), multiplier, rounding)
    return scaled.add_(output.zero_point).clamp_(*activation_limits(attrs["activation"], output))


def is_narrow(grids: Mapping[str, Grid]) -> bool:
    """Whether sums of int16 codes have 32 bits: their bias's type says which."""
    return grids["output"].dtype == "int16" and "bias" in grids and grids["bias"].dtype == "int32"


def require_room(layer: str, weight: Tensor, channel_axis: int, bias: Tensor | None, grids: Mapping[str, Grid]) -> None:
    """The largest sum that any input could cause must fit: ``reach * sum |w| + |b|`` per output channel, shifted.

    Args:
        layer: its name, for the error.
        weight: int64, ``channel_axis`` its output channels.
        channel_axis: see ``weight``.
        bias: int64 ``[C]``, or ``None``.
        grids: of ``"input"``, ``"weight"`` and ``"output"``.

    Raises:
        AccumulatorOverflow: it does not.
    """
    reach, limit = _REACH[grids["input"].dtype]
    worst = reach * weight.abs().movedim(channel_axis, 0).flatten(1).sum(1)
    if bias is not None:
        worst = worst + bias.abs()
    shift = sum_multiplier(grids).shift.clamp_min(0)
    if worst.numel() and float((worst.to(torch.float64) * 2.0**shift).max()) > limit:
        raise AccumulatorOverflow(
            where=layer,
            expected=f"accumulators up to {limit}, as the device has them",
            got=f"up to {int(worst.max())} before a shift by {int(shift.max())} bits",
            remedy="give the layer fewer inputs or a smaller weight_bits, or split it into several whose outputs "
            "are added",
        )


def sum_multiplier(grids: Mapping[str, Grid], rounding: Rounding = Rounding.DOUBLE) -> Multiplier:
    """From the accumulator's grid to the output's, ``[]`` or one per channel."""
    scales = (grids[role].scale for role in ("input", "weight", "output"))
    return quantize_multiplier(sum_factor(*scales, rounding=rounding))


def sum_factor(source: Tensor, weight: Tensor, output: Tensor, *, rounding: Rounding = Rounding.DOUBLE) -> Tensor:
    """From the accumulator to the output's steps, float64 ``[]`` or ``[C]``, of scales: float32."""
    if rounding is Rounding.EARLIER and weight.numel() == 1:
        return (source * weight).to(torch.float64) / output.to(torch.float64)
    return source.to(torch.float64) * weight.to(torch.float64) / output.to(torch.float64)


def weighted_sums(operands: Operands, channel_axis: int, *, folded: bool = True) -> Accumulators:
    """What a C kernel needs of sums of products: biases, multipliers, limits, and how far the sums can reach.

    Args:
        operands: of an op with a weight whose axis ``channel_axis`` has the output channels.
        channel_axis: see above.
        folded: the kernel multiplies codes, so that the input's zero point is in the biases; else it subtracts it.

    Raises:
        NoKernel: the activations are no int8, or some order of summation leaves int32.
    """
    source, output = operands.grid("input"), operands.grid("output")
    if source.dtype != "int8":
        raise NoKernel(f"{source.dtype} activations")
    weight = np.moveaxis(operands.constants["weight"], channel_axis, 0).astype(np.int64)
    weight = weight.reshape(len(weight), -1) - operands.grid("weight").zero_point[0]
    bias = operands.constants.get("bias", np.zeros(len(weight))).astype(np.int64)
    offset = bias - source.zero_point[0] * weight.sum(1)
    low, high = (code * weight for code in source.code_range)
    largest = np.abs(offset if folded else bias) + (255 if not folded else 128) * np.abs(weight).sum(1)
    if len(weight) and int(largest.max()) >= 2**31:
        raise NoKernel(f"sums of up to {int(largest.max())}, which int32 does not hold")
    grids = {role: operands.grid(role).grid for role in ("input", "weight", "output")}
    mantissa, shift = (t.expand(len(weight)) for t in sum_multiplier(grids))
    limits = activation_limits(operands.attrs["activation"], grids["output"])
    return Accumulators(
        offset if folded else bias,
        Multiplier(mantissa, shift),
        output.zero_point[0],
        *limits,
        least=offset + np.minimum(low, high).sum(1),
        greatest=offset + np.maximum(low, high).sum(1),
    )
