"""What an edition made of the cases, against what was expected of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.editions.cases import read_cases

__all__ = ["Outcome", "judged", "tallied"]


@dataclass(frozen=True)
class Outcome:
    """What came of one case in one edition.

    Attributes:
        label: of the case.
        form: of the case.
        ended: ``exact``, ``other codes``, ``refused`` or ``crashed``.
        wrong: how many codes are others.
        codes: how many there are.
        furthest: by how many steps a code is off at most.
        why: the interpreter's words, if it refused.
    """

    label: str
    form: str
    ended: str
    wrong: int = 0
    codes: int = 0
    furthest: int = 0
    why: str = ""


def _split(held: bytes, layout: Sequence[tuple[str, int]]) -> list[np.ndarray]:
    """Arrays ``[samples, elements]``, one per output."""
    sample = np.dtype([(f"o{i}", dtype, (count,)) for i, (dtype, count) in enumerate(layout)])
    records = np.frombuffer(held, sample)
    return [records[f"o{i}"] for i in range(len(layout))]


def compared(got: bytes, expected: bytes, layout: Sequence[tuple[str, int]]) -> tuple[int, int, int]:
    """Wrong codes, all codes, and the greatest distance, of bytes that are as many."""
    pairs = list(zip(_split(got, layout), _split(expected, layout), strict=True))
    wrong = sum(int((a != b).sum()) for a, b in pairs)
    # A step more or less of numbers that lie apart says nothing where they are floats.
    apart = [np.abs(a.astype(np.int64) - b.astype(np.int64)) for a, b in pairs if np.issubdtype(a.dtype, np.integer)]
    return wrong, sum(b.size for _, b in pairs), max((int(each.max(initial=0)) for each in apart), default=0)


def judged(cases: Path, out: Path) -> list[Outcome]:
    """Each case's outcome, by what a runner left in ``out``; one that it never came to has crashed."""
    said = {each["name"]: each for each in map(json.loads, (out / "said.jsonl").read_text().splitlines())}
    return [_outcome(case, said.get(case["name"]), cases, out) for case in map(dict, read_cases(cases))]


def _outcome(case: Mapping[str, Any], said: Mapping[str, str] | None, cases: Path, out: Path) -> Outcome:
    label, form, name = case["label"], case["form"], case["name"]
    if said is None:
        return Outcome(label, form, "crashed", why="the runner ended before")
    if said["ended"] != "ran":
        return Outcome(label, form, said["ended"], why=said["why"])
    layout = [(dtype, count) for dtype, count in case["layout"]]
    expected = (cases / f"{name}.expected").read_bytes()
    got = (out / f"{name}.out").read_bytes()
    if len(got) != len(expected):
        why = f"{len(got)} bytes of outputs instead of {len(expected)}"
        return Outcome(label, form, "crashed", why=why)
    wrong, codes, furthest = compared(got, expected, layout)
    return Outcome(label, form, "other codes" if wrong else "exact", wrong, codes, furthest)


def tallied(outcomes: Iterable[Outcome]) -> dict[str, dict[str, Any]]:
    """By form: how many models, how each ended, codes wrong of how many in those that run, the furthest, why refused.

    What never happened is left out.
    """
    forms: dict[str, dict[str, Any]] = {}
    for each in outcomes:
        row = forms.setdefault(each.form, {"models": 0})
        row["models"] += 1
        row[each.ended] = row.get(each.ended, 0) + 1
        row["codes"] = row.get("codes", 0) + each.codes
        if each.wrong:
            row["wrong"] = row.get("wrong", 0) + each.wrong
            if each.furthest >= row.get("furthest", 0):
                row["furthest"], row["example"] = each.furthest, each.label
        if each.why and "why" not in row:
            row["why"] = f"{each.label}: {each.why}"
    return dict(sorted(forms.items()))
