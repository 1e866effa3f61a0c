"""Whether to ship: the device beside the best that is known without it, with intervals from the test samples.

What every sample contributes to a figure has the figure as its mean, so that a difference of two networks on the same
samples is a mean too, and a bootstrap over samples gives its interval.

Source: Efron 1979, "Bootstrap Methods: Another Look at the Jackknife" (percentile intervals); for what was not
seen in ``n`` samples, Clopper and Pearson 1934, "The Use of Confidence or Fiducial Limits Illustrated in the Case of
the Binomial".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

__all__ = [
    "ALLOWED",
    "FEWEST",
    "OUTCOMES",
    "Answer",
    "Candidate",
    "Comparison",
    "Verdict",
    "intervals",
    "no_verdict",
    "verdict",
]

Answer = Literal["ship", "do not ship", "test set too small to tell", "no verdict"]
Better = Literal["higher", "lower"]

#: What a comparison's outcome is called on a page.
OUTCOMES = {"met": "passed", "not met": "failed", "open": "too few samples to tell"}
#: Share of what a float network gains over the best constant answer that its device may lose.
ALLOWED = 0.02
#: Test samples below which a bootstrap says nothing.
FEWEST = 30
#: Share of intervals that hold the true value.
_CONFIDENCE = 0.95
_RESAMPLES = 1_000
#: Of the largest contribution: below that a float64 sum of some thousands knows nothing.
_ROUNDING = 1e-13
#: Samples beyond which means of groups of them are drawn: as many groups, as even as can be.
_DRAWN = 1_000


@dataclass(frozen=True)
class Candidate:
    """What a figure is known of.

    Attributes:
        name: as a person calls it.
        kind: ``"float"`` and ``"quantized"`` are what the device may lose little against; ``"baseline"`` what it has to
            beat; ``"constant"`` is the baseline that gains are counted from.
        contributions: float64 ``[N]`` of the test samples, in one order for all candidates; the figure is their mean.
    """

    name: str
    kind: Literal["device", "float", "quantized", "baseline", "constant"]
    contributions: np.ndarray

    @property
    def figure(self) -> float:
        """On the test set."""
        return float(self.contributions.mean())


@dataclass(frozen=True)
class Comparison:
    """The device beside one candidate.

    Attributes:
        against: the candidate's name.
        kind: the candidate's.
        figure: the candidate's.
        worse_by: by how much the device is worse, in the figure's unit; negative where it is better.
        low: end of the interval of that, as the next.
        high: the other end.
        allowed: how much may be lost; 0 against a baseline, which is to be beaten.
        outcome: ``"met"`` or ``"not met"`` with confidence, else ``"open"``.
    """

    against: str
    kind: str
    figure: float
    worse_by: float
    low: float
    high: float
    allowed: float
    outcome: Literal["met", "not met", "open"]


@dataclass(frozen=True)
class Verdict:
    """What to do, and why.

    Attributes:
        answer: the verdict.
        reason: in a sentence.
        criterion: what was asked, with the figures it was asked with; empty without an answer.
        figure: the name of the figure that was judged by.
        better: which way it is better.
        samples: of the test set.
        device: the device's figure.
        low: end of its interval, as the next.
        high: the other end.
        comparisons: in the order of what was compared with.
        remarks: what a reader should know beside the answer.
    """

    answer: Answer
    reason: str
    criterion: str = ""
    figure: str = ""
    better: str = ""
    samples: int = 0
    device: float | None = None
    low: float | None = None
    high: float | None = None
    comparisons: tuple[Comparison, ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Plain values, without what there is none of; a figure of 0 is one."""
        absent = {"samples": 0}
        return {k: v for k, v in asdict(self).items() if v is not None and v not in ("", ()) and v != absent.get(k)}


def no_verdict(reason: str) -> Verdict:
    """Nothing to judge by, and why."""
    return Verdict("no verdict", reason)


def intervals(columns: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ends ``[K]`` of 95 % percentile intervals of the means of ``columns``, float64 ``[N, K]``.

    All columns are drawn together, sample by sample. Of more than 1,000 samples, random groups are drawn.
    """
    rng = np.random.default_rng(seed)
    count = len(columns)
    if count > _DRAWN:
        starts = np.linspace(0, count, _DRAWN, endpoint=False).astype(int)
        columns = np.add.reduceat(columns[rng.permutation(count)], starts) * (_DRAWN / count)
    n = len(columns)
    drawn = rng.integers(0, n, (_RESAMPLES, n), dtype=np.uint32).astype(np.int64)
    drawn += n * np.arange(_RESAMPLES)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=_RESAMPLES * n).reshape(_RESAMPLES, n).astype(np.float64)
    # Means of what lies around zero: a constant column comes out as it is.
    centre = columns.mean(0)
    means = weights @ (columns - centre) / n + centre
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high


def verdict(
    name: str, better: Better, device: Candidate, others: Sequence[Candidate], remarks: Sequence[str] = (),
    instead: str = "export that one, by post_training",
) -> Verdict:  # fmt: skip
    """Judge the device.

    To ship, the device has to lose less than :data:`ALLOWED` of what the best float network gains over a constant
    answer, against that network and against every other quantization; and it has to be better than every baseline: each
    with 95 % confidence.

    Args:
        name: of the figure.
        better: which way it is better.
        device: what is exported, on the device.
        others: at least one float network, and one ``"constant"``.
        remarks: to stand before those that follow from the figures.
        instead: what to do where another quantization is better.

    Raises:
        ValueError: there is no float network or no constant answer, or candidates have other samples.
    """
    floats = [each for each in others if each.kind == "float"]
    constants = [each for each in others if each.kind == "constant"]
    if not floats or not constants or any(len(each.contributions) != len(device.contributions) for each in others):
        raise ValueError("expected a float network, a constant answer, and the device's samples for all")
    sign = 1.0 if better == "lower" else -1.0
    reference = min(floats, key=lambda each: sign * each.figure)
    gain = min(sign * (each.figure - reference.figure) for each in constants)
    allowed = ALLOWED * max(gain, 0.0)
    losses = np.stack([sign * (device.contributions - each.contributions) for each in others], 1)
    low, high = intervals(np.concatenate([losses, device.contributions[:, None]], 1))
    low[:-1], high[:-1] = _with_unseen(losses, _step(device, others), low[:-1], high[:-1])
    # What is left of sums that cancel is no difference.
    size = _ROUNDING * max(float(np.abs(each.contributions).max()) for each in (device, *others))
    mean = losses.mean(0)
    for ends in (low, high, mean):
        ends[np.abs(ends) < size] = 0.0
    compared = tuple(
        _comparison(each, loss, ends, allowed if each.kind in ("float", "quantized") else 0.0)
        for each, loss, *ends in zip(others, mean.tolist(), low.tolist(), high.tolist(), strict=False)
    )
    samples = len(device.contributions)
    answer, reason = _answer(compared, reference, gain, samples, device)
    way = "higher" if better == "lower" else "lower"
    beaten = [each.name for each in others if each.kind in ("constant", "baseline")]
    criterion = (
        f"ship if, with {_CONFIDENCE:.0%} confidence, {name} on the device is less than {_shown(allowed)} {way} than "
        f"that of the best float network known ({reference.name}) and of any other quantization ({ALLOWED:.0%} of what "
        f"that network gains over a constant answer), and better than that of {' and '.join(beaten)}"
    )
    return Verdict(
        answer, reason, criterion, name, better, samples, device.figure, float(low[-1]), float(high[-1]), compared,
        (*remarks, *_remarks(compared, device, instead)),
    )  # fmt: skip


def _step(device: Candidate, others: Sequence[Candidate]) -> float:
    """What one sample that turns from right to wrong changes; 0 of figures that are not counts."""
    levels = np.unique(np.concatenate([each.contributions for each in (device, *others) if each.kind != "constant"]))
    return float(levels[-1] - levels[0]) if len(levels) == 2 else 0.0


def _with_unseen(losses: np.ndarray, step: float, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of counts, wide enough for what may happen and did not in these samples: draws of it show none."""
    if not step:
        return low, high
    unseen = step * (1 - ((1 - _CONFIDENCE) / 2) ** (1 / len(losses)))
    mean = losses.mean(0)
    low = np.where((losses < 0).any(0), low, np.minimum(low, mean - unseen))
    return low, np.where((losses > 0).any(0), high, np.maximum(high, mean + unseen))


def _comparison(other: Candidate, loss: float, ends: Sequence[float], allowed: float) -> Comparison:
    low, high = ends
    outcome: Literal["met", "not met", "open"]
    if other.kind in ("baseline", "constant"):
        # What is as good and simpler is to be shipped, however sure that is.
        outcome = "not met" if loss >= 0 else "met" if high < 0 else "open"
    else:
        outcome = "met" if high <= allowed else "not met" if low > allowed else "open"
    return Comparison(other.name, other.kind, other.figure, loss, low, high, allowed, outcome)


def _answer(
    compared: Sequence[Comparison], reference: Candidate, gain: float, samples: int, device: Candidate
) -> tuple[Answer, str]:
    missed = [each for each in compared if each.outcome == "not met"]
    unsure = [each for each in compared if each.outcome == "open"]
    if samples < FEWEST:
        return "test set too small to tell", f"{samples} test samples, where it takes at least {FEWEST}"
    if gain <= 0:
        return "do not ship", f"{reference.name} is no better than a constant answer"
    beaten = [each.against for each in missed if each.kind in ("baseline", "constant")]
    if beaten:
        return "do not ship", f"{' and '.join(beaten)} is at least as good as {device.name} on {samples:,} test samples"
    if missed:
        return "do not ship", f"{device.name} loses too much against {' and '.join(each.against for each in missed)}"
    if unsure:
        named = " and ".join(each.against for each in unsure)
        return (
            "test set too small to tell",
            f"on {samples:,} test samples the interval against {named} holds either answer",
        )
    kept = f"keeps at least {1 - ALLOWED:.0%} of what {reference.name} gains, and is better than what is simpler"
    return "ship", f"{device.name} {kept}, on {samples:,} test samples"


def _remarks(compared: Sequence[Comparison], device: Candidate, instead: str) -> list[str]:
    """What beats the device, however little: a reader would not look for it."""
    remarks = []
    for each in compared:
        if each.worse_by <= 0 or (each.kind == "float" and each.outcome == "met"):
            continue
        sure = "" if each.low > 0 else ", a difference that may be chance"
        by = f"{_shown(each.figure)} and {_shown(device.figure)}{sure}"
        if each.kind == "quantized":
            remarks.append(
                f"{each.against} is better than {device.name} ({by})" + (f": {instead}" if each.low > 0 else "")
            )
        elif each.kind in ("baseline", "constant"):
            remarks.append(f"{each.against} is better than {device.name} ({by}): no gain of the network shows")
        else:
            remarks.append(f"{each.against} is better than {device.name} ({by}): what quantization costs")
    return remarks


def _shown(value: float) -> str:
    return f"{value:.4g}"
