"""The working memory of plain C in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["in_two_memories", "working_memory"]


def working_memory(c: Mapping[str, Any]) -> str:
    """Bytes, and what computing row by row did to them, from the figures of :class:`export.c.model.CModel`.

    >>> working_memory({"scratch_bytes": 5168, "whole_scratch_bytes": 16000, "largest": "conv_2d 'x'"})
    "5,168 bytes of working memory (16,000 operator by operator), most of it at conv_2d 'x'"
    >>> working_memory({"scratch_bytes": 32, "whole_scratch_bytes": 32, "largest": "relu", "rows": "it has no rows"})
    '32 bytes of working memory, and no less row by row: relu needs them as it is, it has no rows'
    """
    said = f"{c['scratch_bytes']:,} bytes of working memory{in_two_memories(c)}"
    if "whole_scratch_bytes" not in c:
        return said
    whole = c["whole_scratch_bytes"]
    if c["scratch_bytes"] < whole:
        return f"{said} ({whole:,} operator by operator), most of it at {c['largest']}"
    return f"{said}, and no less row by row: {c['largest']} needs them as it is, {c['rows']}"


def in_two_memories(c: Mapping[str, Any]) -> str:
    """What of it lies where; empty of one memory.

    >>> fast, slow = {"name": "DTCM", "bytes": 772, "room": 800, "accesses": 0.731}, {"name": "RAM", "bytes": 2103}
    >>> in_two_memories({"memories": {"fast": fast, "slow": slow}})
    ': 772 in DTCM, which has 73 % of the accesses, and 2,103 in RAM'
    """
    if "memories" not in c:
        return ""
    fast, slow = c["memories"]["fast"], c["memories"]["slow"]
    if not fast["bytes"]:
        return f", all in {slow['name']}: none of it fits in the {fast['room']:,} bytes of {fast['name']}"
    if not slow["bytes"]:
        return f", all in {fast['name']}"
    share = f"{fast['bytes']:,} in {fast['name']}, which has {fast['accesses']:.0%} of the accesses".replace("%", " %")
    return f": {share}, and {slow['bytes']:,} in {slow['name']}"
