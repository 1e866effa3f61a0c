"""STRIDED_SLICE: a box of codes with steps, or with axes dropped.

Source: TFLM ``micro/kernels/strided_slice_common.cc``: at most 4 axes.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from qtorch.c_cells.movement import Box, copied
from qtorch.families.shape_rules import require_lengths
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.remedies.axes import unbound
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import cut_rows
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import (
    Attrs,
    Call,
    Match,
    Operand,
    OptionField,
    Refused,
    Row,
    Sample,
    Shape,
    TFLite,
    require_elements,
)
from qtorch.row.shape_rule import require

_MOST_AXES = 4


def attributes(call: Call) -> dict[str, Any]:
    """Of ``x[:, 1:3, ::2, 0]``: slices, whole numbers and an ellipsis."""
    shape = call.shapes["input"]
    index = call.get("index")
    entries = list(index) if isinstance(index, tuple) else [index]
    # A bool is an int to Python, but a new axis to PyTorch.
    if any(isinstance(entry, bool) or not (isinstance(entry, int | slice) or entry is Ellipsis) for entry in entries):
        raise Refused(
            expected="slices, whole numbers or an ellipsis", got=f"{index}", remedy="use unsqueeze for new axes"
        )
    if Ellipsis in entries:
        at = entries.index(Ellipsis)
        entries[at : at + 1] = [slice(None)] * (len(shape) - len(entries) + 1)
    entries += [slice(None)] * (len(shape) - len(entries))
    if entries[0] != slice(None):
        raise Refused(
            expected="all of the batch axis",
            got=f"index {index}" + (", one sample of it" if isinstance(entries[0], int) else ""),
            remedy="let samples stay in one tensor, without a loop over them: begin with x[:, ...]",
        )
    require_elements(call)
    begin, end, strides, shrunk = [0], [1], [1], 0
    for axis, (entry, size) in enumerate(zip(entries[1:], shape[1:], strict=True), 1):
        if isinstance(entry, int):
            begin.append(entry % size)
            end.append(entry % size + 1)
            strides.append(1)
            shrunk |= 1 << axis
        else:
            first, last, step = entry.indices(size)
            begin.append(first)
            end.append(last)
            strides.append(step)
    return {"begin": tuple(begin), "end": tuple(end), "strides": tuple(strides), "begin_mask": 1, "end_mask": 1} | {
        "shrink_axis_mask": shrunk
    }


def transposed(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs | None:
    """The same box of the same axes; a slice that drops axes can't also move the others."""
    if attrs["shrink_axis_mask"] or rank > _MOST_AXES:
        return None
    begin, end, strides = [0] * rank, [1] * rank, [1] * rank
    for axis, *entry in zip(axes, attrs["begin"], attrs["end"], attrs["strides"], strict=True):
        begin[axis], end[axis], strides[axis] = entry
    return {**attrs, "begin": tuple(begin), "end": tuple(end), "strides": tuple(strides)}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank up to 4; the whole batch."""
    index: list[Any] = [slice(None)]
    for axis, entry in enumerate(zip(attrs["begin"], attrs["end"], attrs["strides"], strict=True)):
        if axis:
            index.append(entry[0] if attrs["shrink_axis_mask"] >> axis & 1 else slice(*entry))
    return x["input"][tuple(index)]


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def kernel(operands: Operands) -> KernelCall:
    """A box with steps, of all rows of a sample; axes that are dropped are one element long."""
    attrs, shape = operands.attrs, operands.shapes["input"]
    ranges = [range(*ends) for ends in zip(attrs["begin"], attrs["end"], attrs["strides"], strict=True)]
    sizes = (shape[0], *(len(each) for each in ranges[1:]))
    return copied(operands, sizes, Box.inside(shape, (0, *attrs["begin"][1:]), attrs["strides"]), Box.inside(sizes))


def samples() -> Iterable[Sample]:
    """Steps, ends and dropped axes."""
    for dtype in ("int8", "int16", "int32"):
        grid = INDICES if dtype == "int32" else QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        codes = np.arange(60).astype(dtype).reshape(1, 3, 4, 5)
        for begin, end, strides, shrunk in [
            ((0, 1, 0, 0), (1, 3, 4, 5), (1, 1, 2, 3), 0),
            ((0, 0, 3, 1), (1, 3, 4, 5), (1, 2, 1, 1), 0),
            ((0, 2, 0, 1), (1, 3, 4, 4), (1, 1, 1, 1), 0b10),
            ((0, 0, 1, 4), (1, 3, 2, 5), (1, 1, 1, 1), 0b1100),
        ]:
            attrs = {"begin": begin, "end": end, "strides": strides, "begin_mask": 1, "end_mask": 1}
            attrs["shrink_axis_mask"] = shrunk
            label = f"{dtype} {begin} to {end} by {strides}, shrunk {shrunk:b}"
            yield Sample(label, attrs, {"input": codes}, {"input": grid, "output": grid})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """Every axis but the batch's, then those dropped that are."""
    begin, end, strides = (np.array(operands.attrs[name][1:], np.int64) for name in ("begin", "end", "strides"))
    axes = np.arange(1, len(begin) + 1)
    dropped = axes[[bool(operands.attrs["shrink_axis_mask"] >> axis & 1) for axis in axes]]
    if not len(dropped):
        return [OnnxNode("Slice", ("input", begin, end, axes, strides))]
    return [OnnxNode("Slice", ("input", begin, end, axes, strides), ("box",)), OnnxNode("Squeeze", ("box", dropped))]


def resolved(attrs: Attrs, shapes: Mapping[str, Shape]) -> Attrs:
    """Begins and ends inside of the input, counted from the front; masks of the first axis alone, of which all is left.

    What the kernel makes of them: counted from the end below 0, then held to the axis, and the mask's own ends last.
    """
    shape = shapes["input"]
    vectors = [attrs[name] for name in ("begin", "end", "strides")]
    if (
        not all(isinstance(each, tuple) and len(each) == len(shape) for each in vectors)
        or min(vectors[2], default=0) < 1
    ):
        return attrs
    begin, end = [], []
    for axis, (first, last, n) in enumerate(zip(*vectors[:2], shape, strict=True)):
        first, last = (min(max(each + n if each < 0 else each, 0), n) for each in (first, last))
        first, last = (0 if attrs["begin_mask"] >> axis & 1 else first, n if attrs["end_mask"] >> axis & 1 else last)
        begin.append(first)
        end.append(first + 1 if attrs["shrink_axis_mask"] >> axis & 1 else last)
    masks = {"begin_mask": 0, "end_mask": 0}
    if begin[:1] == [0] and end[:1] == [*shape[:1]]:
        end[0], masks = 1, {"begin_mask": 1, "end_mask": 1}
    return {**attrs, "begin": tuple(begin), "end": tuple(end), **masks}


def shapes_cut(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """A box with steps inside of the input, that has all samples.

    Raises:
        BadShape: it ends beyond the input, has no element, goes backwards, or leaves samples out.
    """
    shape, rank, dropped = shapes["input"], len(shapes["input"]), attrs["shrink_axis_mask"]
    require_lengths(attrs, ("begin", "end", "strides"), rank)
    entries = list(zip(attrs["begin"], attrs["end"], attrs["strides"], strict=True))
    require(
        rank >= 1 and entries[0][::2] == (0, 1) and (attrs["begin_mask"], attrs["end_mask"], dropped & 1) == (1, 1, 0),
        "all of the first axis, which counts samples, and the other axes' ends as numbers",
        f"{entries[:1]}, masks {attrs['begin_mask']:b}, {attrs['end_mask']:b} and {dropped:b}",
    )
    require(dropped >> rank == 0, f"dropped axes among {rank}", f"a mask of {dropped:b}")
    for axis, (first, last, step) in enumerate(entries[1:], 1):
        require(
            0 <= first < last <= shape[axis] and step >= 1,
            f"a slice forwards and inside of axis {axis}, which has {shape[axis]}",
            f"{first} to {last} by {step}",
        )
        require(not dropped >> axis & 1 or last == first + 1, f"one element of axis {axis}, dropped", f"{first}:{last}")
    left = [-(-(last - first) // step) for first, last, step in entries]
    return ((shape[0], *(left[axis] for axis in range(1, rank) if not dropped >> axis & 1)),)


ROW = Row(
    name="strided_slice",
    roles=("input",),
    matches=(Match("function", operator.getitem, attributes, parameters=("input", "index")),),
    forward=forward,
    constraints={"input": Free(("int8", "int16", "int32")), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="STRIDED_SLICE",
        resolver="AddStridedSlice",
        version=lambda qparams: 2,
        options="StridedSliceOptions",
        fields=(
            OptionField("begin_mask", "BeginMask"),
            OptionField("end_mask", "EndMask"),
            OptionField("shrink_axis_mask", "ShrinkAxisMask"),
        ),
        operands=(Operand("begin", 1), Operand("end", 2), Operand("strides", 3)),
    ),
    onnx=Onnx(onnx_form),
    shapes=shapes_cut,
    normalized=resolved,
    rows=cut_rows,
    samples=samples,
    c=kernel,
    most_axes=4,
    selects=True,
    transposed=transposed,
    kept=lambda attrs: {**attrs, "shrink_axis_mask": 0},
    remedies={
        "unbind": unbound,
    },
)
