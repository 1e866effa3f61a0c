"""What passes share that put several ops where one was: a graph that is being written, and RESHAPEs that merge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from export.graph.ir import Graph, Node, Value, check
from qtorch.numbers.qparams import QParams

__all__ = [
    "Draft",
    "Rewrite",
    "accumulator_grid",
    "merged_reshapes",
    "readers_of",
    "require_outputs",
    "rewritten",
    "without_unread",
]

#: CONCATENATION takes at most so many tensors (TFLM ``micro/kernels/concatenation.cc``).
_MOST_JOINED = 10


class Draft:
    """A graph that is being written, node after node; names of new values begin with what they are made for."""

    def __init__(self, graph: Graph) -> None:
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes: list[Node] = []

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a value."""
        return self.values[name].shape

    def constant(self, stem: str, data: np.ndarray, qparams: QParams | None) -> str:
        """A new constant's name."""
        name = self._fresh(stem)
        self.values[name] = Value(data.shape, qparams, data)
        return name

    def named(self, stem: str, shape: Sequence[int], qparams: QParams | None) -> str:
        """A new run-time tensor's name, for an op of several outputs."""
        name = self._fresh(stem)
        self.values[name] = Value(tuple(shape), qparams)
        return name

    def zero_bias(self, stem: str, source: QParams, weight: Value) -> str:
        """A constant of zeros on the grid of an accumulator; empty where float32 has no such step.

        Args:
            stem: what its name begins with.
            source: of the layer's input.
            weight: of the layer, its output channels in front.
        """
        qparams = accumulator_grid(source, weight.quantization)
        return "" if qparams is None else self.constant(stem, np.zeros(weight.shape[0], qparams.dtype), qparams)

    def op(
        self,
        op: str,
        attrs: Mapping[str, object],
        inputs: Sequence[str],
        shape: Sequence[int],
        *,
        stem: str = "",
        output: str = "",
        qparams: QParams | None = None,
    ) -> str:
        """A new op's output.

        Args:
            op: its row's name.
            attrs: its attributes.
            inputs: names.
            shape: of the output.
            stem: what a new output's name begins with.
            output: a value that is there already, as the output.
            qparams: of a new output, if they are not those of the first input.
        """
        if not output:
            output = self.named(stem, shape, qparams or self.values[inputs[0]].qparams)
        self.nodes.append(Node(op, dict(attrs), tuple(inputs), (output,)))
        return output

    def reshape(self, source: str, shape: Sequence[int], *, stem: str = "", output: str = "") -> str:
        """``source`` in another shape; itself where it has that shape already and the output's name is free."""
        if self.shape(source) == tuple(shape) and not output:
            return source
        return self.op("reshape", {"shape": tuple(shape)}, [source], shape, stem=stem, output=output)

    def cut(self, source: str, begin: Sequence[int], size: Sequence[int], *, stem: str = "", output: str = "") -> str:
        """A box of ``source``; itself where that is all of it and the output's name is free."""
        if self.shape(source) == tuple(size) and not output:
            return source
        # Of the first axis all, as the row says it.
        attrs = {"begin": tuple(begin), "size": (-1, *size[1:])}
        return self.op("slice", attrs, [source], size, stem=stem, output=output)

    def pad(self, source: str, paddings: Sequence[tuple[int, int]], *, stem: str, lowest: bool = False) -> str:
        """``source`` with its code of zero around it, or with the least there is; itself where there is none."""
        if not any(n for ends in paddings for n in ends):
            return source
        value, attrs = self.values[source], {"paddings": tuple(paddings)}
        shape = tuple(n + sum(ends) for n, ends in zip(value.shape, paddings, strict=True))
        if not lowest:
            return self.op("pad", attrs, [source], shape, stem=stem)
        least = np.array([np.finfo(np.float32).min], np.float32)
        if value.qparams is not None:
            least = np.array([value.qparams.code_range[0]], value.qparams.dtype)
        return self.op("padv2", attrs, [source, self.constant(f"{stem}.value", least, value.qparams)], shape, stem=stem)

    def join(self, sources: Sequence[str], axis: int, *, stem: str, output: str = "") -> str:
        """Values one behind the other along an axis, joined in groups where there are many."""
        if len(sources) == 1 and not output:
            return sources[0]
        parts = list(sources)
        while len(parts) > _MOST_JOINED:
            # As few as it takes for the rest to fit, so that little is copied twice.
            count = min(_MOST_JOINED, len(parts) - _MOST_JOINED + 1)
            begin = self._smallest_run(parts, count)
            parts[begin : begin + count] = [self.join(parts[begin : begin + count], axis, stem=f"{stem}.part")]
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self.op("concatenation", {"axis": axis}, parts, shape, stem=stem, output=output)

    def _smallest_run(self, parts: list[str], count: int) -> int:
        sizes = [math.prod(self.shape(part)) for part in parts]
        return min(range(len(parts) - count + 1), key=lambda i: sum(sizes[i : i + count]))

    def _fresh(self, stem: str) -> str:
        name, count = stem, 0
        while name in self.values:
            name, count = f"{stem}{count}", count + 1
        return name


def accumulator_grid(source: QParams, weight: QParams) -> QParams | None:
    """The grid of a layer's sums, and so of its bias; ``None`` where float32 has no such step.

    Args:
        source: of the layer's input.
        weight: of its weight.
    """
    products = np.float32(source.scale[0]) * np.asarray(weight.scale, np.float32)
    if (products < np.finfo(np.float32).tiny).any():
        return None
    dtype = "int64" if source.dtype == "int16" else "int32"
    return QParams(tuple(float(p) for p in products), (0,) * len(products), dtype, None if weight.axis is None else 0)


#: Writes other nodes for one, whose output is then that node's; says whether it did.
Rewrite = Callable[[Draft, Node], bool]


def rewritten(graph: Graph, outputs: frozenset[str], rewrite: Rewrite) -> Graph:
    """The graph with other nodes in the place of some; RESHAPEs that meet are merged.

    Args:
        graph: checked.
        outputs: first outputs of the nodes to be rewritten.
        rewrite: leaves a node as it is where it has no other form.

    Raises:
        ValueError: no node has an output of such a name.
    """
    require_outputs(graph, outputs)
    draft = Draft(graph)
    for node in graph.nodes:
        if node.output not in outputs or not rewrite(draft, node):
            draft.nodes.append(node)
    return merged_reshapes(replace(graph, values=draft.values, nodes=tuple(draft.nodes)))


def require_outputs(graph: Graph, outputs: frozenset[str]) -> None:
    """Nothing, if each is the first output of a node.

    Raises:
        ValueError: one is not.
    """
    unknown = outputs - {node.output for node in graph.nodes}
    if unknown:
        raise ValueError(f"other forms: expected names of ops' first outputs, got {sorted(unknown)}, which none has")


def merged_reshapes(graph: Graph) -> Graph:
    """The graph with one RESHAPE where several follow each other or make the same, none where nothing changes; without
    what nobody reads then."""
    origin, instead, made = dict[str, str](), dict[str, str](), dict[tuple[str, tuple[int, ...]], str]()
    nodes = list[Node]()
    for node in graph.nodes:
        node = replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
        if node.op == "reshape":
            source, shape = origin.get(node.inputs[0], node.inputs[0]), graph.values[node.output].shape
            origin[node.output] = source
            same = source if graph.values[source].shape == shape else made.get((source, shape))
            if same is not None and node.output not in graph.sinks:
                instead[node.output] = same
                continue
            made.setdefault((source, shape), node.output)
            node = replace(node, inputs=(source,))
        nodes.append(node)
    return check(without_unread(replace(graph, nodes=tuple(nodes))))


def without_unread(graph: Graph) -> Graph:
    """The graph without nodes and constants that no output and no state hangs on."""
    needed, nodes = set(graph.sinks), list[Node]()
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            needed |= {*node.inputs, *node.outputs}
            nodes.append(node)
    values = {name: value for name, value in graph.values.items() if name in needed or name in graph.sources}
    return replace(graph, values=values, nodes=tuple(reversed(nodes)))


def readers_of(graph: Graph) -> dict[str, list[Node]]:
    """By value the nodes that read it."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)
    return readers
