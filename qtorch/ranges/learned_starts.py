"""Where learned scales begin, as observers: LSQ's and LSQ+'s initial steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qtorch.ranges.observer import Observer

__all__ = ["LSQObserver", "LSQPlusObserver"]


class LSQObserver(Observer):
    """LSQ's initial step, ``2 mean|x| / sqrt(high)`` with ``high`` the highest code, as a range around zero.

    From zero up if no value is negative, with all codes there if they need not be symmetric, as LSQ has it for unsigned
    data.
    Source: Esser et al. 2020, arXiv:1902.08153, section 2.1.
    """

    def reset(self) -> None:
        self.total = self.count = torch.tensor(0.0, dtype=torch.float64)
        self.lowest = torch.tensor(math.inf)

    @property
    def seen(self) -> bool:
        return bool((self.count > 0).all())

    def _see(self, x: Tensor) -> None:
        flat = x.to(torch.float64).abs()
        self.total = self.total + (flat.sum() if self.axis is None else flat.flatten(1).sum(1)).cpu()
        self.count = self.count + (x.numel() if self.axis is None else x[0].numel())
        self.lowest = torch.minimum(self.lowest, x.amin().cpu())

    def _state(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.total, self.count, self.lowest

    def _take(self, states: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        totals, counts, lowests = (torch.stack(parts) for parts in zip(*states, strict=True))
        self.total, self.count, self.lowest = totals.sum(0), counts.sum(0), lowests.amin()

    def _range(self) -> tuple[Tensor, Tensor]:
        unsigned = bool(self.lowest >= 0)
        high = self.levels - 1 if unsigned and not self.symmetric else (self.levels - 1) // 2
        end = (2 * self.total / self.count / math.sqrt(high) * high).to(torch.float32)
        return (torch.zeros_like(end), end) if unsigned else (-end, end)


class LSQPlusObserver(Observer):
    """LSQ+'s initial step of a weight: three standard deviations from the mean, ``max |mean +- 3 std|``, around zero.

    Source: Bhalgat et al. 2020, arXiv:2004.09576, section 3.2.
    """

    def reset(self) -> None:
        # Of 1, x and x**2.
        self.sums = torch.zeros(3, dtype=torch.float64)

    @property
    def seen(self) -> bool:
        return bool((self.sums[0] > 0).all())

    def _see(self, x: Tensor) -> None:
        flat = x.to(torch.float64).flatten() if self.axis is None else x.to(torch.float64).flatten(1).T
        seen = torch.stack([torch.ones_like(flat).sum(0), flat.sum(0), (flat * flat).sum(0)]).cpu()
        self.sums = seen + (self.sums if self.sums.dim() == seen.dim() else self.sums[:, None])

    def _state(self) -> Tensor:
        return self.sums

    def _take(self, states: Sequence[Tensor]) -> None:
        self.sums = torch.stack(list(states)).sum(0)

    def _range(self) -> tuple[Tensor, Tensor]:
        count, total, squares = self.sums
        mean = total / count
        spread = 3 * (squares / count - mean**2).clamp_min(0).sqrt()
        end = torch.maximum((mean - spread).abs(), (mean + spread).abs()).to(torch.float32)
        return -end, end
