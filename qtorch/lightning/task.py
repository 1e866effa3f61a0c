"""What the shipped tasks share: a LightningModule around a plain network, its two-phase schedule, its figures."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from qtorch.bounds import shown
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining

__all__ = ["Task"]

#: Share of float training during which the learning rate rises.
_WARM_UP = 0.05

#: Inputs and targets of one part of a data set.
Part = tuple[Tensor, Tensor]


class Task(pl.LightningModule):
    """Trains ``net`` with Adam; the learning rate falls along a half cosine, once per phase.

    It rises first, during 5 % of float training. An optimizer or scheduler from the command line replaces these.

    Args:
        net: the network; what it maps to what, a subclass says.
        example: an input batch of one, for tracing.
        learning_rate: at the start of float training.
        qat_learning_rate: at the start of quantized training.

    Attributes:
        columns: names of the figures of :meth:`metrics` that a report shows, the most telling first.
        better: which of them are better the higher, and which the lower; a report does not judge others.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = {}

    def __init__(
        self, net: nn.Module, example: Tensor, learning_rate: float = 1e-2, qat_learning_rate: float = 1e-3
    ) -> None:
        super().__init__()
        for name, rate in (("learning_rate", learning_rate), ("qat_learning_rate", qat_learning_rate)):
            if not _positive(rate):
                raise BadConfiguration(
                    where=f"model.{name}", expected="a positive number", got=shown(rate), remedy="try 0.01"
                )
        self.net = net
        self.example_input_array = example
        self.learning_rate, self.qat_learning_rate = learning_rate, qat_learning_rate
        self._losses: list[Tensor] = []

    @abstractmethod
    def objective(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss of one batch, ``[]``."""

    @abstractmethod
    def metrics(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, float]:
        """Figures of the network's ``output`` for test inputs ``x``, in double precision."""

    def baseline(self, train: Part, test: Part) -> Mapping[str, dict[str, float]]:
        """Figures of simpler models fitted on ``train``, by name: the bar to clear."""
        return {}

    def contributions(self, x: Tensor, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        """What each test sample contributes to figures of :meth:`metrics`, by name: ``[N]`` whose mean is the figure.

        Intervals are made of these; a figure that is not among them gets none.
        """
        return {}

    def simple_outputs(self, figure: str, train: Part, test: Part) -> Mapping[str, Tensor]:
        """Outputs ``[N, ...]`` for the test part of what is simpler than a network, by what it is called.

        The first looks at nothing: what a network gains is counted from there. None: that is found by the targets.
        """
        return {}

    def forward(self, x: Tensor) -> Tensor:
        """What the network says."""
        return self.net(x)

    def training_step(self, batch: Part, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = self.objective(self.net(batch[0]), batch[1])
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_start(self) -> None:
        """Begin to collect losses."""
        self._losses = []

    def on_train_epoch_end(self) -> None:
        """Logs ``loss``, the mean over the epoch's batches: once, because logging takes as long as a small network.

        Of an epoch that is resumed behind its last batch there are none.
        """
        if self._losses:
            self.log("loss", torch.stack(self._losses).mean(), prog_bar=True, sync_dist=True)

    def validation_step(self, batch: Part, batch_idx: int) -> None:
        """Logs ``val_loss``."""
        output = self.net(batch[0])
        self.log("val_loss", self.objective(output, batch[1]), prog_bar=True, sync_dist=True, batch_size=len(batch[0]))

    def test_step(self, batch: Part, batch_idx: int) -> None:
        """Keeps the outputs for :meth:`on_test_epoch_end`."""
        self._tested.append((batch[0].cpu(), self.net(batch[0]).cpu(), batch[1].cpu()))

    def on_test_epoch_start(self) -> None:
        """Forget what was kept."""
        self._tested: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_test_epoch_end(self) -> None:
        """Logs the figures of the whole test part as ``test_...``: most are no mean over batches."""
        x, output, target = (torch.cat(parts) for parts in zip(*self._tested, strict=True))
        for name, value in self.metrics(x, output, target).items():
            self.log(f"test_{name}", value, sync_dist=True)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Outputs for one batch of inputs."""
        return self.net(batch)

    def configure_optimizers(self) -> Any:
        """Adam with the two-phase schedule."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def _rate(self, epoch: int) -> float:
        epochs = int(self.trainer.max_epochs or 1)
        start = self._first_quantized_epoch(epochs)
        if epoch < start:
            # The first steps towards a distant mean are large; without a warm-up they can leave hidden units dead.
            return _half_cosine(epoch, start) * min(1.0, (epoch + 1) / max(1.0, _WARM_UP * start))
        return self.qat_learning_rate / self.learning_rate * _half_cosine(epoch - start, epochs - start)

    def _first_quantized_epoch(self, epochs: int) -> int:
        callbacks: Any = self.trainer.callbacks  # type: ignore[attr-defined]
        quantizing = [callback for callback in callbacks if isinstance(callback, QuantizationAwareTraining)]
        return quantizing[0].first_quantized_epoch(self.trainer) if quantizing else epochs


def _half_cosine(step: int, steps: int) -> float:
    """1 at step 0, falling to 1 % at ``steps``."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step, steps) / max(steps, 1)))


def _positive(rate: Any) -> bool:
    """Whether it is a number that a float64 holds, above 0."""
    try:
        return not isinstance(rate, (bool, str)) and 0 < float(rate) < math.inf
    except (TypeError, ValueError, OverflowError):
        return False
