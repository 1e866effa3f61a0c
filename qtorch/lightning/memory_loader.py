"""Batches of tensors that lie in memory, by slicing: the training loop is what runs, not the loader.

An epoch's order follows from a seed and the epoch's number alone. So a run that is resumed, in the middle of an epoch
too, sees the batches that an uninterrupted one sees; and of several processes that train together each takes its share
of the very batches that a single one would take.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["MemoryLoader", "Share"]


@dataclass(frozen=True)
class Share:
    """Which part of every batch one process of a distributed run takes."""

    rank: int = 0
    size: int = 1


class _Epoch:
    """What Lightning tells the number of the epoch to: it looks for a sampler."""

    def __init__(self) -> None:
        self.number = 0

    def set_epoch(self, epoch: int) -> None:
        self.number = epoch


class MemoryLoader:
    """Iterates over the rows of tensors, a batch at a time.

    Args:
        tensors: of equal length; a batch has a slice of each, in a tuple, or alone if there is one.
        batch_size: rows per batch over all processes; with several, each gets ``batch_size / size``.
        shuffle: draw a new order for every epoch.
        seed: of the orders.
        share: with several processes rows that don't fill a batch are left out, so that all take as many steps.
    """

    def __init__(
        self, tensors: tuple[Tensor, ...], batch_size: int, shuffle: bool = False, seed: int = 0, share: Share = Share()
    ) -> None:
        self.tensors, self.batch_size, self.shuffle, self.seed, self.share = tensors, batch_size, shuffle, seed, share
        self.sampler, self.batch_sampler = _Epoch(), None
        self._served = self._skip = 0

    def __len__(self) -> int:
        rows = len(self.tensors[0])
        return rows // self.batch_size if self.share.size > 1 else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        """Lazy: the epoch is read when the first batch is asked for, because it is told after the iterator is made."""
        first, self._skip = self._skip, 0
        tensors = self.tensors
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.sampler.number)
            order = torch.randperm(len(tensors[0]), generator=generator)
            tensors = tuple(tensor[order] for tensor in tensors)
        mine = self.batch_size // self.share.size
        for index in range(first, len(self)):
            start = index * self.batch_size + self.share.rank * mine
            stop = start + mine if self.share.size > 1 else start + self.batch_size
            self._served = index + 1
            picked = tuple(tensor[start:stop] for tensor in tensors)
            yield picked if len(picked) > 1 else picked[0]
        self._served = 0

    def state_dict(self) -> dict[str, int]:
        """How far this epoch has come, and the seed of the orders."""
        return {"served": self._served % max(len(self), 1), "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration go on there."""
        self._skip, self.seed = state["served"], state["seed"]
