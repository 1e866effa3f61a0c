"""What a model file says of itself, on request: JSON in its metadata under the name :data:`NAME`.

The buffer holds one UTF-8 JSON object, without a terminator:

    format          1
    name            of the model, a C identifier
    version         what ``--export.version`` said
    weights_sha256  of all constants' integers, in the file's order: two models with equal weights agree
    classes         names of the outputs of a classifier, else left out
    inputs          per feature ``name``, ``unit``, ``offset``, ``span``: network value = (physical - offset) / span
    outputs         likewise
    arena_bytes     the smallest arena, measured on this very file with 64-bit pointers; left out where TFLM is absent

Interpreters look metadata up by name and leave others alone, so nothing that is computed depends on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from export.graph.bytes import raw_bytes
from export.graph.ir import Graph
from qtorch.features import Interface

__all__ = ["NAME", "ModelMetadata", "class_names", "entry", "weights_hash"]

#: Of the entry in the file's metadata.
NAME = "qtorch"
_FORMAT = 1


@dataclass(frozen=True)
class ModelMetadata:
    """The fields of the module's documentation; ``classes`` is empty where outputs are no classes."""

    name: str
    version: str
    weights_sha256: str
    classes: tuple[str, ...]
    interface: Interface

    def fields(self, arena_bytes: int) -> dict[str, Any]:
        """The JSON object; without the arena if it is 0."""
        return {
            "format": _FORMAT,
            "name": self.name,
            "version": self.version,
            "weights_sha256": self.weights_sha256,
            **({"classes": list(self.classes)} if self.classes else {}),
            "inputs": [asdict(feature) for feature in self.interface.inputs],
            "outputs": [asdict(feature) for feature in self.interface.outputs],
            **({"arena_bytes": arena_bytes} if arena_bytes else {}),
        }

    def json(self, arena_bytes: int) -> bytes:
        """The buffer's contents, as short as JSON gets."""
        return json.dumps(self.fields(arena_bytes), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def weights_hash(graph: Graph) -> str:
    """SHA-256 in hexadecimal of all constants as they lie in a file, in the graph's order."""
    digest = hashlib.sha256()
    for value in graph.constants().values():
        digest.update(raw_bytes(value.contents, value.dtype))
    return digest.hexdigest()


def class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names without the words that all of them begin or end with.

    Example:
        >>> class_names(["punch probability", "flex probability"])
        ('punch', 'flex')
    """
    words = [name.split() for name in names]
    while min(map(len, words), default=0) > 1 and len({each[0] for each in words}) == 1:
        words = [each[1:] for each in words]
    while min(map(len, words), default=0) > 1 and len({each[-1] for each in words}) == 1:
        words = [each[:-1] for each in words]
    return tuple(map(" ".join, words))


def entry(metadata: ModelMetadata | None, arena_bytes: int) -> Mapping[str, bytes]:
    """What :func:`export.tflite.writer.write_tflite` takes; empty without metadata."""
    return {} if metadata is None else {NAME: metadata.json(arena_bytes)}
