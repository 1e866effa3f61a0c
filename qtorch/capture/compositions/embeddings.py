"""Rows of a table by their numbers: one call, whatever a person wrote."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from qtorch.capture.compositions.masks import of_one_sample
from qtorch.capture.compositions.table import decomposes, is_constant, shape_of
from qtorch.families.table_rows import rows_of_table

aten = torch.ops.aten


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
    padding = None if padding_idx < 0 else padding_idx
    arguments = (indices, weight, padding)
    return indices.tracer.create_proxy("call_function", rows_of_table, arguments, {}, name="embedding")
