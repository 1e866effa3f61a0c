"""Runs a graph through the rows' integer references: the living definition of what the device computes.

Every op takes a whole batch of samples at once, so that it is fast enough to train against.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from export.ir import Graph
from qtorch.fixedpoint import Rounding

__all__ = ["interpret"]


@torch.no_grad()
def interpret(
    graph: Graph, inputs: tuple[np.ndarray, ...], rounding: Rounding = Rounding.DOUBLE, *, every: bool = False
) -> dict[str, np.ndarray]:
    """The outputs by name, for samples stacked along the first axis.

    Args:
        graph: checked.
        inputs: one array per graph input, ``[samples, *shape[1:]]``, integer codes or float32.
        rounding: DOUBLE mirrors TFLM, SINGLE mirrors LiteRT's reference kernels.
        every: give every run-time tensor, inputs included.

    Returns: name to array of the value's dtype.
    """
    tensors: dict[str, Tensor] = {
        name: _widen(value.data) for name, value in graph.constants().items() if value.data is not None
    }
    tensors |= {name: _widen(array) for name, array in zip(graph.inputs, inputs, strict=True)}
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    for index, node in enumerate(graph.nodes):
        codes = {role: tensors[name] for role, name in node.input_roles().items()}
        grids = {role: q.grid for role, q in graph.qparams(node).items() if q is not None}
        found = node.row.reference(node.attrs, codes, grids, rounding)
        tensors |= zip(node.outputs, (found,) if isinstance(found, Tensor) else found, strict=True)
        if not every:
            for name in {n for n in node.inputs if last_use[n] == index} - set(graph.outputs):
                del tensors[name]
    wanted = [n for n in tensors if graph.values[n].data is None] if every else graph.outputs
    return {name: tensors[name].to(getattr(torch, graph.values[name].dtype)).numpy() for name in wanted}


def _widen(array: np.ndarray) -> Tensor:
    """int64 for integers, so that no intermediate wraps; float32 stays."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if array.dtype == np.float32 else tensor.to(torch.int64)
