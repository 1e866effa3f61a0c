"""The batch's size as a size where a network's code makes a number of it: ``len(x)``, ``int(x.shape[0])``.

Python's own ``len`` and ``int`` give numbers alone, and a capture with a number in it is of one size of batch.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["lengths_as_sizes", "sizes_as_they_are"]


@contextmanager
def lengths_as_sizes() -> Iterator[None]:
    """A block in which ``len(x)`` of a tensor is its first size, which may be the batch's, as ``x.shape[0]`` is.

    Python's own makes a number of whatever a length is.
    """
    plain, thread = builtins.len, threading.get_ident()

    def length(x: Any, /) -> Any:
        if isinstance(x, Tensor) and x.dim() and threading.get_ident() == thread:
            return x.shape[0]
        return plain(x)

    builtins.len = length
    try:
        yield
    finally:
        builtins.len = plain


class _AsItIs(type):
    """Lets ``int(x.shape[0])`` be the size; what is an ``int`` is one as ever."""

    def __call__(cls, *args: Any) -> Any:
        """A number, or the size that was given."""
        return args[0] if args and isinstance(args[0], torch.SymInt) else int(*args)

    def __instancecheck__(cls, each: Any) -> bool:
        return isinstance(each, int | torch.SymInt)

    def __subclasscheck__(cls, each: type) -> bool:
        return issubclass(each, int)


class _Number(metaclass=_AsItIs):
    """Stands for ``int`` in a network's own files."""


@contextmanager
def sizes_as_they_are(net: nn.Module) -> Iterator[None]:
    """A block in which ``int`` of a size is that size in the files that a network's own layers are from.

    Python's own makes a number of it.
    """
    forwards = (kind.__dict__.get("forward") for each in net.modules() for kind in type(each).__mro__)
    files = {id(each.__globals__): each.__globals__ for each in forwards if isinstance(each, FunctionType)}
    changed = [
        names
        for names in files.values()
        if "int" not in names and not names["__name__"].startswith(("torch.", "qtorch."))
    ]
    for names in changed:
        names["int"] = _Number
    try:
        yield
    finally:
        for names in changed:
            names.pop("int", None)
