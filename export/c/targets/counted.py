"""What calls of kernels cost: sums of their terms, each times a number that ``python -m benchmarks kernels`` fitted.

Instructions (on AVR cycles) and bytes of code were counted on emulated machines, one layer at a time, for many shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from export.c.targets import Candidate
from export.c.targets.kernel_row import Work
from export.c.targets.table import PORTABLE, kernel_id

__all__ = ["COUNTED", "Cost", "Fit", "code_bytes", "fits", "instructions", "kernel_name", "terms"]

#: The file of factors.
COUNTED = Path(__file__).with_name("counted.json")
#: Processors that execute what others do.
_AS = {"cortex-m85": "cortex-m55", "riscv32-p4": "riscv32"}


@dataclass(frozen=True)
class Fit:
    """Factors of a kernel's terms on a processor.

    Attributes:
        factors: by term, 0 of those that cost nothing.
        shapes: that were counted.
        largest_error: of them, as a share of what was counted.
        median_error: likewise.
    """

    factors: Mapping[str, float]
    shapes: int
    largest_error: float
    median_error: float


@dataclass(frozen=True)
class Cost:
    """Both fits of a kernel."""

    instructions: Fit
    code: Fit


def kernel_name(candidate: Candidate) -> str:
    """What its counts stand under."""
    return candidate.row.kernel if candidate.row is not None else kernel_id(candidate.call)


def terms(candidate: Candidate) -> tuple[Work, Work]:
    """What takes instructions in a call, and what takes code."""
    portable, row = candidate.portable, candidate.row
    if row is not None:
        assert row.work is not None
        assert row.code is not None
        return row.work(portable, candidate.call), row.code(portable, candidate.call)
    of = PORTABLE[portable.kernel]
    return of.work(portable), of.code(portable)


@cache
def fits() -> Mapping[str, Mapping[str, Cost]]:
    """By processor and kernel."""
    if not COUNTED.exists():
        return {}
    found = json.loads(COUNTED.read_text())
    return {
        cpu: {name: Cost(**{kind: Fit(**fit) for kind, fit in both.items()}) for name, both in kernels.items()}
        for cpu, kernels in found.items()
    }


def instructions(candidate: Candidate, cpu: str) -> float | None:
    """What a call takes; ``None`` where its kernel was not counted on that processor."""
    cost = _cost(candidate, cpu)
    return None if cost is None else candidate.call.images * _sum(terms(candidate)[0], cost.instructions)


def code_bytes(candidate: Candidate, cpu: str) -> float | None:
    """What its function takes of flash, constants apart; calls of the same sizes share it."""
    cost = _cost(candidate, cpu)
    return None if cost is None else _sum(terms(candidate)[1], cost.code)


def _cost(candidate: Candidate, cpu: str) -> Cost | None:
    if candidate.row is None and candidate.portable.kernel not in PORTABLE:
        return None
    return fits().get(_AS.get(cpu, cpu), {}).get(kernel_name(candidate))


def _sum(work: Work, fit: Fit) -> float:
    return sum(times * _factor(name, fit) for name, times in work.items() if times)


def _factor(name: str, fit: Fit) -> float:
    """Of a term that no counted shape has, the most that its like takes: other forms of outputs, codes, windows."""
    kind = name.split()[0]
    known = fit.factors.get(name)
    return known if known is not None else max((v for k, v in fit.factors.items() if k.split()[0] == kind), default=0)
