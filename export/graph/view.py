"""How PyTorch's tensor lies in an input or output of a graph, whose axes the device may store in another order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["View"]


@dataclass(frozen=True)
class View:
    """How PyTorch's tensor of ``shape`` lies in a stored one: its axis ``i`` is the stored axis ``axes[i]``.

    ``None`` stands for an axis of size 1 that the stored tensor lacks; stored axes not named have size 1.
    """

    shape: tuple[int, ...]
    axes: tuple[int | None, ...]

    @classmethod
    def identity(cls, shape: tuple[int, ...]) -> View:
        """Stored as it is."""
        return cls(shape, tuple(range(len(shape))))

    def store(self, array: np.ndarray, stored: tuple[int, ...]) -> np.ndarray:
        """PyTorch's ``[samples, *shape[1:]]`` as the device stores it."""
        order = sorted(range(len(self.axes)), key=lambda i: -1 if self.axes[i] is None else int(self.axes[i] or 0))
        return np.ascontiguousarray(array.transpose([0, *(i for i in order if i)])).reshape(len(array), *stored[1:])

    def restore(self, array: np.ndarray) -> np.ndarray:
        """The opposite of :meth:`store`."""
        named = [axis for axis in self.axes if axis is not None]
        rest = [axis for axis in range(array.ndim) if axis not in named]
        return np.ascontiguousarray(array.transpose([*named, *rest])).reshape(len(array), *self.shape[1:])
