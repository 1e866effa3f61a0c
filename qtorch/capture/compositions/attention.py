"""Attention as products of matrices and a softmax between them."""

from __future__ import annotations

from typing import Any

import torch

from qtorch.capture.compositions.masks import added_mask, masked, of_one_sample
from qtorch.capture.compositions.table import (
    concatenated,
    decomposes,
    permuted,
    reshaped,
    shape_of,
    writer_of,
)

aten = torch.ops.aten


@decomposes("scaled_dot_product_attention")
def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """``softmax(scale * query @ key.mT + mask) @ value``; the factor goes into the softmax later.

    Of several heads of queries to one of keys, their rows are those of one matrix.
    """
    shape, last = shape_of(query), len(shape_of(query)) - 1
    if dropout_p or last < 2 or any(len(shape_of(x)) != len(shape) for x in (key, value)):
        return None
    length, width = shape[-2:]
    copies = shape[1] // shape_of(key)[1] if enable_gqa else 1
    if copies > 1:
        query = reshaped(query, (shape[0], shape[1] // copies, *shape[2:-2], copies * length, width))
    scores = aten.matmul.default(query, permuted(key, [*range(last - 1), last, last - 1]))
    scores = aten.mul.Tensor(scores, width**-0.5 if scale is None else scale)
    if is_causal:
        ones = {"dtype": torch.bool, "device": writer_of(query).origin.meta["val"].device}
        square = [length, shape_of(key)[-2]]
        whole = writer_of(query).create_proxy("call_function", aten.ones.default, (square,), ones)
        scores = masked(scores, _for_copies(aten.tril.default(whole), copies, shape))
    if attn_mask is not None:
        scores = _with_mask(scores, attn_mask, copies, shape)
    if scores is None:
        return None
    product = aten.matmul.default(aten.softmax.int(scores, -1), value)
    return reshaped(product, (*shape[:-1], shape_of(value)[-1]))


def _with_mask(scores: Any, mask: Any, copies: int, shape: tuple[Any, ...]) -> Any:
    """Scores with a mask; None of a boolean one that has no form."""
    mask = of_one_sample(mask)
    if mask.node.meta["val"].dtype == torch.bool:
        return masked(scores, _for_copies(mask, copies, shape))
    mask = _for_copies(mask, copies, shape)
    forbidding = added_mask(scores, mask, known=True)
    return aten.add.Tensor(scores, mask) if forbidding is None else forbidding


def _for_copies(mask: Any, copies: int, shape: tuple[Any, ...]) -> Any:
    """A mask ``[..., heads, L, S]`` for ``copies`` heads in one matrix each."""
    if copies == 1:
        return mask
    own = shape_of(mask)
    if len(own) < 3 or own[-3] == 1:
        return concatenated([mask] * copies, len(own) - 2) if own[-2] != 1 else mask
    return reshaped(mask, (*own[:-3], own[-3] // copies, copies * own[-2], own[-1])) if own[-2] != 1 else mask
