"""How long each tensor of a graph is needed, and how many bytes it takes: what a memory plan is made of."""

from __future__ import annotations

from export.c.memory_plan import Buffer
from export.graph.ir import Graph
from export.graph.names import speaking_names

__all__ = ["tensor_buffers"]


def tensor_buffers(graph: Graph) -> tuple[Buffer, ...]:
    """Every run-time tensor from the step that makes it to the last that reads it, batch of one, named as in the file.

    Inputs and states are there from the first step on, outputs and what the states are afterwards until the last.
    """
    last = {name: step for step, node in enumerate(graph.nodes) for name in node.inputs}
    firsts = dict.fromkeys(graph.sources, 0)
    firsts |= {name: step for step, node in enumerate(graph.nodes) for name in node.outputs}
    end = max(0, len(graph.nodes) - 1)
    called = speaking_names(graph)
    buffers = []
    for name, first in firsts.items():
        value = graph.values[name]
        until = end if name in graph.sinks else last.get(name, first)
        buffers.append(Buffer(called[name], value.bytes, first, max(first, until)))
    return tuple(buffers)
