"""Another network in the place of a LightningModule's own, wherever the module holds it; and who was really called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from qtorch.errors import BadConfiguration

__all__ = ["Calls", "counted_calls", "forward_through", "network_replaced", "replace_network"]


def replace_network(module: pl.LightningModule, network: nn.Module) -> None:
    """The module's ``net`` from now on is ``network``, under all names that the module has for it.

    A name is a child of any submodule (``self.model = self.net``, ``self.wrapper.inner``, an ``nn.ModuleList``), or a
    plain attribute that is that very object, or is a list, tuple or dict that has it as an element. What holds parts
    of it (``self.head = self.net[3]``), a copy, or a bound method still has the network from before.

    Args:
        module: its attribute ``net`` is an ``nn.Module``.
        network: to put there.

    Raises:
        BadConfiguration: ``module.net`` can't be replaced, because a property makes it anew.
    """
    before: Any = module.net
    for holder, key, held in list(_places(module, before)):
        holder[key] = _instead(held, before, network)
    if module.net is not network:
        raise BadConfiguration(
            where=f"{type(module).__name__}.net",
            expected="an attribute that holds the network",
            got="one that gives another network than was put there",
            remedy="assign the network to self.net in the module's constructor",
        )


@contextmanager
def network_replaced(module: pl.LightningModule, network: nn.Module) -> Iterator[None]:
    """A block in which ``network`` stands in the place of ``module.net``; behind it all is as before, whatever happens.

    See :func:`replace_network` for which names are meant, and for what it raises. Names that ``network`` has in the
    module anyway it keeps.
    """
    before: Any = module.net
    places = list(_places(module, before))
    try:
        replace_network(module, network)
        yield
    finally:
        for holder, key, held in places:
            holder[key] = held


class Calls:
    """How often a network was called as a whole.

    Attributes:
        count: 0 or more.
        in_training: how many of these with gradients.
        arguments: of the first of those.
    """

    def __init__(self) -> None:
        self.count = self.in_training = 0
        self.arguments: tuple[Any, ...] = ()


@contextmanager
def counted_calls(network: nn.Module) -> Iterator[Calls]:
    """A block in which calls of ``network`` are counted, by ``network(x)`` and by ``network.forward(x)``.

    Calls of its layers alone do not count.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> with counted_calls(net) as calls:
        ...     _ = net(net.weight)
        >>> calls.count
        1
    """
    calls = Calls()

    def counting(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        calls.count += 1
        if torch.is_grad_enabled():
            calls.arguments = args if not calls.in_training else calls.arguments
            calls.in_training += 1
        return forward(*args, **kwargs)

    with forward_through(network, counting):
        yield calls


@contextmanager
def forward_through(network: nn.Module, through: Callable[..., Any]) -> Iterator[None]:
    """A block in which every call of ``network`` goes through ``through(forward, *args, **kwargs)``.

    Calls by ``network.forward(x)`` do, too, which a forward hook would miss.
    """
    forward, own = network.forward, network.__dict__.get("forward")
    network.__dict__["forward"] = functools.wraps(forward)(functools.partial(through, forward))
    try:
        yield
    finally:
        del network.__dict__["forward"]
        if own is not None:
            network.__dict__["forward"] = own


def _places(module: nn.Module, network: nn.Module) -> Iterator[tuple[Any, Any, Any]]:
    """Dict or list, key or index in it, and what is there, of each name of ``network`` in the tree of ``module``."""
    inside, seen = set(network.modules()), set()

    def within(holder: Any) -> Iterator[tuple[Any, Any, Any]]:
        if id(holder) in seen:
            return
        seen.add(id(holder))
        for key, held in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if held is network or (type(held) is tuple and any(part is network for part in held)):
                yield holder, key, held
            elif isinstance(held, dict | list):
                yield from within(held)

    for each in module.modules():
        if each not in inside:
            yield from within(each.__dict__)


def _instead(held: Any, before: nn.Module, network: nn.Module) -> Any:
    return network if held is before else tuple(network if part is before else part for part in held)
