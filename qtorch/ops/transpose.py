"""TRANSPOSE: the same codes, axes in another order.

Source: TFLM ``kernels/internal/reference/transpose.h``: at most 5 axes. The export writes one of more as
several, between RESHAPEs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.movement import Box, copied
from qtorch.c_cells.strides import row_major
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.images import channel_shuffle, shuffled_down, shuffled_up
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import ImageRows, RowWindow
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, Call, Match, Operand, Refused, Row, Sample, Shape, TFLite
from qtorch.row.shape_rule import require

#: How people write the operator.
_WRITTEN = {"numpy_T": ("T",)}

#: What each operator does to a tensor.
_OPERATORS: dict[str, Callable[[Tensor, Call], Tensor]] = {
    "permute": lambda x, call: x.permute(call.get("dims")),
    "transpose": lambda x, call: x.transpose(call.get("dim0"), call.get("dim1")),
    "swapdims": lambda x, call: x.transpose(call.get("dim0"), call.get("dim1")),
    "swapaxes": lambda x, call: x.transpose(call.get("axis0"), call.get("axis1")),
    **dict.fromkeys(
        ("movedim", "moveaxis"), lambda x, call: x.movedim(call.get("source"), call.get("destination"))
    ),
    **dict.fromkeys(("mT", "mH", "adjoint"), lambda x, call: x.mT),
    **dict.fromkeys(("t", "numpy_T"), lambda x, call: x.permute(*reversed(range(x.dim())))),
}  # fmt: skip


def _attributes(operator: Callable[[Tensor, Call], Tensor], call: Call) -> dict[str, Any]:
    # Every axis gets its number for its size, so that the shape of the result spells the permutation.
    axes = torch.empty(list(range(len(call.shapes["input"]))), device="meta")
    perm = tuple(operator(axes, call).shape)
    if perm[0]:
        raise Refused(expected="the batch axis to stay first", got=f"axes {perm}", remedy="permute the other axes only")
    return {"perm": perm}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank."""
    return x["input"].permute(attrs["perm"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def homogeneous(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Where the axis goes."""
    return int(attrs["perm"].index(axis))


def kernel(operands: Operands) -> KernelCall:
    """The input in the output's order."""
    strides, sizes = row_major(operands.shapes["input"]), operands.shapes["output"]
    return copied(operands, sizes, Box(tuple(strides[axis] for axis in operands.attrs["perm"])), Box.inside(sizes))


def rows_in_place(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Rows whose axis stays where it is; see :data:`qtorch.row.image_rows.RowsRule`."""
    return ImageRows({"input": RowWindow()}) if attrs["perm"][axis] == axis else None


def samples() -> Iterable[Sample]:
    """Several ranks and orders."""
    rng = np.random.default_rng(5)
    for dtype in ("int8", "int16"):
        grid = QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        for shape, perm in [((2, 3, 4), (0, 2, 1)), ((2, 2, 3, 4), (0, 3, 1, 2)), ((1, 2, 3, 2, 3), (0, 4, 2, 3, 1))]:
            codes = rng.integers(-100, 100, shape, dtype=dtype)
            yield Sample(f"{dtype} {perm}", {"perm": perm}, {"input": codes}, {"input": grid, "output": grid})


def shapes_permuted(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's sizes in another order.

    Raises:
        BadShape: the axes are not each named once, counted from the front, which is how the kernel wants them.
    """
    shape, perm = shapes["input"], attrs["perm"]
    complete = isinstance(perm, tuple) and sorted(perm) == list(range(len(shape)))
    require(complete, f"each axis from 0 to {len(shape) - 1} once", f"perm {perm}")
    require(perm[0] == 0, "the first axis, which counts samples, in its place", f"perm {perm}")
    return (tuple(shape[axis] for axis in perm),)


ROW = Row(
    name="transpose",
    roles=("input",),
    matches=tuple(
        Match("aten", name, partial(_attributes, operator), written=_WRITTEN.get(name, ()))
        for name, operator in _OPERATORS.items()
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="TRANSPOSE",
        resolver="AddTranspose",
        version=lambda qparams: 2,
        operands=(Operand("perm", 1),),
    ),
    onnx=one_operator("Transpose", lsb={}, perm=lambda operands: operands.attrs["perm"]),
    shapes=shapes_permuted,
    rows=rows_in_place,
    samples=samples,
    c=kernel,
    selects=True,
    most_axes=8,
    homogeneous=homogeneous,
    remedies={
        "pixelshuffle": shuffled_up,
        "pixelunshuffle": shuffled_down,
        **dict.fromkeys(("channelshuffle", "nativechannelshuffle"), channel_shuffle),
    },
)
