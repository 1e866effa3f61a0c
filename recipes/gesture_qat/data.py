"""Gesture data for training: split, scaled, in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from qtorch.bounds import require_seed, require_whole
from qtorch.data.duplicates import duplicates, fingerprints
from qtorch.data.stratified import stratified_split
from qtorch.errors import BadConfiguration
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary

from .motions import GRAVITY, generate
from .recordings import AXES, LIMIT, SAMPLES, Recordings, read_folder

__all__ = ["GestureData", "windows"]

Layout = Literal["flat", "channels"]


def windows(recordings: np.ndarray, layout: Layout) -> torch.Tensor:
    """Recordings ``[N, 50, 3]`` in -127 .. 127 as a network's inputs in -1 .. 1, float32.

    ``flat`` gives ``[N, 150]`` as a device's buffer fills: aX, aY, aZ of the first sample, then of the second.
    ``channels`` gives ``[N, 3, 50]`` for convolutions over time.
    """
    scaled = torch.from_numpy(recordings.astype(np.float32)) / LIMIT
    return scaled.flatten(1) if layout == "flat" else scaled.transpose(1, 2).contiguous()


class GestureData(ArrayDataModule):
    """Windows of 50 accelerations to the gesture; 60 % training, 20 % validation, 20 % test of each class.

    Args:
        folder: of CSV files, one per class (see ``read_recordings``); ``None`` for synthetic punches and flexes.
        layout: ``flat`` for a perceptron, ``channels`` for convolutions over time.
        batch_size: windows per batch.
        recordings: synthetic ones per class.
        seed: of the synthetic recordings and of the split; independent of the seed of training.
    """

    def __init__(
        self,
        folder: str | None = None,
        layout: Layout = "flat",
        batch_size: int = 32,
        recordings: int = 500,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size)
        if layout not in ("flat", "channels"):
            raise BadConfiguration(
                where="data.layout", expected="flat or channels", got=f"{layout!r}", remedy="use flat for a perceptron"
            )
        require_whole("data.recordings", recordings, 5, 1_000_000, "try 500")
        require_seed("data.seed", seed)
        self.folder, self.layout, self.recordings, self.seed = folder, layout, recordings, seed
        self.save_hyperparameters()

    def load(self) -> Arrays:
        """Read or generate, split, and scale."""
        read = (
            Recordings(generate(self.recordings, self.seed), "synthetic", "codes")
            if self.folder is None
            else read_folder(Path(self.folder))
        )
        x = windows(np.concatenate(list(read.values.values())), self.layout)
        y = torch.cat([torch.full((len(each),), label) for label, each in enumerate(read.values.values())])
        train, validation, test = ((x[at], y[at]) for at in stratified_split(y, self.seed))
        findings = read.findings
        if self.folder is not None:
            parts = {"training": train, "validation": validation, "test": test}
            digests = {name: (fingerprints(samples), labels.tolist()) for name, (samples, labels) in parts.items()}
            findings += duplicates(digests, tuple(read.values))
        interface = Interface(
            (Feature("acceleration", read.unit or "", 0.0, LIMIT),),
            tuple(Feature(f"{name} probability") for name in read.values),
            (*_recorded(read), *(_GENERATED if self.folder is None else ())),
        )
        summary = DataSummary(read.source, len(x), 0, len(train[0]), len(test[0]), findings)
        return Arrays(train, validation, test, interface, summary)


#: What the generator's recordings are beside that: it knows samples, and no clock.
_GENERATED = (("gravity", f"{GRAVITY:g} codes"), ("rate", f"any at which {SAMPLES} samples hold one motion"))


def _recorded(read: Recordings) -> tuple[tuple[str, str], ...]:
    """What the files say of how they were recorded; nothing where they say nothing."""
    stated = {"unit": read.unit, "rate": None if read.rate is None else f"{read.rate:g} Hz"}
    statements = tuple((key, value) for key, value in stated.items() if value is not None)
    return (*statements, ("axes", ", ".join(AXES))) if statements else ()
