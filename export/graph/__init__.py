"""The graph between networks and file formats, of integers or in floats: lowered, checked, rewritten, interpreted.

In: a calibrated :class:`~qtorch.network.quantized_network.QuantizedNetwork`. Out: a frozen
:class:`~export.graph.ir.Graph`. Everything that is written or measured is made of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.graph.build import integer_graph
    from export.graph.ir import Graph

__all__ = ["Graph", "integer_graph"]

#: Where each name is at home: a package of functions imports none before it is asked for.
_HOMES = {"Graph": "export.graph.ir", "integer_graph": "export.graph.build"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
