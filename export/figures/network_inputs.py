"""What a network reads of the data, and, of data that are gone or never were there, why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from qtorch.capture.samples import Samples
from qtorch.errors import BadData

__all__ = ["PART_NAMES", "NetworkInputs", "Part"]

Part: TypeAlias = Literal["train", "test"]

#: What a person calls the parts of the data.
PART_NAMES: Mapping[Part, str] = {"train": "training", "test": "test"}


@dataclass(frozen=True)
class NetworkInputs:
    """The network's inputs by part of the data, ``"train"`` and ``"test"``.

    Attributes:
        parts: float32 ``[N, ...]`` each, or a tuple of several inputs, as far as they can be had.
        absent: why the others can't be.
        unread: those of the others whose batches are there, and do not reach the network.
        remarks: what a reader should know of how they were found.
        handed_over_as: by part, the argument that gives it; none where data come of a run's data module.
    """

    parts: Mapping[Part, Samples]
    absent: Mapping[Part, str]
    unread: frozenset[Part] = frozenset()
    remarks: tuple[str, ...] = ()
    handed_over_as: Mapping[Part, str] = field(default_factory=dict)

    def why(self, part: Part) -> str:
        """A part can't be had, in words that tell data that are not there from those that do not reach the network."""
        name = PART_NAMES[part]
        if part in self.unread:
            return f"the {name} data are there, and what the network gets of them is not known: {self.absent[part]}"
        return f"no {name} data: {self.absent[part]}"

    def get(self, part: Part) -> Samples | None:
        """One part, if it can be had."""
        return self.parts.get(part)

    def __getitem__(self, part: Part) -> Samples:
        """One part.

        Raises:
            BadData: it can't be had.
        """
        if part not in self.parts:
            name = PART_NAMES[part]
            if part in self.handed_over_as:
                raise BadData(
                    where=self.handed_over_as[part],
                    expected=f"{name} data",
                    got=self.absent[part],
                    remedy=f"pass {self.handed_over_as[part]}, or leave out what is measured on them",
                )
            raise BadData(
                where=f"{name} data",
                expected=f"the data module that the run was trained with, or a {part}_dataloader in the module, which "
                f"gives the network's inputs",
                got=self.absent[part],
                remedy=f"bring the {name} data back, or leave out what is measured on them",
            )
        return self.parts[part]
