"""Samples of a noisy sine over one period."""

from __future__ import annotations

import math

import torch

from qtorch.bounds import require_number, require_seed, require_whole
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary

__all__ = ["SineData"]


class SineData(ArrayDataModule):
    """``y = sin(x) + noise``, x uniform on [0, 2 pi]; 60 % training, 20 % validation, 20 % test.

    Args:
        noise: standard deviation of the noise on the target.
        samples: in all.
        batch_size: rows per batch.
        seed: of the samples; independent of the seed of training.
    """

    def __init__(self, noise: float = 0.1, samples: int = 1000, batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size)
        require_number("data.noise", noise, 0, 1e6, "try 0.1")
        require_whole("data.samples", samples, 10, 10_000_000, "try 1000")
        require_seed("data.seed", seed)
        self.noise, self.samples, self.seed = noise, samples, seed
        self.save_hyperparameters()

    def load(self) -> Arrays:
        """Draw the samples."""
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.rand(self.samples, 1, generator=generator) * 2 * math.pi
        y = torch.sin(x) + self.noise * torch.randn(self.samples, 1, generator=generator)
        first, second = round(0.6 * self.samples), round(0.8 * self.samples)
        parts = [(x[a:b], y[a:b]) for a, b in ((0, first), (first, second), (second, self.samples))]
        interface = Interface((Feature("angle", "rad"),), (Feature("sine"),))
        summary = DataSummary("synthetic", self.samples, 0, first, self.samples - second)
        return Arrays(parts[0], parts[1], parts[2], interface, summary)
