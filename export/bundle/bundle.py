"""The outcome of an export, in memory: a mapping from file name to bytes, and figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from export.figures.verdict import Verdict
from export.parity.outputs import ParityReport

__all__ = ["Bundle"]


@dataclass(frozen=True)
class Bundle:
    """The files of one export, and the figures that stand in two of them; a firmware project, if one was asked for.

    ``form_lines`` are what its :mod:`export.forms` say of themselves.
    """

    name: str
    files: dict[str, bytes]
    metrics: dict[str, Any]
    parity: ParityReport | None
    arena_bytes: int
    firmware: dict[str, bytes] = field(default_factory=dict)
    verdict: Verdict | None = None
    form_lines: tuple[str, ...] = ()
