"""Attention layers of torch with the batch in front, as what captures their networks runs them.

Torch's own code merges the batch with the heads and, where ``batch_first`` is False, with what is attended to. What is
computed here is the same; the capture's comparison with the network itself says so for each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import transformer

__all__ = ["batch_in_front", "hints_taken"]


def batch_in_front(layer: nn.Module) -> Callable[..., Any] | None:
    """What stands for a layer's ``forward`` in a capture; ``None`` for its own code."""
    if type(layer).forward is not nn.MultiheadAttention.forward:
        return None
    if not isinstance(layer, nn.MultiheadAttention) or layer.bias_k is not None or layer.add_zero_attn:
        return None
    return partial(_attention, layer, layer.forward)


@contextmanager
def hints_taken() -> Iterator[None]:
    """A block in which torch's encoders look at no numbers of a mask, to find out whether it is the causal one.

    It is a mask as any other here.
    """
    known, thread = transformer._detect_is_causal_mask, threading.get_ident()

    def detect(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
        return bool(is_causal) if threading.get_ident() == thread else known(mask, is_causal, size)

    transformer._detect_is_causal_mask = detect
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = known


def _attention(
    layer: nn.MultiheadAttention,
    own: Callable[..., Any],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Arguments and results as :meth:`torch.nn.MultiheadAttention.forward` has them; of three axes, a batch's among
    them, and a mask for all heads; else the layer's own code."""
    if query.dim() != 3 or (attn_mask is not None and attn_mask.dim() != 2):
        found: tuple[Tensor, Tensor | None] = own(
            query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
        )
        return found
    tensors = (query, key, value)
    if not layer.batch_first:
        tensors = tuple(x.transpose(0, 1) for x in tensors)  # type: ignore[assignment]
    weights, biases = _projections(layer)
    queries, keys, values = (
        F.linear(x, weight, bias).unflatten(-1, (layer.num_heads, layer.head_dim)).transpose(1, 2)
        for x, weight, bias in zip(tensors, weights, biases, strict=True)
    )
    scores = queries @ keys.transpose(-2, -1) * layer.head_dim**-0.5
    padding = None if key_padding_mask is None else key_padding_mask[:, None, None, :]
    scores = _with_masks(scores, [mask for mask in (attn_mask, padding) if mask is not None])
    attention = F.dropout(scores.softmax(-1), layer.dropout, layer.training)
    heads = (attention @ values).transpose(1, 2).flatten(2)
    result = F.linear(heads, layer.out_proj.weight, layer.out_proj.bias)
    result = result if layer.batch_first else result.transpose(0, 1)
    if not need_weights:
        return result, None
    return result, attention.mean(1) if average_attn_weights else attention


def _projections(layer: nn.MultiheadAttention) -> tuple[list[Tensor], list[Tensor | None]]:
    """Weights and biases of queries, keys and values: each is a layer of its own, with a grid of its own."""
    size = layer.embed_dim
    parts = [slice(start, start + size) for start in (0, size, 2 * size)]
    if layer._qkv_same_embed_dim:
        weights = [layer.in_proj_weight[part] for part in parts]
    else:
        weights = [layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight]
    bias = layer.in_proj_bias
    return weights, [None if bias is None else bias[part] for part in parts]


def _with_masks(scores: Tensor, masks: list[Tensor]) -> Tensor:
    """Boolean masks say what is forbidden, others are added."""
    forbidden = [mask for mask in masks if mask.dtype == torch.bool]
    for mask in masks:
        if mask.dtype != torch.bool:
            scores = scores + mask
    if len(forbidden) == 2:
        forbidden = [forbidden[0] | forbidden[1]]
    return scores.masked_fill(forbidden[0], -torch.inf) if forbidden else scores
