"""CAST between types of whole numbers: the same bits, as many as the other type has, or with their sign in front.

Source: TFLM ``micro/kernels/cast.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor

from qtorch.families.shape_rules import same_shape
from qtorch.families.signals import NO_ONNX, numbers_of
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.row.constraints import Free
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, Row, Sample, TFLite, any_order

_TYPES = ("int8", "int16", "int32", "uint32")


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Any shape."""
    low, high = CODE_RANGE[grids["output"].dtype]
    return (codes["input"] - low) % (high - low + 1) + low


def kernel(operands: Operands) -> KernelCall:
    """Element by element; in place where the type is no wider."""
    widths = {role: np.dtype(operands.grid(role).dtype).itemsize for role in ("input", "output")}
    same = operands.grid("input").bits == operands.grid("output").bits
    arguments = {"in": TensorArgument("input"), "out": TensorArgument("output")}
    if same:
        size = operands.size("input") * widths["input"]
        return KernelCall("copy", {**arguments, "bytes": size}, in_place=frozenset({"input"}))
    numbers = {"count": operands.size("input"), "in_width": widths["input"], "width": widths["output"]}
    return KernelCall("cast", {**arguments, **numbers})


def samples() -> Iterable[Sample]:
    """Every pair of types, both ends of each."""
    rng = np.random.default_rng(0)
    for source in _TYPES:
        codes = rng.integers(*CODE_RANGE[source], (5, 40), endpoint=True)
        codes[0], codes[1], codes[2] = CODE_RANGE[source][0], CODE_RANGE[source][1], codes[2] % 100
        for output in _TYPES:
            grids = {"input": numbers_of(source), "output": numbers_of(output)}
            label = f"{source} to {output}, no float form, TFLM alone"
            yield Sample(label, {}, {"input": codes.astype(source)}, grids)


ROW = Row(
    name="cast",
    roles=("input",),
    matches=(),
    forward=lambda attrs, x: x["input"],
    constraints=dict.fromkeys(("input", "output"), Free(_TYPES, shifted=_TYPES)),
    reference=reference,
    tflite=TFLite(operator="CAST", resolver="AddCast", version=lambda qparams: 1),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=same_shape,
    rows=same_row,
    transposed=any_order,
)
