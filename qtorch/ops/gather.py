"""GATHER: rows of a table that stands in the file, by indices that come in; int8 alone.

The table lies on the output's grid, so that rows are copied as they are.

Source: TFLM ``micro/kernels/gather.cc``: int32 indices, axis 0, no batch axes in common. What lies beyond the table is
not looked for there, and read from wherever it would be; plain C takes the nearest row that there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from qtorch.families.table_rows import rows_of_table
from qtorch.families.window_rules import require_rank
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.row.constraints import Free, Indices, SameAs
from qtorch.row.kernel_call import KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, Row, Sample, Shape, TFLite


def attributes(call: Call) -> dict[str, Any]:
    """The row that is not trained."""
    return {"padding_idx": call.get("padding_idx")}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``[N, ...]`` and ``[R, C]`` to ``[N, ..., C]``."""
    return rows_of_table(x["indices"], x["table"], attrs.get("padding_idx"))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`.

    Raises:
        IndexError: an index is that of no row.
    """
    return rows_of_table(codes["indices"], codes["table"])


def held(attrs: Attrs, y: Tensor, x: Mapping[str, Tensor]) -> Tensor:
    """What the grid is for; which row is not trained is nothing that a file says."""
    return y


def kernel(operands: Operands) -> KernelCall:
    """Rows one after another."""
    rows, *row = operands.shapes["table"]
    return KernelCall(
        "gathered_rows_s8",
        {
            "indices": TensorArgument("indices"),
            "table": TensorArgument("table"),
            "out": TensorArgument("output"),
            "count": operands.size("indices"),
            "rows": rows,
            "columns": math.prod(row),
        },
    )


def samples() -> Iterable[Sample]:
    """Indices of one to four axes, the first and the last row among them; rows of one number and of many."""
    rng = np.random.default_rng(61)
    for shape, rows, columns in [
        ((5,), 7, 3),
        ((4, 6), 300, 8),
        ((4, 6), 3, 1),
        ((3, 2, 5), 9, 4),
        ((2, 1, 3, 2), 5, 2),
    ]:
        indices = rng.integers(0, rows, shape, dtype="int32")
        indices.flat[:2] = 0, rows - 1
        table = rng.integers(-128, 127, (rows, columns), dtype="int8", endpoint=True)
        grid = QParams((0.5,), (3,))
        qparams = {"indices": INDICES, "table": grid, "output": grid}
        yield Sample(f"{shape} of {rows} x {columns}", {}, {"indices": indices, "table": table}, qparams)


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """Along the first axis."""
    return [OnnxNode("Gather", ("table", "indices"), attributes={"axis": 0})]


def rows_taken(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Indices ``[N, ...]`` and a table ``[R, C]``.

    Raises:
        BadShape: the table has another number of axes, which the kernel takes and the reference does not.
    """
    require_rank(shapes, {"table": 2})
    return ((*shapes["indices"], shapes["table"][1]),)


ROW = Row(
    name="gather",
    roles=("indices", "table"),
    matches=(
        Match(
            "function",
            rows_of_table,
            attributes,
            ("indices", "table", "padding_idx"),
            tensors=2,
            written=("Embedding", "embedding"),
        ),
    ),
    forward=forward,
    constraints={"indices": Indices(), "table": SameAs("output"), "output": Free()},
    reference=reference,
    tflite=TFLite(
        operator="GATHER",
        resolver="AddGather",
        version=lambda qparams: 1 if qparams["table"] is None else 2,
        options="GatherOptions",
        order=("table", "indices"),
    ),
    onnx=Onnx(onnx_form),
    shapes=rows_taken,
    samples=samples,
    c=kernel,
    selects=True,
    measured=held,
)
