"""Data small enough to live in memory, served a batch at a time by indexing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from qtorch.bounds import require_whole
from qtorch.errors import BadConfiguration, NotFinite
from qtorch.features import Feature, Interface
from qtorch.lightning.memory_loader import MemoryLoader, Share

__all__ = ["ArrayDataModule", "Arrays", "DataSummary"]

#: Rows of a batch in validation, at least.
_VALIDATED = 512
_LARGEST_BATCH = 2**31 - 1


@dataclass(frozen=True)
class DataSummary:
    """Where data came from and how much there is.

    Attributes:
        source: a file's name, or what generated it; never a path.
        rows: kept.
        dropped: left out for missing values or as duplicates.
        train: rows of the training part.
        test: rows of the test part.
        findings: what is odd about the data and may be meant, a sentence each; :attr:`ArrayDataModule.arrays` warns.
    """

    source: str
    rows: int
    dropped: int
    train: int
    test: int
    findings: tuple[str, ...] = ()

    def figures(self) -> dict[str, Any]:
        """The attributes by name, for a file; findings only where there are some."""
        entries = {name: value for name, value in vars(self).items() if name != "findings"}
        return {**entries, "findings": list(self.findings)} if self.findings else entries


@dataclass(frozen=True)
class Arrays:
    """A data set: each part is inputs, float32 ``[N, ...]``, and targets.

    Targets are float32 ``[N, T]``, or int64 ``[N]`` classes. Where an autoencoder learns from normal samples alone, the
    targets of training and validation are the inputs, and those of the test part int64 labels, 1 for an anomaly.
    """

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    interface: Interface
    summary: DataSummary


class ArrayDataModule(pl.LightningDataModule):
    """Base of data modules whose data is a few tensors: a subclass writes :meth:`load`.

    Args:
        batch_size: rows per batch, at least 1.
    """

    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
        require_whole("data.batch_size", batch_size, 1, _LARGEST_BATCH, "try 32")
        self.batch_size = batch_size

    def load(self) -> Arrays:
        """Read or make the data; called once.

        Raises:
            BadInput: it can't be had.
        """
        raise NotImplementedError(f"{type(self).__name__}.load")

    @cached_property
    def arrays(self) -> Arrays:
        """The data, loaded at first use.

        Raises:
            NotFinite: a value is NaN or infinite; names the part, the feature and the row within the part.

        Warns:
            UserWarning: of every finding about the data.
        """
        arrays = self.load()
        for part in ("train", "validation", "test"):
            for kind, tensor in zip(("inputs", "targets"), getattr(arrays, part), strict=True):
                _require_finite(f"{part} {kind}", tensor, getattr(arrays.interface, _SIDE[kind]))
        for finding in arrays.summary.findings:
            rank_zero_warn(f"data: {finding}", category=UserWarning)
        return arrays

    def setup(self, stage: str) -> None:
        """Load the data."""
        _ = self.arrays

    def _loader(self, *tensors: Tensor, shuffle: bool = False, least: int = 1) -> MemoryLoader:
        # Lightning shares DataLoaders out itself; this one does it for itself, in training.
        trainer: Any = self.trainer
        several = shuffle and trainer is not None and trainer.world_size > 1
        share = Share(trainer.global_rank, trainer.world_size) if several else Share()
        if self.batch_size % share.size:
            raise BadConfiguration(
                where="data.batch_size",
                expected=f"a multiple of the {share.size} processes",
                got=f"{self.batch_size}",
                remedy="every process takes an equal share of each batch",
            )
        return MemoryLoader(tensors, max(self.batch_size, least), shuffle, torch.initial_seed() % 2**31, share)

    def train_dataloader(self) -> MemoryLoader:
        """Shuffled batches of the training part."""
        return self._loader(*self.arrays.train, shuffle=True)

    def val_dataloader(self) -> MemoryLoader:
        """Batches of the validation part: large ones, since a mean of losses is the same over batches of any size."""
        return self._loader(*self.arrays.validation, least=_VALIDATED)

    def test_dataloader(self) -> MemoryLoader:
        """Batches of the test part."""
        return self._loader(*self.arrays.test)

    def predict_dataloader(self) -> MemoryLoader:
        """Inputs of the test part, without targets."""
        return self._loader(self.arrays.test[0])


#: Which features describe what.
_SIDE = {"inputs": "inputs", "targets": "outputs"}


def _require_finite(what: str, tensor: Tensor, features: tuple[Feature, ...]) -> None:
    if not tensor.is_floating_point():
        return
    bad = (~torch.isfinite(tensor)).nonzero()
    if len(bad):
        row, *at = bad[0].tolist()
        named = f"{features[at[0]].name!r}" if len(at) == 1 and len(features) == tensor.shape[1] else f"value {at}"
        raise NotFinite(
            where=what,
            expected="finite float32 values",
            got=f"{len(bad)} that are not, first {tensor[(row, *at)]:g} as {named} in row {row}",
            remedy="clean the data",
        )
