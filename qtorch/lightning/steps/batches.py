"""Batches as a step of a LightningModule gets them: of one loader or several, through the hooks on their way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from pytorch_lightning.utilities.model_helpers import is_overridden

__all__ = ["Order", "batches_of", "transferred"]

#: How Lightning goes through several loaders: at once in training, one after another in a test.
Order = Literal["max_size_cycle", "sequential"]


def batches_of(loader: Any, order: Order) -> Iterator[tuple[Any, int, int]]:
    """Each batch, its number, and the number of its loader, as Lightning goes through them.

    Args:
        loader: one, or a list, tuple or dict of several.
        order: of several.
    """
    if not isinstance(loader, dict | list | tuple):
        for index, batch in enumerate(loader):
            yield batch, index, 0
        return
    yield from CombinedLoader(loader, order)


def transferred(
    batch: Any,
    pl_module: pl.LightningModule,
    data: pl.LightningDataModule | None,
    device: torch.device,
    dataloader_idx: int = 0,
) -> Any:
    """A batch behind the hooks that bring it to the device; they may turn it into something else.

    Args:
        batch: as its loader gave it.
        pl_module: its hooks are called.
        data: its hooks are, where it has some.
        device: to go to.
        dataloader_idx: number of the loader.
    """
    on_the_way: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("on_before_batch_transfer", ()), ("transfer_batch_to_device", (device,)), ("on_after_batch_transfer", ()),
    )  # fmt: skip
    for hook, arguments in on_the_way:
        owner: Any = data if data is not None and is_overridden(hook, data) else pl_module
        batch = getattr(owner, hook)(batch, *arguments, dataloader_idx)
    return batch
