"""Public names of a package that are imported when they are first asked for, so that importing it stays light."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["public_names"]


def public_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Example:
        >>> __getattr__, __dir__ = public_names(__name__, {"write_tflite": "export.tflite.writer"})  # doctest: +SKIP

    Args:
        package: its ``__name__``.
        homes: the module that each public name is at home in.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        # Rooms, and what the package's file imports, are nobody's.
        return sorted({*homes, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return get, names
