"""Machine sounds for training: normal ones to learn from, and both kinds to test on."""

from __future__ import annotations

import numpy as np
import torch

from qtorch.bounds import require_seed, require_whole
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary

from .machine import FAULTS, machine_clips, machine_features

__all__ = ["AnomalyData"]


class AnomalyData(ArrayDataModule):
    """Five frames of 128 log-mel energies ``[N, 640]``, standardized on the training part, to themselves.

    Training and validation hold normal sounds only, as inputs and as targets. The test's targets are labels, int64
    ``[N]``: 0 for a normal sound and 1 for an anomalous one, as many of each fault.

    Args:
        batch_size: clips per batch.
        clips: normal ones for training; a quarter as many validate, and half as many, half of them anomalous, test.
        seed: of the sounds; independent of the seed of training.
    """

    def __init__(self, batch_size: int = 128, clips: int = 4000, seed: int = 0) -> None:
        super().__init__(batch_size)
        require_whole("data.clips", clips, 4 * len(FAULTS), 1_000_000, "try 4000")
        require_seed("data.seed", seed)
        self.clips, self.seed = clips, seed
        self.save_hyperparameters()

    def load(self) -> Arrays:
        """Synthesize, compute features, and scale."""
        rng = np.random.default_rng(self.seed)
        each = self.clips // (4 * len(FAULTS))
        counts = (self.clips, self.clips // 4, each * len(FAULTS))
        train, validation, normal = (machine_features(machine_clips(count, None, rng)) for count in counts)
        faulty = torch.cat([machine_features(machine_clips(each, fault, rng)) for fault in FAULTS])
        labels = torch.arange(2).repeat_interleave(len(normal))
        mean, deviation = float(train.mean()), float(train.std())
        train, validation, test = (
            (part - mean) / deviation for part in (train, validation, torch.cat([normal, faulty]))
        )
        interface = Interface(
            (Feature("log-mel energy", "", mean, deviation),),
            (Feature("reconstructed log-mel energy", "", mean, deviation),),
        )
        summary = DataSummary("synthetic", len(train) + len(validation) + len(test), 0, len(train), len(test))
        return Arrays((train, train), (validation, validation), (test, labels), interface, summary)
