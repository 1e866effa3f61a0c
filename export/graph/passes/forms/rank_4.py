"""PAD, MINIMUM and MAXIMUM of tensors with four axes, between RESHAPEs where they have more or fewer."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["rank_4"]

_RANK = 4


def rank_4(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Axes are merged, those of size 1 put in front. What can't be said with four stays as it is."""
    return rewritten(graph, outputs, _rank_4)


def _rank_4(draft: Draft, node: Node) -> bool:
    if len(draft.shape(node.output)) == _RANK:
        return False
    if node.op in ("pad", "padv2"):
        return _pad(draft, node)
    return node.op in ("minimum", "maximum") and _extremum(draft, node)


def _pad(draft: Draft, node: Node) -> bool:
    source, stem, paddings = node.inputs[0], node.output, tuple(node.attrs["paddings"])
    if any(paddings[0]):
        return False
    # The batch and three axes at a time, the last first.
    padded = [axis for axis, ends in enumerate(paddings) if any(ends)]
    while padded:
        now, padded = padded[-3:], padded[:-3]
        attrs = tuple(ends if axis in now else (0, 0) for axis, ends in enumerate(paddings))
        source = _padded(draft, node, source, attrs)
    draft.reshape(source, draft.shape(stem), output=stem)
    return True


def _padded(draft: Draft, node: Node, source: str, paddings: tuple[tuple[int, int], ...]) -> str:
    """``source`` padded along three axes at most, in the shape that it has then."""
    shape, stem = draft.shape(source), node.output
    sizes, ends = [shape[0]], [(0, 0)]
    for size, (before, after) in zip(shape[1:], paddings[1:], strict=True):
        if before or after:
            sizes.append(size)
            ends.append((before, after))
        else:
            # Behind an axis, padded or not, one that is not padded multiplies.
            sizes[-1], ends[-1] = sizes[-1] * size, (ends[-1][0] * size, ends[-1][1] * size)
    missing = _RANK - len(sizes)
    sizes[1:1], ends[1:1] = [1] * missing, [(0, 0)] * missing
    image = draft.reshape(source, sizes, stem=f"{stem}.image")
    larger = [n + sum(each) for n, each in zip(sizes, ends, strict=True)]
    made = draft.op(node.op, {"paddings": tuple(ends)}, [image, *node.inputs[1:]], larger, stem=f"{stem}.padded")
    whole = tuple(n + sum(each) for n, each in zip(shape, paddings, strict=True))
    return draft.reshape(made, whole, stem=f"{stem}.whole")


def _extremum(draft: Draft, node: Node) -> bool:
    stem, rank = node.output, len(draft.shape(node.output))
    shapes = [(1,) * (rank - len(draft.shape(name))) + draft.shape(name) for name in (*node.inputs, stem)]
    axes = [tuple(shape[axis] for shape in shapes) for axis in range(rank)]
    # Axes along which the same tensor is repeated, or none, are one.
    kept = [sizes for sizes in axes if sizes[-1] > 1]
    merged = [
        tuple(math.prod(sizes) for sizes in zip(*group, strict=True))
        for _, group in groupby(kept, lambda sizes: tuple(size == 1 for size in sizes))
    ]
    if len(merged) >= _RANK:
        whole = math.prod(shapes[-1])
        if any(draft.values[name].data is None and math.prod(draft.shape(name)) != whole for name in node.inputs):
            return False
        # A constant can repeat what the kernel would.
        merged = [(whole,) * 3]
    merged = [(1, 1, 1)] * (_RANK - len(merged)) + merged
    inputs = [_in_shape(draft, n, tuple(m[i] for m in merged), stem) for i, n in enumerate(node.inputs)]
    made = draft.op(node.op, node.attrs, inputs, tuple(m[-1] for m in merged), stem=f"{stem}.of_four")
    draft.reshape(made, draft.shape(stem), output=stem)
    return True


def _in_shape(draft: Draft, name: str, shape: tuple[int, ...], stem: str) -> str:
    value = draft.values[name]
    if value.data is None:
        return draft.reshape(name, shape, stem=f"{stem}.four")
    data = value.data
    if data.size != math.prod(shape):
        data = np.broadcast_to(data, draft.shape(stem)).copy()
    return draft.constant(f"{name}.four", data.reshape(shape), value.qparams)
