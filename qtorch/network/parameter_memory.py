"""The numbers of parameters as arrays over their memory, which takes several times as long to ask for as to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

from torch import Tensor

__all__ = ["ParameterMemory"]


class ParameterMemory:
    """Of some parameters, on a CPU, in float32.

    Args:
        places: where each stands: what a module holds, and a name.
    """

    def __init__(self, places: Sequence[tuple[Mapping[str, Tensor | None], str]]) -> None:
        self._places = tuple(places)
        self._tensors = [held[name] for held, name in places]
        self._where = [(each.data_ptr(), each.stride()) for each in self._tensors if each is not None]
        #: An array of each, in its shape. It keeps the memory, so that no other parameter's can lie there.
        self.arrays: list[Any] = [each.detach().numpy() for each in self._tensors if each is not None]

    def stays(self) -> bool:
        """Whether every parameter is the one that it was, in the memory where it was, whatever that holds now."""
        now = [held.get(name) for held, name in self._places]
        if not all(map(is_, now, self._tensors)):
            return False
        return [(each.data_ptr(), each.stride()) for each in now if each is not None] == self._where
