"""Samples of a network's inputs: one tensor, or what it is called with where it has several; rows lie along axis 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from export.ir import Graph
from qtorch.call_form import arguments_of, signature_of, tensors_in

__all__ = ["Samples", "called", "chunks", "codes_of", "joined", "length", "stored", "taken"]

#: float32 ``[N, ...]``; or a tuple of a network's arguments, tensors in any structure, all of the same ``N``.
Samples: TypeAlias = Any


def length(samples: Samples) -> int:
    """How many samples."""
    return len(tensors_in(samples)[0])


def taken(samples: Samples, rows: slice | Tensor) -> Samples:
    """Some rows of every tensor."""
    return tree_map(lambda each: each[rows] if isinstance(each, Tensor) else each, samples)


def chunks(samples: Samples, size: int) -> Iterator[Samples]:
    """So many rows at a time."""
    for start in range(0, length(samples), size):
        yield taken(samples, slice(start, start + size))


def joined(parts: Sequence[Samples]) -> Samples:
    """One after another, tensor by tensor.

    Raises:
        RuntimeError: shapes differ.
        ValueError: structures do.
    """
    _, structure = tree_flatten(parts[0])
    columns = zip(*(tree_leaves(part) for part in parts), strict=True)
    both = [torch.cat(column) if isinstance(column[0], Tensor) else column[0] for column in columns]
    return tree_unflatten(both, structure)


def called(net: nn.Module, samples: Samples) -> Any:
    """What a network makes of all of them."""
    call = arguments_of(signature_of(net), samples)
    return net(*call.args, **call.kwargs)


def stored(graph: Graph, samples: Samples) -> tuple[np.ndarray, ...]:
    """Real numbers in the order of axes in which the device stores them, an array per input of the graph."""
    named = zip(graph.inputs, tensors_in(samples), strict=True)
    return tuple(graph.view(name).store(x.cpu().numpy(), graph.values[name].shape) for name, x in named)


def codes_of(graph: Graph, samples: Samples) -> tuple[np.ndarray, ...]:
    """The same as codes; inputs without a grid stay real."""
    found = []
    for name, array in zip(graph.inputs, stored(graph, samples), strict=True):
        qparams = graph.values[name].qparams
        found.append(array if qparams is None else qparams.quantize(array))
    return tuple(found)
