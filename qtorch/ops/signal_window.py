"""SignalWindow: int16 samples times a window, shifted to the right and held to int16.

Source: TFLM ``signal/micro/kernels/window.cc``, ``signal/src/window.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor

from qtorch.families.signals import NO_ONNX, in_range, on_whole_numbers, require_vectors, signal_cell, signal_sample
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape
from qtorch.row.shape_rule import require


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Any shape whose last axis is a whole number of windows."""
    source, window = codes["input"], codes["weights"]
    products = (source.reshape(-1, len(window)) * window) >> attrs["shift"]
    return products.clamp(*CODE_RANGE["int16"]).reshape(source.shape)


def kernel(operands: Operands) -> KernelCall:
    """Element by element, in place where the samples are needed no more."""
    return KernelCall(
        "signal_window",
        {
            "in": TensorArgument("input"),
            "weights": ConstantTable(operands.constants["weights"]),
            "out": TensorArgument("output"),
            "count": operands.size("input"),
            "size": operands.size("weights"),
            "right": operands.attrs["shift"],
        },
        in_place=frozenset({"input"}),
    )


def shapes_windowed(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's.

    Raises:
        BadShape: it is no whole number of windows, or the shift is none.
    """
    require_vectors(shapes, {"weights": 1})
    source, (size,) = shapes["input"], shapes["weights"]
    require(len(source) >= 2 and source[-1] % size == 0, f"a whole number of windows of {size}", f"{source}")
    in_range(attrs, {"shift": range(32)})
    return (source,)


def samples() -> Iterable[Sample]:
    """Shifts that saturate and that do not, several windows in a row, extremes."""
    rng = np.random.default_rng(0)
    for label, shape, size, shift in [
        ("one window", (8, 30), 30, 12), ("two", (4, 24), 12, 15), ("saturating", (6, 17), 17, 8),
        ("no shift", (4, 9), 9, 0), ("all of it", (4, 9), 9, 31),
    ]:  # fmt: skip
        codes = rng.integers(-(2**15), 2**15, shape).astype(np.int16)
        codes[0, ::2], codes[1] = -(2**15), 2**15 - 1
        window = rng.integers(-(2**15), 2**15, size).astype(np.int16)
        yield signal_sample(label, {"shift": shift}, {"input": codes, "weights": window}, {"output": "int16"})


ROW = Row(
    name="signal_window",
    roles=("input", "weights"),
    matches=(),
    forward=on_whole_numbers(reference),
    constraints=dict.fromkeys(("input", "weights", "output"), Free(("int16",))),
    reference=reference,
    tflite=signal_cell("Window", "AddWindow", OptionField("shift", "shift"), vectors=False),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_windowed,
)
