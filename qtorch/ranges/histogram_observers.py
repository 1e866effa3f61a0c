"""Observers that count every value and decide at the end: percentile, mean squared error, entropy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from qtorch.ranges.histogram import Histogram
from qtorch.ranges.observer import Observer, require_parameter
from qtorch.ranges.range_search import entropy_range, mse_range, percentile_range

__all__ = ["EntropyObserver", "MSEObserver", "PercentileObserver"]


class _FromHistogram(Observer):
    """Counts every value and decides at the end."""

    histograms: list[Histogram]

    def reset(self) -> None:
        self.histograms = []

    @property
    def seen(self) -> bool:
        return bool(self.histograms)

    def _see(self, x: Tensor) -> None:
        new = [Histogram.of(part) for part in (x if self.axis is not None else [x])]
        self.histograms = self._sum(self.histograms, new) if self.histograms else new

    def _state(self) -> list[tuple[Tensor, Tensor]]:
        return [(histogram.keys, histogram.counts) for histogram in self.histograms]

    def _take(self, states: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> None:
        self.histograms = reduce(self._sum, ([Histogram(*parts) for parts in state] for state in states))

    @staticmethod
    def _sum(some: list[Histogram], others: list[Histogram]) -> list[Histogram]:
        return [a.plus(b) for a, b in zip(some, others, strict=True)]

    @abstractmethod
    def _decide(self, histogram: Histogram) -> tuple[float, float]: ...

    def _range(self) -> tuple[Tensor, Tensor]:
        ends = torch.tensor([self._decide(histogram) for histogram in self.histograms], dtype=torch.float32)
        return (ends[0, 0], ends[0, 1]) if self.axis is None else (ends[:, 0], ends[:, 1])


class PercentileObserver(_FromHistogram):
    """Between two quantiles, so that ``keep`` percent of the values lie within: :func:`percentile_range`.

    Source: McKinstry et al. 2018 (arXiv:1809.04191), section 3.
    """

    def __init__(
        self, axis: int | None = None, levels: int = 256, symmetric: bool = False, keep: float = 99.99
    ) -> None:
        super().__init__(axis, levels, symmetric)
        require_parameter("percentile", "a percentage in (50, 100]", keep, 50 < keep <= 100)
        self.keep = keep

    def _decide(self, histogram: Histogram) -> tuple[float, float]:
        return percentile_range(histogram, self.keep / 100)


class MSEObserver(_FromHistogram):
    """The range that rounding and clipping change least, in the mean square: :func:`mse_range`.

    Source: Choukroun et al. 2019 (arXiv:1902.06822), section 3; Banner et al. 2019 (arXiv:1810.05723), section 3.
    """

    def _decide(self, histogram: Histogram) -> tuple[float, float]:
        return mse_range(histogram, self.levels, self.symmetric)


class EntropyObserver(_FromHistogram):
    """The range that loses least information, as Kullback-Leibler divergence: :func:`entropy_range`.

    Source: Migacz 2017, "8-bit inference with TensorRT".
    """

    def _decide(self, histogram: Histogram) -> tuple[float, float]:
        return entropy_range(histogram, self.levels, self.symmetric)
