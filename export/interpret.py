"""Runs a graph through the rows' integer references: the living definition of what the device computes.

Slow beside a kernel and fast beside a loop: every op takes a whole batch of samples at once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from export.ir import Graph
from qtorch.fixedpoint import Rounding

__all__ = ["interpret"]


def interpret(
    graph: Graph, inputs: tuple[np.ndarray, ...], rounding: Rounding = Rounding.DOUBLE
) -> dict[str, np.ndarray]:
    """Every run-time tensor by name, for samples stacked along the first axis.

    Args:
        graph: checked.
        inputs: one array per graph input, ``[samples, *shape[1:]]``, int8 codes or float32.
        rounding: DOUBLE mirrors TFLM, SINGLE mirrors LiteRT's reference kernels.

    Returns: name to array of the value's dtype, inputs included.
    """
    tensors: dict[str, Tensor] = {
        name: _widen(value.data) for name, value in graph.constants().items() if value.data is not None
    }
    tensors |= {name: _widen(array) for name, array in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        codes = {role: tensors[name] for role, name in node.input_roles().items()}
        grids = {role: q.grid for role, q in graph.qparams(node).items() if q is not None}
        found = node.row.reference(node.attrs, codes, grids, rounding)
        tensors |= zip(node.outputs, (found,) if isinstance(found, Tensor) else found, strict=True)
    runtime = [name for name in tensors if graph.values[name].data is None]
    return {name: tensors[name].numpy().astype(graph.values[name].dtype) for name in runtime}


def _widen(array: np.ndarray) -> Tensor:
    """int64 for integers, so that no intermediate wraps; float32 stays."""
    return torch.from_numpy(array if array.dtype == np.float32 else array.astype(np.int64))
