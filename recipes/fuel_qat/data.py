"""Fuel consumption data for training: split, scaled, in memory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from qtorch.errors import BadConfiguration, BadData
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary
from recipes.fuel_qat.table import COLUMNS, generate, read_csv

__all__ = ["FuelData"]

_NAMES = (("engine size", "L"), ("cylinders", ""), ("CO2", "g/km"))


class FuelData(ArrayDataModule):
    """Engine size (L), cylinders and CO2 (g/km), min-max scaled on the training part, to fuel consumption (L/100 km).

    70 % training and 30 % test, split as ``sklearn.model_selection.train_test_split(random_state=42)`` does. There is
    no third part: validation shows the training part in evaluation mode.

    Args:
        csv: a table to read; ``None`` for a synthetic one.
        batch_size: rows per batch.
        rows: of the synthetic table.
        seed: of the synthetic table; independent of the seed of training.
    """

    def __init__(self, csv: str | None = None, batch_size: int = 32, rows: int = 638, seed: int = 0) -> None:
        super().__init__(batch_size)
        if rows < 10:
            raise BadConfiguration(where="data.rows", expected="at least 10", got=f"{rows}", remedy="try 638")
        self.csv, self.rows, self.seed = csv, rows, seed
        self.save_hyperparameters()

    def load(self) -> Arrays:
        """Read or generate, split, and scale."""
        table = generate(self.rows, self.seed) if self.csv is None else read_csv(Path(self.csv))
        count = len(table.values)
        order = np.random.RandomState(42).permutation(count)
        held_out = math.ceil(0.3 * count)
        train, test = table.values[order[held_out:]], table.values[order[:held_out]]
        low, high = train[:, :-1].min(0), train[:, :-1].max(0)
        for column, a, b in zip(COLUMNS, low, high, strict=True):
            if a == b:
                raise BadData(
                    where=f"column {column!r} of {table.source}",
                    expected="values that differ",
                    got=f"{a:g} in every row of the training part",
                    remedy="pass more varied rows: a constant feature can't be scaled or learned from",
                )

        def tensors(part: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            scaled = (part[:, :-1] - low) / (high - low)
            return torch.tensor(scaled, dtype=torch.float32), torch.tensor(part[:, -1:], dtype=torch.float32)

        inputs = tuple(
            Feature(name, unit, float(a), float(b - a)) for (name, unit), a, b in zip(_NAMES, low, high, strict=True)
        )
        return Arrays(
            tensors(train),
            tensors(train),
            tensors(test),
            Interface(inputs, (Feature("fuel consumption", "L/100 km"),)),
            DataSummary(table.source, count, table.dropped, len(train), len(test)),
        )
