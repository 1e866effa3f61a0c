"""Cycles as tables have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["span"]


def span(cycles: Mapping[str, Any] | None, products: int) -> str:
    """From the least to the most, over products; empty where nothing is known.

    Example:
        >>> span({"least": 120, "most": 150.0}, 100), span({"least": 2400.0, "most": None}, 1), span(None, 1)
        ('1.20 to 1.50', 'at least 2,400', '')
    """
    if cycles is None:
        return ""
    ends = [f"{n / products:.2f}" if products > 1 else f"{n:,.0f}" for n in (cycles["least"], cycles["most"] or 0)]
    if cycles["most"] is None:
        return f"at least {ends[0]}"
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
