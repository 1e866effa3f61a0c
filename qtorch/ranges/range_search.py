"""Ranges from histograms: quantiles, the least mean squared error, the least loss of information.

Pure functions from a :class:`qtorch.ranges.histogram.Histogram` to ``(low, high)``. Every range holds zero, as
every grid does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qtorch.ranges.histogram import Histogram

__all__ = ["entropy_range", "mse_range", "percentile_range", "quantization_error"]

#: Shares of the full range that are tried; a second pass refines around the best.
_CANDIDATES = 64


def _span(histogram: Histogram) -> tuple[float, float]:
    values = histogram.values()
    return min(0.0, float(values.min())), max(0.0, float(values.max()))


def percentile_range(histogram: Histogram, keep: float) -> tuple[float, float]:
    """Between the quantiles ``(1 - keep) / 2`` and ``(1 + keep) / 2``; ``keep`` in (0, 1].

    An end at which the data stop at zero (behind a ReLU) stays there, and the other then loses ``1 - keep`` alone.
    """
    order = torch.argsort(histogram.values())
    values, counts = histogram.values()[order], histogram.counts[order].to(torch.float64)
    below = torch.cumsum(counts, 0) / counts.sum()
    two_sided = bool(values[0] < 0) and bool(values[-1] > 0)
    cut = (1 - keep) / 2 if two_sided else 1 - keep
    # The first bucket at which more than `cut` of the values have come, from either end.
    low = float(values[torch.searchsorted(below, cut, right=True).clamp(max=len(values) - 1)])
    above = 1 - below + counts / counts.sum()
    high = float(values[int((above > cut).nonzero()[-1])])
    return min(0.0, low), max(0.0, high)


def quantization_error(histogram: Histogram, low: Tensor, high: Tensor, levels: int) -> Tensor:
    """Mean squared error of rounding and clipping to each of several grids, float64 ``[G]``.

    Args:
        histogram: of the values.
        low: float64 ``[G]``, at most 0.
        high: float64 ``[G]``, at least 0.
        levels: how many codes span ``[low, high]``; zero is one of them.
    """
    values, weights = histogram.values(), histogram.counts / histogram.counts.sum()
    scale = ((high - low) / (levels - 1)).clamp_min(2.0**-120)[:, None]
    bottom = torch.round(low[:, None] / scale)
    steps = torch.round(values / scale).clamp(min=bottom, max=bottom + levels - 1)
    return ((values - steps * scale) ** 2 * weights).sum(1)


def mse_range(histogram: Histogram, levels: int, symmetric: bool = False) -> tuple[float, float]:
    """The range with the least :func:`quantization_error`.

    Both ends are first drawn in together, then each alone, each time on a finer raster around the best so far.

    Args:
        histogram: of the values.
        levels: how many codes there are.
        symmetric: whether they lie around zero; both ends are then drawn in together throughout.
    """
    low, high = _span(histogram)
    if low == high:
        return low, high
    largest = max(-low, high)
    outer = (-largest, largest) if symmetric else (low, high)
    shares = torch.arange(1, _CANDIDATES + 1, dtype=torch.float64) / _CANDIDATES
    best = [1.0, 1.0]

    def search(ends: tuple[bool, bool], around: Tensor) -> None:
        # The best so far comes first, so that a tie keeps it.
        tried = torch.tensor(
            [best] + [[float(s) if e else b for e, b in zip(ends, best, strict=True)] for s in around],
            dtype=torch.float32,
        )
        tried = tried.to(torch.float64)
        error = quantization_error(histogram, outer[0] * tried[:, 0], outer[1] * tried[:, 1], levels)
        best[:] = tried[int(error.argmin())].tolist()

    # Heavy tails may want a small part of the range.
    search((True, True), torch.cat([shares, shares / _CANDIDATES]))
    for width in (0.5, 0.1, 0.02):
        for ends in ((True, True),) if symmetric else ((low < 0, False), (False, high > 0)):
            if any(ends):
                now = best[0] if ends[0] else best[1]
                search(ends, (now * (1 + width * (2 * shares - 1))).clamp(1e-6, 1.0))
    return max(low, outer[0] * best[0]), min(high, outer[1] * best[1])


def entropy_range(histogram: Histogram, levels: int, symmetric: bool = False, bins: int = 2048) -> tuple[float, float]:
    """The clipping at which the clipped distribution says most of what the quantized one does.

    The magnitudes are counted into ``bins``. For every threshold, ``P`` is the distribution with all that lies beyond
    added to its last bin, ``Q`` the one without them, merged into as many cells as one side of the grid has codes and
    spread again over the bins that were not empty. The threshold with the smallest ``sum P log(P / Q)`` is taken, the
    largest of equal ones, for each end of the range by the share of it that is kept. A grid with no fewer codes than
    there are bins loses nothing.

    Args:
        histogram: of the values.
        levels: how many codes there are.
        symmetric: whether they lie around zero, even if the values do not.
        bins: of the magnitudes.
    """
    low, high = _span(histogram)
    largest = max(-low, high)
    if largest == 0:
        return low, high
    magnitude = histogram.values().abs()
    place = (magnitude / largest * bins).to(torch.int64).clamp(max=bins - 1)
    counts = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, histogram.counts.to(torch.float64))
    # Zeros (padding, ReLU) are exact on every grid and say nothing about where to clip.
    counts[0] = 0.0
    cells = levels // 2 if symmetric or low < 0 < high else levels
    if counts.sum() == 0 or cells >= bins:
        return low, high
    # From the largest down, which a tie then keeps: few values fit any cells.
    thresholds = range(bins, cells - 1, -max(1, (bins - cells) // 256))
    best = min(thresholds, key=lambda threshold: _divergence(counts, threshold, cells))
    limit = (best + 0.5) / bins * largest if best < bins else largest
    return max(low, -limit), min(high, limit)


def _divergence(counts: Tensor, threshold: int, cells: int) -> float:
    kept = counts[:threshold]
    p = kept.clone()
    p[-1] += counts[threshold:].sum()
    cell = torch.arange(threshold) * cells // threshold
    mass = torch.zeros(cells, dtype=torch.float64).index_add_(0, cell, kept)
    filled = (kept > 0).to(torch.float64)
    bins = torch.zeros(cells, dtype=torch.float64).index_add_(0, cell, filled)
    q = (mass / bins.clamp_min(1))[cell] * filled
    if q.sum() == 0:
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    # What Q calls impossible but P has (the last bin alone) is as bad as a very small probability.
    q = torch.where((p > 0) & (q == 0), 1e-9, q)
    there = p > 0
    return float((p[there] * torch.log(p[there] / q[there])).sum())
