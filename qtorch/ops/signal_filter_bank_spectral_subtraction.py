"""SignalFilterBankSpectralSubtraction: what a channel has above an estimate of its noise, which lives on between runs.

Source: TFLM ``signal/micro/kernels/filter_bank_spectral_subtraction.cc``,
``signal/src/filter_bank_spectral_subtraction.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.signals import (
    NO_ONNX,
    UINT32,
    bits_32,
    in_range,
    on_whole_numbers,
    require_vectors,
    signal_cell,
    signal_sample,
)
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape
from qtorch.row.shape_rule import require

_FACTORS = ("smoothing", "one_minus_smoothing", "alternate_smoothing", "alternate_one_minus_smoothing")
_OPTIONS = (
    "alternate_one_minus_smoothing",
    "alternate_smoothing",
    "clamping",
    "min_signal_remaining",
    "num_channels",
    "one_minus_smoothing",
    "smoothing",
    "smoothing_bits",
    "spectral_subtraction_bits",
)


def _product(numbers: Tensor, factor: np.ndarray | int) -> np.ndarray:
    """Of 32 bits by 32, in uint64."""
    found: np.ndarray = numbers.numpy().astype(np.uint64) * np.asarray(factor).astype(np.uint64)
    return found


def reference(
    attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding
) -> tuple[Tensor, Tensor]:
    """``[N, channels]`` and the estimate, to the same; channels in turn have one pair of factors and the other."""
    source, shift = codes["input"], np.uint64(attrs["spectral_subtraction_bits"])
    odd = np.arange(source.shape[1]) % 2
    even_new, even_old, odd_new, odd_old = (bits_32(attrs[name]) for name in _FACTORS)
    new, old = np.where(odd, odd_new, even_new), np.where(odd, odd_old, even_old)
    scaled = (source << attrs["smoothing_bits"]) & UINT32
    sums = (_product(scaled, new) + _product(codes["noise_estimate"], old)) >> shift
    noise = torch.from_numpy((sums & np.uint64(UINT32)).astype(np.int64))
    below = torch.minimum(noise, scaled)
    floors = _product(source, bits_32(attrs["min_signal_remaining"])) >> shift
    floor = torch.from_numpy((floors & np.uint64(UINT32)).astype(np.int64))
    left = torch.maximum((scaled - below) >> attrs["smoothing_bits"], floor)
    return left, below if attrs["clamping"] else noise


def kernel(operands: Operands) -> KernelCall:
    """Channel by channel; the estimate is replaced where it lies."""
    rows, channels = operands.shapes["input"]
    attrs = operands.attrs
    words = {name: bits_32(attrs[name]) for name in (*_FACTORS, "min_signal_remaining")}
    # As int32: what C reads a number as.
    signed = {name: word - 2**32 * (word >= 2**31) for name, word in words.items()}
    return KernelCall(
        "signal_filter_bank_spectral_subtraction",
        {
            "in": TensorArgument("input"),
            "estimate": TensorArgument("noise_estimate"),
            "out": TensorArgument("output"),
            "next": TensorArgument("next_noise_estimate"),
            "rows": rows,
            "channels": channels,
            **signed,
            "clamping": int(attrs["clamping"]),
            "smoothing_bits": attrs["smoothing_bits"],
            "bits": attrs["spectral_subtraction_bits"],
        },
        in_place=frozenset({"input"}),
    )


def shapes_of_remaining(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's, twice.

    Raises:
        BadShape: there are other axes, another number of channels, or shifts beyond 32 bits.
    """
    require_vectors(shapes, {"input": 2, "noise_estimate": 2})
    source, channels = shapes["input"], attrs["num_channels"]
    require(source[1] == channels, f"{channels} channels", f"{source}")
    require(shapes["noise_estimate"] == source, f"an estimate of {source}", f"{shapes['noise_estimate']}")
    in_range(attrs, {"smoothing_bits": range(32), "spectral_subtraction_bits": range(32)})
    return source, source


def samples() -> Iterable[Sample]:
    """Sequences of runs: both ways to hold the estimate, factors that are larger than one, numbers that wrap."""
    rng = np.random.default_rng(0)
    for label, bits, factors, remaining, smoothing_bits, clamping in [
        ("as in keyword spotting", 14, (409, 15975, 983, 15401), 819, 10, False),
        ("held", 14, (4000, 12384, 983, 15401), 100, 4, True),
        ("wrapping", 7, (2**31, -5, 2**32 - 1, 3), -1, 13, False),
        ("no bits", 0, (1, 0, 0, 1), 0, 0, True),
    ]:
        codes = rng.integers(0, 2 ** rng.integers(4, 33, (12, 1)), (12, 7)).astype(np.uint32)
        codes[4] = 0
        attrs = dict(zip(_FACTORS, (each - 2**32 * (each >= 2**31) for each in factors), strict=True)) | {
            "clamping": clamping, "min_signal_remaining": remaining, "num_channels": 7,
            "smoothing_bits": smoothing_bits, "spectral_subtraction_bits": bits,
        }  # fmt: skip
        arrays = {"input": codes, "noise_estimate": np.zeros((1, 7), np.uint32)}
        yield signal_sample(label, {name: attrs[name] for name in _OPTIONS}, arrays, {"output": "uint32"})


ROW = Row(
    name="signal_filter_bank_spectral_subtraction",
    roles=("input", "noise_estimate"),
    carried=("noise_estimate",),
    matches=(),
    forward=on_whole_numbers(reference),
    constraints=dict.fromkeys(("input", "noise_estimate", "output"), Free(("uint32",))),
    reference=reference,
    tflite=signal_cell(
        "FilterBankSpectralSubtraction",
        "AddFilterBankSpectralSubtraction",
        *(OptionField(name, name) for name in _OPTIONS),
        kept=("noise_estimate",),
    ),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_of_remaining,
    most_axes=2,
)
