"""PAD with zeros, which are the code of the zero point.

Source: TFLM ``micro/kernels/pad_common.cc``, ``kernels/internal/reference/pad.h``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.c_cells.movement import padding_kernel
from qtorch.families.shape_rules import padded_shapes
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.images import padded as padded_form
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import padded_rows
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, Operand, Refused, Row, Sample, Shape, TFLite


def attributes(call: Call) -> dict[str, Any]:
    """Of ``pad`` and the padding modules: PyTorch's pairs begin at the last axis."""
    mode, value = call.get("mode", "constant"), call.get("value", 0.0)
    amounts = call.get("padding") if call.module is not None else call.get("pad")
    pairs = [(int(a), int(b)) for a, b in zip(amounts[0::2], amounts[1::2], strict=True)]
    rank = len(call.shapes["input"])
    if mode != "constant" or value:
        raise Refused(
            expected="padding with zeros",
            got=f"mode={mode!r}, value={value}",
            remedy=padded_form(mode, tuple(n for pair in pairs for n in pair), value, call.shapes["input"]),
        )
    if any(n < 0 for pair in pairs for n in pair):
        raise Refused(expected="padding of at least 0", got=f"{amounts}", remedy="cut with a slice")
    paddings = ((0, 0),) * (rank - len(pairs)) + tuple(reversed(pairs))
    if paddings[0] != (0, 0):
        raise Refused(expected="no padding of the batch axis", got=f"{amounts}", remedy="pad the other axes only")
    return {"paddings": paddings}


def transposed(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs:
    """The same padding of the same axes."""
    paddings = [(0, 0)] * rank
    for axis, ends in zip(axes, attrs["paddings"], strict=True):
        paddings[axis] = ends
    return {"paddings": tuple(paddings)}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank."""
    return padded(x["input"], attrs, 0)


def padded(x: Tensor, attrs: Attrs, value: float) -> Tensor:
    """``x`` with ``value`` around it."""
    return F.pad(x, [n for ends in reversed(attrs["paddings"]) for n in ends], value=value)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Any rank up to 5; the kernels' limit."""
    return padded(codes["input"], attrs, int(grids["input"].zero_point))


def homogeneous(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Zeros beside a channel are zeros whatever its factor; along the channels they would be others."""
    return axis if attrs["paddings"][axis] == (0, 0) else None


def kernel(operands: Operands) -> tuple[KernelCall, ...]:
    """The code of zero around a copy."""
    return padding_kernel(operands, operands.grid("input").zero_point[0])


def samples() -> Iterable[Sample]:
    """Several ranks, either end, and neither."""
    rng = np.random.default_rng(6)
    for dtype, zero_point in [("int8", 3), ("int8", -128), ("int8", 127), ("int16", 0)]:
        grid = QParams((0.5,), (zero_point,), dtype)
        for paddings in [
            ((0, 0), (1, 2)),
            ((0, 0), (0, 1), (2, 0)),
            ((0, 0), (1, 0), (0, 3), (1, 1)),
            ((0, 0), (0, 0), (2, 1)),
        ]:
            codes = rng.integers(-100, 100, (2, *range(2, len(paddings) + 1)), dtype=dtype)
            attrs = {"paddings": paddings}
            yield Sample(f"{dtype}@{zero_point} {paddings}", attrs, {"input": codes}, {"input": grid, "output": grid})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """All beginnings, then all ends."""
    ends = np.array(operands.attrs["paddings"], np.int64).T.reshape(-1)
    return [OnnxNode("Pad", ("input", ends))]


ROW = Row(
    name="pad",
    roles=("input",),
    matches=(
        Match("aten", "pad", attributes),
        Match("aten", "constant_pad_nd", attributes),
        *(
            Match("module", module, attributes)
            for module in (nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d)
        ),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16"), whole=True), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="PAD",
        resolver="AddPad",
        version=lambda qparams: 2,
        options="PadOptions",
        operands=(Operand("paddings", 1),),
    ),
    onnx=Onnx(onnx_form),
    shapes=padded_shapes,
    rows=padded_rows,
    samples=samples,
    c=kernel,
    selects=True,
    transposed=transposed,
    homogeneous=homogeneous,
)
