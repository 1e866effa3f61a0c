"""Rows of a table by their numbers: one call, whatever a person wrote; vectors with a one are rows of a table too."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from qtorch.capture.compositions.conditions import MOVEMENTS, moved
from qtorch.capture.compositions.masks import of_one_sample
from qtorch.capture.compositions.table import (
    axis_of,
    constant,
    decomposes,
    is_constant,
    permuted,
    reshaped,
    result_shape,
    same_shape,
    shape_of,
)
from qtorch.capture.nodes import operator_name, schema_arguments
from qtorch.families.table_rows import rows_of_table

aten = torch.ops.aten

_PLACES = frozenset({"argmax", "argmin"})


@decomposes("embedding")
def _embedding_of_alike_samples(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Any:
    """Of indices that are repeated for every sample, as places and kinds of tokens are: rows that are constants."""
    if is_constant(indices) or not is_constant(weight) or indices.node.target is not aten.expand.default:
        return None
    places, size = of_one_sample(indices), indices.node.args[1]
    if not is_constant(places) or len(shape_of(places)) != len(size) or isinstance(size[0], int):
        return None
    rows = aten.embedding.default(weight, places, padding_idx, scale_grad_by_freq, sparse)
    if shape_of(rows)[0] != 1:
        return None
    return aten.expand.default(rows, [fx.Proxy(size[0], indices.tracer), *[-1] * len(size)])


@decomposes("embedding")
def _embedding(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Any:
    """Of a table that is known, by indices that are not; gradients that others would have are refused."""
    if is_constant(indices) or not is_constant(weight) or scale_grad_by_freq or sparse:
        return None
    return _rows(weight, indices, None if padding_idx < 0 else padding_idx)


def _rows(table: Any, indices: Any, padding: int | None = None) -> Any:
    arguments = (indices, table, padding)
    return indices.tracer.create_proxy("call_function", rows_of_table, arguments, {}, name="embedding")


@decomposes("index")
def _index(input: Any, indices: Any) -> Any:
    """``table[indices]``, of a table of any number of axes; and of each sample what its own index says."""
    if len(indices) == 2 and _is_each_sample(indices[0]) and len(shape_of(indices[1])) == 1:
        taken = _taken(input, 1, indices[1], 1)
        return None if taken is None else reshaped(taken, result_shape(input))
    if len(indices) != 1 or not is_constant(input) or is_constant(indices[0]):
        return None
    if not shape_of(indices[0]) or indices[0].node.meta["val"].dtype != torch.int64:
        return None
    count, *row = shape_of(input)
    return reshaped(_rows(reshaped(input, (count, math.prod(row))), indices[0]), result_shape(input))


@decomposes("index_select")
def _index_select(input: Any, dim: int, index: Any) -> Any:
    return _index(input, [index]) if axis_of(input, dim) == 0 else None


@decomposes("to", "_to_copy", "type_as")
def _one_hot(input: Any, dtype: Any = None, other: Any = None, non_blocking: bool = False, copy: bool = False) -> Any:
    """A vector with a one, as numbers, moved or not: a row of the matrix that has ones in its diagonal."""
    if operator_name(input.node) in MOVEMENTS:
        return moved(input, _one_hot(fx.Proxy(input.node.args[0], input.tracer), dtype, other))
    if operator_name(input.node) in _PLACES and (dtype is torch.float32 or other is not None):
        return _place_as_number(input)
    if operator_name(input.node) != "one_hot" or is_constant(input):
        return None
    indices = fx.Proxy(input.node.args[0], input.tracer)
    return _rows(constant(indices, torch.eye(shape_of(input)[-1])), indices)


def _place_as_number(place: Any) -> Any:
    """Where an extremum stands, as a number: a row of a table of these numbers."""
    given = schema_arguments(place.node)
    source = fx.Proxy(given["self"], place.tracer)
    size = None if given["dim"] is None else shape_of(source)[axis_of(source, given["dim"])]
    if not isinstance(size, int):
        return None
    return aten.squeeze.dim(_rows(constant(place, torch.arange(float(size))[:, None]), place), -1)


@decomposes("gather", "take_along_dim")
def _gather(input: Any, dim: int, index: Any = None, indices: Any = None, sparse_grad: bool = False) -> Any:
    """At places that come in, the same ones wherever they stand along the other axes."""
    index, axis, shape = index if indices is None else indices, axis_of(input, dim), shape_of(input)
    if axis == 0 or is_constant(index):
        return None
    count = result_shape(input)[axis]
    if not same_shape(result_shape(input)[1:], (*shape[1:axis], count, *shape[axis + 1 :])):
        return None
    while operator_name(index.node) == "expand" and len(shape_of(index)) == len(shape):
        index = fx.Proxy(index.node.args[0], index.tracer)
    if len(shape_of(index)) != len(shape) or math.prod(shape_of(index)[1:]) != count or shape_of(index)[axis] != count:
        return None
    return _taken(input, axis, index, count)


def _taken(x: Any, axis: int, index: Any, count: int) -> Any:
    """A product of rows of the matrix with ones in its diagonal and of ``x``; None of other than known axes."""
    shape = shape_of(x)
    if index.node.meta["val"].dtype != torch.int64 or not all(isinstance(size, int) for size in shape[1:]):
        return None
    others = [i for i in range(1, len(shape)) if i != axis]
    order = [0, axis, *others]
    ones = _rows(constant(x, torch.eye(shape[axis])), reshaped(index, (shape[0], count)))
    lines = reshaped(permuted(x, order), (shape[0], shape[axis], math.prod(shape[i] for i in others)))
    taken = reshaped(aten.matmul.default(ones, lines), (shape[0], count, *(shape[i] for i in others)))
    return permuted(taken, [order.index(i) for i in range(len(shape))])


def _is_each_sample(x: Any) -> bool:
    """Whether a tensor numbers the samples."""
    if not isinstance(x, fx.Proxy) or operator_name(x.node) != "arange" or isinstance(shape_of(x)[0], int):
        return False
    given = schema_arguments(x.node)
    return not given.get("start", 0) and given.get("step", 1) == 1
