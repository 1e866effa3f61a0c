""".tflite files: written, read, summarized, with their arena, metadata and proof.

In: a :class:`~export.graph.ir.Graph`. Out: bytes, and back.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.tflite.reader import read_tflite
    from export.tflite.writer import write_tflite

__all__ = ["read_tflite", "write_tflite"]

#: Where each name is at home: a package of functions imports none before it is asked for.
_HOMES = {"read_tflite": "export.tflite.reader", "write_tflite": "export.tflite.writer"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
