"""Data small enough to live in memory, served a batch at a time by indexing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from qtorch.errors import NotFinite
from qtorch.features import Interface

__all__ = ["ArrayDataModule", "Arrays", "DataSummary"]


@dataclass(frozen=True)
class DataSummary:
    """Where data came from and how much there is.

    Attributes:
        source: a file's name, or what generated it; never a path.
        rows: kept.
        dropped: left out for missing values or as duplicates.
        train: rows of the training part.
        test: rows of the test part.
    """

    source: str
    rows: int
    dropped: int
    train: int
    test: int


@dataclass(frozen=True)
class Arrays:
    """A data set: each part is inputs ``[N, F]`` and targets ``[N, T]``, float32."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    interface: Interface
    summary: DataSummary


class _Rows(Dataset[Any]):
    """Tensors of equal length; a whole batch is one indexing operation each."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitems__(self, indices: list[int]) -> Any:
        at = torch.tensor(indices)
        picked = tuple(tensor[at] for tensor in self.tensors)
        return picked if len(picked) > 1 else picked[0]


def _as_it_is(batch: Any) -> Any:
    return batch


class ArrayDataModule(pl.LightningDataModule):
    """Base of data modules whose data is a few tensors: a subclass writes :meth:`load`.

    Args:
        batch_size: rows per batch, at least 1.
    """

    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
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
        """
        arrays = self.load()
        features = (arrays.interface.inputs, arrays.interface.outputs)
        for part in ("train", "validation", "test"):
            for kind, tensor, named in zip(("inputs", "targets"), getattr(arrays, part), features, strict=True):
                bad = (~torch.isfinite(tensor)).nonzero()
                if len(bad):
                    row, column = bad[0].tolist()
                    first = f"{tensor[row, column]:g} as {named[column].name!r} in row {row}"
                    raise NotFinite(
                        where=f"{part} {kind}",
                        expected="finite float32 values",
                        got=f"{len(bad)} that are not, first {first}",
                        remedy="clean the data",
                    )
        return arrays

    def setup(self, stage: str) -> None:
        """Load the data."""
        _ = self.arrays

    def _loader(self, *tensors: Tensor, shuffle: bool = False) -> DataLoader[Any]:
        return DataLoader(_Rows(*tensors), batch_size=self.batch_size, shuffle=shuffle, collate_fn=_as_it_is)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches of the training part."""
        return self._loader(*self.arrays.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the validation part."""
        return self._loader(*self.arrays.validation)

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of the test part."""
        return self._loader(*self.arrays.test)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Inputs of the test part, without targets."""
        return self._loader(self.arrays.test[0])
