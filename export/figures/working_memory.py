"""The working memory of plain C in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["working_memory"]


def working_memory(c: Mapping[str, Any]) -> str:
    """Bytes, and what computing row by row did to them, from the figures of :class:`export.c.model.CModel`.

    >>> working_memory({"scratch_bytes": 5168, "whole_scratch_bytes": 16000, "largest": "conv_2d 'x'"})
    "5,168 bytes of working memory (16,000 operator by operator), most of it at conv_2d 'x'"
    """
    said = f"{c['scratch_bytes']:,} bytes of working memory"
    if "whole_scratch_bytes" not in c:
        return said
    whole = c["whole_scratch_bytes"]
    if c["scratch_bytes"] < whole:
        return f"{said} ({whole:,} operator by operator), most of it at {c['largest']}"
    return f"{said}, and no less row by row: {c['largest']} needs them as it is"
