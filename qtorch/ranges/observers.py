"""The observers that a configuration can name, and those that keep extrema or none: min-max, moving average, fixed.

In a configuration an observer is its name in :data:`OBSERVERS`, with its parameters behind colons: ``percentile:99.9``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from inspect import Parameter, signature

import torch
from torch import Tensor

from qtorch.errors import BadConfiguration
from qtorch.ranges.histogram_observers import EntropyObserver, MSEObserver, PercentileObserver
from qtorch.ranges.learned_starts import LSQObserver, LSQPlusObserver
from qtorch.ranges.observer import Observer, gathered, require_parameter

__all__ = ["OBSERVERS", "FixedObserver", "MinMaxObserver", "MovingAverageObserver", "make_observer"]


def _cpu(value: float) -> Tensor:
    """A float32 where all that was seen is kept, whatever PyTorch's defaults are."""
    return torch.tensor(value, dtype=torch.float32, device="cpu")


class _Extrema(Observer):
    """Attributes ``low`` and ``high``, float32 ``[]`` or ``[C]``."""

    low: Tensor
    high: Tensor

    def _limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = torch.aminmax(x) if self.axis is None else torch.aminmax(x.flatten(1), dim=1)
        return low.cpu(), high.cpu()


class MinMaxObserver(_Extrema):
    """``[min x, max x]`` over all values since the last reset (Jacob et al. 2018, arXiv:1712.05877, section 3)."""

    def reset(self) -> None:
        self.low, self.high = _cpu(math.inf), _cpu(-math.inf)

    @property
    def seen(self) -> bool:
        return bool((self.low <= self.high).all())

    def _see(self, x: Tensor) -> None:
        low, high = self._limits(x)
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)

    def _state(self) -> tuple[Tensor, Tensor]:
        return self.low, self.high

    def _take(self, states: Sequence[tuple[Tensor, Tensor]]) -> None:
        lows, highs = zip(*states, strict=True)
        self.low, self.high = torch.stack(lows).amin(0), torch.stack(highs).amax(0)

    def _range(self) -> tuple[Tensor, Tensor]:
        return self.low, self.high


class MovingAverageObserver(_Extrema):
    """Exponential moving average of each batch's extrema, without the bias towards where it began.

    ``m_t = d m_{t-1} + (1 - d) min x_t`` from ``m_0 = 0``, and the range's low end is ``m_t / (1 - d**t)``; the high
    end alike. Source: Jacob et al. 2018, section 3.1; the correction is Adam's (Kingma and Ba 2015, arXiv:1412.6980,
    section 3). Merged processes count as one that saw the mean of their averages, weighted by what each has seen.
    """

    in_step = True
    updates: Tensor

    def __init__(self, axis: int | None = None, levels: int = 256, symmetric: bool = False, decay: float = 0.9) -> None:
        super().__init__(axis, levels, symmetric)
        require_parameter("moving_average", "a decay in [0, 1)", decay, 0 <= decay < 1)
        self.decay = decay

    def reset(self) -> None:
        self.low, self.high, self.updates = _cpu(0.0), _cpu(0.0), torch.tensor(0, device="cpu")

    @property
    def seen(self) -> bool:
        return bool(self.updates > 0)

    def _see(self, x: Tensor) -> None:
        low, high = self._limits(x)
        self.low = self.decay * self.low + (1 - self.decay) * low
        self.high = self.decay * self.high + (1 - self.decay) * high
        self.updates = self.updates + 1

    def observe_together(self, x: Tensor) -> None:
        """As if one process had seen the whole batch."""
        ends = gathered(self._limits(x.detach() if self.axis is None else x.detach().movedim(self.axis, 0)))
        lows, highs = zip(*ends, strict=True)
        extrema = torch.stack([torch.stack(lows).amin(0), torch.stack(highs).amax(0)], -1)
        self.observe(extrema if self.axis is None else extrema.movedim(0, self.axis))

    def _share(self, updates: Tensor) -> Tensor:
        """``1 - d**t``: what the weights of all batches sum to."""
        return 1 - self.decay ** updates.to(torch.float64)

    def _range(self) -> tuple[Tensor, Tensor]:
        share = self._share(self.updates).to(torch.float32)
        return self.low / share, self.high / share

    def _state(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.low, self.high, self.updates

    def _take(self, states: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        lows, highs, updates = (torch.stack(parts) for parts in zip(*states, strict=True))
        shares = self._share(updates)
        most = updates.amax()
        # The weighted mean of the corrected averages, in the form that another correction by `most` undoes.
        factor = (self._share(most) / shares.sum()).to(torch.float32)
        self.low, self.high, self.updates = lows.sum(0) * factor, highs.sum(0) * factor, most


class FixedObserver(Observer):
    """``[low, high]`` as given: for inputs whose limits are known."""

    def __init__(self, axis: int | None, levels: int, symmetric: bool, low: float, high: float) -> None:
        super().__init__(axis, levels, symmetric)
        # As float32, in which grids are made; the span too.
        holds = -math.inf < low <= high < math.inf and high - low <= torch.finfo(torch.float32).max
        require_parameter("fixed", "low <= high, finite in float32", (low, high), holds)
        self.low, self.high = low, high

    def reset(self) -> None:
        self.channels = 1

    @property
    def seen(self) -> bool:
        return True

    def _see(self, x: Tensor) -> None:
        self.channels = len(x)

    def _state(self) -> int:
        return self.channels

    def _take(self, states: Sequence[int]) -> None:
        self.channels = max(states)

    def _range(self) -> tuple[Tensor, Tensor]:
        ends = _cpu(self.low), _cpu(self.high)
        return ends if self.axis is None else (ends[0].repeat(self.channels), ends[1].repeat(self.channels))


#: By name; a name's parameters, the constructor's beyond those of every observer, follow behind colons. ``lsq`` and
#: ``lsq+`` are what learned scales start from.
OBSERVERS: dict[str, Callable[..., Observer]] = {
    "minmax": MinMaxObserver,
    "moving_average": MovingAverageObserver,
    "percentile": PercentileObserver,
    "mse": MSEObserver,
    "entropy": EntropyObserver,
    "fixed": FixedObserver,
    "lsq": LSQObserver,
    "lsq+": LSQPlusObserver,
}


def _parameters(observer: Callable[..., Observer]) -> tuple[int, int]:
    """How many an observer takes beyond those of all, at least and at most: what its constructor says."""
    own = list(signature(observer).parameters.values())[len(signature(Observer).parameters) :]
    return sum(each.default is Parameter.empty for each in own), len(own)


def make_observer(specification: str, axis: int | None = None, levels: int = 256, symmetric: bool = False) -> Observer:
    """The observer that a configuration names.

    Example:
        >>> make_observer("percentile:99.9"), make_observer("fixed:-1:1"), make_observer("minmax", axis=0)

    Args:
        specification: a name of :data:`OBSERVERS`, then its parameters, numbers, each behind a colon.
        axis: see :class:`Observer`.
        levels: see :class:`Observer`.
        symmetric: see :class:`Observer`.

    Raises:
        BadConfiguration: no such observer, or parameters that it does not take.
    """
    name, *arguments = str(specification).split(":")
    if name not in OBSERVERS:
        raise BadConfiguration(
            where="observer", expected=f"one of {', '.join(OBSERVERS)}", got=repr(specification), remedy="choose one"
        )
    try:
        parameters = [float(value) for value in arguments]
    except ValueError:
        parameters = []
    least, most = _parameters(OBSERVERS[name])
    if len(parameters) != len(arguments) or not least <= len(arguments) <= most:
        raise BadConfiguration(
            where=f"observer {name!r}",
            expected=f"{most} number{'s' * (most != 1)} behind colons" if most else "no parameters",
            got=repr(specification),
            remedy="write it like percentile:99.9, moving_average:0.95 or fixed:-1:1",
        )
    return OBSERVERS[name](axis, levels, symmetric, *parameters)
