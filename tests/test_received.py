"""Ranges are measured on what the network is called with, whatever a batch is and whatever a step makes of it."""

from __future__ import annotations

import collections
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader

import qtorch
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.steps.received import Received
from tests.plain_lightning import TRAINED, Plain, PlainData, X, Y
from tests.small_task import small_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*val_dataloader.*"),
    pytest.mark.filterwarnings("ignore:You have overridden .*batch_transfer"),
]

Named = collections.namedtuple("Named", ["label", "window"])


def far(x: Tensor) -> Tensor:
    """What the modules below make of an input: other limits, another middle."""
    return (x - 0.25) * 8


class Forward(Plain):
    """Preprocesses in its own forward."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(far(x))


class Step(Plain):
    """Preprocesses in its steps."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self.net(far(batch[0])), batch[1])


class Transfer(Plain):
    """Preprocesses on the device."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [far(batch[0]), batch[1]]


class Before(Plain):
    """Preprocesses on its way there."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [far(batch[0]), batch[1]]


class ByName(Step):
    """Calls the network by the name of its argument, without the number of the batch."""

    def training_step(self, batch: Any) -> Tensor:  # type: ignore[override]
        return mse_loss(self.net(input=far(batch[0])), batch[1])


#: Batches of other forms than a list of inputs and targets.
FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "a tensor": lambda x, y: x,
    "a dict": lambda x, y: {"y": y, "x": x},
    "a dict of dicts": lambda x, y: {"x": {"inner": [x]}},
    "a named tuple": lambda x, y: Named(y, x),
}


class Batches(PlainData):
    """The task's rows in batches of another form."""

    def __init__(self, form: str = "a tensor") -> None:
        super().__init__()
        self.form = form

    def train_dataloader(self) -> Any:
        rows: Any = range(TRAINED)
        return DataLoader(rows, batch_size=32, collate_fn=lambda at: FORMS[self.form](X[at], Y[at]))


class Reads(Plain):
    """Reads a batch by whatever it is."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x = batch if isinstance(batch, Tensor) else batch["x"] if isinstance(batch, dict) else batch.window
        x = x["inner"][0] if isinstance(x, dict) else x
        return self.net(far(x)).square().mean()


WAYS: dict[str, tuple[type[Plain], Callable[[], PlainData]]] = {
    "in forward": (Forward, PlainData),
    "in training_step": (Step, PlainData),
    "on the device": (Transfer, PlainData),
    "on the way to the device": (Before, PlainData),
    "by keyword": (ByName, PlainData),
    **{form: (Reads, partial(Batches, form)) for form in FORMS},
}


def trained(module: pl.LightningModule, data: pl.LightningDataModule, **options: Any) -> Any:
    torch.manual_seed(0)
    trainer = small_trainer(QuantizationAwareTraining(start=1, freeze_batch_norm=None), max_epochs=2, **options)
    trainer.fit(module, datamodule=data)
    return module.net


def limits(quantizer: Any) -> tuple[float, float]:
    """What a quantizer's grid holds."""
    qparams = quantizer.qparams()
    low, high = ((code - qparams.zero_point[0]) * qparams.scale[0] for code in qparams.code_range)
    return low, high


def input_limits(network: Any) -> list[tuple[float, float]]:
    found = qtorch.quantizers(network)
    return [limits(found[name]) for name in found if name.startswith("input") or name.endswith("_quantizer")]


@pytest.mark.parametrize("way", WAYS)
def test_ranges_are_those_of_what_the_network_is_called_with(way: str) -> None:
    kind, data = WAYS[way]
    ((low, high),) = input_limits(trained(kind(), data()))
    seen, step = far(X[:TRAINED]), 0.05
    assert low == pytest.approx(float(seen.min()), abs=step)
    assert high == pytest.approx(float(seen.max()), abs=step)


class Noisy(Plain):
    """Trains on more than there is."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        noise = torch.randint(0, 2, (len(batch[0]), 1)) * 6 if self.training else 0
        return mse_loss(self.net(batch[0] + noise), batch[1])


def test_ranges_hold_what_augmentation_makes() -> None:
    ((low, high),) = input_limits(trained(Noisy(), PlainData()))
    assert low == pytest.approx(0, abs=0.05)
    assert high == pytest.approx(7, abs=0.1)


class Siamese(Plain):
    """Calls the network twice in a step, the second time with larger numbers."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        near = self.net(batch[0])
        return mse_loss(near + self.net(batch[0] * 5), batch[1])


class ByHand(Siamese):
    """Optimizes by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()


@pytest.mark.parametrize("kind", [Siamese, ByHand])
def test_every_call_of_a_step_is_measured(kind: type[Plain]) -> None:
    ((_, high),) = input_limits(trained(kind(), PlainData()))
    assert high == pytest.approx(5 * float(X[:TRAINED].max()), abs=0.05)


class Counting(Siamese):
    """Leaves traces of every kind, before and behind the network."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.seen = 0, [torch.zeros(1)]
        self.register_buffer("mean", torch.zeros(4))
        self.inner = nn.BatchNorm1d(4)
        self.logged: dict[str, Any] = {}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.steps += 1
        self.mean.add_(batch[0].mean(0))
        self.seen[0].add_(1)
        self.seen.append(torch.rand(1))
        self.logged["x"] = batch_idx
        self.new = 1
        self.net.requires_grad_(False)
        loss = super().training_step([self.inner(batch[0]), batch[1]], batch_idx)
        self.steps += 1
        self.log("loss", loss)
        return loss


def test_a_look_at_a_step_leaves_no_trace() -> None:
    module: Any = Counting()
    module.net = qtorch.prepare(module.net, torch.zeros(1, 4))
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    net, names, norm = module.net, set(vars(module)), module.inner
    received = Received(module, ("training_step",))
    assert [len(received((X[:32], Y[:32]), index)) for index in range(3)] == [2, 2, 2]
    assert (module.steps, len(module.seen), float(module.seen[0]), module.logged) == (0, 1, 0.0, {})
    assert set(vars(module)) == names
    assert module.net is net
    assert module.inner is norm
    assert all(p.requires_grad and bool((p.grad == 1).all()) for p in module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items() if name in before)
    assert not module.net.calibrated
    assert module.net.training


class Draws(pl.Callback):
    """A random number behind every batch that is trained on."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.seen.append(float(torch.rand(1)))


def test_training_draws_what_it_would_draw_if_nobody_had_looked() -> None:
    """Compared with plain Lightning, in which nothing is measured."""
    found = []
    for callbacks in ([], [QuantizationAwareTraining(start=2)]):
        torch.manual_seed(0)
        draws = Draws()
        small_trainer(*callbacks, draws, max_epochs=3).fit(Noisy(), datamodule=PlainData())
        found.append(draws.seen)
    assert found[0] == found[1]


class Never(Plain):
    """Reaches the network in evaluation alone."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.net[0](batch[0]).mean()


def test_a_step_that_never_calls_the_network_is_refused() -> None:
    trainer = small_trainer(QuantizationAwareTraining(start=0), max_epochs=2)
    with pytest.raises(
        BadConfiguration, match=r"training_step of Never: expected calls of self\.net, got none in 4 batches"
    ):
        trainer.fit(Never(), datamodule=PlainData())


def test_a_step_that_fails_without_a_run_says_what_stands_for_it() -> None:
    class Needy(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return mse_loss(self.net(batch[0] * self.trainer.max_epochs), batch[1])

    module: Any = Needy()
    module.net = qtorch.prepare(module.net, torch.zeros(1, 4))
    with pytest.warns(
        UserWarning, match=r"first part of each batch stands for.*training_step ends before.*not attached"
    ):
        (taken,) = Received(module, ("training_step",))((X[:8], Y[:8]))
    assert torch.equal(taken, X[:8])
    with pytest.raises(BadConfiguration, match=r"network's shapes, \[\(4,\)\], got \[\(1,\)\].*network_inputs"):
        Received(module, ("training_step",))((Y[:8], X[:8]))
