"""Observers see a tensor's values and answer with a range worth representing; they do nothing else.

In a configuration an observer is its name in :data:`OBSERVERS`, with its parameters behind colons: ``percentile:99.9``.
Each can be merged with another of its kind that saw other values, which is how the processes of a distributed
run come to one range.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.errors import BadConfiguration, NotFinite
from qtorch.histogram import Histogram
from qtorch.range_search import entropy_range, mse_range, percentile_range

__all__ = ["OBSERVERS", "Observer", "is_distributed", "make_observer"]


def is_distributed() -> bool:
    """Whether this process is one of several that train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _gathered(state: Any) -> list[Any]:
    """Every process's state, in the order of their ranks."""
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, state)
    return states


class Observer(nn.Module):
    """Base of all observers.

    What they have seen is kept on the CPU, where processes with a device each can add it up. It is saved with the
    network, but in no buffers: those get averaged with weights.

    Args:
        axis: give a range for each index along this axis, ``[C]``; for the whole tensor, ``[]``, if ``None``.
        levels: how many codes the tensor will have: 256 for int8, 255 for an int8 weight.
        symmetric: whether they lie around zero, whatever the values are: those of weights and of int16 do.
    """

    #: Whether what it has seen depends on the order, so that processes must observe together, batch by batch.
    in_step = False

    def __init__(self, axis: int | None = None, levels: int = 256, symmetric: bool = False) -> None:
        super().__init__()
        self.axis, self.levels, self.symmetric = axis, levels, symmetric
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget everything."""

    @abstractmethod
    def _see(self, x: Tensor) -> None:
        """Take in finite ``x``: ``[C, ...]`` with an axis, else any shape."""

    @abstractmethod
    def _state(self) -> Any:
        """What was seen, in a form that :meth:`_take` adds up: tensors and tuples or lists of them."""

    @abstractmethod
    def _take(self, states: Sequence[Any]) -> None:
        """Become what has seen everything that these states, at least one, have."""

    @abstractmethod
    def _range(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value worth representing."""

    @property
    @abstractmethod
    def seen(self) -> bool:
        """Whether any value was observed."""

    def observe(self, x: Tensor) -> None:
        """Take in ``x``, float32 of any shape.

        Raises:
            NotFinite: ``x`` holds NaN or infinity, from which no range can follow.
        """
        x = x.detach()
        low, high = torch.aminmax(x)
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise NotFinite(
                where="calibration",
                expected="finite activations",
                got=f"a range of {float(low)} to {float(high)}",
                remedy="look for NaN or infinity in the calibration data and the weights",
            )
        self._see(x if self.axis is None else x.movedim(self.axis, 0))

    def merge(self, *others: Observer) -> None:
        """Become what has seen everything that it and ``others``, of the same kind, have."""
        self._become([observer.get_extra_state() for observer in (self, *others)])

    def synchronize(self) -> None:
        """Merge with the same observer of every process of a distributed run, in the order of their ranks.

        Once, at the end: what all have seen is not to be added up again.
        """
        self._become(_gathered(self.get_extra_state()))

    def observe_together(self, x: Tensor) -> None:
        """:meth:`observe` what every process of a distributed run has as ``x``; all must call it equally often."""
        alone = copy.deepcopy(self)
        alone.reset()
        alone.observe(x)
        self._become([self.get_extra_state(), *_gathered(alone.get_extra_state())])

    def get_extra_state(self) -> Any:
        """What was seen so far, for a checkpoint in the middle of observing; ``None`` if nothing."""
        return self._state() if self.seen else None

    def set_extra_state(self, state: Any) -> None:
        """See :meth:`get_extra_state`."""
        self._become([state])

    def _become(self, states: Sequence[Any]) -> None:
        known = [state for state in states if state is not None]
        self.reset()
        if known:
            self._take(known)

    def range(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value worth representing, float32 ``[]`` or ``[C]``.

        Raises:
            BadConfiguration: nothing was seen.
        """
        if not self.seen:
            raise BadConfiguration(
                where="observer", expected="observed values", got="none", remedy="calibrate on at least one batch"
            )
        return self._range()


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
        self.low, self.high = torch.tensor(math.inf), torch.tensor(-math.inf)

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
        _require_parameter("moving_average", "a decay in [0, 1)", decay, 0 <= decay < 1)
        self.decay = decay

    def reset(self) -> None:
        self.low, self.high, self.updates = torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0)

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
        ends = _gathered(self._limits(x.detach() if self.axis is None else x.detach().movedim(self.axis, 0)))
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
        _require_parameter("percentile", "a percentage in (50, 100]", keep, 50 < keep <= 100)
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


class FixedObserver(Observer):
    """``[low, high]`` as given: for inputs whose limits are known."""

    def __init__(
        self, axis: int | None = None, levels: int = 256, symmetric: bool = False, low: float = -1.0, high: float = 1.0
    ) -> None:
        super().__init__(axis, levels, symmetric)
        _require_parameter("fixed", "low <= high, finite", (low, high), -math.inf < low <= high < math.inf)
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
        ends = torch.tensor(self.low), torch.tensor(self.high)
        return ends if self.axis is None else (ends[0].repeat(self.channels), ends[1].repeat(self.channels))


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


def _require_parameter(name: str, expected: str, got: object, holds: bool) -> None:
    if not holds:
        raise BadConfiguration(where=f"observer {name!r}", expected=expected, got=f"{got}", remedy="correct it")


#: By name; a name's parameters follow behind colons. ``lsq`` and ``lsq+`` are what learned scales start from.
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

#: How many parameters each takes; at most that many.
_PARAMETERS = {"moving_average": 1, "percentile": 1, "fixed": 2}


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
    name, *given = str(specification).split(":")
    if name not in OBSERVERS:
        raise BadConfiguration(
            where="observer", expected=f"one of {', '.join(OBSERVERS)}", got=repr(specification), remedy="choose one"
        )
    try:
        parameters = [float(value) for value in given]
    except ValueError:
        parameters = []
    most = _PARAMETERS.get(name, 0)
    least = 2 if name == "fixed" else 0
    if len(parameters) != len(given) or not least <= len(given) <= most:
        raise BadConfiguration(
            where=f"observer {name!r}",
            expected=f"{most} number{'s' * (most != 1)} behind colons" if most else "no parameters",
            got=repr(specification),
            remedy="write it like percentile:99.9, moving_average:0.95 or fixed:-1:1",
        )
    return OBSERVERS[name](axis, levels, symmetric, *parameters)
