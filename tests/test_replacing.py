"""Another network in a LightningModule's place, under every name that the module has for it."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from qtorch.errors import BadConfiguration
from qtorch.lightning.replacing import counted_calls, network_replaced, replace_network


class Wrapper(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class ManyNames(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        self.model = self.net
        self.wrapper = Wrapper(self.net)
        self.several = nn.ModuleList([nn.ReLU(), self.net])
        self.hidden = [self.net]
        self.pair = (self.net, 3)
        self.by_name = {"best": self.net, "deep": [[self.net]]}
        object.__setattr__(self, "unregistered", self.net)
        self.head = self.net[0]

    def held(self) -> list[object]:
        return [
            self.net, self.model, self.wrapper.inner, self.several[1], self.hidden[0], self.pair[0],
            self.by_name["best"], self.by_name["deep"][0][0], self.unregistered,
        ]  # fmt: skip


class Property(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(2, 3)

    @property
    def net(self) -> nn.Module:
        return self.model


class MadeAnew(Property):
    @property
    def net(self) -> nn.Module:
        return nn.Sequential(self.model)


def test_all_names_are_replaced_and_restored() -> None:
    module, other = ManyNames(), nn.Linear(2, 3)
    before, state = module.net, list(module.state_dict())
    with network_replaced(module, other):
        assert all(held is other for held in module.held())
        assert module.head is before[0]
        assert module.pair[1] == 3
    assert all(held is before for held in module.held())
    assert list(module.state_dict()) == state
    with pytest.raises(ZeroDivisionError), network_replaced(module, other):
        raise ZeroDivisionError
    assert all(held is before for held in module.held())


def test_replacing_for_good() -> None:
    module, other = ManyNames(), nn.Linear(2, 3)
    replace_network(module, other)
    assert all(held is other for held in module.held())


def test_a_network_of_which_the_old_one_is_a_part_keeps_it() -> None:
    module = ManyNames()
    before = module.net
    outer = Wrapper(before)
    with network_replaced(module, outer):
        assert outer.inner is before
        assert module.model is outer
    assert outer.inner is before


def test_properties() -> None:
    module, other = Property(), nn.Linear(2, 3)
    with network_replaced(module, other):
        assert module.net is module.model is other
    made = MadeAnew()
    before = made.model
    with pytest.raises(BadConfiguration, match="gives another network"), network_replaced(made, other):
        pass
    assert made.model is before


def test_calls_of_the_whole_are_counted() -> None:
    net, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.zeros(1, 2)
    with counted_calls(net) as outer, counted_calls(net) as inner:
        net(x)
        net.forward(x)
        net[0](x)
    assert (outer.count, inner.count) == (2, 2)
    net(x)
    assert outer.count == 2
    assert "forward" not in vars(net)
    with pytest.raises(RuntimeError), counted_calls(net):
        net(torch.zeros(1, 5))
    assert "forward" not in vars(net)
