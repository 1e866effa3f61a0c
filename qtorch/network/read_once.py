"""Numbers that are worked out from tensors once, and again only when one of these was written to or replaced."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_not
from typing import Any, TypeVar

from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

__all__ = ["ReadOnce"]

Value = TypeVar("Value")


class ReadOnce:
    """What was worked out from some tensors, by name; empty in a copy, whose tensors count their changes anew."""

    def __init__(self) -> None:
        self._tensors: tuple[Tensor, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._values: dict[str, Any] = {}

    def __call__(self, tensors: tuple[Tensor, ...], name: str, read: Callable[[], Value]) -> Value:
        """What ``read`` gives, called only if it was not since a tensor has changed."""
        try:
            versions = tuple([each._version for each in tensors])
        except RuntimeError:
            # Tensors that were made in inference mode count no changes.
            return read()
        if versions != self._versions or any(map(is_not, tensors, self._tensors)):
            self._tensors, self._versions, self._values = tensors, versions, {}
        if name not in self._values:
            with unset_fake_temporarily():
                self._values[name] = read()
        value: Value = self._values[name]
        return value

    def __reduce__(self) -> Any:
        return ReadOnce, ()
