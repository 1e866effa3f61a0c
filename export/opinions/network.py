"""Another converter's file as a network: real tensors in and out, whatever lies between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.graph.ir import Graph
from export.opinions.grids import ends
from export.tflite.file_data import FileTensor
from qtorch.numbers.qparams import QParams

__all__ = ["ForeignNetwork"]


class ForeignNetwork(nn.Module):
    """A .tflite file that stores its inputs and outputs as a graph of this project does, on grids of its own.

    Args:
        graph: whose order of axes the file has; PyTorch's own, if ``None``.
        model: the file.
        run: the engine's function.
    """

    def __init__(
        self, graph: Graph | None, model: bytes, run: Callable[[bytes, tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]
    ) -> None:
        super().__init__()
        self.graph, self.model, self.run = graph, model, run
        self.sources, self.sinks = ends(model)

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Any:
        """float32 of the network's own shapes, ``[N, ...]`` each."""
        stored = []
        for index, (source, x) in enumerate(zip(self.sources, inputs, strict=True)):
            array, grid = x.cpu().numpy(), _grid(source)
            if self.graph is not None:
                name = self.graph.inputs[index]
                array = self.graph.store(name, array)
            stored.append(array if grid is None else grid.quantize(array))
        floats = []
        for index, (sink, array) in enumerate(zip(self.sinks, self.run(self.model, tuple(stored)), strict=True)):
            grid = _grid(sink)
            output = array if grid is None else grid.dequantize(array)
            if self.graph is not None:
                name = self.graph.outputs[index]
                output = self.graph.view(name).restore(output.reshape(len(output), *self.graph.values[name].shape[1:]))
            floats.append(torch.from_numpy(output))
        return tuple(floats) if len(floats) > 1 else floats[0]


def _grid(tensor: FileTensor) -> QParams | None:
    return QParams(tensor.scale, tensor.zero_point) if tensor.scale else None
