"""What a model file says of its own weights, held against the weights that are in it."""

from __future__ import annotations

from export.tflite.metadata import NAME, weights_hash
from export.tflite.reader import read_tflite
from export.tflite.summary import ModelSummary
from qtorch.errors import BadModelFile

__all__ = ["require_stored_proof"]

_FIELD = "weights_sha256"
_REMEDY = "copy the file again, or export it again"


def require_stored_proof(model: bytes, summary: ModelSummary, where: str = "model") -> None:
    """Refuse a file whose weights are not those that its metadata names; one without such metadata says nothing.

    Args:
        model: the whole file.
        summary: of it.
        where: what to call it in an error.

    Raises:
        BadModelFile: they are not, or the metadata is damaged, or the weights can't be read.
    """
    for entry in summary.metadata:
        if entry.name != NAME:
            continue
        content = entry.content
        if not isinstance(content, dict) or not isinstance(content.get(_FIELD), str):
            raise BadModelFile(
                where=where,
                expected=f"metadata {NAME!r} that is a JSON object with {_FIELD}",
                got=f"{entry.bytes} bytes without it",
                remedy=_REMEDY,
            )
        digest = weights_hash(read_tflite(model, where, aligned=False))
        if digest != content[_FIELD]:
            raise BadModelFile(
                where=where,
                expected=f"the weights that its metadata names, SHA-256 {content[_FIELD]}",
                got=f"weights with SHA-256 {digest}",
                remedy=_REMEDY,
            )
