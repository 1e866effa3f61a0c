"""A graph in floats as a PyTorch module: its rows' float functions, called one after the other on its constants."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from export.graph.ir import Graph, Node
from qtorch.numbers.functional import dequantize
from qtorch.numbers.grid import Grid

__all__ = ["FloatFileNetwork"]


class FloatFileNetwork(nn.Module):
    """The function of a graph in floats, ``[N, *shape[1:]]`` for each input and output, on the file's order of axes.

    Weights are parameters, in PyTorch's order of axes, so that whoever quantizes the network sees those of layers.

    Args:
        graph: whose every node computes in float32; weights may be integers.

    Raises:
        ValueError: a node computes in integers.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.nodes, self.inputs, self.outputs = graph.nodes, graph.inputs, graph.outputs
        self._orders = [_orders(node) for node in graph.nodes]
        #: Of each node, the parameter of each role that is a constant.
        self._held: list[dict[str, str]] = []
        made: dict[tuple[str, tuple[int, ...] | None], str] = {}
        for index, node in enumerate(graph.nodes):
            if not graph.is_float(node):
                raise ValueError(f"node {index} ({node.op}), which computes in integers")
            held: dict[str, str] = {}
            for role, name in node.input_roles().items():
                if graph.values[name].data is None:
                    continue
                order = self._orders[index].get(role)
                if (name, order) not in made:
                    made[name, order] = f"constant_{len(made)}"
                    self._hold(made[name, order], _floats(graph, node, role, name), order)
                held[role] = made[name, order]
            self._held.append(held)

    def _hold(self, name: str, array: Tensor, order: tuple[int, ...] | None) -> None:
        """A constant under a name; float ones train."""
        tensor = array if order is None else array.permute(order).contiguous()
        if tensor.is_floating_point():
            self.register_parameter(name, nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs; the only one as itself."""
        computed = dict(zip(self.inputs, inputs, strict=True))
        for node, orders, held in zip(self.nodes, self._orders, self._held, strict=True):
            operands: dict[str, Tensor] = {}
            for role, name in node.input_roles().items():
                if role in held:
                    operands[role] = getattr(self, held[role])
                else:
                    order = orders.get(role)
                    operands[role] = computed[name] if order is None else computed[name].permute(order)
            results = _applied(node, operands)
            computed |= zip(node.outputs, (results,) if isinstance(results, Tensor) else results, strict=True)
        outputs = tuple(computed[name] for name in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def _orders(node: Node) -> dict[str, tuple[int, ...]]:
    """In which order of the device's axes the row's float function takes each role, where it is another."""
    row = node.row
    orders = {
        role: tuple(stored.index(axis) for axis in range(len(stored))) for role, stored in row.weight_order.items()
    }
    if row.channels_last:
        orders |= dict.fromkeys(row.input_roles(row.runtime), (0, 3, 1, 2))
    return orders


def _applied(node: Node, operands: dict[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
    result: Tensor | tuple[Tensor, ...] = node.row.forward(node.attrs, operands)
    if not node.row.channels_last:
        return result
    assert isinstance(result, Tensor)
    return result.permute(0, 2, 3, 1)


def _floats(graph: Graph, node: Node, role: str, name: str) -> Tensor:
    """A constant as a float function takes it."""
    value = graph.values[name]
    array = torch.from_numpy(np.ascontiguousarray(value.contents).copy())
    if node.op == "prelu":
        # A file's slopes have the axes of an image; PyTorch's are one for each channel.
        if array.numel() != array.shape[-1]:
            raise ValueError(f"prelu with slopes {tuple(array.shape)}: expected one for each channel")
        array = array.reshape(-1)
    if value.qparams is None or value.of_indices:
        return array.float() if array.is_floating_point() else array
    grid: Grid = value.qparams.grid
    axis = node.row.constraints[role].axis if role in node.row.constraints else None  # type: ignore[attr-defined]
    return dequantize(array.long(), grid, axis)
