"""What a network's numbers mean outside it: names, units, and the scaling between physical and network values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from qtorch.errors import BadData, NotFinite

__all__ = ["Feature", "Interface"]


@dataclass(frozen=True)
class Feature:
    """One physical quantity at an input or output of a network.

    ``network value = (physical value - offset) / span``; offset 0 and span 1 where the network sees it as it is.

    Attributes:
        name: as a person says it, for example ``"engine size"``.
        unit: for example ``"L"``; empty for a pure number.
        offset: physical value that the network sees as 0, in ``unit``.
        span: physical difference that the network sees as 1, in ``unit``; positive.

    The usual ways to choose them have constructors, from data or from the constants themselves. ``values`` are numbers
    of any shape: an array, a tensor, a list, a number.
        >>> Feature.scaled("brightness", "", 255.0)                # network value = b / 255
        >>> Feature.min_max("CO2", "g/km", (96.0, 522.0))          # 0 to 1
        >>> Feature.standardized("pressure", "hPa", train[:, 0])   # mean 0, deviation 1
        >>> Feature("pressure", "hPa", mean, deviation)            # the same, of known figures

    Raises:
        NotFinite: NaN or infinity, in ``values`` or as offset or span.
        BadData: a span of 0 or less: the values do not differ, or are all 0.
    """

    name: str
    unit: str = ""
    offset: float = 0.0
    span: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and math.isfinite(self.span)):
            raise NotFinite(
                where=f"feature {self.name!r}",
                expected="a finite offset and a positive, finite span",
                got=f"offset {self.offset!r} and span {self.span!r}",
                remedy="clean the data that they are computed from",
            )
        if self.span <= 0:
            raise BadData(
                where=f"feature {self.name!r}",
                expected="a finite offset and a positive, finite span",
                got=f"offset {self.offset!r} and span {self.span!r}",
                remedy="take a positive span",
            )

    @classmethod
    def scaled(cls, name: str, unit: str, values: Any) -> Feature:
        """``physical / largest magnitude`` of the values, into -1 to 1; of a constant, divided by it."""
        numbers = _numbers(name, values)
        return cls(name, unit, 0.0, _span(name, float(np.abs(numbers).max()), numbers, "values other than 0"))

    @classmethod
    def min_max(cls, name: str, unit: str, values: Any) -> Feature:
        """``(physical - min) / (max - min)`` of the values, into 0 to 1; of two constants, between them."""
        numbers = _numbers(name, values)
        low, high = float(numbers.min()), float(numbers.max())
        return cls(name, unit, low, _span(name, high - low, numbers, "values that differ"))

    @classmethod
    def standardized(cls, name: str, unit: str, values: Any) -> Feature:
        """``(physical - mean) / deviation`` of the values, the deviation with N in the denominator, as Keras has it."""
        numbers = _numbers(name, values)
        # Of equal values the deviation may come out as a rounding error.
        differs = numbers.min() < numbers.max()
        deviation = float(numbers.std()) if differs else 0.0
        return cls(name, unit, float(numbers.mean()), _span(name, deviation, numbers, "values that differ"))

    def network_values(self, physical: Any) -> Any:
        """``(physical - offset) / span`` of numbers, arrays or tensors alike."""
        return (physical - self.offset) / self.span


@dataclass(frozen=True)
class Interface:
    """The quantities at a network's input and output, in the order of the last axis of each tensor.

    Attributes:
        inputs: of all input tensors.
        outputs: of all output tensors.
        recorded: how the inputs were recorded, as the data says: pairs such as ``("rate", "50 Hz")``; a device has to
            feed the network in the same way.
    """

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    recorded: tuple[tuple[str, str], ...] = ()


def _numbers(name: str, values: Any) -> np.ndarray:
    """Float64, flat."""
    numbers = np.asarray(values, dtype=np.float64).ravel()
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        raise NotFinite(
            where=f"feature {name!r}",
            expected="finite values to measure",
            got=f"{bad} of {numbers.size} NaN or infinite",
            remedy="clean the data",
        )
    if not numbers.size:
        raise BadData(
            where=f"feature {name!r}", expected="values to measure", got="none", remedy="pass the training data"
        )
    return numbers


def _span(name: str, span: float, values: np.ndarray, expected: str) -> float:
    if span > 0:
        return span
    raise BadData(
        where=f"feature {name!r}",
        expected=expected,
        got=f"{values[0]:g} in all {values.size}",
        remedy="leave the feature out or pass more varied data: a constant can't be scaled or learned from",
    )
