"""What the network receives in training beside its targets, row by row, or why that is not known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from export.figures.network_inputs import NetworkInputs
from export.lightning_run.network_inputs import in_mode_of
from export.lightning_run.recorded_test import places_of
from qtorch.handed_over.words import in_words
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.steps.batches import batches_of, transferred
from qtorch.lightning.steps.received import Received

__all__ = ["training_pairs"]

#: Samples that are enough to fit to, and rows of the arrays of a data module at a time.
_ENOUGH, _CHUNK = 4_096, 512


class _Unknown(Exception):
    """Why there are no pairs."""


def training_pairs(
    run: Run, inputs: NetworkInputs, place: str, row: tuple[int, ...], target: Tensor
) -> tuple[Tensor, Tensor] | str:
    """What the network is called with in training ``[N, ...]`` and its targets ``[N, ...]``; or why there are none.

    That rows of the two belong together is tried: a step may shuffle, mix or leave out rows of a batch. Rows of the
    first batch are changed, and the network must receive others in these rows and in no other.

    Args:
        run: trained.
        inputs: the run's.
        place: where the target lies in a batch, as :func:`export.lightning_run.recorded_test.places_of` names it.
        row: shape of one of the network's inputs in the test.
        target: of the test, ``[M, ...]``.
    """
    if inputs.get("train") is None:
        return inputs.why("train")
    try:
        # What is drawn to shuffle is nobody else's business.
        with isolate_rng(), in_mode_of(run, "train"):
            pairs = _pairs(run, place, row, target)
    except _Unknown as unknown:
        return str(unknown)
    # A loader whose data are gone fails in whatever way its libraries do; then there is no line to compare with.
    except Exception as error:
        return in_words(error)
    if not pairs:
        return "no training batch reaches the network"
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def _batches(run: Run) -> Iterator[tuple[Any, int, int]]:
    if isinstance(run.data, ArrayDataModule):
        x, y = run.data.arrays.train
        for index, batch in enumerate(zip(x.split(_CHUNK), y.split(_CHUNK), strict=True)):
            yield list(batch), index, 0
        return
    owner: Any = run.module if run.data is None else run.data
    owner.setup("fit")
    yield from batches_of(owner.train_dataloader(), "max_size_cycle")


def _pairs(run: Run, place: str, row: tuple[int, ...], target: Tensor) -> list[tuple[Tensor, Tensor]]:
    received, count = Received(run.module, ("training_step",)), 0
    pairs: list[tuple[Tensor, Tensor]] = []
    for batch, index, of in _batches(run):
        moved = transferred(batch, run.module, run.data, run.module.device, of)
        x = _one_call(received, moved, index, of)
        if x is None:
            continue
        y = places_of(moved).get(place)
        if y is None or y.shape[1:] != target.shape[1:] or y.dtype != target.dtype:
            raise _Unknown("training batches have something else in the place of the target")
        if x.shape[1:] != row or len(x) != len(y):
            raise _Unknown("the network receives other shapes in training, or not a row for each target")
        if not pairs and not _row_by_row(received, (moved, index, of), place, len(x)):
            raise _Unknown("the training step does not hand on a batch's rows one by one, in their order")
        pairs.append((x, y.detach().cpu()))
        count += len(x)
        if count >= _ENOUGH:
            break
    return pairs


def _one_call(received: Received, batch: Any, index: int = 0, of: int = 0) -> Tensor | None:
    """What the network is called with; ``None`` where a step leaves the batch out."""
    calls = received(batch, index, of)
    if received.first_part:
        raise _Unknown(f"what the network receives in training is not known: {received.first_part}")
    if not calls:
        return None
    if len(calls) > 1 or not isinstance(calls[0], Tensor):
        raise _Unknown("the training step calls the network several times a batch, or with several inputs")
    return calls[0].detach().cpu()


def _row_by_row(received: Received, batch: tuple[Any, int, int], place: str, count: int) -> bool:
    """Whether a row of the batch makes the row of the same number, and none makes another.

    Rows are changed by half of them at a time, each time those with a one in another binary digit of their number: no
    two rows are changed at the same times.
    """
    whole, *which = batch
    numbers = torch.arange(1, count + 1)
    for digit in range(count.bit_length()):
        chosen = (numbers >> digit) % 2 == 1
        with torch.random.fork_rng():
            torch.manual_seed(0)
            one = _one_call(received, whole, *which)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            other = _one_call(received, _changed(whole, chosen, place), *which)
        if one is None or other is None or one.shape != other.shape or len(one) != count:
            return False
        differs = (one != other).flatten(1).any(1)
        if not torch.equal(differs, chosen):
            return False
    return True


def _changed(batch: Any, rows: Tensor, target: str) -> Any:
    """A batch with other values in some rows of every real tensor that has them, but for the target."""
    leaves, structure = tree_flatten(batch)
    kept = places_of(batch).get(target)
    changed = []
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf is not kept and leaf.ndim:
            where = rows.to(leaf.device).reshape(-1, *[1] * (leaf.ndim - 1))
            leaf = torch.where(where, leaf * 0.75 + 0.125, leaf) if len(leaf) == len(rows) else leaf
        changed.append(leaf)
    return tree_unflatten(changed, structure)
