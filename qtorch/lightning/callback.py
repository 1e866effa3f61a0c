"""Quantization-aware training as a Lightning callback: float first, then calibration, fake quantization, exact mode."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, fx, nn

from qtorch.calibration import calibrate, freeze_batch_norm, saturation, set_mode
from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration, NotFinite
from qtorch.fake_quant import Mode
from qtorch.prepare import prepare

__all__ = ["QuantizationAwareTraining"]


class QuantizationAwareTraining(pl.Callback):
    """Turns ``module.net`` into a QAT network that trains as float until ``start`` and quantized afterwards.

    The network is prepared before the optimizer is made and keeps its parameters, so nothing is swapped in the middle
    of a fit. At the first quantized epoch the ranges are measured on all training data; they then stay.

    Args:
        start: share of the epochs that train in float, in [0, 1).
        exact: share of the epochs, at the end, that train on the device's own integers, in [0, 1 - start].
        freeze: share of the epochs, at the end, in which batch norms use their running statistics as the device does,
            in [0, 1 - start].
        weights: one weight scale per output channel, or one per tensor.
        margin: how much wider than the training data every activation's range is; see :class:`QuantizationConfig`.
        activations: ``int8``, or ``int16`` beside int8 weights.
        weight_bits: 8 or 4.
        layers: exceptions for single layers; see :class:`QuantizationConfig`.
    """

    def __init__(
        self,
        start: float = 0.6,
        exact: float = 0.0,
        freeze: float = 0.2,
        weights: Literal["per_channel", "per_tensor"] = "per_channel",
        margin: float = 0.0,
        activations: Literal["int8", "int16"] = "int8",
        weight_bits: Literal[8, 4] = 8,
        layers: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        if not 0 <= start < 1 or not 0 <= exact <= 1 - start or not 0 <= freeze <= 1 - start:
            raise BadConfiguration(
                where="qat",
                expected="0 <= start < 1, 0 <= exact <= 1 - start and 0 <= freeze <= 1 - start",
                got=f"start {start}, exact {exact} and freeze {freeze}",
                remedy="leave some epochs to quantized training",
            )
        self.start, self.exact, self.freeze = start, exact, freeze
        self.config = QuantizationConfig(weights, margin, activations, weight_bits, layers or {})
        self.float_parameters: dict[str, Tensor] = {}
        self.mode = Mode.FLOAT
        self.seconds = {"float": 0.0, "qat": 0.0}
        self._since = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Prepare ``pl_module.net``, once."""
        if isinstance(pl_module.net, fx.GraphModule):
            return
        example = pl_module.example_input_array
        if not isinstance(example, Tensor):
            raise BadConfiguration(
                where=f"{type(pl_module).__name__}.example_input_array",
                expected="a tensor",
                got=f"{type(example).__name__}",
                remedy="set it in the module's constructor to one example batch",
            )
        pl_module.net = prepare(_network(pl_module), example, self.config)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Enter the phase that this epoch belongs to."""
        mode = self.mode_of(trainer.current_epoch, int(trainer.max_epochs or 1))
        if mode is not Mode.FLOAT and not self.float_parameters:
            self._lap("float")
            self.float_parameters = {n: p.detach().clone() for n, p in _network(pl_module).named_parameters()}
            calibrate(_network(pl_module), _inputs(trainer))
            rank_zero_info(f"epoch {trainer.current_epoch}: ranges calibrated, training quantized from here")
        self.mode = mode
        set_mode(_network(pl_module), mode)
        epochs = int(trainer.max_epochs or 1)
        freeze_batch_norm(_network(pl_module), trainer.current_epoch >= epochs - round(self.freeze * epochs))

    def mode_of(self, epoch: int, epochs: int) -> Mode:
        """The mode of one epoch out of ``epochs``; the last one is always quantized."""
        if epoch < min(round(self.start * epochs), epochs - 1):
            return Mode.FLOAT
        return Mode.EXACT if epoch >= epochs - round(self.exact * epochs) else Mode.FAKE

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop at the first loss that is not a number."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and not torch.isfinite(loss):
            raise NotFinite(
                where=f"training loss, epoch {trainer.current_epoch}, batch {batch_idx}",
                expected="a finite number",
                got=f"{float(loss)}",
                remedy="lower the learning rate or check the data",
            )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute what was last trained: a checkpoint does not say so by its weights."""
        set_mode(_network(pl_module), self.mode)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See :meth:`on_validation_start`."""
        set_mode(_network(pl_module), self.mode)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See :meth:`on_validation_start`."""
        set_mode(_network(pl_module), self.mode)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report saturated ranges."""
        self._lap("qat")
        if self.float_parameters:
            for found in saturation(_network(pl_module), _inputs(trainer)):
                rank_zero_warn(f"saturated range: {found}", category=UserWarning)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say what the checkpoint belongs to, so that it can be opened by itself."""
        from qtorch.lightning.checkpoint import KEY, Run, describe_run

        data: Any = getattr(trainer, "datamodule", None)
        if data is not None:
            task = getattr(pl_module, "task", type(pl_module).__name__.lower())
            checkpoint[KEY] = describe_run(Run(task, pl_module, data, self))  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """The float network that quantized training started from, and the mode of the last epoch."""
        return {"float_parameters": self.float_parameters, "mode": self.mode.value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""
        self.float_parameters = dict(state_dict["float_parameters"])
        self.mode = Mode(state_dict["mode"])

    def _lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] += now - self._since
        self._since = now


def _network(pl_module: pl.LightningModule) -> nn.Module:
    """The attribute ``net``, which is what gets quantized."""
    net = getattr(pl_module, "net", None)
    if not isinstance(net, nn.Module):
        raise BadConfiguration(
            where=type(pl_module).__name__,
            expected="the network in attribute 'net', an nn.Module",
            got=type(net).__name__,
            remedy="assign the network to self.net in the module's constructor",
        )
    return net


def _inputs(trainer: pl.Trainer) -> Iterator[Tensor]:
    """The inputs of every training batch, without targets."""
    loader: Any = trainer.train_dataloader
    for batch in loader:
        yield batch[0]
