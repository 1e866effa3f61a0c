"""Lengths of vectors along any axes, and vectors divided by them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from qtorch.capture.compositions.known_values import same_for_all
from qtorch.capture.compositions.table import (
    constant,
    decomposes,
    kept_apart,
    permuted,
    reshaped,
    shape_of,
    squared_difference,
)
from qtorch.ops.l2_normalization import LARGEST_EPSILON, MOST_AXES

aten = torch.ops.aten

#: Differences that lie side by side until they are added up.
_MOST_DIFFERENCES = 1 << 16


@decomposes("linalg_vector_norm")
def _vector_norm(input: Any, ord: float = 2, dim: Any = None, keepdim: bool = False) -> Any:
    """The root of a sum of powers; exponents below 0 have a pole there, and 0 counts what no grid tells from zero."""
    axes = kept_apart(input, dim)
    if axes is None:
        return None
    if ord == 2:
        return aten.sqrt.default(aten.sum.dim_IntList(aten.mul.Tensor(input, input), axes, keepdim))
    magnitude = aten.abs.default(input)
    if ord == 1:
        return aten.sum.dim_IntList(magnitude, axes, keepdim)
    if math.isinf(ord):
        return (aten.amax if ord > 0 else aten.amin).default(magnitude, axes, keepdim)
    if ord <= 0:
        return None
    powers = aten.sum.dim_IntList(aten.pow.Tensor_Scalar(magnitude, ord), axes, keepdim)
    return aten.pow.Tensor_Scalar(powers, 1 / ord)


@decomposes("linalg_norm", "linalg_matrix_norm")
def _norm(input: Any, ord: Any = None, dim: Any = (-2, -1), keepdim: bool = False) -> Any:
    """Of vectors; of matrices Frobenius's, which is that of all their numbers."""
    axes = kept_apart(input, dim)
    if axes is None or (len(axes) > 1 and ord not in (None, "fro")):
        return None
    exponent = ord if isinstance(ord, int | float) else 2
    return aten.linalg_vector_norm.default(input, exponent, axes, keepdim)


@decomposes("aminmax")
def _aminmax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    axes = kept_apart(input, dim)
    if axes is None:
        return None
    return aten.amin.default(input, axes, keepdim), aten.amax.default(input, axes, keepdim)


@decomposes(F.normalize)
def _normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None) -> Any:
    """One op along the last axis, into which several merge; by its length where that op has no form."""
    axes = kept_apart(input, dim)
    shape = shape_of(input)
    last = len(shape) - 1
    one_op = p == 2 and eps <= LARGEST_EPSILON
    if axes is None or out is not None or (one_op and axes == [last] and last < MOST_AXES):
        return None
    order = [axis for axis in range(last + 1) if axis not in axes] + axes
    kept = [shape[axis] for axis in order[: -len(axes)]]
    # Vectors are by themselves, so that axes that they do not lie along may merge too.
    fewer = len(kept) < MOST_AXES
    if one_op and (fewer or all(isinstance(size, int) for size in kept[1:])):
        kept = kept if fewer else [kept[0], math.prod(kept[1:])]
        vectors = reshaped(permuted(input, order), [*kept, math.prod(shape[axis] for axis in axes)])
        unit = _unit(vectors, len(kept), eps)
        return permuted(reshaped(unit, [shape[axis] for axis in order]), [order.index(i) for i in range(last + 1)])
    length = aten.linalg_vector_norm.default(input, p, axes, True)
    return aten.mul.Tensor(input, aten.reciprocal.default(aten.clamp_min.default(length, eps)))


def _unit(x: Any, axis: int, eps: float) -> Any:
    return x.tracer.create_proxy("call_function", F.normalize, (x,), {"dim": axis, "eps": eps})


@decomposes("cosine_similarity")
def _cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Each vector is made one of length 1, or less where it is shorter than ``eps``; then one sum of products."""
    rank = len(shape_of(x1))
    axis = dim % max(rank, 1)
    if rank != len(shape_of(x2)) or axis == 0 or not isinstance(shape_of(x1)[axis], int):
        return None
    order = [i for i in range(rank) if i != axis] + [axis]
    product = aten.mul.Tensor(*(_unit(permuted(x, order), rank - 1, eps) for x in (x1, x2)))
    return aten.squeeze.dim(aten.linear.default(product, constant(x1, torch.ones(1, shape_of(product)[-1]))), -1)


@decomposes("pairwise_distance")
def _pairwise_distance(x1: Any, x2: Any, p: float = 2, eps: float = 1e-6, keepdim: bool = False) -> Any:
    difference = aten.sub.Tensor(x1, x2)
    last = len(shape_of(difference)) - 1
    return aten.linalg_vector_norm.default(aten.add.Tensor(difference, eps), p, [last], keepdim)


@decomposes("cdist")
def _cdist(x1: Any, x2: Any, p: float = 2, compute_mode: Any = None) -> Any:
    """Each vector of one less each of the other; as products of matrices they would cancel on a grid."""
    x1, x2 = same_for_all(x1), same_for_all(x2)
    one, other = aten.unsqueeze.default(x1, -2), aten.unsqueeze.default(x2, -3)
    apart = (*shape_of(x1)[1:], *shape_of(x2)[-2:-1])
    if not all(isinstance(size, int) for size in (*apart, shape_of(x2)[-1])) or math.prod(apart) > _MOST_DIFFERENCES:
        return None
    if p == 2:
        return aten.sqrt.default(aten.sum.dim_IntList(squared_difference(one, other), [-1]))
    return aten.linalg_vector_norm.default(aten.sub.Tensor(one, other), p, [-1])


@decomposes("mse_loss")
def _squares_of_errors(input: Any, target: Any, reduction: int = 1) -> Any:
    """Each by itself, which scores what a network reconstructs; a mean of them has all samples in it."""
    return None if reduction else squared_difference(input, target)


@decomposes("l1_loss")
def _sizes_of_errors(input: Any, target: Any, reduction: int = 1) -> Any:
    return None if reduction else aten.abs.default(aten.sub.Tensor(input, target))
