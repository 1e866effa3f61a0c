"""Sharded training of a network that is, or will be, prepared is refused at the first call, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

import qtorch
from qtorch import Mode
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from tests.small_task import SmallModule, small_trainer

pytestmark = [pytest.mark.usefixtures("alone"), pytest.mark.filterwarnings("ignore:FSDP:UserWarning")]

X = torch.linspace(-1, 1, 32).reshape(8, 4)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def by_layer(net: nn.Module) -> nn.Module:
    """Of a prepared network or a float one, every layer by itself."""
    for module in list(net.children()):
        if next(module.parameters(), None) is not None:
            fully_shard(module)
    return net


WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "fully_shard": fully_shard,
    "fully_shard of layers": by_layer,
    "FSDP": lambda net: FullyShardedDataParallel(net, device_id=torch.device("cpu")),
    "FSDP of parameters": lambda net: FullyShardedDataParallel(
        net, use_orig_params=True, device_id=torch.device("cpu")
    ),
}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("way", WAYS)
def test_a_prepared_network_computes_nothing_of_shards(way: str, mode: Mode) -> None:
    qat = qtorch.prepare(network(), X[:1])
    qtorch.calibrate(qat, [X])
    qtorch.set_mode(qat.train(), mode)
    sharded = WAYS[way](qat)
    with pytest.raises(BadConfiguration, match=r"FSDP's shards.*DistributedDataParallel"):
        sharded(X)


@pytest.mark.parametrize("way", WAYS)
def test_a_sharded_network_is_not_prepared(way: str) -> None:
    with pytest.raises(BadConfiguration, match=r"FSDP's shards.*DistributedDataParallel"):
        qtorch.prepare(WAYS[way](network()), X[:1])


def test_a_parameter_that_was_taken_away() -> None:
    qat = qtorch.prepare(network(), X[:1])
    qat.get_parameter("3.weight").data = torch.zeros(0)
    with pytest.raises(BadConfiguration, match=r"fully_connected.*without numbers.*DistributedDataParallel"):
        qat(X)


@pytest.mark.parametrize("strategy", [DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy])
def test_a_trainer_that_shards(strategy: Any) -> None:
    """Before the network is prepared; none of them is to be had on every machine."""
    trainer, qat, module = small_trainer(), QuantizationAwareTraining(), SmallModule()
    trainer._accelerator_connector.strategy = strategy.__new__(strategy)
    with pytest.raises(BadConfiguration, match=rf"trainer\.strategy.*{strategy.__name__}.*--trainer\.strategy ddp"):
        qat.setup(trainer, module, "fit")
    assert type(module.net) is nn.Sequential
