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
    held["optimizers"] = _Optimizers(pl_module)
    held["lr_schedulers"] = _Schedulers(pl_module)


def _nothing(*arguments: Any, **options: Any) -> None:
    """In the place of what would log, or change weights."""


class _Inert:
    """In the place of an optimizer or a schedule: says what that says of its options, and does nothing.

    Args:
        real: whose options they are; ``None`` where it is not known.
    """

    def __init__(self, real: Any = None) -> None:
        # Copies, which a step may change as it would change its optimizer's.
        self.param_groups = [dict(group) for group in getattr(real, "param_groups", ())]
        self.defaults = dict(getattr(real, "defaults", {}))
        last = getattr(real, "get_last_lr", None)
        self._rates = list(last()) if last is not None else []

    def __getattr__(self, name: str) -> Any:
        return _nothing

    def get_last_lr(self) -> list[float]:
        """Of a schedule, as it is."""
        return self._rates

    def step(self, closure: Any = None, *arguments: Any, **options: Any) -> Any:
        """What the closure gives, which is where a network may be called."""
        return closure() if callable(closure) else None

    @contextmanager
    def toggle_model(self, *arguments: Any, **options: Any) -> Iterator[None]:
        """Nothing."""
        yield


class _Optimizers:
    """What ``self.optimizers()`` gives in a run: one alone, or a list of as many as the module has."""

    def __init__(self, pl_module: pl.LightningModule) -> None:
        self._pl_module = pl_module

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        trainer: Any = self._pl_module._trainer
        optimizers = [None] if trainer is None else trainer.optimizers
        return _Inert(optimizers[0]) if len(optimizers) == 1 else [_Inert(each) for each in optimizers]


class _Schedulers:
    """What ``self.lr_schedulers()`` gives in a run: nothing, one alone, or a list."""

    def __init__(self, pl_module: pl.LightningModule) -> None:
        self._pl_module = pl_module

    def __call__(self) -> Any:
        trainer: Any = self._pl_module._trainer
        if trainer is None:
            return _Inert()
        schedulers = [_Inert(each.scheduler) for each in trainer.lr_scheduler_configs]
        return schedulers if len(schedulers) > 1 else next(iter(schedulers), None)


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
