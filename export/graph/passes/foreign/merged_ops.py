"""Ops that together compute what one or none computes: transposes and changes of grid that meet.

Of a graph that others wrote, where converters leave them; the integers stay those that they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from export.graph.ir import Graph, Node, Value, check
from export.graph.rewriting import merged_reshapes
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import Shape

__all__ = ["merged_ops"]


def merged_ops(graph: Graph) -> Graph:
    """The graph without ops that change nothing, and with one where two in a row are one.

    TRANSPOSE after TRANSPOSE, and one that moves axes of size 1 alone, which is a RESHAPE; QUANTIZE onto the grid that
    its input has, and QUANTIZE after QUANTIZE where one gives the same for every code; RESHAPE after RESHAPE.

    Args:
        graph: in TFLite's terms.
    """
    made: dict[str, Node] = {}
    instead: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
        step = _step(graph.values, node, made)
        if step is not None and step.changes_nothing(graph.values) and node.output not in graph.sinks:
            instead[node.output] = step.source
            continue
        node = node if step is None else step.node()
        made[node.output] = node
        nodes.append(node)
    return merged_reshapes(check(replace(graph, nodes=tuple(nodes))))


@dataclass(frozen=True)
class _Step:
    """One op of one input that stands for the ops in a row from ``source`` to ``output``."""

    op: str
    attrs: Mapping[str, object]
    source: str
    output: str

    def changes_nothing(self, values: Mapping[str, Value]) -> bool:
        source, output = values[self.source], values[self.output]
        if (source.shape, source.qparams) != (output.shape, output.qparams):
            return False
        return self.op == "quantize" or (
            self.op == "transpose" and self.attrs["perm"] == tuple(range(len(source.shape)))
        )

    def node(self) -> Node:
        return Node(self.op, dict(self.attrs), (self.source,), (self.output,))


def _step(values: Mapping[str, Value], node: Node, made: Mapping[str, Node]) -> _Step | None:
    """The op alone, or together with the one before it; ``None`` of an op that has no other form."""
    combine = _COMBINED.get(node.op)
    if combine is None or values[node.output].qparams is None or values[node.inputs[0]].qparams is None:
        return None
    before = made.get(node.inputs[0])
    if before is not None and before.op == node.op and values[before.inputs[0]].qparams is not None:
        both = combine(values, before, node)
        if both is not None:
            return _plainest(values, both)
    return _plainest(values, _Step(node.op, node.attrs, node.inputs[0], node.output))


def _plainest(values: Mapping[str, Value], step: _Step) -> _Step:
    """A transposition that leaves all axes of more than one element in their order is a RESHAPE."""
    if step.op != "transpose":
        return step
    shape, perm = values[step.source].shape, step.attrs["perm"]
    assert isinstance(perm, tuple)
    long = [axis for axis in perm if shape[axis] != 1]
    moves_nothing = long == sorted(long) and perm != tuple(range(len(perm)))
    shape_attrs: dict[str, Shape] = {"shape": values[step.output].shape}
    return replace(step, op="reshape", attrs=shape_attrs) if moves_nothing else step


def _transposed_twice(values: Mapping[str, Value], first: Node, second: Node) -> _Step:
    perm = tuple(first.attrs["perm"][axis] for axis in second.attrs["perm"])
    return _Step("transpose", {"perm": perm}, first.inputs[0], second.output)


def _quantized_twice(values: Mapping[str, Value], first: Node, second: Node) -> _Step | None:
    """One change of grid, where every code there is gives the same by one as by both."""
    grids = [values[name].quantization for name in (first.inputs[0], first.output, second.output)]
    low, high = grids[0].code_range
    codes = torch.arange(low, high + 1, dtype=torch.int64)
    by_both = _requantized(_requantized(codes, grids[0], grids[1]), grids[1], grids[2])
    direct = codes if grids[0] == grids[2] else _requantized(codes, grids[0], grids[2])
    step = _Step("quantize", {}, first.inputs[0], second.output)
    return step if torch.equal(by_both, direct) and not _refused(grids[0], grids[2]) else None


def _requantized(codes: Tensor, source: QParams, output: QParams) -> Tensor:
    result: Tensor = ROWS["quantize"].reference(
        {}, {"input": codes}, {"input": source.grid, "output": output.grid}, Rounding.DOUBLE
    )
    return result


def _refused(source: QParams, output: QParams) -> bool:
    return bool(ROWS["quantize"].violations({"input": source, "output": output}))


_COMBINED: Mapping[str, Callable[[Mapping[str, Value], Node, Node], _Step | None]] = {
    "quantize": _quantized_twice,
    "transpose": _transposed_twice,
}
