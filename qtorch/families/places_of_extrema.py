"""What ARG_MAX and ARG_MIN share: where along one axis the first of the largest, or smallest, codes stands.

Source: TFLM ``micro/kernels/arg_min_max.cc`` and ``kernels/internal/reference/arg_min_max.h``: a later code takes the
place only if it is larger (smaller), so that of equal ones the first is found, as in PyTorch. int8 codes (float32 in a
graph of floats) to int32; the axis is dropped, and the kernel does not look at grids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from qtorch.families.shape_rules import axis_from_front, require_axis
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.row.constraints import Free, Indices
from qtorch.row.image_rows import ImageRows, RowWindow
from qtorch.row.kernel_call import KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Call, Match, Operand, OptionField, Refused, Row, Sample, TFLite
from qtorch.row.shape_rule import Shape, require

__all__ = ["place_row"]


def attributes(call: Call) -> dict[str, Any]:
    """The axis, counted from the front; that it is kept at size 1 is written as a shape behind it.

    Raises:
        Refused: no axis is named, or the batch's, or it is kept.
    """
    dim = call.get("dim")
    if dim is None:
        raise Refused(
            expected="an axis along which to look",
            got="dim=None, all samples of the batch together",
            remedy="name it, as in x.argmax(1); of all elements of a sample, x.flatten(1).argmax(1)",
        )
    if len(call.shapes["input"]) < 2 or call.get("keepdim", False):
        raise Refused(
            expected="an axis behind the batch's, which the result lacks",
            got=f"shape {call.shapes['input']}, keepdim={call.get('keepdim', False)}",
            remedy="leave keepdim out",
        )
    return {"axis": call.axis(dim, "input"), "output_type": "int32"}


def _reference(forward: Callable[[Attrs, Mapping[str, Tensor]], Tensor]) -> Any:
    def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
        """Of codes as of numbers."""
        return forward(attrs, codes)

    return reference


def _kernel(largest: bool) -> Callable[[Operands], KernelCall]:
    def kernel(operands: Operands) -> KernelCall:
        shape, axis = operands.shapes["input"], operands.attrs["axis"]
        return KernelCall(
            "places_of_extrema",
            {
                "in": TensorArgument("input"),
                "out": TensorArgument("output"),
                "outer": math.prod(shape[:axis]),
                "along": shape[axis],
                "inner": math.prod(shape[axis + 1 :]),
                "largest": int(largest),
            },
        )

    return kernel


def _samples(seed: int) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        """Every axis of several shapes; ties, at both ends of the codes' range too, where the first counts."""
        rng = np.random.default_rng(seed)
        grids = {"input": QParams((0.5,), (3,)), "output": INDICES}
        for shape in [(9, 7), (5, 300), (4, 3, 5), (4, 2, 3, 5), (3, 2, 4, 3, 2), (3, 1, 6)]:
            for axis in range(1, len(shape)):
                few, many = (rng.integers(-128, high, shape, dtype="int8", endpoint=True) for high in (-126, 127))
                codes = np.where(np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)) % 2, many, few)
                codes[0] = rng.integers(126, 127, shape[1:], dtype="int8", endpoint=True)
                alike = ", alike" if shape[axis] == 1 else ""
                attrs = {"axis": axis, "output_type": "int32"}
                yield Sample(f"{shape} along {axis}{alike}", attrs, {"input": codes.astype(np.int8)}, grids)

    return samples


def _shapes(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    shape, axis = shapes["input"], attrs["axis"]
    require_axis(axis, len(shape))
    require(attrs["output_type"] == "int32", "places of type int32", attrs["output_type"])
    return ((*shape[:axis], *shape[axis + 1 :]),)


def _rows(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    return ImageRows({"input": RowWindow()}) if attrs["axis"] > axis else None


def _onnx(operator: str) -> Onnx:
    def form(operands: Operands) -> list[OnnxNode]:
        return [OnnxNode(operator, ("input",), attributes={"axis": operands.attrs["axis"], "keepdims": 0})]

    return Onnx(form)


def place_row(
    name: str, call: str, forward: Callable[[Attrs, Mapping[str, Tensor]], Tensor], *, largest: bool, seed: int
) -> Row:
    """The row of one of the two.

    Args:
        name: of the row.
        call: PyTorch's.
        forward: the float function.
        largest: whether it looks for the largest.
        seed: of its samples.
    """
    operator = name.upper()
    kind = "ArgMax" if largest else "ArgMin"
    return Row(
        name=name,
        roles=("input",),
        matches=(Match("aten", call, attributes),),
        forward=forward,
        constraints={"input": Free(), "output": Indices()},
        reference=_reference(forward),
        tflite=TFLite(
            operator=operator,
            resolver=f"Add{kind}",
            version=lambda qparams: 1 if qparams["input"] is None else 2,
            options=f"{kind}Options",
            fields=(OptionField("output_type", "OutputType", "TensorType"),),
            operands=(Operand("axis", 1),),
        ),
        onnx=_onnx(kind),
        shapes=_shapes,
        rows=_rows,
        normalized=axis_from_front,
        samples=_samples(seed),
        c=_kernel(largest),
    )
