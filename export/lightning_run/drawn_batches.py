"""One list of test batches for every stage: drawn once, whatever shuffles, splits or augments them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng

__all__ = ["Drawn", "drawn_alike", "drawn_test_batches", "served"]

_SEED = 0


class Drawn:
    """A loader of batches that were drawn before; each comes as a copy, which a step may write into."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return map(copy.deepcopy, self.batches)


@contextmanager
def drawn_alike() -> Iterator[None]:
    """A block in which random numbers are those of every other such block, and that leaves those outside alone."""
    with isolate_rng():
        random.seed(_SEED)
        np.random.seed(_SEED)
        torch.manual_seed(_SEED)
        yield


def drawn_test_batches(owner: pl.LightningDataModule | pl.LightningModule) -> Any:
    """All batches of a ``test_dataloader``: a :class:`Drawn` for each loader, in the structure in which they come.

    Args:
        owner: has it; whatever it raises is raised.
    """
    with drawn_alike():
        owner.prepare_data()
        owner.setup("test")
        return _drawn(owner.test_dataloader())


def _drawn(loader: Any) -> Any:
    if isinstance(loader, dict):
        return {name: _drawn(each) for name, each in loader.items()}
    if isinstance(loader, list | tuple):
        return [_drawn(each) for each in loader]
    return Drawn(list(loader))


@contextmanager
def served(owner: pl.LightningDataModule | pl.LightningModule, drawn: Any) -> Iterator[None]:
    """A block in which the ``test_dataloader`` of ``owner`` gives what was drawn."""
    held = vars(owner)
    before = held.get("test_dataloader")

    def test_dataloader() -> Any:
        return drawn

    held["test_dataloader"] = test_dataloader
    try:
        yield
    finally:
        del held["test_dataloader"]
        if before is not None:
            held["test_dataloader"] = before
