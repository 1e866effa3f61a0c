"""Quantized training ends with frozen batch norms, says so, and from there on computes the exported integers."""

from __future__ import annotations

import copy
import logging
import re
import warnings
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn

import export
import qtorch
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.phases import Phases
from qtorch.network.calibration import batch_normalized, observe_in_training, unfrozen_batch_norms
from tests.small_task import SmallData, SmallModule, small_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:saturated range.*")


class Steps(pl.Callback):
    """Of every training step: its epoch, whether batch norms were frozen, and whether its outputs are the export's."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool, bool]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        def look(network: nn.Module, arguments: tuple[Tensor, ...], y: Tensor) -> None:
            if network.training and network.mode.value == "quantized":
                same = torch.equal(y.detach(), exported(network, arguments[0]))
                self.seen.append((trainer.current_epoch, not unfrozen_batch_norms(network), same))

        pl_module.net.register_forward_hook(look)

    def frozen_from(self) -> int:
        """The first epoch in which every step was frozen."""
        return min(epoch for epoch, frozen, _ in self.seen if frozen)


def exported(network: Any, x: Tensor) -> Tensor:
    """What the file that an export would write now makes of ``x``."""
    graph = integer_graph(copy.deepcopy(network).eval())
    sink = graph.values[graph.outputs[0]].qparams
    assert sink is not None
    return torch.from_numpy(sink.dequantize(interpret(graph, codes_of(graph, (x,)))[graph.outputs[0]]))


def fit(qat: QuantizationAwareTraining, *callbacks: pl.Callback, **options: Any) -> tuple[SmallModule, Steps]:
    pl.seed_everything(0, verbose=False)
    module, steps = SmallModule(), Steps()
    # A dropped value is dropped in training alone.
    module.net[3].p = 0.0  # type: ignore[index,assignment]
    small_trainer(qat, steps, *callbacks, **options).fit(module, datamodule=SmallData())
    return module, steps


@pytest.mark.parametrize(("scales", "follow"), [("measured", None), ("measured", 6), ("lsq", None)])
def test_from_the_freezing_on_every_step_computes_the_exported_integers(scales: str, follow: int | None) -> None:
    qat = QuantizationAwareTraining(
        start=2, freeze_batch_norm=4, freeze_observers=follow, scales=scales, observer="moving_average"
    )
    _, steps = fit(qat)
    assert len(steps.seen) == 6 * 6
    assert {epoch for epoch, frozen, _ in steps.seen if frozen} == {4, 5, 6, 7}
    assert [step for step in steps.seen if step[1] and not step[2]] == []
    # That the batch makes other numbers is what freezing is for.
    assert not all(same for _, frozen, same in steps.seen if not frozen)


@pytest.mark.parametrize(
    ("phases", "epochs", "frozen"),
    [
        (Phases(), 1, 0), (Phases(), 2, 1), (Phases(), 10, 8), (Phases(0.6, None, 1.0), 10, 9),
        (Phases(6, None, 0.5), 8, 6), (Phases(1, None, 20), 8, 20), (Phases(1, None, None), 8, None),
    ],
)  # fmt: skip
def test_a_share_leaves_an_epoch_to_frozen_batch_norms(phases: Phases, epochs: int, frozen: int | None) -> None:
    assert phases.epochs(epochs).freeze_batch_norm == frozen


@pytest.mark.parametrize(
    ("options", "said", "frozen"),
    [
        ({"start": 3, "freeze_batch_norm": 6}, ["quantized from here; until epoch 6, batch norms are not frozen",
          "epoch 6: batch norms frozen; from here every value is the device's"], True),
        ({"start": 3, "freeze_batch_norm": 3}, ["quantized from here; batch norms freeze at once",
          "epoch 3: batch norms frozen; from here every value is the device's"], True),
        ({"start": 3, "freeze_batch_norm": None}, ["quantized from here; batch norms normalize by the batch to the end "
          "(qat.freeze_batch_norm: null), which no device does: values in training are not the device's"], False),
    ],
)  # fmt: skip
def test_a_run_says_when_its_values_are_the_device_s(
    options: dict[str, Any], said: list[str], frozen: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        module, _ = fit(QuantizationAwareTraining(**options))
    about = [line for line in caplog.messages if "batch norm" in line]
    assert len(about) == len(said)
    assert all(words in line for words, line in zip(said, about, strict=True))
    assert bool(unfrozen_batch_norms(module.net)) is not frozen


def test_a_network_without_batch_norms_is_the_device_at_once(caplog: pytest.LogCaptureFixture) -> None:
    module = SmallModule()
    module.net[1] = nn.Identity()  # type: ignore[index]
    with caplog.at_level(logging.INFO), warnings.catch_warnings():
        # Its checkpoints open as the module that it was made of.
        warnings.simplefilter("ignore")
        small_trainer(QuantizationAwareTraining(start=3)).fit(module, datamodule=SmallData())
    said = [line for line in caplog.messages if "device" in line or "batch norm" in line]
    assert said == ["epoch 3: ranges calibrated, training quantized from here; every value is the device's"]


def test_an_early_stop_of_quantized_training_freezes_batch_norms(caplog: pytest.LogCaptureFixture) -> None:
    # Nothing can improve by a million, so every phase stops after its first epochs.
    stopping = EarlyStopping("val_loss", patience=1, min_delta=1e6)
    qat = QuantizationAwareTraining(start=20, freeze_batch_norm=30)
    with caplog.at_level(logging.INFO):
        module, steps = fit(qat, stopping, max_epochs=40)
    assert (qat.began, steps.frozen_from(), steps.seen[-1][0]) == (2, 4, 5)
    going_on = QuantizationAwareTraining(start=20, freeze_batch_norm=30)
    going_on.load_state_dict(qat.state_dict())
    assert going_on.froze_early
    assert "epoch 4: batch norms frozen, as training would have stopped; from here" in caplog.text
    assert not unfrozen_batch_norms(module.net)


def test_a_run_that_ends_before_they_freeze_says_so_and_leaves_them_frozen() -> None:
    with pytest.warns(UserWarning, match=r"ended before epoch 6, .* Remedy: more epochs, or a lower qat\.freeze_batch"):
        module, steps = fit(QuantizationAwareTraining(start=1, freeze_batch_norm=6), max_epochs=3)
    assert not any(frozen for _, frozen, _ in steps.seen)
    assert not unfrozen_batch_norms(module.net)


def own_loop(*, frozen_from: int) -> qtorch.QuantizedNetwork:
    """Six quantized steps in a loop of one's own, of which those from ``frozen_from`` on have frozen batch norms."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))
    x = torch.rand(64, 3)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [2 * x])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    optimizer = torch.optim.SGD(net.parameters(), 0.001)
    with qtorch.checked_training(qat, optimizer):
        for step in range(6):
            qtorch.freeze_batch_norm(qat, step >= frozen_from)
            optimizer.zero_grad()
            qat(x).square().mean().backward()
            optimizer.step()
    return qat


def remark_of(qat: qtorch.QuantizedNetwork) -> list[str]:
    """What its export says of batch norms."""
    x = torch.rand(64, 3)
    bundle = export.export_network(qat, calibration=x, test=(x, x[:, :1]), options=export.ExportOptions())
    assert bundle.verdict is not None
    said = [each for each in bundle.verdict.remarks if "batch norm" in each]
    assert [each for each in said if each not in str(bundle)] == []
    return said


def test_a_loop_of_one_s_own_that_never_freezes_is_told_so_and_so_is_its_export() -> None:
    with pytest.warns(UserWarning, match=r"layers 0 normalized by the batch .* by qtorch\.freeze_batch_norm") as told:
        qat = own_loop(frozen_from=6)
    assert len(told) == 1
    assert remark_of(qat) == [str(told[0].message)]
    # Whoever opens its state is told too.
    opened = qtorch.prepare(copy.deepcopy(qat.origin.net), torch.zeros(1, 3))
    opened.load_state_dict(qat.state_dict())
    assert remark_of(opened) == [str(told[0].message)]


def test_one_that_freezes_for_its_last_part_is_not() -> None:
    assert remark_of(own_loop(frozen_from=3)) == []


def test_batch_norms_in_evaluation_and_in_float_are_none_of_it() -> None:
    qat = own_loop(frozen_from=0)
    qtorch.freeze_batch_norm(qat, False)
    qat.eval()(torch.rand(4, 3))
    qtorch.set_mode(qat.train(), qtorch.Mode.FLOAT)
    qat(torch.rand(4, 3))
    assert batch_normalized(qat) == []
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    qat(torch.rand(4, 3))
    assert batch_normalized(qat) == ["0"]


def test_ranges_that_follow_do_not_follow_what_dropout_made() -> None:
    """The device has no dropout, which doubles what it leaves: the grid is that of the layer in front."""

    def followed(rate: float) -> tuple[float, bool]:
        torch.manual_seed(0)
        net, x = nn.Sequential(nn.Linear(3, 6), nn.Dropout(rate), nn.Linear(6, 1)), torch.rand(64, 3)
        qat = qtorch.prepare(net, x[:1])
        qtorch.calibrate(qat, [0.1 * x])
        qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
        observe_in_training(qat, True)
        qat.train()(x).sum().backward()
        layer = next(each for name, each in qtorch.quantizers(qat).items() if name.startswith("0"))
        return layer.step, net[0].weight.grad is not None

    assert followed(0.5) == (followed(0.0)[0], True)


@pytest.mark.parametrize(
    ("scales", "mode", "whose", "said"),
    [
        ("measured", qtorch.Mode.FLOAT, "prepared", r"Mode\.FLOAT.*Remedy: train it in qtorch\.Mode\.QUANTIZED"),
        ("lsq", qtorch.Mode.FLOAT, "prepared", r"Mode\.FLOAT.*Remedy"),
        ("lsq", qtorch.Mode.QUANTIZED, "float", r"none of the 2 scales that are to be learned \(.*qtorch\.checked_tra"),
        ("lsq", qtorch.Mode.QUANTIZED, "prepared", None),
        ("measured", qtorch.Mode.QUANTIZED, "float", None),
    ],
)
def test_an_export_says_what_training_left_out(scales: Any, mode: qtorch.Mode, whose: str, said: str | None) -> None:
    """A network that was never quantized in training, and scales that no optimizer had."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.rand(64, 3)
    before = torch.optim.Adam(net.parameters(), 0.05)
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(scales=scales))
    optimizer = torch.optim.Adam(qat.parameters(), 0.05) if whose == "prepared" else before
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), mode)
    for _ in range(2):
        optimizer.zero_grad()
        qat(x).square().mean().backward()
        optimizer.step()
    bundle = export.export_network(qat, calibration=x, test=(x, x[:, :1]), options=export.ExportOptions())
    assert bundle.verdict is not None
    remarks = [each for each in bundle.verdict.remarks if "Remedy" in each]
    assert [bool(said and re.search(said, each)) for each in remarks] == [True] * (said is not None)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("averaged", [True, False])
def test_frozen_batch_norms_keep_their_statistics_where_they_are_reset(averaged: bool, momentum: float | None) -> None:
    """``update_bn`` measures those of norms that are not frozen, and of others nothing."""
    qat, x = own_loop(frozen_from=3), torch.rand(64, 3)
    (norm,) = (module for module in qat.modules() if isinstance(module, nn.BatchNorm1d))
    norm.momentum = momentum
    qat(x)
    network: Any = torch.optim.swa_utils.AveragedModel(qat).module if averaged else qat
    before = {name: each.clone() for name, each in qat.named_buffers() if "running" in name}
    network.train()(x)
    torch.optim.swa_utils.update_bn([x], network)
    after = dict(network.named_buffers())
    assert before
    if momentum is not None:
        assert all(torch.equal(after[name], each) for name, each in before.items())
    qtorch.freeze_batch_norm(network, False)
    torch.optim.swa_utils.update_bn([x], network)
    assert not any(torch.equal(after[name], each) for name, each in before.items())
    # What is loaded is kept, too.
    qtorch.freeze_batch_norm(network)
    state = {name: each.clone() + 0.25 for name, each in before.items()}
    network.load_state_dict({**network.state_dict(), **state})
    network(x)
    assert all(torch.equal(dict(network.named_buffers())[name], each) for name, each in state.items())
