"""SignalEnergy: the squares of a spectrum's real and imaginary parts, added up, between two frequencies.

The kernel writes nothing outside of these, where memory is what it was before; here it is 0, and a file in which
somebody reads it is refused.
Source: TFLM ``signal/micro/kernels/energy.cc``, ``signal/src/energy.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.signals import NO_ONNX, UINT32, on_whole_numbers, require_vectors, signal_cell, signal_sample
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape
from qtorch.row.shape_rule import require


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, 2 n]`` to ``[N, n]``; the sum of two squares of -32768 is 2**31."""
    pairs = codes["input"].reshape(len(codes["input"]), -1, 2)
    energies = pairs.square().sum(2) & UINT32
    found = torch.zeros_like(energies)
    written = slice(attrs["start_index"], attrs["end_index"])
    found[:, written] = energies[:, written]
    return found


def kernel(operands: Operands) -> KernelCall:
    """Pair by pair: what is written lies where the pair lay."""
    return KernelCall(
        "signal_energy",
        {
            "in": TensorArgument("input"),
            "out": TensorArgument("output"),
            "rows": operands.shapes["input"][0],
            "size": operands.shapes["output"][1],
            "first": operands.attrs["start_index"],
            "behind": operands.attrs["end_index"],
        },
    )


def shapes_of_energies(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """One for each pair.

    Raises:
        BadShape: there is half a pair, or the two frequencies are not among them.
    """
    require_vectors(shapes, {"input": 2})
    count, numbers = shapes["input"]
    first, behind = attrs["start_index"], attrs["end_index"]
    require(numbers % 2 == 0, "pairs of real and imaginary parts", f"{numbers} numbers")
    require(0 <= first < behind <= numbers // 2, f"frequencies among {numbers // 2}", f"{first} to {behind}")
    return ((count, numbers // 2),)


def samples() -> Iterable[Sample]:
    """Random pairs and extremes."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-(2**15), 2**15, (9, 34)).astype(np.int16)
    codes[0], codes[1], codes[2] = -(2**15), 2**15 - 1, codes[2] // 900
    attrs = {"end_index": 17, "start_index": 0}
    yield signal_sample("all", attrs, {"input": codes}, {"output": "uint32"})


ROW = Row(
    name="signal_energy",
    roles=("input",),
    matches=(),
    forward=on_whole_numbers(reference),
    constraints={"input": Free(("int16",)), "output": Free(("uint32",))},
    reference=reference,
    tflite=signal_cell(
        "Energy", "AddEnergy", OptionField("end_index", "end_index"), OptionField("start_index", "start_index")
    ),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_of_energies,
    most_axes=2,
)
