"""An earlier home of :func:`export.pipeline.main`; it goes in 0.3."""

from __future__ import annotations

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "main":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from export.pipeline import main

    warnings.warn(
        "recipes.pipeline.main is export.pipeline.main now; the earlier name goes in 0.3",
        DeprecationWarning,
        stacklevel=2,
    )
    return main
