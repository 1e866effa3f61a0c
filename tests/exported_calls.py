"""Functions as modules, exported to graphs of ATen calls, rewritten, and held against the module itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dynamo import config

from qtorch.capture.nodes import operator_name

#: A function of a module with tensors and of its input, and the input's shape without the batch.
Case = tuple[Callable[[Any, Tensor], Any], tuple[int, ...]]

IMAGE, SEQUENCE, VECTOR = (4, 8, 8), (4, 8), (8,)


class Calls(nn.Module):
    """A function of an input and of a module's own tensors."""

    def __init__(self, function: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.channels = nn.Parameter(torch.rand(4) + 0.5)
        self.matrix = nn.Parameter(torch.randn(8, 8))
        self.row = nn.Parameter(torch.randn(1, 1, 1, 8))
        self.register_buffer("image", torch.rand(4, 1, 1) + 0.5)
        self.register_buffer("mask", torch.tensor([True, False, True, False, True, True, False, False]))

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def exported(net: nn.Module, shape: tuple[int, ...]) -> fx.GraphModule:
    """The graph of ATen calls, of any batch."""
    batch = ({0: torch.export.Dim.AUTO},)
    # As a capture has it: results that are kept and never found again take a third of the time.
    with config.patch(fake_tensor_cache_enabled=False):
        graph = torch.export.export(net.eval(), (torch.randn(2, *shape),), dynamic_shapes=batch, strict=False).module()
    for node in list(graph.graph.nodes):
        if node.op == "call_module":
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def operators(traced: fx.GraphModule) -> list[str]:
    """Names of the calls that depend on the input; a function of Python by its own name."""
    constants: set[fx.Node] = set()
    names = []
    for node in traced.graph.nodes:
        if node.op == "get_attr" or (node.op == "call_function" and constants.issuperset(node.all_input_nodes)):
            constants.add(node)
        elif node.op == "call_function":
            names.append(operator_name(node) or node.target.__name__)
    return names


class Shapes(fx.Interpreter):
    """Holds what is said of each node against what it computes."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            said = n.meta["val"]
            assert said.dtype == result.dtype
            assert len(said.shape) == result.dim()
            pairs = zip(said.shape, result.shape, strict=True)
            assert all(size == length for size, length in pairs if isinstance(size, int)), n.format_node()
        return result


def check(net: nn.Module, shape: tuple[int, ...], rewrite: Callable[[fx.GraphModule], None]) -> fx.GraphModule:
    """A graph rewritten, after it was seen to compute what the module does, for several batches."""
    traced = exported(net, shape)
    layers = {node.stack_trace for node in traced.graph.nodes if node.op == "call_function"}
    rewrite(traced)
    assert layers.issuperset(node.stack_trace for node in traced.graph.nodes if node.op == "call_function")
    for batch in (1, 2, 3):
        x = torch.randn(batch, *shape)
        torch.testing.assert_close(traced(x), net(x), rtol=1e-4, atol=1e-5)
        Shapes(traced).run(x)
    return traced
