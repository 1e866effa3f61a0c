"""SignalFilterBankSquareRoot: square roots of 64 bits, rounded, then shifted to the right by what another op says.

Source: TFLM ``signal/micro/kernels/filter_bank_square_root.cc``, ``signal/src/square_root_{32,64}.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.signals import NO_ONNX, UINT32, on_whole_numbers, require_vectors, signal_cell, signal_sample
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free, Indices
from qtorch.row.kernel_call import KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, Row, Sample, Shape
from qtorch.row.shape_rule import require


def root(number: int) -> int:
    """Rounded, but for what one bit more would take than half of the number's bits: 32, or 64."""
    found = math.isqrt(number)
    largest = 2**16 - 1 if number < 2**32 else UINT32
    return found + (number - found * found > found and found != largest)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, channels]``, and shifts ``[N]``, of which processors read the last five bits."""
    numbers, shifts = codes["input"], codes["scale_bits"]
    roots = [root(each % 2**64) for each in numbers.reshape(-1).tolist()]
    return torch.tensor(roots).reshape(numbers.shape) >> (shifts[:, None] & 31)


def kernel(operands: Operands) -> KernelCall:
    """Two bits a step."""
    rows, channels = operands.shapes["input"]
    return KernelCall(
        "signal_filter_bank_square_root",
        {
            "in": TensorArgument("input"),
            "shifts": TensorArgument("scale_bits"),
            "out": TensorArgument("output"),
            "rows": rows,
            "channels": channels,
        },
    )


def shapes_of_roots(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's.

    Raises:
        BadShape: there are other axes, or not one shift for each sample.
    """
    require_vectors(shapes, {"input": 2, "scale_bits": 1})
    require(shapes["input"][:1] == shapes["scale_bits"], "a shift for each sample", f"{shapes}")
    return (shapes["input"],)


def samples() -> Iterable[Sample]:
    """Numbers of every length, squares and their neighbours, both ends."""
    rng = np.random.default_rng(0)
    roots = np.array([0, 1, 2, 3, 181, 46340, 65535, 65536, 99999, 2**31, 2**32 - 1], np.uint64)
    rows = [(roots * roots + np.uint64(more))[:11] for more in (0, 1)] + [roots * roots + roots]
    rows += [roots * roots + roots + np.uint64(1), np.full(11, 2**64 - 1, np.uint64), np.full(11, 2**32 - 1, np.uint64)]
    rows += [rng.integers(0, 2**bits, 11, np.uint64) for bits in range(1, 64, 3)]
    shifts = np.resize(np.array([0, 1, 7, 13, 0], np.int32), len(rows))
    yield signal_sample("roots", {}, {"input": np.array(rows), "scale_bits": shifts}, {"output": "uint32"})


ROW = Row(
    name="signal_filter_bank_square_root",
    roles=("input", "scale_bits"),
    runtime=2,
    matches=(),
    forward=on_whole_numbers(reference),
    constraints={"input": Free(("uint64",)), "scale_bits": Indices(), "output": Free(("uint32",))},
    reference=reference,
    tflite=signal_cell("FilterBankSquareRoot", "AddFilterBankSquareRoot"),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_of_roots,
    most_axes=2,
)
