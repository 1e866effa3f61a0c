"""A block whose effects on a LightningModule are taken back, as far as a module keeps them in itself."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

__all__ = ["undone"]

_HOLDERS = (dict, list, set, deque)


@contextmanager
def undone(pl_module: pl.LightningModule, network: nn.Module) -> Iterator[None]:
    """A block behind which ``pl_module`` is as before, whatever happens; without gradients, logging and optimizers.

    What is taken back: attributes of it and of the modules in it, what their lists and dicts hold, the values of
    tensors that are no parameters, gradients, and which parameters want some. Not the modules inside ``network``.

    Args:
        pl_module: to be used in the block.
        network: whose own attributes are left alone.
    """
    inside = set(network.modules())
    kept = [_Kept(vars(each)) for each in pl_module.modules() if each not in inside]
    parameters = [(each, each.grad, each.requires_grad) for each in pl_module.parameters()]
    try:
        for parameter, _, _ in parameters:
            # A gradient that is not there can't be set to zero.
            parameter.grad = None
        _silence(pl_module)
        with torch.no_grad():
            yield
    finally:
        for each in kept:
            each.put_back()
        for parameter, gradient, wanted in parameters:
            parameter.requires_grad_(wanted)
            parameter.grad = gradient


def _silence(pl_module: pl.LightningModule) -> None:
    held = vars(pl_module)
    for name in ("log", "log_dict", "manual_backward", "toggle_optimizer", "untoggle_optimizer", "clip_gradients"):
        held[name] = _nothing
    if not pl_module.automatic_optimization:
        held["optimizers"] = held["lr_schedulers"] = _NoOptimizers(pl_module)


def _nothing(*arguments: Any, **options: Any) -> None:
    """In the place of what would log, or change weights."""


class _NoOptimizer:
    """In the place of an optimizer or a schedule."""

    def __getattr__(self, name: str) -> Any:
        return _nothing


class _NoOptimizers:
    """As many as the module has: one alone, or a list."""

    def __init__(self, pl_module: pl.LightningModule) -> None:
        trainer: Any = pl_module._trainer
        self.count = 1 if trainer is None else len(trainer.optimizers)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _NoOptimizer() if self.count == 1 else [_NoOptimizer() for _ in range(self.count)]


class _Kept:
    """What a dict of attributes holds, one level of containers and tensors' values included."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes, self.before = attributes, dict(attributes)
        self.holders = [(v, copy.copy(v)) for v in self.before.values() if isinstance(v, _HOLDERS)]
        within = [v for _, copied in self.holders for v in (copied.values() if isinstance(copied, dict) else copied)]
        self.tensors = [
            (v, v.detach().clone())
            for v in (*self.before.values(), *within)
            if isinstance(v, Tensor) and not isinstance(v, nn.Parameter) and not v.is_meta
        ]

    def put_back(self) -> None:
        for name in self.attributes.keys() - self.before.keys():
            del self.attributes[name]
        self.attributes.update(self.before)
        for holder, copied in self.holders:
            holder.clear()
            (holder.extend if isinstance(holder, list | deque) else holder.update)(copied)
        with torch.no_grad():
            for tensor, values in self.tensors:
                if not torch.equal(tensor, values):
                    tensor.copy_(values)
