"""Two processes whose batch norms are synchronized train, in every mode, as one process does with both batches."""

from __future__ import annotations

import copy
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

import qtorch
from export.graph.build import integer_graph
from export.graph.text import text_of
from qtorch import Mode
from qtorch.capture.capture import CapturedNetwork, capture_of
from qtorch.capture.training_comparison import training_difference
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.network.calibration import observe_in_training
from qtorch.network.quantized_network import QuantizedNetwork
from tests.device_cases import quantized_step
from tests.small_task import SmallData, SmallModule, small_trainer
from tests.test_exact_training import assert_exact

#: Of which each process has half.
SAMPLES = torch.randn(16, 2, 8, 8, generator=torch.Generator().manual_seed(1)) + 1.0


def network(momentum: float | None = 0.1) -> nn.Module:
    """Batch norms behind a convolution, alone, and behind a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU(), nn.MaxPool2d(2),
        nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip


def synchronized(net: nn.Module) -> Any:
    return nn.SyncBatchNorm.convert_sync_batchnorm(net)


def prepared(way: str, momentum: float | None) -> QuantizedNetwork:
    """A network whose batch norms are synchronized before it is prepared, after it, or not at all."""
    net = network(momentum)
    qat = qtorch.prepare(synchronized(net) if way == "before" else net, SAMPLES[:1])
    return synchronized(qat) if way == "after" else qat  # type: ignore[no-any-return]


def phases(qat: QuantizedNetwork, wrapped: nn.Module, mine: Tensor) -> list[dict[str, Tensor]]:
    """A step in float, calibration, steps by the batch while ranges follow, and steps with frozen norms; states."""
    optimizer = torch.optim.SGD(qat.parameters(), 0.05)
    states = []

    def step(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            wrapped(mine).square().mean().backward()
            optimizer.step()
        # What is packed is compared as scales.
        tensors = {name: each for name, each in qat.state_dict().items() if not name.endswith("_extra_state")}
        tensors |= {f"{name}.scale": each.scale for name, each in qtorch.quantizers(qat).items()}
        states.append(copy.deepcopy(tensors))

    wrapped.train()
    step(1)
    qtorch.calibrate(qat, [mine], together=True)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    observe_in_training(qat, True)
    step(1)
    observe_in_training(qat, False)
    step(1)
    qtorch.freeze_batch_norm(qat)
    step(2)
    return states


def follow_each_other(rank: int, way: str, momentum: float | None) -> None:
    """What one process of two comes to, beside what the other does, and one that has both batches."""
    qat, alone = prepared(way, momentum), prepared("", momentum)
    wanted = phases(alone, alone, SAMPLES)
    found = phases(qat, DistributedDataParallel(qat), SAMPLES[8 * rank :][:8])
    for index, (state, first, second) in enumerate(zip(wanted, *gathered(found), strict=True)):
        assert state.keys() == first.keys() == second.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), (index, key)
            torch.testing.assert_close(value, state[key], rtol=1e-3, atol=1e-5, msg=f"{key} of state {index}")
    first, second = gathered(quantized_step(qat, SAMPLES))
    assert torch.equal(first, second)
    assert_exact(qat)


class OneNorm(pl.Callback):
    """Sees after every step that processes have measured the same."""

    modes: list[Mode]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.modes = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *arguments: Any) -> None:
        first, second = gathered(dict(pl_module.net.named_buffers()))
        assert all(torch.equal(first[name], second[name]) for name in first)
        self.modes.append(pl_module.net.mode)


def train_with_lightning(folder: Path) -> None:
    """Its trainer puts synchronized norms into a network that is prepared, and takes no part in what they compute."""
    seen, module = OneNorm(), SmallModule()
    qat = QuantizationAwareTraining(start=1, freeze_observers=2, freeze_batch_norm=3)
    trainer = small_trainer(qat, seen, max_epochs=4, sync_batchnorm=True, strategy="ddp", devices=2)
    trainer.fit(module, datamodule=SmallData())
    network: Any = module.net
    assert set(seen.modes) == {Mode.FLOAT, Mode.QUANTIZED}
    assert network.norms_frozen
    assert not any(isinstance(each, nn.SyncBatchNorm) for each in network.modules())
    states = gathered(network.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    network.eval()
    assert not any(op.norm.training for op in network.modules() if isinstance(op, qtorch.QuantizedOp) and op.norm)
    for each in network.modules():
        if isinstance(each, nn.Dropout):
            each.p = 0.0
    assert_exact(network)
    # Its state is that of a network whose norms were never synchronized.
    again = qtorch.prepare(SmallModule().net, module.example_input_array)
    again.load_state_dict(network.state_dict())
    assert text_of(integer_graph(again)) == text_of(integer_graph(network))


def test_norms_that_a_trainer_has_put_back_are_batch_norms() -> None:
    """Lightning leaves modules of its own where synchronized norms were."""
    reverted = TorchSyncBatchNorm().revert(synchronized(network()))
    one, other = (qtorch.prepare(net.eval(), SAMPLES[:1]) for net in (reverted, network()))
    assert one.ops == other.ops
    assert torch.equal(one(SAMPLES), other(SAMPLES))


@pytest.mark.usefixtures("alone")
def test_training_is_compared_in_a_process_that_may_wait_for_no_other() -> None:
    net = synchronized(network())
    capture = capture_of(net, SAMPLES[:1])
    captured, _ = capture.traced(CapturedNetwork)
    assert not training_difference(captured, net, capture.form, capture.examples, draws=False)
    net[1].momentum = 0.5
    assert "'1.running_mean'" in training_difference(captured, net, capture.form, capture.examples, draws=False)


def gathered(mine: Any) -> list[Any]:
    both: list[Any] = [None, None]
    torch.distributed.all_gather_object(both, mine)
    return both


def train(rank: int, folder: Path) -> None:
    """One process of two."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for way, momentum in (("before", 0.1), ("after", None)):
        follow_each_other(rank, way, momentum)
    # As a launcher says it to Lightning, which then starts no processes.
    os.environ |= {"TORCHELASTIC_RUN_ID": "1", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
    warnings.simplefilter("ignore")
    train_with_lightning(folder)
    torch.distributed.barrier()
    # Without the usual end, at which gloo's threads now and then abort the process: all that had to hold has held.
    os._exit(0)


def test_two_processes_are_one_with_both_batches(tmp_path: Path) -> None:
    multiprocessing.spawn(train, (tmp_path,), nprocs=2)
