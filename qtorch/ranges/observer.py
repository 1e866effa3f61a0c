"""What every observer is: it sees a tensor's values, and answers with a range worth representing; nothing else.

Each can be merged with another of its kind that saw other values, which is how the processes of a distributed run come
to one range. The kinds, by name, are in :mod:`qtorch.ranges.observers`.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.errors import BadConfiguration, BadData, NotFinite
from qtorch.packed_state import packed, unpacked
from qtorch.surroundings import require_values

__all__ = ["Observer", "gathered", "is_distributed", "require_parameter"]


def is_distributed() -> bool:
    """Whether this process is one of several that train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def gathered(state: Any) -> list[Any]:
    """Every process's state, in the order of their ranks."""
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, state)
    return states


class Observer(nn.Module):
    """Base of all observers.

    What they have seen is kept on the CPU, where processes with a device each can add it up. It is saved with the
    network, but in no buffers: those get averaged with weights.

    Args:
        axis: give a range for each index along this axis, ``[C]``; for the whole tensor, ``[]``, if ``None``.
        levels: how many codes the tensor will have: 256 for int8, 255 for an int8 weight.
        symmetric: whether they lie around zero, whatever the values are: those of weights and of int16 do.
    """

    #: Whether what it has seen depends on the order, so that processes must observe together, batch by batch.
    in_step = False

    def __init__(self, axis: int | None = None, levels: int = 256, symmetric: bool = False) -> None:
        super().__init__()
        self.axis, self.levels, self.symmetric = axis, levels, symmetric
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget everything."""

    @abstractmethod
    def _see(self, x: Tensor) -> None:
        """Take in finite ``x``: ``[C, ...]`` with an axis, else any shape."""

    @abstractmethod
    def _state(self) -> Any:
        """What was seen, in a form that :meth:`_take` adds up: tensors and tuples or lists of them."""

    @abstractmethod
    def _take(self, states: Sequence[Any]) -> None:
        """Become what has seen everything that these states, at least one, have."""

    @abstractmethod
    def _range(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value worth representing."""

    @property
    @abstractmethod
    def seen(self) -> bool:
        """Whether any value was observed."""

    def observe(self, x: Tensor) -> None:
        """Take in ``x``, float32 of any shape.

        Raises:
            NotFinite: ``x`` holds NaN or infinity, from which no range can follow.
            BadData: ``x`` holds no numbers: it is on the meta device, or has a size of 0.
        """
        x = x.detach()
        require_values(x, "calibration")
        if not x.numel():
            raise BadData(
                where="calibration",
                expected="batches of at least one sample",
                got=f"a tensor of shape {tuple(x.shape)}",
                remedy="leave empty batches out",
            )
        low, high = torch.aminmax(x)
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise NotFinite(
                where="calibration",
                expected="finite activations",
                got=f"a range of {float(low)} to {float(high)}",
                remedy="look for NaN or infinity in the calibration data and the weights",
            )
        self._see(x if self.axis is None else x.movedim(self.axis, 0))

    def merge(self, *others: Observer) -> None:
        """Become what has seen everything that it and ``others``, of the same kind, have."""
        self._become([observer._seen_state() for observer in (self, *others)])

    def synchronize(self) -> None:
        """Merge with the same observer of every process of a distributed run, in the order of their ranks.

        Once, at the end: what all have seen is not to be added up again.
        """
        self._become(gathered(self._seen_state()))

    def observe_together(self, x: Tensor) -> None:
        """:meth:`observe` what every process of a distributed run has as ``x``; all must call it equally often."""
        alone = copy.deepcopy(self)
        alone.reset()
        alone.observe(x)
        self._become([self._seen_state(), *gathered(alone._seen_state())])

    def get_extra_state(self) -> Tensor:
        """What was seen so far, packed, for a checkpoint in the middle of observing."""
        return packed(self._seen_state())

    def set_extra_state(self, state: Any) -> None:
        """See :meth:`get_extra_state`."""
        self._become([unpacked(state)])

    def _seen_state(self) -> Any:
        """``None`` if nothing was."""
        return self._state() if self.seen else None

    def _become(self, states: Sequence[Any]) -> None:
        known = [state for state in states if state is not None]
        self.reset()
        if known:
            self._take(known)

    def range(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value worth representing, float32 ``[]`` or ``[C]``.

        Raises:
            BadConfiguration: nothing was seen.
        """
        if not self.seen:
            raise BadConfiguration(
                where="observer", expected="observed values", got="none", remedy="calibrate on at least one batch"
            )
        return self._range()


def require_parameter(name: str, expected: str, got: object, holds: bool) -> None:
    if not holds:
        raise BadConfiguration(where=f"observer {name!r}", expected=expected, got=f"{got}", remedy="correct it")
