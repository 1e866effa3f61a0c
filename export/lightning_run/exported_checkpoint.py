"""A checkpoint exported by one call, which the command ``qtorch export`` is too."""

from __future__ import annotations

from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from export.bundle.bundle import Bundle
from export.bundle.folder import probe_export
from export.bundle.folder_replacement import finish_interrupted
from export.calls.choices import names_of_choices, options_of
from export.calls.terms import in_arguments
from export.lightning_run.exported_run import export_run
from export.options import ExportOptions
from qtorch.arguments import spelt
from qtorch.handed_over.named_folder import named_folder
from qtorch.lightning.checkpoint import load_run
from qtorch.progress import in_lines, stage

__all__ = ["export_checkpoint"]


@in_arguments()
@spelt(names_of_choices)
def export_checkpoint(
    checkpoint: str | PathLike[str],
    out: str | PathLike[str],
    *,
    name: str | None = None,
    options: ExportOptions | None = None,
    **choices: Any,
) -> Bundle:
    """The bundle of a checkpoint that training with Lightning left, written to ``out``: what ``qtorch export`` does.

    Example:
        >>> bundle = export.export_checkpoint("build/fuel/fuel.ckpt", "build/fuel_c", c=True, target="uno")
        >>> bundle.verdict.answer
        'ship'

    Args:
        checkpoint: its classes are imported, so trust it.
        out: folder for the files, made if need be.
        name: of the model and its files; the task's if ``None``.
        options: of the export; ``ExportOptions()`` if ``None``.
        choices: fields of :class:`~export.options.ExportOptions`, in place of those of ``options``.

    Raises:
        UnknownArgument: an argument or a choice is unknown, or one is missing.
        BadInput: the checkpoint, the options or the folders are no good.
        ParityError: a comparison that must be exact is not; nothing is written.
    """
    path, folder = Path(checkpoint), named_folder("out", out)
    asked = options_of(options, choices)
    with suppress(OSError):
        finish_interrupted(path.parent)
    with in_lines(), stage("opening the checkpoint"):
        run = load_run(path)
    called = name or run.task
    probe_export(folder, asked, called)
    return export_run(run, path.read_bytes(), folder, called, asked, checkpoint=path)
