"""``qtorch export CHECKPOINT --out DIR``: everything that a trained network's firmware is built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from export.bundle.outcome_page import whole_page
from export.calls.terms import on_a_command_line
from export.command_line.reader import FOLDER, POSITIONAL, read_options
from export.console.terminal import show
from export.options import ExportOptions

__all__ = ["ExportCommandOptions", "export_command"]


@dataclass(frozen=True)
class ExportCommandOptions:
    """Export a trained checkpoint: model, parity, headers, figures.

    Example:
        qtorch export build/kws/kws.ckpt --out build/kws
        qtorch export build/kws/kws.ckpt --out build/kws --export.c --export.target nano33ble
        qtorch export build/kws/kws.ckpt --out build/ptq --export.post_training --export.equalize

    Attributes:
        checkpoint: written by training; its classes are imported, so trust it.
        out: folder for the files.
        name: of the model and its files, instead of the task's.
        export: what is exported, and how.
    """

    checkpoint: Annotated[Path, POSITIONAL]
    out: Annotated[Path, FOLDER]
    name: str | None = None
    export: ExportOptions = field(default_factory=ExportOptions)


def export_command(arguments: Sequence[str]) -> None:
    """Export a checkpoint.

    Raises:
        BadInput: the checkpoint, the options or the folders are no good.
        ParityError: a comparison that must be exact is not.
    """
    asked = read_options(ExportCommandOptions, arguments, "export")
    # Lightning takes seconds to import, which the help has no need of.
    from export.lightning_run.exported_checkpoint import export_checkpoint

    with on_a_command_line():
        bundle = export_checkpoint(asked.checkpoint, asked.out, name=asked.name, options=asked.export)
    show(whole_page(bundle))
