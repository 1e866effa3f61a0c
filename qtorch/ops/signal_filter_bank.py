"""SignalFilterBank: energies added up in channels that overlap, each with weights and with what these lack to one.

What lacks in a channel's bins goes to the next one. The first of the tables' channels is there for that alone, and has
no output.
Source: TFLM ``signal/micro/kernels/filter_bank.cc``, ``signal/src/filter_bank.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.signals import NO_ONNX, in_range, on_whole_numbers, require_vectors, signal_cell, signal_sample
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import ConstantTable, KernelCall, NoKernel, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape
from qtorch.row.shape_rule import BadShape, require

_WEIGHTS = ("weights", "unweights")
_CHANNELS = ("frequency_starts", "weight_starts", "widths")
#: The tables' roles, in the operator's order.
TABLES = (*_WEIGHTS, *_CHANNELS)


def bands(tables: Mapping[str, np.ndarray], bins: int) -> list[tuple[range, slice]]:
    """By channel, which bins and which weights.

    Raises:
        BadShape: some are outside.
    """
    weights = min(len(tables[role]) for role in _WEIGHTS)
    found = []
    for channel, (first, weight, width) in enumerate(zip(*(tables[role].tolist() for role in _CHANNELS), strict=True)):
        width = max(0, width)
        if width and not (0 <= first <= bins - width and 0 <= weight <= weights - width):
            raise BadShape(
                f"channel {channel}: expected {width} bins of {bins} and as many weights of {weights}, got those from "
                f"{first} and from {weight} on"
            )
        found.append((range(first, first + width), slice(weight, weight + width)))
    return found


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, bins]`` to ``[N, channels]``: sums that wrap in 64 bits."""
    source, tables = codes["input"], {role: codes[role].numpy() for role in TABLES}
    found, carried = [], torch.zeros(len(source), dtype=torch.int64)
    for bins, place in bands(tables, source.shape[1]):
        band = source[:, list(bins)]
        found.append(carried + (band * codes["weights"][place]).sum(1))
        carried = (band * codes["unweights"][place]).sum(1)
    return torch.stack(found[1:], 1)


def kernel(operands: Operands) -> KernelCall:
    """Both sums over a band at once.

    Raises:
        NoKernel: a weight is negative, or a band is no part of the input or of the weights.
    """
    tables = operands.constants
    if any((tables[role] < 0).any() for role in _WEIGHTS):
        raise NoKernel("weights below 0")
    try:
        bands(tables, operands.shapes["input"][1])
    except BadShape as error:
        raise NoKernel(str(error)) from error
    return KernelCall(
        "signal_filter_bank",
        {
            "in": TensorArgument("input"),
            **{role: ConstantTable(tables[role]) for role in TABLES},
            "out": TensorArgument("output"),
            "rows": operands.shapes["input"][0],
            "bins": operands.shapes["input"][1],
            "channels": operands.attrs["num_channels"],
        },
    )


def shapes_of_channels(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """As many as there are.

    Raises:
        BadShape: the tables are not of one channel more, or the two of weights of different lengths.
    """
    require_vectors(shapes, {"input": 2, **dict.fromkeys(TABLES, 1)})
    in_range(attrs, {"num_channels": range(1, 2**15)})
    channels = attrs["num_channels"]
    for role in _CHANNELS:
        require(shapes[role] == (channels + 1,), f"{channels + 1} {role}, one more than channels", f"{shapes[role]}")
    require(shapes["weights"] == shapes["unweights"], "as many unweights as weights", f"{shapes}")
    return ((shapes["input"][0], channels),)


def samples() -> Iterable[Sample]:
    """Bands that overlap, with and without weights, of any width down to none; the largest energies."""
    rng = np.random.default_rng(0)
    for label, bins, widths in [("five", 40, (3, 8, 4, 9, 12, 4)), ("one", 9, (2, 9)), ("an empty one", 12, (4, 0, 8))]:
        weight_starts = np.r_[0, np.cumsum(widths)[:-1]]
        weights = rng.integers(0, 2**12, sum(widths))
        energies = rng.integers(0, 2**32, (6, bins))
        energies[1] >>= 20
        energies[2] = 2**32 - 1
        arrays = {
            "input": energies.astype(np.uint32),
            "weights": weights.astype(np.int16),
            "unweights": (2**12 - weights).astype(np.int16),
            "frequency_starts": np.array([rng.integers(0, bins - width + 1) for width in widths], np.int16),
            "weight_starts": weight_starts.astype(np.int16),
            "widths": np.array(widths, np.int16),
        }
        yield signal_sample(label, {"num_channels": len(widths) - 1}, arrays, {"output": "uint64"})


ROW = Row(
    name="signal_filter_bank",
    roles=("input", *_WEIGHTS, *_CHANNELS),
    matches=(),
    forward=on_whole_numbers(reference),
    constraints={
        "input": Free(("uint32",)),
        **dict.fromkeys(TABLES, Free(("int16",))),
        "output": Free(("uint64",)),
    },
    reference=reference,
    tflite=signal_cell("FilterBank", "AddFilterBank", OptionField("num_channels", "num_channels")),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_of_channels,
    most_axes=2,
)
