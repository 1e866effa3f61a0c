"""A convolution in groups as one for each group: SPLIT, CONV_2D each, CONCATENATION."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.graph.ir import Graph, Node, Value
from export.graph.rewriting import Draft, rewritten

__all__ = ["ungrouped"]


def ungrouped(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Every group's output is on the grid of the whole; its weights and biases are cut from theirs."""
    return rewritten(graph, outputs, _ungrouped)


def _ungrouped(draft: Draft, node: Node) -> bool:
    if node.op != "conv_2d":
        return False
    roles, stem, result = node.input_roles(), node.output, draft.values[node.output]
    source, weight = draft.values[roles["input"]], draft.values[roles["weight"]]
    channels, depth = weight.shape[0], weight.shape[3]
    groups = source.shape[3] // depth
    if groups == 1 or weight.data is None:
        return False
    shape = (*source.shape[:3], depth)
    images = tuple(draft.named(f"{stem}.group{i}", shape, source.qparams) for i in range(groups))
    draft.nodes.append(Node("split", {"axis": 3, "num_splits": groups}, (roles["input"],), images))
    made = list[str]()
    for i, image in enumerate(images):
        own = slice(i * channels // groups, (i + 1) * channels // groups)
        constants = [
            _share(draft, f"{stem}.group{i}.{role}", draft.values[roles[role]], own)
            for role in ("weight", "bias")
            if role in roles
        ]
        output = (*result.shape[:3], channels // groups)
        inputs = [image, *constants]
        made.append(draft.op("conv_2d", node.attrs, inputs, output, stem=f"{stem}.of_group{i}", qparams=result.qparams))
    draft.join(made, 3, stem=f"{stem}.joined", output=stem)
    return True


def _share(draft: Draft, stem: str, value: Value, own: slice) -> str:
    """The first axis of a constant and of its grid, cut."""
    qparams = value.qparams
    if qparams is not None and qparams.axis == 0:
        qparams = replace(qparams, scale=qparams.scale[own], zero_point=qparams.zero_point[own])
    return draft.constant(stem, np.ascontiguousarray(value.contents[own]), qparams)
