"""A copy of a network that was handed over, or in words why there can be none."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.prune import is_pruned

from qtorch.errors import BadConfiguration
from qtorch.handed_over.words import in_words

__all__ = ["network_copy", "require_float32"]

_COPYABLE = "take out of it what can't be copied: open files, results with gradients, hooks that hold them"
_PRUNED = "make the pruning permanent: torch.nn.utils.prune.remove(layer, 'weight') for each pruned layer"


def network_copy(where: str, network: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation.

    Raises:
        BadConfiguration: it can't be copied, or has shapes without numbers.
    """
    for name, each in (*network.named_parameters(), *network.named_buffers()):
        if each.is_meta:
            raise BadConfiguration(
                where=where, expected="a network with its numbers", got=f"{name!r} on device meta, without any",
                remedy="call .to_empty(device='cpu') on it and load its weights, or make it without the meta device",
            )  # fmt: skip
    try:
        return copy.deepcopy(network).cpu().eval()
    # What a module of somebody's own holds can be anything.
    except Exception as error:
        raise BadConfiguration(
            where=where, expected="a module that copy.deepcopy copies", got=in_words(error),
            remedy=_PRUNED if is_pruned(network) else _COPYABLE,
        ) from error  # fmt: skip


def require_float32(where: str, network: nn.Module) -> None:
    """Refuse a float network of another precision: what it takes, and what a prepared one computes in, is float32.

    Raises:
        BadConfiguration: a parameter has another.
    """
    for name, each in network.named_parameters():
        if each.is_floating_point() and each.dtype is not torch.float32:
            raise BadConfiguration(
                where=where, expected="a network in float32", got=f"{name!r} in {each.dtype}",
                remedy="call .float() on it",
            )  # fmt: skip
