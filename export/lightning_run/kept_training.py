"""What was trained is kept, whatever an export says of it: a checkpoint, and the command that exports it again."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields
from itertools import count
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from export.bundle.folder_replacement import locked
from export.bundle.manifest import manifests_in
from export.c_language.names import c_identifier
from export.options import ExportOptions
from qtorch.errors import NotFinite, Unwritable
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpointing.saving import checkpoint_bytes, checkpoint_of, write_whole

__all__ = ["KeepInterrupted", "export_command", "keep", "kept_until_exported"]

_TEMPORARY = "kept-training-"


def export_command(checkpoint: Path, out: Path, name: str, options: ExportOptions, **others: Any) -> str:
    """What a person types to export a checkpoint with the same options.

    Args:
        checkpoint: to be exported.
        out: folder for the artefacts.
        name: of the model.
        options: of the export.
        others: options in place of those.
    """
    words = ["python", "-m", "export", str(checkpoint), "--out", str(out), "--name", name]
    for field in fields(options):
        value = others.get(field.name, getattr(options, field.name))
        assert field.default is not MISSING
        if value != field.default:
            words += [f"--export.{field.name}"] if value is True else [f"--export.{field.name}", str(value)]
    return shlex.join(words)


def keep(content: bytes, out: Path, file: str, fresh: bool = True) -> Path:
    """Where a checkpoint now lies: in ``out``, else in a temporary folder, else where the process runs.

    Args:
        content: of the file.
        out: a folder, made if need be.
        file: its name.
        fresh: give it a number if there is such a file already, instead of replacing it.

    Raises:
        Unwritable: nowhere can it be written.
    """
    try:
        with locked(out) as folder:
            path = _free(folder / file) if fresh else folder / file
            write_whole(path, content)
        return out / path.name
    except OSError as error:
        refused = error
    for elsewhere in (lambda: Path(tempfile.mkdtemp(prefix=_TEMPORARY)), Path.cwd, Path.home):
        with suppress(OSError, RuntimeError):
            path = _free(elsewhere() / file)
            write_whole(path, content)
            return path
    raise Unwritable(
        where="--out",
        expected="room for the checkpoint",
        got=str(refused),
        remedy="make room, or choose another folder",
    ) from refused


def _free(path: Path) -> Path:
    numbered = (path.with_stem(f"{path.stem}_{n}") for n in count(2))
    return path if not os.path.lexists(path) else next(each for each in numbered if not os.path.lexists(each))


@contextmanager
def kept_until_exported(content: bytes, out: Path, name: str, options: ExportOptions) -> Iterator[None]:
    """A trained checkpoint lies in ``out`` before anything is exported; whatever goes wrong then, stderr says where.

    A bundle that is there already stays whole: its own checkpoint is replaced with the rest of it, and until then the
    new one has another name.

    Raises:
        Unwritable: nowhere can it be written.
    """
    model = c_identifier(name)
    before = manifests_in(Path(os.path.realpath(out))).get(model)
    own = f"{model}.ckpt"
    whole = before is not None and own in before.files
    path = keep(content, out, f"{model}_kept.ckpt" if whole else own, fresh=whole)
    try:
        yield
    except BaseException:
        print(f"what was trained is kept in {path}; to export it:", file=sys.stderr)
        print(f"  {export_command(path, out, name, options)}", file=sys.stderr)
        raise
    if path != out / own:
        with suppress(OSError):
            path.unlink()
            if path.parent.name.startswith(_TEMPORARY):
                path.parent.rmdir()


class KeepInterrupted(pl.Callback):
    """Keeps what was trained when training ends before its time, and says on stderr where.

    Not where it ended in numbers that are none, nor of a run of several processes, which may not all get here.

    Args:
        out: folder for it.
        name: of the model.
        options: of the export that would have followed.
    """

    def __init__(self, out: Path, name: str, options: ExportOptions) -> None:
        self.out, self.name, self.options = out, name, options

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save the state as it is."""
        if isinstance(exception, NotFinite) or trainer.world_size > 1 or not trainer.global_step:
            return
        try:
            content = checkpoint_bytes(checkpoint_of(trainer))
            path = keep(content, self.out, f"{c_identifier(self.name)}_interrupted.ckpt")
        # It ends for another reason, which has to be said.
        except Exception as error:
            print(f"what was trained can't be kept: {type(error).__name__}: {error}", file=sys.stderr)
            return
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        quantized = any(isinstance(c, QuantizationAwareTraining) and c.began is not None for c in callbacks)
        # Without ranges there is but the float network, which can be quantized without training.
        float_only = self.options.format == "int8" and not quantized
        others = {"post_training": True} if float_only else {}
        command = export_command(path, self.out, self.name, self.options, **others)
        print(
            f"training ended in epoch {trainer.current_epoch}; what was trained is kept in {path}; to export it:\n"
            f"  {command}",
            file=sys.stderr,
        )
