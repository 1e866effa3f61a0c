""".tflite files: written, read, summarized, with their arena, metadata and proof.

In: a :class:`~export.graph.ir.Graph`. Out: bytes, and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.public_names import public_names

if TYPE_CHECKING:
    from export.tflite.reader import read_tflite
    from export.tflite.writer import write_tflite

__all__ = ["read_tflite", "write_tflite"]

#: Where each name is at home.
_HOMES = {"read_tflite": "export.tflite.reader", "write_tflite": "export.tflite.writer"}

__getattr__, __dir__ = public_names(__name__, _HOMES)
