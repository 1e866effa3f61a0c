"""The outcome of an export, in memory: a mapping from file name to bytes, and figures."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.bundle.outcome_page import whole_page
from export.console.page import plain_text
from export.figures.verdict import Verdict
from export.options import ExportOptions
from export.parity.outputs import ParityReport

__all__ = ["Bundle"]

#: Of the report in a notebook, in pixels: what a screen shows beside the cell that made it.
_HEIGHT = 720


@dataclass(frozen=True, repr=False)
class Bundle:
    """The files of one export, and the figures that stand in two of them; a firmware project, if one was asked for.

    As text it is the page that ``qtorch export`` prints; in a notebook it is its report.

    Attributes:
        name: of the model, a C identifier: what the files are called by.
        files: content by file name.
        metrics: what stands in ``metrics.json``.
        parity: who computes the same as the integers; ``None`` of a float format, which is judged node by node.
        arena_bytes: of the smallest tensor arena; 0 where it was not measured.
        firmware: content of the project's files, by path.
        verdict: whether to ship it.
        form_lines: what its :mod:`export.forms` say of themselves.
        out: the folder in which the files lie; ``None`` where they were not written.
        kept: files that were in the way and no export had written as they were, as they are called now.
        options: of the export.
    """

    name: str
    files: dict[str, bytes]
    metrics: dict[str, Any]
    parity: ParityReport | None
    arena_bytes: int
    firmware: dict[str, bytes] = field(default_factory=dict)
    verdict: Verdict | None = None
    form_lines: tuple[str, ...] = ()
    out: Path | None = None
    kept: tuple[Path, ...] = ()
    options: ExportOptions = field(default_factory=ExportOptions)

    @property
    def model(self) -> bytes:
        """The .tflite file."""
        return self.files[f"{self.name}.tflite"]

    @property
    def report(self) -> str:
        """``report.html``."""
        return self.files["report.html"].decode()

    @property
    def left_out(self) -> Mapping[str, str]:
        """What could not be had, by name, and why."""
        return self.metrics.get("left_out", {})

    def __repr__(self) -> str:
        """Name, sizes and verdict in a line.

        Example:
            >>> bundle
            <Bundle fuel: 17 files, 3,200 bytes of model, verdict: ship>
        """
        said = "" if self.verdict is None else f", verdict: {self.verdict.answer}"
        return f"<Bundle {self.name}: {len(self.files)} files, {len(self.model):,} bytes of model{said}>"

    def __str__(self) -> str:
        """The page that ``qtorch export`` prints."""
        return plain_text(whole_page(self))

    def _repr_html_(self) -> str:
        # A page of its own: its styles are not the notebook's.
        return (
            f'<iframe srcdoc="{html.escape(self.report, quote=True)}" title="report of {html.escape(self.name)}" '
            f'style="width: 100%; height: {_HEIGHT}px; border: 0"></iframe>'
        )
