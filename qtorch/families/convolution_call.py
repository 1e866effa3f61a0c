"""The C kernel of a convolution that sums over channels, in whatever op it stands."""

from __future__ import annotations

import numpy as np

from qtorch.families.accumulator import weighted_sums
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, Operands, TensorArgument

__all__ = ["convolution_call"]


def convolution_call(operands: Operands, sizes: dict[str, int], weight: np.ndarray, channel_axis: int) -> KernelCall:
    """A matrix product per pixel; a window of more than one pixel is gathered first. Zero point in the biases.

    Args:
        operands: of an op with int8 activations.
        sizes: as :func:`qtorch.families.convolution.convolution_sizes` gives them.
        weight: ``[O, h, w, C / groups]``.
        channel_axis: of the output channels in the op's own weight.

    Raises:
        NoKernel: some order of summation leaves int32.
    """
    depth = weight.shape[3]
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"),
        "weights": ConstantTable(weight),
        "weight_bits": operands.grid("weight").bits,
        "channels": weighted_sums(operands, channel_axis),
        "out": TensorArgument("output"),
    }
    one_pixel = (sizes["window_h"], sizes["window_w"], sizes["padding_top"], sizes["padding_left"]) == (1, 1, 0, 0)
    if one_pixel and depth == sizes["in_c"]:
        names = ("in_w", "in_c", "out_h", "out_w", "out_c", "stride_h", "stride_w")
        return KernelCall("pointwise_s8", {**arguments, **{name: sizes[name] for name in names}})
    more = {"padding_code": operands.grid("input").zero_point[0], "groups": sizes["in_c"] // depth}
    scratch = sizes["window_h"] * sizes["window_w"] * depth
    return KernelCall("conv_2d_s8", {**arguments, **sizes, **more}, scratch)
