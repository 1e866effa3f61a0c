"""MEAN over some axes: the sum, requantized by ``s_in / s_out / count``.

Source: TFLM ``kernels/internal/reference/reduce.h``, ``QuantizedMeanOrSum``; ``micro/kernels/reduce_common.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from qtorch.families.reductions import (
    homogeneous,
    kept,
    reduced,
    reduction_attributes,
    reduction_in_floats,
    reduction_operator,
    rows_of_reduction,
    sums_over_axes_kernel,
    transposed,
)
from qtorch.families.shape_rules import axes_once_from_front
from qtorch.families.steps import rescaling_by
from qtorch.numbers.fixedpoint import Multiplier, Rounding, fits_int32, quantize_multiplier, requantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.rescaled_sums import rescale_and_hold
from qtorch.remedies.axes import summed, variance
from qtorch.remedies.images import adaptive_3d
from qtorch.row.constraints import RESCALED, Free
from qtorch.row.fused_activation import step_ends
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import NEAREST, NoForm, Onnx, OnnxNode
from qtorch.row.row import Attrs, Match, Row, Sample


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank."""
    return x["input"].mean(attrs["axes"], keepdim=attrs["keep_dims"])


def multiplier_of_mean(grids: Mapping[str, Grid], count: int) -> Multiplier:
    """From a sum to its mean: the mantissa is divided by the count, after a shift by the count's bits."""
    quotient = grids["input"].scale.to(torch.float64) / grids["output"].scale.to(torch.float64)
    mantissa, shift = quantize_multiplier(quotient)
    bits = (31 + shift).clamp_max(min(count.bit_length() - 1, 32))
    return Multiplier((mantissa << bits) // count, shift - bits)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """One requantization, whose mantissa is divided by the count after a shift by its bits."""
    source, output, x = grids["input"], grids["output"], codes["input"]
    total = fits_int32((x - source.zero_point).sum(attrs["axes"], keepdim=attrs["keep_dims"]), "sum")
    multiplier = multiplier_of_mean(grids, math.prod(x.shape[a] for a in attrs["axes"]))
    # LiteRT's kernel rounds twice here too.
    return requantize(total, multiplier, Rounding.DOUBLE).add_(output.zero_point).clamp_(*output.limits)


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` in floating point: the sum in any order, in float64 where float32 does not hold it."""
    x, source, output = steps["input"], grids["input"], grids["output"]
    count, (low, high) = math.prod([x.shape[a] for a in attrs["axes"]]), source.limits
    reach = count * (high - low)
    total = (x if reach < 2**24 else x.to(torch.float64)).sum(attrs["axes"], keepdim=attrs["keep_dims"])
    factor = rescaling_by(multiplier_of_mean(grids, count))
    return rescale_and_hold(total, factor, step_ends("none", output), any_sum=reach >= 2**21)


def sums(attrs: Attrs, shape: tuple[int, ...], low: int, high: int) -> tuple[int, int]:
    """Of codes less their zero point."""
    count = math.prod(shape[axis] for axis in attrs["axes"])
    return low * count, high * count


def kernel(operands: Operands) -> KernelCall:
    """Sums in int32, each requantized."""
    return sums_over_axes_kernel(operands, multiplier_of_mean)


def samples() -> Iterable[Sample]:
    """One axis and several, kept and dropped, counts that are powers of two and not."""
    rng = np.random.default_rng(9)
    for dtype in ("int8", "int16"):
        for shape, axes, s_in, z_in, s_out, z_out in [
            ((3, 4, 4, 5), (1, 2), 0.05, -3, 0.03, 4),
            ((3, 7, 3, 5), (1, 2), 0.05, -128, 0.06, -128),
            ((3, 7, 3, 5), (3,), 0.05, 127, 0.2, 127),
            ((4, 6, 5), (1, 2), 1.0, 0, 0.02, 0),
            ((4, 6, 5), (2,), 0.001, 9, 0.9, 3),
        ]:
            narrow = dtype == "int8"
            grids = [
                QParams((float(np.float32(s if narrow else s / 256)),), (z if narrow else 0,), dtype)
                for s, z in ((s_in, z_in), (s_out, z_out))
            ]
            limits = np.iinfo(dtype)
            codes = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
            alike = ", alike" if s_out > 0.5 else ""
            for keep in (True, False):
                qparams = {"input": grids[0], "output": grids[1]}
                label = f"{dtype} {shape} over {axes}, kept {keep}{alike}"
                yield Sample(label, {"axes": axes, "keep_dims": keep}, {"input": codes}, qparams)


#: A sum in float32 is off by some 2**-16 of an int8 grid's step.
_FINEST = 2.0**-14


_IN_FLOATS = reduction_in_floats("ReduceMean", NEAREST)


def onnx_form(operands: Operands) -> Sequence[OnnxNode]:
    """On a grid that is not finer than float32's sums."""
    source, sink = operands.qparams["input"], operands.qparams["output"]
    if source is not None and sink is not None and sink.scale[0] < source.scale[0] * _FINEST:
        steps = f"steps of {source.scale[0]:.3g} to {sink.scale[0]:.3g}"
        raise NoForm(f"{steps}: float32 sums are coarser")
    return _IN_FLOATS.form(operands)


ROW = Row(
    name="mean",
    roles=("input",),
    matches=(Match("aten", "mean", reduction_attributes),),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": RESCALED},
    reference=reference,
    tflite=reduction_operator("MEAN", "AddMean"),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=reduced,
    rows=rows_of_reduction,
    normalized=axes_once_from_front,
    samples=samples,
    c=kernel,
    in_steps=in_steps,
    transposed=transposed,
    kept=kept,
    sums=sums,
    homogeneous=homogeneous,
    remedies={
        "sum": summed,
        "var": variance(root=False),
        "std": variance(root=True),
        "adaptiveavgpool3d": adaptive_3d("avg"),
    },
)
