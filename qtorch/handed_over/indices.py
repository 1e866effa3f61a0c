"""Which tensors of samples are a network's indices: these stay integers, all others are float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from qtorch.capture.call_form import arguments_of, call_form, signature_of, tensors_in
from qtorch.capture.index_inputs import index_inputs
from qtorch.capture.samples import Samples, taken
from qtorch.errors import BadInput
from qtorch.network.input_quantizers import input_quantizers
from qtorch.network.quantized_network import QuantizedNetwork

__all__ = ["as_taken"]


def as_taken(net: nn.Module, samples: Samples) -> Samples:
    """Samples as a network takes them: int64 where it looks up by them, else float32.

    Args:
        net: float, or prepared; left as it was.
        samples: tensors, in whatever they stand in; of integers int64.
    """
    whole = [each for each in tensors_in(samples) if not each.is_floating_point()]
    found = _indices(net, samples) if whole else set[int]()

    def as_one(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.to(torch.int64 if id(value) in found else torch.float32)

    return tree_map(as_one, samples)


def _indices(net: nn.Module, samples: Samples) -> set[int]:
    """Identities of those that are."""
    try:
        form, tensors = call_form(net, arguments_of(signature_of(net), samples))
    except BadInput:
        # That it is not called so, others say.
        return set()
    if isinstance(net, QuantizedNetwork):
        flags = tuple(each.of_indices for each in input_quantizers(net))
    else:
        flags = index_inputs(net, form, [taken(each, slice(1)) if each.dim() else each for each in tensors])
    return {id(each) for each, flag in zip(tensors, flags, strict=False) if flag}
