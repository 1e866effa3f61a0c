"""An earlier home of :func:`export.integer_graph`; it goes in 0.3."""

from __future__ import annotations

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "integer_graph":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from export.graph.build import integer_graph

    warnings.warn(
        "export.integers.integer_graph is export.integer_graph now; the earlier name goes in 0.3",
        DeprecationWarning,
        stacklevel=2,
    )
    return integer_graph
