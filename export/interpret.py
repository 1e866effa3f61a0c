"""An earlier home of :func:`export.graph.interpret.interpret`; it goes in 0.3."""

from __future__ import annotations

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "interpret":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from export.graph.interpret import interpret

    warnings.warn(
        "export.interpret.interpret is export.graph.interpret.interpret now; the earlier name goes in 0.3",
        DeprecationWarning,
        stacklevel=2,
    )
    return interpret
