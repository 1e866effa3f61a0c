"""The graph between networks and file formats, of integers or in floats: lowered, checked, rewritten, interpreted.

In: a calibrated :class:`~qtorch.network.quantized_network.QuantizedNetwork`. Out: a frozen
:class:`~export.graph.ir.Graph`. Everything that is written or measured is made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.public_names import public_names

if TYPE_CHECKING:
    from export.graph.build import integer_graph
    from export.graph.ir import Graph

__all__ = ["Graph", "integer_graph"]

#: Where each name is at home.
_HOMES = {"Graph": "export.graph.ir", "integer_graph": "export.graph.build"}

__getattr__, __dir__ = public_names(__name__, _HOMES)
