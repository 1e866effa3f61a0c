"""What the numbers of recordings say where their files say nothing: dead axes, other units, turned sensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qtorch.errors import BadData

from .statements import AXES

__all__ = ["require_plausible"]

#: What a sensor at rest shows in g, in m/s^2, and in a signed byte of +-8, +-4 and +-2 g.
_GRAVITIES = (1.0, 9.81, 16.0, 32.0, 64.0)
#: Of a median norm: a moving sensor still shows about gravity in most samples.
_NEAR = 0.15
#: Between neighbours among all recordings in order of strength: motions of all strengths leave no gap, two units do.
_GAP, _WIDE_GAP = 2.5, 5.0
#: Of the gravity that a recording shows, at least so much along one axis; in so many recordings of a class.
_ALONG, _SETTLED = 0.8, 0.95
#: Shares of gravity in a unit beyond which the recordings can't be in it.
_SLOW, _FAST = 0.3, 5.0
_IN_UNIT = {"g": 1.0, "m/s^2": 9.81, "mg": 1000.0}


def require_plausible(where: str, values: Mapping[str, np.ndarray], unit: str | None) -> tuple[str, ...]:
    """Findings, a sentence each.

    Args:
        where: the folder.
        values: by class, float32 ``[recordings, 50, 3]``.
        unit: that all files state; ``None`` if none does.

    Raises:
        BadData: a class never moves, or recordings seem to be in two units and no file states one.
    """
    return (*_dead(where, values), *_two_units(where, values, unit), *_another_unit(values, unit), *_turned(values))


def _dead(where: str, values: Mapping[str, np.ndarray]) -> list[str]:
    findings = []
    for name, recordings in values.items():
        still = np.ptp(recordings, axis=1) == 0  # [recordings, 3]
        if still.all():
            raise BadData(
                where=f"{where}, class {name}",
                expected="values that change within a recording",
                got=f"none in any of {len(recordings)} recordings, first {recordings[0, 0].tolist()}",
                remedy="see to the sensor, and record the class again",
            )
        findings += [
            f"{axis} never changes within {int(count)} of {len(recordings)} recordings of {name}, "
            f"as of a dead sensor (first: recording {int(still[:, at].argmax()) + 1})"
            for at, (axis, count) in enumerate(zip(AXES, still.sum(0), strict=True))
            if count
        ]
    return findings


def _strengths(recordings: np.ndarray) -> np.ndarray:
    """Median norm of each recording, ``[recordings]``."""
    strengths: np.ndarray = np.median(np.linalg.norm(recordings.astype(np.float64), axis=-1), axis=1)
    return strengths


def _two_units(where: str, values: Mapping[str, np.ndarray], unit: str | None) -> list[str]:
    strengths = {name: _strengths(recordings) for name, recordings in values.items()}
    ordered = np.sort(np.concatenate(list(strengths.values())))
    ordered = ordered[ordered > 0]
    if len(ordered) < 2:
        return []
    gaps = ordered[1:] / ordered[:-1]
    at = int(gaps.argmax())
    if gaps[at] < _GAP:
        return []
    sides = ordered[: at + 1], ordered[at + 1 :]
    medians = [float(np.median(side)) for side in sides]
    border = float(np.sqrt(ordered[at] * ordered[at + 1]))
    weak = [f"{int((s < border).sum())} of {len(s)} of {name}" for name, s in strengths.items() if (s < border).any()]
    strong = [f"{int((s > border).sum())} of {len(s)} of {name}" for name, s in strengths.items() if (s > border).any()]
    told = (
        f"accelerations of about {medians[0]:.3g} ({', '.join(weak)}) beside about {medians[1]:.3g} "
        f"({', '.join(strong)}), and none between"
    )
    known = [next((g for g in _GRAVITIES if abs(m / g - 1) <= _NEAR), None) for m in medians]
    suspect = gaps[at] >= _WIDE_GAP or (None not in known and known[0] != known[1])
    if suspect and unit is None:
        raise BadData(
            where=where,
            expected="recordings in one unit",
            got=told,
            remedy="bring all to one unit, as a network would learn to tell units apart; if they are, say so in the "
            "first line of every file: # unit: g",
        )
    return [f"{told}: are they in one unit?"]


def _another_unit(values: Mapping[str, np.ndarray], unit: str | None) -> list[str]:
    gravity = _IN_UNIT.get(unit or "")
    if gravity is None:
        return []
    findings = []
    for name, recordings in values.items():
        median = float(np.median(_strengths(recordings)))
        if not _SLOW * gravity <= median <= _FAST * gravity:
            findings.append(
                f"{name} has accelerations of about {median:.3g} where its file states {unit}, in which gravity alone "
                f"is {gravity:g}"
            )
    return findings


def _turned(values: Mapping[str, np.ndarray]) -> list[str]:
    """Classes that show gravity along an axis of their own: worn otherwise, or columns exchanged."""
    along: dict[str, str] = {}
    for name, recordings in values.items():
        mean = recordings.astype(np.float64).mean(1)
        most = np.abs(mean).argmax(1)
        signed = mean[np.arange(len(mean)), most]
        clear = np.abs(signed) > _ALONG * np.linalg.norm(mean, axis=1)
        direction = np.where(clear, np.where(signed < 0, -1, 1) * (most + 1), 0)
        settled = next((d for d in (-3, -2, -1, 1, 2, 3) if (direction == d).mean() >= _SETTLED), None)
        if settled is not None:
            along[name] = ("-" if settled < 0 else "") + AXES[abs(settled) - 1]
    if len(set(along.values())) < 2:
        return []
    told = ", ".join(f"{axis} in {name}" for name, axis in along.items())
    return [
        f"gravity lies along one axis in nearly all recordings of a class, along another in other classes ({told}): "
        "was the sensor worn otherwise, or are columns exchanged? The network will tell the classes apart by it"
    ]
