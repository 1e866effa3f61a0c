"""What an op demands of the quantization of its tensors, as frozen data with one check each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import INDICES, QParams

__all__ = [
    "ACCUMULATED",
    "EITHER_BIAS",
    "RESCALED",
    "AnyGrid",
    "BiasFromAccumulator",
    "CoarserThan",
    "Constraint",
    "Fixed",
    "Free",
    "Indices",
    "InverseRoot",
    "NotNegative",
    "PowerOfTwo",
    "Real",
    "SameAs",
    "SymmetricWeight",
    "all_whole",
]


class Constraint(Protocol):
    """A demand on one tensor of a node."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """What is wrong with the tensor in ``role``, or ``None``; ``qparams`` has every tensor of the node by role."""


def all_whole(qparams: Mapping[str, QParams | None]) -> bool:
    """Whether every tensor of a node has whole numbers, int32 without a scale."""
    return all(each == INDICES for each in qparams.values())


def _wrongly_shifted(got: QParams, shifted: tuple[str, ...]) -> str | None:
    """What is wrong with a zero point that a kernel takes to be 0."""
    if got.dtype == "int8" or got.dtype in shifted or not any(got.zero_point):
        return None
    return f"expected {got.dtype} with zero point 0, got {got}"


@dataclass(frozen=True)
class Free:
    """Any scale and zero point, per tensor, in one of the types; the first is the default.

    ``smallest`` is a scale below which the kernel's arithmetic breaks down; ranges are widened so that none is.
    ``largest`` is, by type, the scale above which it does. Zero points are 0 in all types but int8 and those in
    ``shifted``. ``whole`` takes whole numbers without a scale as well, as files compute with them: int32 on every
    tensor of the node.
    """

    dtypes: tuple[str, ...] = ("int8",)
    smallest: float = 0.0
    largest: Mapping[str, float] = field(default_factory=dict)
    shifted: tuple[str, ...] = ()
    whole: bool = False

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got = qparams[role]
        if self.whole and all_whole(qparams):
            return None
        if got is None or got.dtype not in self.dtypes or got.axis is not None:
            return f"expected {' or '.join(self.dtypes)} per tensor, got {got}"
        if shifted := _wrongly_shifted(got, self.shifted):
            return shifted
        largest = self.largest.get(got.dtype, math.inf)
        if not self.smallest <= got.scale[0] <= largest:
            return f"expected a scale from {self.smallest} to {largest}, got {got}"
        return None


@dataclass(frozen=True)
class AnyGrid:
    """Any grid per tensor of one of the types, ``"float32"`` among them where none is allowed too.

    Zero points are 0 in all types but int8 and those in ``shifted``.
    """

    dtypes: tuple[str, ...]
    shifted: tuple[str, ...] = ()

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got = qparams[role]
        dtype = "float32" if got is None else got.dtype
        if dtype not in self.dtypes or (got is not None and got.axis is not None):
            return f"expected {' or '.join(self.dtypes)} per tensor, got {got}"
        return None if got is None else _wrongly_shifted(got, self.shifted)


@dataclass(frozen=True)
class NotNegative(Free):
    """Any grid whose lowest code is that of zero."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got = qparams[role]
        lowest = got is not None and got.zero_point[0] == got.code_range[0]
        return super().violation(role, qparams) or (None if lowest else f"expected the lowest code as zero, got {got}")


@dataclass(frozen=True)
class PowerOfTwo:
    """A zero point of 0, and a scale of two to the power of something between two exponents, both included."""

    dtypes: tuple[str, ...]
    exponents: tuple[int, int]

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got, (least, most) = qparams[role], self.exponents
        if got is None or got.dtype not in self.dtypes or got.axis is not None or any(got.zero_point):
            return f"expected {' or '.join(self.dtypes)} per tensor with a zero point of 0, got {got}"
        mantissa, exponent = math.frexp(got.scale[0])
        if mantissa != 0.5 or not least <= exponent - 1 <= most:
            return f"expected a scale of a power of two from 2**{least} to 2**{most}, got {got.scale[0]}"
        return None


@dataclass(frozen=True)
class InverseRoot(Free):
    """Any grid by which the kernel need not shift ``1 / sqrt(input)`` by more than 31 bits either way."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got, source = qparams[role], qparams["input"]
        broken = super().violation(role, qparams)
        if broken or got is None or source is None:
            return broken
        root = math.sqrt(source.scale[0])
        least, most = 2.0**-29 / root, 2.0**10 / root
        return None if least < got.scale[0] < most else f"expected a scale from {least} to {most}, got {got.scale[0]}"


@dataclass(frozen=True)
class CoarserThan(Free):
    """Any grid whose scale is above a factor times what other tensors' scales say.

    Beyond it the kernels abort, or shift numbers to the left out of int32. Ranges are widened to satisfy it, which
    loses nothing: it takes an output that is a tiny share of one step of its inputs to violate it.

    Attributes:
        others: roles of the other tensors.
        factors: the factor by type of the tensor.
        combine: the coarsest of their scales, its square, or their product.
        also: another such demand.
    """

    others: tuple[str, ...] = ("input",)
    factors: Mapping[str, float] = field(default_factory=dict)
    combine: Literal["coarsest", "square", "product"] = "coarsest"
    also: CoarserThan | None = None

    def least(self, dtype: str, scales: Mapping[str, float]) -> float:
        """The scale that must be exceeded, from the coarsest scale of each role."""
        coarsest = [scales[role] for role in self.others if role in scales]
        combined = math.prod(coarsest) if self.combine == "product" else max(coarsest, default=0.0)
        own = self.factors[dtype] * (combined**2 if self.combine == "square" else combined)
        return own if self.also is None else max(own, self.also.least(dtype, scales))

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got = qparams[role]
        broken = super().violation(role, qparams)
        if broken or got is None or (self.whole and all_whole(qparams)):
            return broken
        scales = {other: max(q.scale) for other, q in qparams.items() if q is not None}
        least = self.least(got.dtype, scales)
        return f"expected a scale above {least}, got {got.scale[0]}" if got.scale[0] <= least else None


#: An output onto which accumulators are brought: a step of it is no small fraction of a step of theirs.
ACCUMULATED = CoarserThan(
    ("int8", "int16"), others=("input", "weight"), factors={"int8": 2.0**-6, "int16": 2.0**-6}, combine="product"
)

#: An output onto which codes, or a mean of codes, are brought by one factor.
RESCALED = CoarserThan(("int8", "int16"), factors={"int8": 2.0**-21, "int16": 2.0**-13})


@dataclass(frozen=True)
class SameAs:
    """The very scale, zero point and type of another tensor of the node.

    ``whole`` takes whole numbers without a scale as well, as in :class:`Free`.
    """

    other: str
    dtypes: tuple[str, ...] = tuple(CODE_RANGE)
    whole: bool = False

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got, expected = qparams[role], qparams[self.other]
        if self.whole and all_whole(qparams):
            return None
        if got is not None and got.dtype not in self.dtypes:
            return f"expected {' or '.join(self.dtypes)}, got {got}"
        if got is None or expected is None or got.axis is not None or got != expected:
            return f"expected {self.other}'s, {expected}, got {got}"
        return _wrongly_shifted(got, ())


@dataclass(frozen=True)
class Fixed:
    """The one scale and zero point that the kernel assumes, for each type that it has.

    Attributes:
        grids: by type.
        beside: by the input's type and the own, others that only files have, and how far their scale may be off, as a
            share of it: the kernel reads none.
    """

    grids: Mapping[str, tuple[float, int]]
    beside: Mapping[tuple[str, str], tuple[float, int, float]] = field(default_factory=dict)

    def qparams(self, dtype: str) -> QParams:
        """The record for one type."""
        scale, zero_point = self.grids[dtype]
        return QParams((scale,), (zero_point,), dtype)

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got, source = qparams[role], qparams.get("input")
        if got is not None and source is not None and (source.dtype, got.dtype) in self.beside:
            scale, zero_point, share = self.beside[source.dtype, got.dtype]
            near = got.zero_point == (zero_point,) and abs(got.scale[0] - scale) <= share * scale
            return None if near else f"expected a scale of {scale} and zero point {zero_point}, got {got}"
        if got is None or got.dtype not in self.grids or got != self.qparams(got.dtype):
            return f"expected one of {[self.qparams(dtype) for dtype in self.grids]}, got {got}"
        return None


@dataclass(frozen=True)
class Indices:
    """Whole numbers that count something: int64 in PyTorch, int32 on the device, in float networks as in integers."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        return None if qparams[role] == INDICES else f"expected indices, int32 with a step of 1, got {qparams[role]}"


@dataclass(frozen=True)
class Real:
    """float32, not quantized."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        return None if qparams[role] is None else f"expected float32 without quantization, got {qparams[role]}"


@dataclass(frozen=True)
class SymmetricWeight:
    """Zero point 0, per tensor or per channel along ``axis`` of the constant as the device stores it.

    ``per_tensor`` has the types that the kernel reads per tensor only, ``shifted`` those whose zero point per tensor it
    subtracts. What is trained here has zero point 0 all the same; older converters wrote others.
    """

    axis: int
    dtypes: tuple[str, ...] = ("int8",)
    per_tensor: tuple[str, ...] = ()
    shifted: tuple[str, ...] = ()

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got = qparams[role]
        axes = (None,) if got is not None and got.dtype in self.per_tensor else (None, self.axis)
        zero = got is not None and (got.dtype in self.shifted or not any(got.zero_point))
        if got is None or got.dtype not in self.dtypes or not zero or got.axis not in axes:
            wanted = " or ".join(self.dtypes)
            return f"expected {wanted} with zero point 0, per tensor or along axis {self.axis}, got {got}"
        return None


@dataclass(frozen=True)
class BiasFromAccumulator:
    """Zero point 0 and, channel by channel, the float32 product of two other scales.

    ``dtypes`` has the types that the kernel reads, by the input's; the first is what is exported here.
    """

    input: str = "input"
    weight: str = "weight"
    dtypes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"int8": ("int32",), "int16": ("int64",)})

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got, source, weight = qparams[role], qparams[self.input], qparams[self.weight]
        if source is None or weight is None:
            return f"expected quantized {self.input} and {self.weight}, got {source} and {weight}"
        dtypes = self.dtypes.get(source.dtype, ())
        product = np.float32(source.scale[0]) * np.asarray(weight.scale, np.float32)
        if got is None or got.dtype not in dtypes or got.scale != tuple(float(s) for s in product):
            return f"expected {' or '.join(dtypes)} with scales {product.tolist()}, got {got}"
        return None


#: Beside int16 some kernels read either type of bias, and sum up in the bias's own.
EITHER_BIAS = {"int8": ("int32",), "int16": ("int64", "int32")}
