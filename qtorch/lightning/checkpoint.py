"""A checkpoint that can be opened by itself: which module and data it belongs to, and their arguments."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn

from qtorch.errors import BadCheckpoint, BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining

__all__ = ["KEY", "Run", "describe_run", "load_run", "read_checkpoint", "require_resumable"]

#: Where a checkpoint says what it belongs to.
KEY = "qtorch"
_FORMAT = 2


@dataclass(frozen=True)
class Run:
    """A trained module, the data it was trained on, and the callback that quantized it."""

    task: str
    module: pl.LightningModule
    data: pl.LightningDataModule | None
    qat: QuantizationAwareTraining


def describe_run(run: Run) -> dict[str, Any]:
    """What :func:`load_run` needs beside Lightning's own entries: plain values only."""
    return {
        "format": _FORMAT,
        "task": run.task,
        "module": _describe(run.module),
        "data": None if run.data is None else _describe(run.data),
        "qat": _options(run.qat),
        "state": run.qat.state_dict(),
        "seconds": dict(run.qat.seconds),
    }


def _options(qat: QuantizationAwareTraining) -> dict[str, Any]:
    """The arguments that make the same callback."""
    options = {name: _plain(value) for name, value in vars(qat.config).items()}
    return vars(qat.phases) | {"calibration_batches": qat.calibration_batches} | options


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
    checkpoint = read_checkpoint(path)
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
    _load_weights(path, checkpoint, module, qat)
    module.eval()
    return Run(described["task"], module, data, qat)


def require_resumable(path: Path, module: pl.LightningModule, qat: QuantizationAwareTraining, epochs: int) -> None:
    """Fail with a message, and before the trainer does, where a run can't go on from a checkpoint.

    Args:
        path: of the checkpoint.
        module: as it is before training; left as it is.
        qat: of this run.
        epochs: how many it shall have; -1 for no end.

    Raises:
        BadCheckpoint: no such file, no checkpoint, weights of another network or of another quantization.
        BadConfiguration: it has been trained for more epochs.
    """
    checkpoint = read_checkpoint(path)
    fresh = QuantizationAwareTraining(**_options(qat))
    _load_weights(path, checkpoint, copy.deepcopy(module), fresh)
    begun = int(checkpoint.get("epoch", 0))
    if 0 <= epochs <= begun:
        raise BadConfiguration(
            where="trainer.max_epochs",
            expected=f"more than {begun}, the epoch that {path} was saved in",
            got=f"{epochs}",
            remedy="raise it, or begin anew in another folder",
        )


def _load_weights(
    path: Path, checkpoint: Mapping[str, Any], module: pl.LightningModule, qat: QuantizationAwareTraining
) -> None:
    qat.setup(None, module, "test")  # type: ignore[arg-type]
    try:
        module.load_state_dict(checkpoint["state_dict"])
    # An observer or a layer that is handed another's state fails in whatever way that leads it astray.
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise BadCheckpoint(
            where=str(path),
            expected=f"the weights of {type(module).__name__}, quantized as configured",
            got="; ".join(str(error).split("\n\t"))[:400],
            remedy="pass a checkpoint of this network, and the arguments it was trained with",
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's entries.

    Raises:
        BadCheckpoint: no such file, or no checkpoint of plain values.
    """
    try:
        # weights_only: a checkpoint can't run code while it is read.
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    # The unpickler fails on foreign bytes in whatever way they happen to lead it astray.
    except Exception as error:
        raise BadCheckpoint(
            where=str(path),
            expected="a Lightning checkpoint",
            got=str(error) if isinstance(error, OSError) else f"{type(error).__name__} from torch.load",
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
