"""What an op demands of the quantization of its tensors, as frozen data with one check each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qtorch.qparams import QParams

__all__ = ["BiasFromAccumulator", "Constraint", "Free", "Real", "SymmetricWeight"]


class Constraint(Protocol):
    """A demand on one tensor of a node."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """What is wrong with the tensor in ``role``, or ``None``; ``qparams`` has every tensor of the node by role."""


@dataclass(frozen=True)
class Free:
    """int8 with any scale and zero point."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got = qparams[role]
        if got is None or got.dtype != "int8" or got.axis is not None:
            return f"expected int8 per tensor, got {got}"
        return None


@dataclass(frozen=True)
class Real:
    """float32, not quantized."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        return None if qparams[role] is None else f"expected float32 without quantization, got {qparams[role]}"


@dataclass(frozen=True)
class SymmetricWeight:
    """int8 with zero point 0, per tensor or per channel along ``axis``."""

    axis: int

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got = qparams[role]
        if got is None or got.dtype != "int8" or any(got.zero_point) or got.axis not in (None, self.axis):
            return f"expected int8 with zero point 0, per tensor or along axis {self.axis}, got {got}"
        return None


@dataclass(frozen=True)
class BiasFromAccumulator:
    """int32 with zero point 0 and, channel by channel, the float32 product of two other scales."""

    input: str = "input"
    weight: str = "weight"

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`Constraint`."""
        got, source, weight = qparams[role], qparams[self.input], qparams[self.weight]
        if source is None or weight is None:
            return f"expected quantized {self.input} and {self.weight}, got {source} and {weight}"
        product = np.float32(source.scale[0]) * np.asarray(weight.scale, np.float32)
        if got is None or got.dtype != "int32" or got.scale != tuple(float(s) for s in product):
            return f"expected int32 with scales {product.tolist()}, got {got}"
        return None
