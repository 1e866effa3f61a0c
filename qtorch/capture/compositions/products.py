"""Products of matrices of which one is a constant, as fully connected layers; those of two activations stay.

A constant is transposed by a call of its own, which is computed once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from qtorch.capture.compositions.einsums import in_pairs
from qtorch.capture.compositions.table import (
    axis_of,
    decomposes,
    is_constant,
    permuted,
    reshaped,
    result_shape,
    shape_of,
    writer_of,
)
from qtorch.capture.nodes import operator_name

aten = torch.ops.aten


def _matrix(x: Any) -> Any:
    """The constant matrix that an operand is, where it is one: for every sample the same."""
    while operator_name(x.node) == "expand":
        x = fx.Proxy(x.node.args[0], x.tracer)
    shape = shape_of(x)
    if not is_constant(x) or len(shape) < 2 or any(size != 1 for size in shape[:-2]):
        return None
    return reshaped(x, shape[-2:])


def _swapped(x: Any) -> Any:
    """The last two axes of a tensor in the other order."""
    rank = len(shape_of(x))
    return permuted(x, [*range(rank - 2), rank - 1, rank - 2])


@decomposes("matmul", "mm", "bmm")
def _matmul(input: Any, other: Any = None, mat2: Any = None) -> Any:
    second = mat2 if other is None else other
    if is_constant(second) and len(shape_of(second)) == 1:
        return aten.squeeze.dim(aten.linear.default(input, aten.unsqueeze.default(second, 0)), -1)
    matrix = _matrix(second)
    if matrix is not None and len(shape_of(input)) >= len(shape_of(second)):
        return aten.linear.default(input, aten.t.default(matrix))
    if len(shape_of(second)) < max(3, len(shape_of(input))) or not _keeps_samples(second):
        return None
    if is_constant(input) and len(shape_of(input)) == 1:
        return aten.squeeze.dim(aten.linear.default(_swapped(second), aten.unsqueeze.default(input, 0)), -1)
    matrix = _matrix(input)
    return None if matrix is None else _swapped(aten.linear.default(_swapped(second), matrix))


def _keeps_samples(x: Any) -> bool:
    return all(isinstance(size, int) for size in shape_of(x)[-2:])


@decomposes("cross", "linalg_cross")
def _cross(input: Any, other: Any, dim: int | None = None) -> Any:
    """Each component from the two that follow it, three times along the axis; by default the last, or the first one."""
    sizes = result_shape(input)
    if dim is not None:
        axis = dim % len(sizes)
    elif operator_name(writer_of(input).origin) == "linalg_cross":
        axis = len(sizes) - 1
    else:
        axis = next(place for place, size in enumerate(sizes) if isinstance(size, int) and size == 3)
    if not isinstance(sizes[axis], int):
        return None
    # From behind: a constant may have fewer axes.
    axis -= len(sizes)
    following, followed = (aten.roll.default(each, [-1], [axis]) for each in (other, input))
    return aten.roll.default(
        aten.sub.Tensor(aten.mul.Tensor(input, following), aten.mul.Tensor(followed, other)), [-1], [axis]
    )


@decomposes("mv")
def _mv(input: Any, vec: Any) -> Any:
    return _matmul(input, vec) if is_constant(vec) else None


@decomposes("addmm")
def _addmm(input: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    matrix = _matrix(mat2)
    if matrix is None:
        return None
    if (alpha, beta) == (1, 1) and is_constant(input) and len(shape_of(input)) == 1:
        return aten.linear.default(mat1, aten.t.default(matrix), input)
    product = aten.linear.default(mat1, aten.t.default(matrix))
    scaled = product if alpha == 1 else aten.mul.Tensor(product, alpha)
    return aten.add.Tensor(scaled, input if beta == 1 else aten.mul.Tensor(input, beta))


@decomposes("baddbmm")
def _baddbmm(input: Any, batch1: Any, batch2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    product = aten.bmm.default(batch1, batch2)
    scaled = product if alpha == 1 else aten.mul.Tensor(product, alpha)
    return aten.add.Tensor(scaled, input if beta == 1 else aten.mul.Tensor(input, beta))


@decomposes("einsum")
def _einsum(equation: str, tensors: Any, path: Any = None) -> Any:
    """In whatever order: a path says which is the quickest one."""
    return in_pairs(equation, tensors)


@decomposes("tensordot")
def _tensordot(input: Any, other: Any, dims_self: Any, dims_other: Any) -> Any:
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    first, second = ([next(letters) for _ in shape_of(x)] for x in (input, other))
    for one, two in zip(dims_self, dims_other, strict=True):
        second[axis_of(other, two)] = first[axis_of(input, one)]
    left = [label for label in first if label not in second] + [label for label in second if label not in first]
    return in_pairs(f"{''.join(first)},{''.join(second)}->{''.join(left)}", [input, other])
