"""What a network reads of its run's data, as the module's own steps hand them on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils._pytree import tree_map

from export.figures.network_inputs import PART_NAMES, NetworkInputs, Part
from qtorch.capture.samples import Samples, joined, length
from qtorch.errors import BadData
from qtorch.handed_over.words import in_words
from qtorch.lightning.callback import network_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.steps.attached import attached
from qtorch.lightning.steps.batches import Order, batches_of, transferred
from qtorch.lightning.steps.received import NotCalled, Received, received_in

__all__ = ["in_mode_of", "network_inputs"]

#: What Lightning calls the stages of the parts, how it goes through several loaders of one, and which steps show what
#: the network gets of them, the first that there is.
_PARTS: Mapping[Part, tuple[str, Order, tuple[str, ...]]] = {
    "train": ("fit", "max_size_cycle", ("training_step",)),
    "test": ("test", "sequential", ("test_step", "validation_step", "training_step")),
}
#: Samples of a foreign data module that stand for one of its parts; rows that are looked at first, and at a time.
_ENOUGH, _LOOK, _CHUNK = 2048, 16, 512


def network_inputs(run: Run) -> NetworkInputs:
    """What the network is called with on a run's data, by the module's own steps; of foreign data some 2,000 samples.

    Training data as the training step hands them on, in training mode, and test data as the test step does. Where the
    run has no data module, the module's own ``train_dataloader`` and ``test_dataloader`` are asked.
    """
    parts: dict[Part, Samples] = {}
    absent: dict[Part, str] = {}
    unread: set[Part] = set()
    remarks = []
    for part, (_, _, steps) in _PARTS.items():
        received = Received(run.module, steps)
        try:
            # What is drawn to shuffle is nobody else's business.
            with isolate_rng(), in_mode_of(run, part):
                parts[part] = _inputs(run, part, received)
        except _Unread as error:
            absent[part] = error.got
            unread.add(part)
        except NotCalled:
            # Figures of it would be another network's.
            if part == "test":
                raise
            absent[part] = f"{type(run.module).__name__} never calls self.net on them"
        # A loader whose data are gone fails in whatever way its libraries do; the network is there all the same.
        except Exception as error:
            absent[part] = in_words(error)
        if received.first_part:
            remarks.append(
                f"the first part of each batch stands for what the network gets of the {PART_NAMES[part]} data, "
                f"because {received.first_part}"
            )
    return NetworkInputs(parts, absent, frozenset(unread), tuple(remarks))


@contextmanager
def in_mode_of(run: Run, part: Part) -> Iterator[None]:
    """A run's module with a trainer, but not its network, in training for training data, else in evaluation."""
    module = run.module
    before = [(each, each.training) for each in module.modules()]
    module.train(part == "train")
    network_of(module).eval()
    try:
        with attached(module, run.data, part, run.progress):
            yield
    finally:
        for each, training in before:
            each.training = training


class _Missing(BadData):
    """There is no such part, and nothing is broken."""

    def __str__(self) -> str:
        return self.got


class _Unread(BadData):
    """A batch is there, and a hook or a step fails over it."""


def _missing(got: str) -> _Missing:
    return _Missing(where="data", expected="a loader that gives batches", got=got, remedy="write it")


def _inputs(run: Run, part: Part, received: Received) -> Samples:
    stage, order, _ = _PARTS[part]
    if isinstance(run.data, ArrayDataModule):
        return _of_arrays(run.data, part, received)
    owner: pl.LightningDataModule | pl.LightningModule = run.module if run.data is None else run.data
    method = f"{part}_dataloader"
    if run.data is None and run.data_absent:
        raise _missing(f"the data module can't be made: {run.data_absent}")
    if not is_overridden(method, owner):
        kept = "the run has no data module, and " if run.data is None else ""
        raise _missing(f"{kept}{type(owner).__name__} has no {method}")
    owner.prepare_data()
    owner.setup(stage)
    loader = getattr(owner, method)()
    return _received(received, run.data, batches_of(loader, order), f"{method} of {type(owner).__name__}", _ENOUGH)


def _of_arrays(data: ArrayDataModule, part: Part, received: Received) -> Samples:
    """All rows: as they lie there, where a look at some shows that they are what the network gets."""
    arrays: tuple[Tensor, Tensor] = getattr(data.arrays, part)
    some = _received(received, data, iter([((arrays[0][:_LOOK], arrays[1][:_LOOK]), 0, 0)]), "its arrays")
    if isinstance(some, Tensor) and torch.equal(some, arrays[0][:_LOOK]):
        return arrays[0]
    parts = zip(arrays[0].split(_CHUNK), arrays[1].split(_CHUNK), strict=True)
    return _received(received, data, ((batch, index, 0) for index, batch in enumerate(parts)), "its arrays")


def _received(
    received: Received,
    data: pl.LightningDataModule | None,
    batches: Iterator[tuple[Any, int, int]],
    whose: str,
    enough: float = math.inf,
) -> Samples:
    module, collected, count = received.pl_module, [], 0
    moved = ((_moved(batch, module, data, of), index, of) for batch, index, of in batches)
    for samples in received_in(received, moved):
        collected.append(tree_map(lambda each: each.detach() if isinstance(each, Tensor) else each, samples))
        count += length(samples)
        if count >= enough:
            break
    if not collected:
        raise _missing(f"{whose} gives no batch")
    return joined(collected)


def _moved(batch: Any, module: pl.LightningModule, data: pl.LightningDataModule | None, of: int) -> Any:
    try:
        return transferred(batch, module, data, module.device, of)
    # A hook of somebody's own fails in whatever way it does.
    except Exception as error:
        raise _Unread(
            where=f"a batch on its way to {type(module).__name__}",
            expected="hooks that take it",
            got=f"a hook on a batch's way to the device ends in {in_words(error)}",
            remedy="correct the hook",
        ) from error
