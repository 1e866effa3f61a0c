"""Which options of a run that goes on are others than those of the run that it goes on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl

from qtorch.lightning.phases import Phases

__all__ = ["RUN_OPTIONS", "changed_options", "run_options", "written"]

#: Of the trainer: what a checkpoint remembers of its run.
RUN_OPTIONS = ("max_epochs", "accumulate_grad_batches", "gradient_clip_val")
_POINTS = (*Phases.__dataclass_fields__, "calibration_batches")


def run_options(trainer: pl.Trainer) -> dict[str, Any]:
    """What a checkpoint remembers of its run, as plain values."""
    return {name: getattr(trainer, name) for name in RUN_OPTIONS}


def changed_options(described: Mapping[str, Any], config: Any) -> list[str]:
    """A line for each option that is another: its name, what it was, and what it is now.

    Args:
        described: what the checkpoint says of its run.
        config: all options of this run, with ``trainer``, ``qat`` and ``data``.
    """
    qat, data = described.get("qat") or {}, described.get("data") or {}
    of_data, prefix = config.get("data"), "data"
    if hasattr(of_data, "get") and "class_path" in of_data:
        of_data, prefix = of_data.get("init_args"), "data.init_args"
    parts = (
        ("trainer", described.get("run") or {}, config.get("trainer")),
        ("qat", {name: qat[name] for name in _POINTS if name in qat}, config.get("qat")),
        (prefix, data.get("init_args") or {}, of_data),
    )
    lines = [line for what, before, now in parts for line in _changed(what, before, now)]
    began = (described.get("state") or {}).get("began")
    if began is not None:
        late = f", which comes too late: quantized training began in epoch {began}"
        lines = [line + late if line.startswith("qat.start ") else line for line in lines]
    return lines


def _changed(what: str, before: Mapping[str, Any], now: Any) -> Iterator[str]:
    for name, was in before.items():
        if hasattr(now, "get") and name in now and written(now[name]) != written(was):
            yield f"{what}.{name} was {was!r} and is {now[name]!r} now"


def written(value: Any) -> Any:
    """As a command line or a file has it, where lists and tuples, paths and their names are one."""
    if isinstance(value, list | tuple):
        return [written(each) for each in value]
    if isinstance(value, Mapping):
        return {name: written(each) for name, each in value.items()}
    return str(value) if hasattr(value, "__fspath__") else value
