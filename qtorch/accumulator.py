"""What every op with weights shares: exact integer sums of products, and their way back to output codes.

Sums are computed by floating-point kernels, which are fast, in the narrowest type that holds every partial sum exactly:
no order of summation can then change the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from qtorch.fixedpoint import Rounding, fits_int32, quantize_multiplier, requantize, requantize_wide
from qtorch.fused_activation import activation_limits
from qtorch.qparams import Grid
from qtorch.row import Attrs

__all__ = ["exact_products", "output_codes"]


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
    dtype = torch.float32 if bound < 2**24 else torch.float64
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
    in float32 until August 2026, where there is one weight scale; the release that is tested here, and LiteRT 2.3,
    take it in double.

    Args:
        accumulator: int64 ``[..., O]``; overwritten.
        codes: ``"bias"`` is int64 ``[O]``, or absent.
        attrs: ``"activation"``.
        grids: by role.
        rounding: for int8; int16 has one rounding everywhere.
    """
    if "bias" in codes:
        accumulator.add_(codes["bias"])
    source, weight, output = (grids[role] for role in ("input", "weight", "output"))
    scales = source.scale.to(torch.float64) * weight.scale.to(torch.float64) / output.scale.to(torch.float64)
    multiplier = quantize_multiplier(scales)
    if output.dtype == "int16":
        scaled = requantize_wide(accumulator, multiplier)
    else:
        scaled = requantize(fits_int32(accumulator, "accumulator"), multiplier, rounding)
    return scaled.add_(output.zero_point).clamp_(*activation_limits(attrs["activation"], output))
