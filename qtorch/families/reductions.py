"""What the reductions over axes share: PyTorch's arguments, axes in another order, loops of their C kernels.

A reduction keeps some axes and takes the elements along the others together: to their mean, the largest, the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from qtorch.c_cells.broadcasting import multiplier_arguments
from qtorch.c_cells.strides import bytes_each, row_major, walk
from qtorch.families.shape_rules import require_axes
from qtorch.numbers.fixedpoint import Multiplier
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.image_rows import ImageRows, RowWindow
from qtorch.row.kernel_call import Argument, KernelCall, KernelCell, NoKernel, Operands, TensorArgument
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Operand, OptionField, Refused, Sample, Shape, TFLite

__all__ = [
    "extremum_attributes",
    "extremum_over_axes_kernel",
    "extremum_samples",
    "homogeneous",
    "kept",
    "loops_over_axes",
    "reduced",
    "reduction_attributes",
    "reduction_in_floats",
    "reduction_operator",
    "rows_of_reduction",
    "sums_over_axes_kernel",
    "transposed",
]


def reduction_attributes(call: Call) -> dict[str, Any]:
    """Axes counted from the front, in order.

    Raises:
        Refused: none is named, or the batch's.
    """
    dim = call.get("dim")
    axes = () if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if not axes:
        raise Refused(expected="axes to reduce", got=f"dim={dim}", remedy="name every axis but the batch's")
    return {"axes": tuple(sorted(call.axis(a, "input") for a in axes)), "keep_dims": bool(call.get("keepdim", False))}


def extremum_attributes(call: Call) -> dict[str, Any]:
    """:func:`reduction_attributes`; of samples that are not kept apart the row's own remedy is told.

    Raises:
        Refused: so it is.
    """
    try:
        return reduction_attributes(call)
    except Refused as why:
        raise Refused(expected=why.expected, got=why.got, remedy="") from why


def reduction_operator(operator: str, resolver: str) -> TFLite:
    """How one stands in a file."""
    return TFLite(
        operator=operator,
        resolver=resolver,
        version=lambda qparams: 2,
        options="ReducerOptions",
        fields=(OptionField("keep_dims", "KeepDims"),),
        operands=(Operand("axes", 1),),
    )


def reduction_in_floats(operator: str, lsb: Mapping[str, int]) -> Onnx:
    """One operator of ONNX, which takes axes as an input."""

    def form(operands: Operands) -> list[OnnxNode]:
        axes = np.array(operands.attrs["axes"], np.int64)
        return [OnnxNode(operator, ("input", axes), attributes={"keepdims": int(operands.attrs["keep_dims"])})]

    return Onnx(form, lsb)


def transposed(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs | None:
    """The same axes, where they lie; a reduction that drops its axes can't also move the others."""
    if not attrs["keep_dims"]:
        return None
    return {**attrs, "axes": tuple(sorted(axes[a] for a in attrs["axes"]))}


def kept(attrs: Attrs) -> Attrs:
    """The same reduction with its axes kept at size 1."""
    return {**attrs, "keep_dims": True}


def homogeneous(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Along the axes that are left."""
    dropped = () if attrs["keep_dims"] else attrs["axes"]
    return None if axis in attrs["axes"] else axis - sum(1 for each in dropped if each < axis)


def reduced(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Without the axes, or with 1 in their place.

    Raises:
        BadShape: there are none, or not each is named once behind the first.
    """
    shape, axes = shapes["input"], attrs["axes"]
    require_axes(axes, len(shape))
    if attrs["keep_dims"]:
        return (tuple(1 if axis in axes else n for axis, n in enumerate(shape)),)
    return (tuple(n for axis, n in enumerate(shape) if axis not in axes),)


def rows_of_reduction(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """One row, of all there are, where the axis is reduced, or each by itself where those behind it are.

    See :data:`qtorch.row.image_rows.RowsRule`.
    """
    size = shapes["input"][axis]
    if axis in attrs["axes"]:
        return ImageRows({"input": RowWindow(size, size)}) if attrs["keep_dims"] else None
    return ImageRows({"input": RowWindow()}) if min(attrs["axes"]) > axis else None


def loops_over_axes(operands: Operands) -> dict[str, Argument]:
    """Tensors, and up to two axes that are kept and two that are reduced; more of them have to lie side by side."""
    shape, axes = operands.shapes["input"], operands.attrs["axes"]
    arguments: dict[str, Argument] = {"in": TensorArgument("input"), "out": TensorArgument("output")}
    for name, chosen in (("kept", [a for a in range(len(shape)) if a not in axes]), ("over", list(axes))):
        steps = row_major(shape)
        loops = walk([shape[a] for a in chosen], {"step": [steps[a] for a in chosen]}, 2)
        arguments |= {f"{name}_{i}": n for i, n in enumerate(loops.sizes)}
        arguments |= {f"{name}_step_{i}": n for i, n in enumerate(loops.strides["step"])}
    return {**arguments, "width": bytes_each(operands.grid("input").dtype)}


def sums_over_axes_kernel(
    operands: Operands, multiplier: Callable[[Mapping[str, Grid], int], Multiplier]
) -> KernelCall:
    """Sums in int32, each requantized.

    Args:
        operands: of the node.
        multiplier: from the grids of input and output, and how many codes each sum has.

    Raises:
        NoKernel: a sum, shifted, may leave int32.
    """
    source, output = operands.grid("input"), operands.grid("output")
    count = math.prod(operands.shapes["input"][a] for a in operands.attrs["axes"])
    reach = count * (source.code_range[1] - source.code_range[0])
    factor = multiplier({"input": source.grid, "output": output.grid}, count)
    if reach << max(int(factor.shift), 0) >= 2**31:
        raise NoKernel(f"sums of up to {reach}, times a factor, which int32 does not hold")
    low, high = output.code_range
    numbers = {"in_zero_point": source.zero_point[0], "zero_point": output.zero_point[0], "low": low, "high": high}
    return KernelCall("mean", {**loops_over_axes(operands), **numbers, **multiplier_arguments({"": factor})})


def extremum_over_axes_kernel(*, largest: bool) -> KernelCell:
    """The cell of the largest or smallest code along axes."""
    return lambda operands: KernelCall("extremum_over_axes", {**loops_over_axes(operands), "largest": int(largest)})


def extremum_samples(seed: int) -> Iterable[Sample]:
    """Axes before, behind, between and around others, of size 1, and all of them; codes that are all at an end."""
    rng = np.random.default_rng(seed)
    grid = dict.fromkeys(("input", "output"), QParams((0.5,), (3,)))
    for shape, axes in [
        ((3, 4, 4, 5), (1, 2)),
        ((3, 7, 3, 5), (3,)),
        ((3, 7, 3, 5), (1,)),
        ((3, 4, 2, 5), (1, 3)),
        ((2, 4, 2, 5, 3), (2, 4)),
        ((4, 1, 5), (1,)),
        ((9, 6), (1,)),
        ((5, 3, 4), (1, 2)),
    ]:
        codes = rng.integers(-128, 127, shape, dtype="int8", endpoint=True)
        # Of one sample all codes are the ends, where a start value of 0 would show.
        codes[0], codes[1] = -128, 127
        for keep in (True, False):
            label = f"int8 {shape} over {axes}, kept {keep}"
            yield Sample(label, {"axes": axes, "keep_dims": keep}, {"input": codes}, grid)
