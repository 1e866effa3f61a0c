"""MEAN over some axes: the sum, requantized by ``s_in / s_out / count``.

Source: TFLM ``kernels/internal/reference/reduce.h``, ``QuantizedMeanOrSum``; ``micro/kernels/reduce_common.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.broadcasting import multiplier_arguments
from qtorch.c_cells.strides import bytes_each, row_major, walk
from qtorch.families.steps import rescaling_by
from qtorch.numbers.fixedpoint import Multiplier, Rounding, fits_int32, quantize_multiplier, requantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.rescaled_sums import rescale_and_hold
from qtorch.remedies.axes import summed, variance
from qtorch.remedies.images import adaptive_3d
from qtorch.row.constraints import RESCALED, Free
from qtorch.row.fused_activation import step_ends
from qtorch.row.kernel_call import Argument, KernelCall, NoKernel, Operands, TensorArgument
from qtorch.row.onnx_form import NEAREST, NoForm, Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, Operand, OptionField, Refused, Row, Sample, Shape, TFLite

_ROLES = ("input", "output")


def attributes(call: Call) -> dict[str, Any]:
    """Axes counted from the front, in order."""
    dim = call.get("dim")
    if dim is None:
        raise Refused(expected="axes to take the mean over", got="dim=None", remedy="name every axis but the batch's")
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    if not axes:
        raise Refused(expected="axes to take the mean over", got=f"dim={dim}", remedy="name every axis but the batch's")
    return {"axes": tuple(sorted(call.axis(a, "input") for a in axes)), "keep_dims": bool(call.get("keepdim", False))}


def transposed(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs | None:
    """The same axes, where they lie; a mean that drops its axes can't also move the others."""
    if not attrs["keep_dims"]:
        return None
    return {**attrs, "axes": tuple(sorted(axes[a] for a in attrs["axes"]))}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank."""
    return x["input"].mean(attrs["axes"], keepdim=attrs["keep_dims"])


def _multiplier(grids: Mapping[str, Grid], count: int) -> Multiplier:
    """From a sum to its mean: the mantissa is divided by the count, after a shift by the count's bits."""
    quotient = grids["input"].scale.to(torch.float64) / grids["output"].scale.to(torch.float64)
    mantissa, shift = quantize_multiplier(quotient)
    bits = (31 + shift).clamp_max(min(count.bit_length() - 1, 32))
    return Multiplier((mantissa << bits) // count, shift - bits)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """One requantization, whose mantissa is divided by the count after a shift by its bits."""
    source, output, x = grids["input"], grids["output"], codes["input"]
    total = fits_int32((x - source.zero_point).sum(attrs["axes"], keepdim=attrs["keep_dims"]), "sum")
    multiplier = _multiplier(grids, math.prod(x.shape[a] for a in attrs["axes"]))
    # LiteRT's kernel rounds twice here too.
    return requantize(total, multiplier, Rounding.DOUBLE).add_(output.zero_point).clamp_(*output.limits)


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` in floating point: the sum in any order, in float64 where float32 does not hold it."""
    x, source, output = steps["input"], grids["input"], grids["output"]
    count, (low, high) = math.prod([x.shape[a] for a in attrs["axes"]]), source.limits
    reach = count * (high - low)
    total = (x if reach < 2**24 else x.to(torch.float64)).sum(attrs["axes"], keepdim=attrs["keep_dims"])
    factor = rescaling_by(_multiplier(grids, count))
    return rescale_and_hold(total, factor, step_ends("none", output), any_sum=reach >= 2**21)


def sums(attrs: Attrs, shape: tuple[int, ...], low: int, high: int) -> tuple[int, int]:
    """Of codes less their zero point."""
    count = math.prod(shape[axis] for axis in attrs["axes"])
    return low * count, high * count


def homogeneous(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Along the axes that are left."""
    dropped = () if attrs["keep_dims"] else attrs["axes"]
    return None if axis in attrs["axes"] else axis - sum(1 for each in dropped if each < axis)


def kernel(operands: Operands) -> KernelCall:
    """Sums over up to two axes for each place on up to two others; more of them have to lie side by side."""
    shape, axes, source, output = *(operands.shapes["input"], operands.attrs["axes"]), *map(operands.grid, _ROLES)
    arguments: dict[str, Argument] = {"in": TensorArgument("input"), "out": TensorArgument("output")}
    for name, chosen in (("kept", [a for a in range(len(shape)) if a not in axes]), ("over", list(axes))):
        steps = row_major(shape)
        loops = walk([shape[a] for a in chosen], {"step": [steps[a] for a in chosen]}, 2)
        arguments |= {f"{name}_{i}": n for i, n in enumerate(loops.sizes)}
        arguments |= {f"{name}_step_{i}": n for i, n in enumerate(loops.strides["step"])}
    count = math.prod(shape[a] for a in axes)
    reach = count * (source.code_range[1] - source.code_range[0])
    multiplier = _multiplier({role: operands.grid(role).grid for role in _ROLES}, count)
    if reach << max(int(multiplier.shift), 0) >= 2**31:
        raise NoKernel(f"sums of up to {reach}, times a factor, which int32 does not hold")
    low, high = output.code_range
    numbers = {"in_zero_point": source.zero_point[0], "zero_point": output.zero_point[0], "low": low, "high": high}
    widths = {"width": bytes_each(source.dtype)}
    return KernelCall("mean", {**arguments, **numbers, **widths, **multiplier_arguments({"": multiplier})})


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


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """Axes as an input."""
    source, sink = operands.qparams["input"], operands.qparams["output"]
    if source is not None and sink is not None and sink.scale[0] < source.scale[0] * _FINEST:
        steps = f"steps of {source.scale[0]:.3g} to {sink.scale[0]:.3g}"
        raise NoForm(f"{steps}: float32 sums are coarser")
    axes = np.array(operands.attrs["axes"], np.int64)
    return [OnnxNode("ReduceMean", ("input", axes), attributes={"keepdims": int(operands.attrs["keep_dims"])})]


ROW = Row(
    name="mean",
    roles=("input",),
    matches=(Match("aten", "mean", attributes),),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": RESCALED},
    reference=reference,
    tflite=TFLite(
        operator="MEAN",
        resolver="AddMean",
        version=lambda qparams: 2,
        options="ReducerOptions",
        fields=(OptionField("keep_dims", "KeepDims"),),
        operands=(Operand("axes", 1),),
    ),
    onnx=Onnx(onnx_form, NEAREST),
    samples=samples,
    c=kernel,
    in_steps=in_steps,
    transposed=transposed,
    kept=lambda attrs: {**attrs, "keep_dims": True},
    sums=sums,
    homogeneous=homogeneous,
    remedies={
        "sum": summed,
        "var": variance(root=False),
        "std": variance(root=True),
        "adaptiveavgpool3d": adaptive_3d("avg"),
    },
)
