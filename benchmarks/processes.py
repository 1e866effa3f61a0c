"""How an epoch's time falls from one process to two: DistributedDataParallel on this machine's processor."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.environments import ROOT
from benchmarks.spread import cell, spread
from benchmarks.suite import Suite, markdown_table

__all__ = ["PROCESSES"]

_TURNS = 3
_EPOCHS = 8
_RECIPES = ("fuel", "keyword")
_KINDS = ("float", "QAT")


def _epochs(recipe: str, processes: int) -> dict[str, float]:
    """Median seconds of a float and of a quantized epoch."""
    with tempfile.TemporaryDirectory() as folder:
        file, half = Path(folder) / "seconds.json", _EPOCHS // 2
        command = [
            sys.executable, "-W", "ignore", "-m", f"recipes.{recipe}_qat", "fit",
            "--trainer.max_epochs", f"{_EPOCHS}", "--qat.start", f"{half}", "--qat.freeze_batch_norm", "null",
            "--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "0",
            "--trainer.callbacks", "benchmarks.epoch_clock.EpochClock", "--trainer.callbacks.file", str(file),
            *(["--trainer.strategy", "ddp", "--trainer.devices", f"{processes}"] if processes > 1 else []),
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)
        seconds = json.loads(file.read_text())
    # The first epoch of either kind also warms up or calibrates.
    return dict(zip(_KINDS, (statistics.median(part) for part in (seconds[1:half], seconds[half + 1 :])), strict=True))


def _measure() -> dict[str, Any]:
    found = []
    for recipe in _RECIPES:
        turns = [{processes: _epochs(recipe, processes) for processes in (1, 2)} for _ in range(_TURNS)]
        for kind in _KINDS:
            found.append(
                {
                    "recipe": recipe,
                    "kind": kind,
                    "one_s": asdict(spread([turn[1][kind] for turn in turns])),
                    "two_s": asdict(spread([turn[2][kind] for turn in turns])),
                    "ratio": asdict(spread([turn[2][kind] / turn[1][kind] for turn in turns])),
                }
            )
    return {"epochs": found}


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows = [
        [
            f"{each['recipe']}, {each['kind']}",
            cell(each["one_s"], ".3f"),
            cell(each["two_s"], ".3f"),
            cell(each["ratio"]),
        ]
        for each in found["epochs"]
    ]
    return markdown_table(["an epoch", "one process, s", "two processes, s", "two / one"], rows)


PROCESSES = Suite("processes", __doc__, _measure, _table)
