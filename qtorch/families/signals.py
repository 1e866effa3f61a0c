"""What the operators of TFLM's audio front end have in common: whole numbers in, whole numbers out, sample by sample.

Their kernels take a vector where a tensor here has an axis of samples in front, and none of them reads a scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.row import Attrs, OptionField, Reference, Sample, Shape, TFLite, Unsupported
from qtorch.row.shape_rule import require

__all__ = [
    "NO_ONNX",
    "UINT32",
    "bit_lengths",
    "bits_32",
    "in_range",
    "numbers_of",
    "on_whole_numbers",
    "require_vectors",
    "signal_cell",
    "signal_sample",
]

#: ONNX's operators are in floats.
NO_ONNX = Unsupported("ONNX has no operator of it")
#: Of numbers from 0 to 2**32 - 1, that wrap.
UINT32 = 0xFFFFFFFF


def numbers_of(dtype: str) -> QParams:
    """The grid of whole numbers of a type."""
    return QParams((1.0,), (0,), dtype)


def bits_32(number: int) -> int:
    """An option as the kernel reads it into 32 bits without sign."""
    return number & UINT32


def bit_lengths(numbers: np.ndarray) -> np.ndarray:
    """int64: how many bits each of some whole numbers takes, of at most 53."""
    lengths: np.ndarray = np.frexp(numbers.astype(np.float64))[1].astype(np.int64)
    return lengths


def on_whole_numbers(reference: Reference) -> Any:
    """The float function of an op that has integers alone: the same, of the nearest whole numbers."""

    def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Any:
        codes = {role: each.round().long() for role, each in x.items()}
        computed = reference(attrs, codes, dict[str, Grid](), Rounding.DOUBLE)
        return computed.float() if isinstance(computed, Tensor) else tuple(each.float() for each in computed)

    return forward


def signal_cell(name: str, resolver: str, *fields: OptionField, vectors: bool = True, **further: Any) -> TFLite:
    """How ``Signal...`` stands in a file; its options lie in a map of their own."""
    return TFLite(
        operator=f"CUSTOM:Signal{name}",
        resolver=resolver,
        version=lambda qparams: 1,
        fields=fields,
        vectors=vectors,
        **further,
    )


def signal_sample(
    label: str, attrs: Attrs, arrays: Mapping[str, np.ndarray], outputs: Mapping[str, str]
) -> Sample:  # fmt: skip
    """A case of whole numbers; ``outputs`` are types by role."""
    grids: dict[str, QParams | None] = {role: numbers_of(array.dtype.name) for role, array in arrays.items()}
    grids |= {role: numbers_of(dtype) for role, dtype in outputs.items()}
    return Sample(f"{label}, no float form, TFLM alone", attrs, arrays, grids)


def require_vectors(shapes: Mapping[str, Shape], ranks: Mapping[str, int]) -> None:
    """Refuse tensors with other numbers of axes than these, that of samples among them.

    Raises:
        BadShape: so it is.
    """
    for role, rank in ranks.items():
        require(len(shapes[role]) == rank, f"{rank} axes of {role}", f"{shapes[role]}")


def in_range(attrs: Attrs, ranges: Mapping[str, range]) -> None:
    """Refuse attributes beyond what the kernel's arithmetic defines.

    Raises:
        BadShape: so it is.
    """
    for name, allowed in ranges.items():
        got = attrs[name]
        require(
            isinstance(got, int) and got in allowed, f"a {name} from {allowed[0]} to {allowed[-1]}", f"{name} {got}"
        )
