"""A checkpoint that can be opened by itself: which module and data it belongs to, and their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn

from qtorch.errors import BadCheckpoint
from qtorch.lightning.callback import QuantizationAwareTraining

__all__ = ["KEY", "Run", "describe_run", "load_run"]

#: Where a checkpoint says what it belongs to.
KEY = "qtorch"
_FORMAT = 2


@dataclass(frozen=True)
class Run:
    """A trained module, the data it was trained on, and the callback that quantized it."""

    task: str
    module: pl.LightningModule
    data: pl.LightningDataModule
    qat: QuantizationAwareTraining


def describe_run(run: Run) -> dict[str, Any]:
    """What :func:`load_run` needs beside Lightning's own entries: plain values only."""
    return {
        "format": _FORMAT,
        "task": run.task,
        "module": _describe(run.module),
        "data": _describe(run.data),
        "qat": vars(run.qat.phases)
        | {"calibration_batches": run.qat.calibration_batches}
        | {name: _plain(value) for name, value in vars(run.qat.config).items()},
        "state": run.qat.state_dict(),
        "seconds": dict(run.qat.seconds),
    }


def _describe(thing: pl.LightningModule | pl.LightningDataModule) -> dict[str, Any]:
    kind = type(thing)
    if not thing.hparams and _takes_arguments(kind):
        rank_zero_warn(
            f"{kind.__name__} does not call self.save_hyperparameters(): checkpoints will be opened with its defaults"
        )
    # LightningCLI adds entries of its own, which begin with an underscore.
    arguments = {name: value for name, value in thing.hparams.items() if not name.startswith("_")}
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}


def _takes_arguments(kind: type) -> bool:
    return len(inspect.signature(kind).parameters) > 0


def _plain(value: Any) -> Any:
    """Mappings as dicts, so that a checkpoint holds nothing that has to be imported."""
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def load_run(path: Path) -> Run:
    """Open a checkpoint that this framework wrote.

    The module and data classes are imported by the names in the file: open only files that you trust.

    Raises:
        BadCheckpoint: no such file, no checkpoint, one of another framework or format, or weights that don't fit.
    """
    checkpoint = _read(path)
    described = checkpoint.get(KEY)
    if not isinstance(described, dict) or described.get("format") != _FORMAT:
        raise BadCheckpoint(
            where=str(path),
            expected=f"an entry {KEY!r} of format {_FORMAT}",
            got=f"entries {sorted(map(str, checkpoint))}",
            remedy="pass a checkpoint that was trained with the QuantizationAwareTraining callback",
        )
    module, data = (_instantiate(path, described[part]) for part in ("module", "data"))
    qat = QuantizationAwareTraining(**described["qat"])
    qat.load_state_dict(described["state"])
    qat.seconds = described["seconds"]
    qat.setup(None, module, "test")  # type: ignore[arg-type]
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise BadCheckpoint(
            where=str(path),
            expected=f"the weights of {described['module']['class_path']}",
            got="; ".join(str(error).split("\n\t"))[:400],
            remedy="pass a checkpoint of this network, or the arguments it was trained with",
        ) from error
    module.eval()
    return Run(described["task"], module, data, qat)


def _read(path: Path) -> dict[str, Any]:
    try:
        # weights_only: a checkpoint can't run code while it is read.
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    # The unpickler fails on foreign bytes in whatever way they happen to lead it astray.
    except Exception as error:
        raise BadCheckpoint(
            where=str(path),
            expected="a Lightning checkpoint",
            got=(str(error) or type(error).__name__).splitlines()[0],
            remedy="pass the .ckpt file that training wrote",
        ) from error
    if not isinstance(loaded, dict):
        raise BadCheckpoint(
            where=str(path),
            expected="a Lightning checkpoint",
            got=type(loaded).__name__,
            remedy="pass the .ckpt file that training wrote",
        )
    return loaded


def _instantiate(path: Path, described: dict[str, Any]) -> Any:
    module_name, _, name = described["class_path"].rpartition(".")
    try:
        return getattr(import_module(module_name), name)(**described["init_args"])
    except (ImportError, AttributeError, TypeError) as error:
        raise BadCheckpoint(
            where=str(path),
            expected=f"an importable class {described['class_path']}",
            got=str(error),
            remedy="run from the folder that holds that module",
        ) from error
