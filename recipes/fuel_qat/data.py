"""Fuel consumption data for training: split, scaled, in memory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from qtorch.bounds import require_seed, require_whole
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary

from .table import generate, read_csv

__all__ = ["FuelData"]

#: kg CO2 of a litre of fuel, generously; and how far rows may be from the others.
_CARBON, _OTHER_FUEL = (1.2, 4.0), 2.2
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
        require_whole("data.rows", rows, 10, 10_000_000, "try 638")
        require_seed("data.seed", seed)
        self.csv, self.rows, self.seed = csv, rows, seed
        self.save_hyperparameters()

    def load(self) -> Arrays:
        """Read or generate, split, and scale."""
        table = generate(self.rows, self.seed) if self.csv is None else read_csv(Path(self.csv))
        count = len(table.values)
        order = np.random.RandomState(42).permutation(count)
        held_out = math.ceil(0.3 * count)
        train, test = table.values[order[held_out:]], table.values[order[:held_out]]
        findings = () if self.csv is None else (*_two_fuels(table.values), *_seen_before(train, test))
        columns = train[:, :-1].T
        inputs = tuple(Feature.min_max(name, unit, each) for (name, unit), each in zip(_NAMES, columns, strict=True))

        def tensors(part: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            scaled = np.stack([each.network_values(part[:, i]) for i, each in enumerate(inputs)], axis=1)
            return torch.tensor(scaled, dtype=torch.float32), torch.tensor(part[:, -1:], dtype=torch.float32)

        return Arrays(
            tensors(train),
            tensors(train),
            tensors(test),
            Interface(inputs, (Feature("fuel consumption", "L/100 km"),)),
            DataSummary(table.source, count, table.dropped, len(train), len(test), findings),
        )


def _two_fuels(values: np.ndarray) -> tuple[str, ...]:
    """A finding if CO2 does not follow consumption, as where some rows have miles per gallon."""
    if np.ptp(values[:, 2]) > 0 < np.ptp(values[:, 3]) and np.corrcoef(values[:, 2], values[:, 3])[0, 1] < 0:
        return ("CO2 falls where consumption grows: is consumption in L/100 km, or in miles per gallon?",)
    per_litre = values[:, 2] / values[:, 3] / 10  # kg CO2 of a litre, about 2 to 3
    middle = float(np.median(per_litre))
    if not _CARBON[0] <= middle <= _CARBON[1]:
        return (
            f"a litre of fuel makes about {middle:.2g} kg of CO2 where 2.3 are usual: are the units L/100 km, g/km?",
        )
    off = int((np.abs(np.log(per_litre / middle)) > np.log(_OTHER_FUEL)).sum())
    if not off:
        return ()
    return (
        f"{off} of {len(values)} rows have another CO2 per litre by more than a factor of {_OTHER_FUEL} than most: "
        "are all in L/100 km and g/km?",
    )


def _seen_before(train: np.ndarray, test: np.ndarray) -> tuple[str, ...]:
    """A finding if test rows have the inputs and the target of training rows: the same car under two names, say."""
    known = {row.tobytes() for row in np.ascontiguousarray(train)}
    count = sum(row.tobytes() in known for row in np.ascontiguousarray(test))
    if not count:
        return ()
    return (
        f"{count} of {len(test)} rows of the test part have the four values of a row of the training part: "
        "they are no test of what was learned",
    )
