"""Samples of a network's inputs: one tensor, or what it is called with where it has several; rows lie along axis 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from qtorch.capture.call_form import arguments_of, signature_of, tensors_in

__all__ = ["Samples", "called", "chunks", "joined", "length", "taken"]

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
