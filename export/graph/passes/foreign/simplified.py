"""A graph that others wrote, with fewer ops and bytes and the same integers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.passes.foreign.kept_shapes import with_states_as_used
from export.graph.passes.foreign.merged_ops import merged_ops
from export.graph.passes.foreign.neutral_ops import neutral_ops
from export.graph.passes.foreign.pooled_padding import pooled_padding
from export.graph.passes.padding import padding
from export.graph.passes.unread_padding import unread_padding
from export.graph.rewriting import readers_of

__all__ = ["saved", "simplified"]

_NO_PADDING = ((0, 0), (0, 0))


def simplified(graph: Graph) -> Graph:
    """The graph without what computes nothing: PADs that a convolution's or a pooling's SAME says, padding that no
    window reads, ops that give back every code, and what is merged (:mod:`export.graph.passes.foreign.merged_ops`).

    Args:
        graph: of integers, in TFLite's terms.
    """
    return neutral_ops(
        merged_ops(pooled_padding(unread_padding(padding(_with_explicit_windows(with_states_as_used(graph))))))
    )


def _with_explicit_windows(graph: Graph) -> Graph:
    """VALID convolutions that alone read a PAD, in numbers instead of the word: so the PAD can become theirs."""
    readers = readers_of(graph)
    padded = {
        node.output
        for node in graph.nodes
        if node.op == "pad" and len(readers.get(node.output, ())) == 1 and node.output not in graph.sinks
    }

    def explicit(node: Node) -> Node:
        takes = node.op in ("conv_2d", "depthwise_conv_2d") and node.attrs["padding"] == "valid"
        return (
            replace(node, attrs={**node.attrs, "padding": _NO_PADDING}) if takes and node.inputs[0] in padded else node
        )

    return replace(graph, nodes=tuple(map(explicit, graph.nodes)))


def saved(before: Graph, after: Graph) -> str:
    """What became of the ops, in words: ``"3 PAD, 2 RESHAPE fewer"``; empty where nothing did."""
    counts = Counter(node.op for node in before.nodes)
    counts.subtract(node.op for node in after.nodes)
    fewer = [f"{count} {op.upper()}" for op, count in sorted(counts.items()) if count > 0]
    return f"{', '.join(fewer)} fewer" if fewer else ""
