"""RESHAPE: the same codes in another shape.

Source: TFLM ``micro/kernels/reshape_common.cc``: one input, the shape in the options.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import WHOLE, QParams
from qtorch.row.constraints import Free, SameAs
from qtorch.row.kernel_call import Argument, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import NoForm, Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, OptionField, Refused, Row, Sample, Shape, TFLite
from qtorch.row.shape_rule import require


def attributes(call: Call) -> dict[str, Any]:
    """The result's shape for one sample."""
    if call.output_shape[0] != call.shapes["input"][0]:
        raise Refused(
            expected="the batch axis to stay first",
            got=f"{call.shapes['input']} reshaped to {call.output_shape}",
            remedy="keep axis 0, as x.flatten(1) and x.reshape(x.shape[0], -1) do",
        )
    return {"shape": (1, *call.output_shape[1:])}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``[N, ...]`` to ``[N, *shape[1:]]``; where ``shape`` has rows of a sample in front, ``N`` times as many."""
    return x["input"].reshape(-1, *attrs["shape"][1:])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def homogeneous(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Where the axes before it stay and what it is merged with lies behind it."""
    beside = after[:axis] == before[:axis] and len(after) > axis and after[axis] % before[axis] == 0
    return axis if beside else None


def kernel(operands: Operands) -> KernelCall:
    """Nothing at all, where both tensors may share memory."""
    bytes_each = np.dtype(operands.grid("input").dtype).itemsize
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"),
        "out": TensorArgument("output"),
        "bytes": operands.size("input") * bytes_each,
    }
    return KernelCall("copy", arguments, in_place=frozenset({"input"}))


def samples() -> Iterable[Sample]:
    """Ranks up and down."""
    for dtype in ("int8", "int16", *WHOLE):
        grid = WHOLE.get(dtype) or QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        codes = np.arange(24).astype(dtype).reshape(1, 2, 3, 4)
        for shape in [(1, 24), (1, 4, 6), (1, 1, 3, 2, 4)]:
            yield Sample(f"{dtype} {shape}", {"shape": shape}, {"input": codes}, {"input": grid, "output": grid})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """A size of 0 says that the batch stays as large as it is, -1 that rows of a sample are counted with it.

    Raises:
        NoForm: of numbers without sign.
    """
    shape = operands.attrs["shape"]
    if operands.grid("input").dtype.startswith("uint"):
        raise NoForm("numbers without sign")
    batch = 0 if operands.shapes["input"][0] == shape[0] else -1
    return [OnnxNode("Reshape", ("input", np.array((batch, *shape[1:]), np.int64)))]


def resolved(attrs: Attrs, shapes: Mapping[str, Shape]) -> Attrs:
    """A size of -1 as what the others leave."""
    shape, elements = attrs["shape"], math.prod(shapes["input"])
    known = math.prod(size for size in shape if size != -1)
    if shape.count(-1) != 1 or known < 1 or elements % known:
        return attrs
    return {**attrs, "shape": tuple(elements // known if size == -1 else size for size in shape)}


def reshaped(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """As many elements; how many samples, or rows of a sample, are in front follows from their number.

    Raises:
        BadShape: the other axes do not divide it.
    """
    source, shape = shapes["input"], attrs["shape"]
    require(len(shape) >= 1 and all(size >= 1 for size in shape), "a shape of sizes of at least 1", f"{shape}")
    each, elements = math.prod(shape[1:]), math.prod(source)
    require(elements % each == 0, f"as many elements as the input's {source} has, {elements}", f"shape {shape}")
    return ((elements // each, *shape[1:]),)


ROW = Row(
    name="reshape",
    roles=("input",),
    matches=(
        Match("module", nn.Flatten, attributes),
        Match("module", nn.Unflatten, attributes),
        *(
            Match("aten", name, attributes)
            for name in (
                "flatten",
                "ravel",
                "reshape",
                "reshape_as",
                "squeeze",
                "unflatten",
                "unsqueeze",
                "view",
                "view_as",
            )
        ),
        Match("aten", "_unsafe_view", attributes, written=("view",)),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16", "int32", "uint32", "uint64")), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="RESHAPE",
        resolver="AddReshape",
        version=lambda qparams: 1,
        options="ReshapeOptions",
        fields=(OptionField("shape", "NewShape"),),
    ),
    onnx=Onnx(onnx_form),
    shapes=reshaped,
    normalized=resolved,
    samples=samples,
    c=kernel,
    selects=True,
    most_axes=8,
    homogeneous=homogeneous,
)
