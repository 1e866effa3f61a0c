"""What a module's own test step was given and said, batch by batch, while it ran with one network or another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from export.figures.record import Record, bytes_of
from qtorch.lightning.replacing import forward_through

__all__ = ["TestRecorder", "places_of"]

#: Numbers of a sample's input beyond which inputs are not kept: a large test set would fill the memory.
_KEPT = 4_096


class TestRecorder(pl.Callback):
    """Keeps what a test meets."""

    #: Not one of pytest's classes.
    __test__ = False

    def __init__(self) -> None:
        self.batches = 0
        self._calls: list[tuple[Tensor, Tensor] | None] = []
        self._leaves: list[Tensor] = []
        self._places: tuple[str, ...] = ()
        self._kept: list[tuple[Tensor | None, Tensor, dict[int, Tensor]] | None] = []
        self._digest = hashlib.sha256()

    def listening(self, network: nn.Module) -> AbstractContextManager[None]:
        """A block in which calls of ``network`` are kept, by ``network(x)`` and by ``network.forward(x)``."""

        def keeping(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            said = forward(*args, **kwargs)
            one = len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and isinstance(said, Tensor)
            one = one and said.ndim > 0 and len(said) == len(args[0])
            self._calls.append((args[0].detach().cpu(), said.detach().cpu()) if one else None)
            return said

        return forward_through(network, keeping)

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A batch comes."""
        self.batches += 1
        self._calls.clear()
        places = places_of(batch)
        self._places, self._leaves = tuple(places), [each.detach().cpu() for each in places.values()]
        for each in self._leaves:
            self._digest.update(f"{each.dtype} {tuple(each.shape)}".encode())
            self._digest.update(bytes_of(each))

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """It has been tested."""
        call = _the_same(self._calls)
        if call is None:
            self._kept.append(None)
            return
        read, said = call
        rows = {i: each for i, each in enumerate(self._leaves) if each.ndim and len(each) == len(read)}
        others = {i: each for i, each in rows.items() if not _equal(each, read)}
        self._kept.append((read if read[:1].numel() <= _KEPT else None, said, others))

    def record(self) -> Record:
        """Of the whole test."""
        samples = self._digest.hexdigest()
        kept = [each for each in self._kept if each is not None]
        alike = {(None if read is None else read.shape[1:], said.shape[1:]) for read, said, _ in kept}
        if not kept or len(kept) < self.batches or len(alike) > 1:
            return Record(samples, None, None, {})
        places = set.intersection(*(set(others) for _, _, others in kept))
        others = {}
        for place in sorted(places):
            rows = [others_of_batch[place] for _, _, others_of_batch in kept]
            if len({each.shape[1:] for each in rows}) == 1:
                others[place] = torch.cat(rows)
        inputs = [read for read, _, _ in kept if read is not None]
        return Record(
            samples,
            torch.cat(inputs) if inputs else None,
            torch.cat([said for _, said, _ in kept]),
            others,
            self._places,
        )


def _the_same(calls: Sequence[tuple[Tensor, Tensor] | None]) -> tuple[Tensor, Tensor] | None:
    """The one call of a batch, which a figure after another may have made anew; ``None`` where calls differ."""
    first = calls[0] if calls else None
    if first is None:
        return None
    alike = all(each is not None and _equal(each[0], first[0]) and _equal(each[1], first[1]) for each in calls[1:])
    return first if alike else None


def places_of(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch, in the order of traversal, by where they lie in it: ``"['x']"``, ``"[0]"``, ``".x"``."""
    leaves, _ = tree_flatten_with_path(batch)
    return {keystr(path): each for path, each in leaves if isinstance(each, Tensor)}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())
