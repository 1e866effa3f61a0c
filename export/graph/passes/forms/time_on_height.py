"""Windows over images of one row as windows over images of one column: other kernels, and no byte moves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from export.graph.ir import Graph, Node, Value
from export.graph.rewriting import Draft, readers_of, require_outputs, rewritten
from export.graph.windows import WINDOWED

__all__ = ["time_on_height"]

#: Height for width, as :data:`qtorch.row.row.Row.transposed` takes it.
_TURNED = (0, 2, 1, 3)
_PAIRS = ("stride", "dilation", "filter")


def time_on_height(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Convolutions and poolings of ``[1, 1, W, C]`` become such of ``[1, W, 1, C]``, between RESHAPEs.

    Ops that lie between those that are asked for go along, so that a chain has one RESHAPE at either end.
    """
    require_outputs(graph, outputs)
    asked = {node.output for node in graph.nodes if node.output in outputs and _has_windows_to_turn(graph, node)}
    turned = asked | _between(graph, asked)
    return rewritten(graph, frozenset(turned), _turn)


def _of_one_row(value: Value) -> bool:
    return len(value.shape) == 4 and value.shape[1] == 1


def _has_windows_to_turn(graph: Graph, node: Node) -> bool:
    if node.op not in WINDOWED:
        return False
    image, result = (graph.values[name] for name in (node.inputs[0], node.output))
    explicit = isinstance(node.attrs["padding"], str)
    return explicit and image.shape[0] == 1 and _of_one_row(image) and _of_one_row(result)


def _can_turn(graph: Graph, node: Node) -> bool:
    """Whether a node is not asked for but could go along."""
    if _has_windows_to_turn(graph, node):
        return True
    named = [graph.values[name] for name in (*node.inputs, *node.outputs)]
    runtime = [value for value in named if value.data is None]
    constants = [value for value in named if value.data is not None]
    same = node.op not in ("reshape", "transpose_conv") and len(node.outputs) == 1 and all(map(_of_one_row, runtime))
    fits = all(value.elements == 1 or _of_one_row(value) for value in constants)
    return same and fits and _attrs(node) is not None


def _between(graph: Graph, asked: set[str]) -> set[str]:
    """Nodes all of whose inputs come from, and all of whose readers are among, what is turned."""
    readers = readers_of(graph)
    inner = {node.output: node for node in graph.nodes if node.output not in asked and _can_turn(graph, node)}
    while True:
        turned = asked | set(inner)
        kept = {
            name: node
            for name, node in inner.items()
            if name not in graph.sinks
            and all(reader.output in turned for reader in readers.get(name, []))
            and all(source in turned for source in node.inputs if graph.values[source].data is None)
        }
        if kept == inner:
            return set(kept)
        inner = kept


def _attrs(node: Node) -> Mapping[str, object] | None:
    if node.op in WINDOWED:
        attrs = dict(node.attrs)
        for pair in _PAIRS:
            if f"{pair}_h" in attrs:
                attrs[f"{pair}_h"], attrs[f"{pair}_w"] = node.attrs[f"{pair}_w"], node.attrs[f"{pair}_h"]
        return attrs
    return node.row.transposed(node.attrs, _TURNED, 4)


def _turn(draft: Draft, node: Node) -> bool:
    attrs, inputs, stem, result = _attrs(node), list[str](), node.output, draft.values[node.output]
    if attrs is None:
        return False
    for name in node.inputs:
        value = draft.values[name]
        if value.data is None:
            inputs.append(draft.reshape(name, _swapped(value.shape), stem=f"{stem}.column"))
        elif len(value.shape) == 4:
            data = np.ascontiguousarray(value.data.transpose(_TURNED))
            inputs.append(draft.constant(f"{name}.turned", data, value.qparams))
        else:
            inputs.append(name)
    shape, qparams = _swapped(result.shape), result.qparams
    column = draft.op(node.op, attrs, inputs, shape, stem=f"{stem}.of_column", qparams=qparams)
    draft.reshape(column, result.shape, output=stem)
    return True


def _swapped(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _TURNED)
