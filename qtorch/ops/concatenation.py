"""CONCATENATION of tensors on one grid: the kernels copy codes.

Source: TFLM ``micro/kernels/concatenation.cc``: at most 10 inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.movement import Box, copied
from qtorch.families.shape_rules import axis_from_front, require_axis
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.axes import repeated, repeated_elements, rolled, stacked
from qtorch.row.constraints import SameAs
from qtorch.row.image_rows import along
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, Call, Match, OptionField, Refused, Row, Sample, Shape, TFLite
from qtorch.row.shape_rule import require

_MOST_INPUTS = 10


def attributes(call: Call) -> dict[str, Any]:
    """Of ``torch.cat``."""
    if len(call.shapes) > _MOST_INPUTS:
        raise Refused(
            expected=f"at most {_MOST_INPUTS} tensors", got=f"{len(call.shapes)}", remedy="concatenate in several steps"
        )
    return {"axis": call.axis(call.get("dim", 0), "input_0")}


def transposed(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs:
    """The same axis, where it lies."""
    return {"axis": axes[attrs["axis"]]}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank, in the order of the roles; a constant is as large as one sample of a batch."""
    batch = max(len(each) for each in x.values())
    return torch.cat([x[f"input_{i}"].expand(batch, *x[f"input_{i}"].shape[1:]) for i in range(len(x))], attrs["axis"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def kernel(operands: Operands) -> tuple[KernelCall, ...]:
    """A box for each input, side by side."""
    whole, axis, calls, at = operands.shapes["output"], operands.attrs["axis"], [], 0
    for role in sorted(set(operands.shapes) - {"output"}, key=lambda name: int(name.removeprefix("input_"))):
        sizes = operands.shapes[role]
        corner = [at if i == axis else 0 for i in range(len(whole))]
        calls.append(copied(operands, sizes, Box.inside(sizes), Box.inside(whole, corner), (role, "output")))
        at += sizes[axis]
    return tuple(calls)


def samples() -> Iterable[Sample]:
    """Two and more inputs, one of them constant, every axis."""
    rng = np.random.default_rng(7)
    for dtype in ("int8", "int16"):
        grid = QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        for axis, widths, constants in [(1, (2, 3), 0), (3, (1, 4, 2), 0), (2, (3,), 0), (-1 + 4, (2, 2), 1)]:
            shapes = [[2, 3, 4, 5] for _ in widths]
            for shape, width in zip(shapes, widths, strict=True):
                shape[axis] = width
            fixed = frozenset({"input_1"} if constants else ())
            arrays = {
                f"input_{i}": rng.integers(-100, 100, [1 if f"input_{i}" in fixed else 2, *shape[1:]], dtype=dtype)
                for i, shape in enumerate(shapes)
            }
            if fixed:
                arrays["input_0"] = arrays["input_0"][:1]
            qparams = dict.fromkeys([*arrays, "output"], grid)
            label = f"{dtype} axis {axis}, widths {widths}" + (", one constant" if constants else "")
            yield Sample(label, {"axis": axis}, arrays, qparams, fixed)


def joined(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """All axes but the one are equal.

    Raises:
        BadShape: they are not, or there are too many inputs for the kernel.
    """
    parts = list(shapes.values())
    rank, axis = len(parts[0]), attrs["axis"]
    require(len(parts) <= _MOST_INPUTS, f"at most {_MOST_INPUTS} inputs", len(parts))
    require_axis(axis, rank)
    fit = {(*shape[:axis], *shape[axis + 1 :]) for shape in parts if len(shape) == rank}
    require(len(fit) == 1 and all(len(shape) == rank for shape in parts), f"shapes equal but for axis {axis}", parts)
    return ((*parts[0][:axis], sum(shape[axis] for shape in parts), *parts[0][axis + 1 :]),)


ROW = Row(
    name="concatenation",
    roles=("input",),
    variadic=True,
    matches=tuple(Match("aten", name, attributes) for name in ("cat", "concat", "concatenate")),
    forward=forward,
    constraints={
        "input": SameAs("input_0", ("int8", "int16"), whole=True),
        "output": SameAs("input_0", ("int8", "int16"), whole=True),
    },
    reference=reference,
    tflite=TFLite(
        operator="CONCATENATION",
        resolver="AddConcatenation",
        version=lambda qparams: 2,
        options="ConcatenationOptions",
        fields=(OptionField("axis", "Axis"),),
    ),
    onnx=one_operator("Concat", lsb={}, axis=lambda operands: operands.attrs["axis"]),
    shapes=joined,
    rows=along("axis"),
    normalized=axis_from_front,
    samples=samples,
    c=kernel,
    selects=True,
    transposed=transposed,
    remedies={
        "stack": stacked,
        **dict.fromkeys(("repeat", "tile"), repeated),
        "repeatinterleave": repeated_elements,
        "roll": rolled,
    },
)
