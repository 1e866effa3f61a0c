"""What a network reads of its run's data, and, of data that are gone or never were there, why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor

from qtorch.errors import BadConfiguration, BadData, BadInput
from qtorch.lightning.callback import inputs_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule

__all__ = ["RealInputs", "in_words", "real_inputs"]

Part: TypeAlias = Literal["train", "test"]

#: What a person calls the parts, what Lightning calls their stages, and how it goes through several loaders of one.
_PARTS: Mapping[Part, tuple[str, str, Literal["max_size_cycle", "sequential"]]] = {
    "train": ("training", "fit", "max_size_cycle"),
    "test": ("test", "test", "sequential"),
}
#: Samples of a foreign data module that stand for one of its parts.
_ENOUGH = 2048


@dataclass(frozen=True)
class RealInputs:
    """The network's inputs by part of the data, ``"train"`` and ``"test"``.

    Attributes:
        parts: float32 ``[N, ...]`` each, as far as they can be had.
        absent: why the others can't be.
    """

    parts: Mapping[Part, Tensor]
    absent: Mapping[Part, str]

    def get(self, part: Part) -> Tensor | None:
        """One part, if it can be had."""
        return self.parts.get(part)

    def __getitem__(self, part: Part) -> Tensor:
        """One part.

        Raises:
            BadData: it can't be had.
        """
        if part not in self.parts:
            name = _PARTS[part][0]
            raise BadData(
                where=f"{name} data",
                expected=f"the data module that the run was trained with, or a {part}_dataloader in the module, which "
                f"gives the network's inputs",
                got=self.absent[part],
                remedy=f"bring the {name} data back, or leave out what is measured on them",
            )
        return self.parts[part]


def real_inputs(run: Run) -> RealInputs:
    """What the network reads of a run's data; of foreign data some 2,000 samples of each part.

    Where the run has no data module, the module's own ``train_dataloader`` and ``test_dataloader`` are asked.

    Raises:
        BadConfiguration: it reads more than one tensor.
    """
    example: Any = run.module.example_input_array
    if isinstance(example, tuple) and len(example) > 1:
        raise BadConfiguration(
            where=type(run.module).__name__,
            expected="a network with one input: figures, headers and test vectors are of one",
            got=f"{len(example)} inputs",
            remedy="export it with integer_graph, write_tflite and parity, as the README's example does",
        )
    found: dict[Part, Tensor] = {}
    absent: dict[Part, str] = {}
    for part in _PARTS:
        try:
            # What is drawn to shuffle is nobody else's business.
            with torch.random.fork_rng():
                found[part] = _inputs(run, part)
        # A loader whose data are gone fails in whatever way its libraries do; the network is there all the same.
        except Exception as error:
            absent[part] = in_words(error)
    return RealInputs(found, absent)


def in_words(error: Exception) -> str:
    """An error of a person's own code in one line; those of this project speak for themselves."""
    said = " ".join(str(error).split())[:200]
    return said if isinstance(error, BadInput) else f"{type(error).__name__}: {said}".removesuffix(": ")


class _Missing(BadData):
    """There is no such part, and nothing is broken."""

    def __str__(self) -> str:
        return self.got


def _missing(got: str) -> _Missing:
    return _Missing(where="data", expected="a loader that gives batches", got=got, remedy="write it")


def _inputs(run: Run, part: Part) -> Tensor:
    if isinstance(run.data, ArrayDataModule):
        inputs: Tensor = getattr(run.data.arrays, part)[0]
        return inputs
    _, stage, order = _PARTS[part]
    owner: pl.LightningDataModule | pl.LightningModule = run.module if run.data is None else run.data
    method = f"{part}_dataloader"
    if run.data is None and run.data_absent:
        raise _missing(f"the data module can't be made: {run.data_absent}")
    if not is_overridden(method, owner):
        kept = "the run has no data module, and " if run.data is None else ""
        raise _missing(f"{kept}{type(owner).__name__} has no {method}")
    owner.prepare_data()
    owner.setup(stage)
    batches: list[Tensor] = []
    for batch in _batches(getattr(owner, method)(), order):
        batches.append(inputs_of(run.module, batch))
        if sum(map(len, batches)) >= _ENOUGH:
            break
    if not batches:
        raise _missing(f"{method} of {type(owner).__name__} gives no batch")
    return torch.cat(batches)


def _batches(loader: Any, order: Literal["max_size_cycle", "sequential"]) -> Iterator[Any]:
    """Of one loader, or of several as Lightning goes through them."""
    if not isinstance(loader, dict | list | tuple):
        yield from loader
        return
    for batch, _, _ in CombinedLoader(loader, order):
        yield batch
