"""A trained run exported: one function for the command, the call, the callback and the recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from export.bundle.bundle import Bundle
from export.bundle.folder import temporary_files, write_bundle
from export.bundle.make import make_bundle
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from qtorch.lightning.checkpoint import Run
from qtorch.progress import in_lines

__all__ = ["export_run"]


def export_run(
    run: Run, content: bytes | None, out: Path, name: str, options: ExportOptions, data_seconds: float = 0.0,
    checkpoint: Path | None = None,
) -> Bundle:  # fmt: skip
    """The bundle of a run, verified and written.

    Args:
        run: trained.
        content: its checkpoint; ``None`` where none could be opened again.
        out: folder for the files.
        name: of the model, any string.
        options: of the export.
        data_seconds: what loading the data took, where that was measured before.
        checkpoint: where ``content`` lies; ``None``: nowhere yet, and it becomes a file of the bundle, ``<name>.ckpt``.

    Raises:
        ParityError: a comparison that must be exact is not.
        BadInput: the network can't be exported, or a folder can't be written.
    """
    with in_lines(), temporary_files():
        bundle = make_bundle(subject_of(run, data_seconds), name, options, content)
    if checkpoint is None and content is not None:
        bundle.files[f"{bundle.name}.ckpt"] = content
    kept = write_bundle(bundle, out, options.firmware, checkpoint)
    return replace(bundle, out=out, kept=kept)
