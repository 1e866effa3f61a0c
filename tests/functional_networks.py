"""Networks that are no chains, as functions; and graphs with one constant wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from export.graph.ir import Graph


class Function(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def negated(graph: Graph, name: str) -> Graph:
    """With the sign of a constant's largest element changed."""
    value = graph.values[name]
    data = value.contents.copy()
    data.flat[np.abs(data).argmax()] *= -1
    return replace(graph, values={**graph.values, name: replace(value, data=data)})
