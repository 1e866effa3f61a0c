"""Quantization-aware training as a Lightning callback: float first, then calibration, then the device's integers."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration, NotFinite
from qtorch.lightning.averaging import averaged_networks, averages_weights, require_first
from qtorch.lightning.bars import quiet_beside
from qtorch.lightning.checkpointing.description import require_openable
from qtorch.lightning.checkpointing.entry import draw_on, put_entry
from qtorch.lightning.monitors import forget_best, forget_patience
from qtorch.lightning.networks import (
    adopting,
    example_of,
    inputs_of,
    network_of,
    require_no_contradiction,
    require_still_prepared,
    require_whole_networks,
)
from qtorch.lightning.phases import Epochs, Phases, Point, forget_exact_after
from qtorch.lightning.replacing import replace_network
from qtorch.lightning.run_length import epochs_of, hold_until, told_in_steps
from qtorch.lightning.steps.first_batch import FirstBatch, require_batches
from qtorch.lightning.steps.training_inputs import training_inputs
from qtorch.network.calibration import (
    calibrate,
    freeze_batch_norm,
    observe_in_training,
    quantizers,
    saturation,
    set_mode,
    unfrozen_batch_norms,
)
from qtorch.network.described_ops import require_same_ops
from qtorch.network.mode import Mode
from qtorch.network.quantized_network import EXTRA_STATE, QuantizedNetwork, is_calibration
from qtorch.network.training_check import follow, outgrown, require_held, require_moved, snapshot
from qtorch.packed_state import unpacked
from qtorch.preparation.prepare import prepare

__all__ = ["QuantizationAwareTraining", "inputs_of", "network_of"]

#: How the log says what the network computes.
_LOGGED = {Mode.FLOAT: 0.0, Mode.QUANTIZED: 1.0}


class QuantizationAwareTraining(pl.Callback):
    """Turns ``module.net`` into a QAT network that trains as float until ``start`` and quantized afterwards.

    The network is prepared before the optimizer is made and keeps its parameters, so nothing is swapped in the middle
    of a fit. At the first quantized epoch the ranges are measured on all training data. Early stopping in float
    training begins quantized training early instead of ending the run; in quantized training it freezes batch norms
    early. From their freezing on, or from ``start`` where there are none, every value in training is the device's.
    Until then they normalize by the batch, on rounded weights and ranges. The log has ``qat_mode``: 0 float, 1
    quantized.

    Points in time are epochs (whole numbers) or shares of all epochs (0.0 to 1.0).

    Args:
        start: when float training ends.
        freeze_observers: until when ranges go on following the activations; ``None``: they stay as calibrated.
        freeze_batch_norm: from when batch norms use their running statistics as the device does; ``None``: never, so
            that no value in training is the device's.
        calibration_batches: how many batches of training data ranges are measured on; ``None``: all.
        quantization: see :class:`qtorch.QuantizationConfig`.

    Raises:
        BadConfiguration: points that contradict each other, or an impossible quantization.
    """

    def __init__(
        self,
        start: Point = 0.6,
        freeze_observers: Point | None = None,
        freeze_batch_norm: Point | None = 0.8,
        *,
        calibration_batches: int | None = None,
        **quantization: Any,
    ) -> None:
        forget_exact_after(quantization, stacklevel=2)
        self.phases = Phases(start, freeze_observers, freeze_batch_norm)
        if calibration_batches is not None and calibration_batches < 1:
            raise BadConfiguration(
                where="qat.calibration_batches",
                expected="at least 1, or null for all",
                got=f"{calibration_batches}",
                remedy="ranges can't be measured on no data",
            )
        self.calibration_batches = calibration_batches
        self.config = QuantizationConfig(**quantization)
        #: Options of the quantization that were asked for; others are whatever the network or checkpoint says.
        self.chosen = frozenset(quantization)
        #: Whether a run whose checkpoints can't be opened by themselves is refused, as its only way out.
        self.needs_checkpoint = False
        self.float_parameters: dict[str, Tensor] = {}
        self.mode = Mode.FLOAT
        #: The network before it was prepared, with whatever weights it had then.
        self.original: nn.Module = nn.Identity()
        #: The epoch in which quantized training began; ``None`` before.
        self.began: int | None = None
        #: Whether batch norms were frozen before their time, because training would have stopped.
        self.froze_early = False
        self.seconds = {"float": 0.0, "qat": 0.0}
        #: Mean loss by epoch: of the training batches, and, where there is validation, what it logs as ``val_loss``.
        self.losses: dict[str, dict[int, float]] = {"training": {}, "validation": {}}
        self._batch_losses: list[Tensor] = []
        self._since = 0.0
        self._min_epochs = 0
        self._loading: Any = None
        self._first_batch = FirstBatch()
        self._at_start: tuple[int, dict[str, Tensor]] = (0, {})

    def afresh(self) -> QuantizationAwareTraining:
        """Another one with the same options, that has seen no run."""
        another = QuantizationAwareTraining(**self.options())
        another.chosen = self.chosen
        return another

    def options(self) -> dict[str, Any]:
        """The arguments that make the same callback, as plain values."""
        return vars(self.phases) | {"calibration_batches": self.calibration_batches} | self.config.as_options()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Prepare ``pl_module.net``, once, under every name that the module has for it.

        Raises:
            BadConfiguration: the network was prepared with other options.
        """
        if stage == "fit":
            require_whole_networks(trainer)
            require_first(trainer, self)
            require_batches(trainer)
            if not told_in_steps(trainer):
                self._min_epochs = hold_until(trainer, self.epochs(trainer).start)
            if not isinstance(network_of(pl_module), QuantizedNetwork):
                self._forget()
        self.prepare_network(pl_module)
        if self._loading is None:
            self._loading = pl_module.register_load_state_dict_pre_hook(adopting(self.chosen))

    def _forget(self) -> None:
        """What is known of an earlier run: this one has another network."""
        self.began, self.mode, self.float_parameters, self.froze_early = None, Mode.FLOAT, {}, False
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        self.losses = {part: {} for part in self.losses}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave nothing of this run's in the module."""
        self._first_batch.forget()
        if self._loading is not None:
            self._loading.remove()
            self._loading = None

    def prepare_network(self, pl_module: pl.LightningModule) -> None:
        """Prepare ``pl_module.net``, or take over how it was prepared before.

        Raises:
            BadConfiguration: it was prepared with other options than those that this callback was given.
        """
        network = network_of(pl_module)
        if isinstance(network, QuantizedNetwork):
            require_no_contradiction(self.config.as_options(), self.chosen, network.origin.config, "the network")
            if network.mode is Mode.QUANTIZED:
                self.mode = network.mode
        else:
            network = prepare(network, example_of(pl_module), self.config)
            replace_network(pl_module, network)
        self.config, self.original = network.origin.config, network.origin.net

    def epochs(self, trainer: pl.Trainer) -> Epochs:
        """When what happens in this run.

        Raises:
            BadConfiguration: see :class:`Phases`.
        """
        return self.phases.epochs(epochs_of(trainer))

    def first_quantized_epoch(self, trainer: pl.Trainer) -> int:
        """When quantized training begins, or began."""
        return self.epochs(trainer).start if self.began is None else self.began

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; see that what will be trained is what will be exported, and can be opened again.

        Raises:
            BadConfiguration: no optimizer holds a parameter of the network.
        """
        self._since = time.perf_counter()
        if told_in_steps(trainer):
            self._min_epochs = hold_until(trainer, self.epochs(trainer).start)
        network = network_of(pl_module)
        follow(network, trainer.optimizers)
        if trainer.optimizers:
            require_held(network, trainer.optimizers, f"the optimizers of {type(pl_module).__name__}")
        if trainer.is_global_zero:
            self._require_openable(trainer, pl_module)

    def _require_openable(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        network: Any = network_of(pl_module)

        def require_same(again: pl.LightningModule) -> None:
            self.afresh().prepare_network(again)
            described = unpacked(network_of(again).get_extra_state())
            require_same_ops(described, network.ops, f"{type(again).__name__}, built again from its hyperparameters")

        require_openable(pl_module, getattr(trainer, "datamodule", None), require_same, self.needs_checkpoint)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on where a run was: of one that is resumed by the batch, the first epoch's start is not said again."""
        self._at_start = (trainer.global_step, snapshot(network_of(pl_module), trainer.optimizers))
        self._first_batch.watch(network_of(pl_module))
        self._enter_phase(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Enter the phase that this epoch belongs to."""
        self._batch_losses = []
        self._enter_phase(trainer, pl_module)

    def _enter_phase(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch, epochs, network = trainer.current_epoch, self.epochs(trainer), network_of(pl_module)
        require_still_prepared(pl_module)
        if self.began is None and (trainer.should_stop or epoch >= epochs.start):
            self._end_float_training(trainer)
            self._calibrate(trainer, pl_module)
            said = epochs.said_of_quantized(epoch, bool(unfrozen_batch_norms(network)))
            rank_zero_info(f"epoch {epoch}: ranges calibrated, training quantized from here; {said}")
        before, self.mode = self.mode, Mode.FLOAT if self.began is None else Mode.QUANTIZED
        quantized = self.mode is Mode.QUANTIZED
        if quantized and before is Mode.FLOAT:
            self._first_batch.watch(network)
        set_mode(network, self.mode)
        observe_in_training(network, quantized and epoch < epochs.freeze_observers)
        if quantized and epoch == epochs.freeze_observers > self.first_quantized_epoch(trainer):
            rank_zero_info(f"epoch {epoch}: ranges frozen")
        for copied in averaged_networks(trainer):
            set_mode(copied, self.mode)
        self._freeze_batch_norms(trainer, network, epoch, epochs.freeze_batch_norm if quantized else None)

    def _end_float_training(self, trainer: pl.Trainer) -> None:
        """An early stop of float training is its end, not the run's; what was reached there is no bar for the rest."""
        self.began = trainer.current_epoch
        trainer.fit_loop.min_epochs = max(self._min_epochs, self.began + 1)
        forget_best(trainer)
        if trainer.should_stop:
            self._go_on(trainer)
            rank_zero_info(f"epoch {self.began}: float training stopped early")

    def _go_on(self, trainer: pl.Trainer) -> None:
        trainer.should_stop = False
        forget_patience(trainer)

    def _freeze_batch_norms(self, trainer: pl.Trainer, network: nn.Module, epoch: int, planned: int | None) -> None:
        """Freeze them when it is time, or when training would stop before, which is the end of this phase alone."""
        unfrozen = bool(unfrozen_batch_norms(network))
        if planned is not None and unfrozen and trainer.should_stop:
            self._go_on(trainer)
            self.froze_early = epoch < planned
        frozen = planned is not None and (self.froze_early or epoch >= planned)
        for each in (network, *averaged_networks(trainer)):
            freeze_batch_norm(each, frozen)
        if planned is not None and unfrozen:
            trainer.fit_loop.min_epochs = max(self._min_epochs, 1 + (epoch if frozen else planned))
        if frozen and unfrozen:
            early = ", as training would have stopped" if self.froze_early else ""
            rank_zero_info(f"epoch {epoch}: batch norms frozen{early}; from here every value is the device's")

    def _calibrate(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._lap("float")
        network = network_of(pl_module)
        self.float_parameters = {
            name: each.detach().clone() for name, each in network.state_dict().items() if not name.endswith(EXTRA_STATE)
        }
        self._measure(trainer, pl_module)

    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ranges of the network, which are those of its averages too."""
        network = network_of(pl_module)
        with quiet_beside(trainer), closing(training_inputs(trainer, pl_module, self.calibration_batches)) as inputs:
            calibrate(network, inputs, together=True)
        self._hand_on(trainer, network)

    @staticmethod
    def _hand_on(trainer: pl.Trainer, network: nn.Module) -> None:
        """The ranges of the network to its averages."""
        measured = {name: state for name, state in network.state_dict().items() if is_calibration(name)}
        for copied in averaged_networks(trainer):
            copied.load_state_dict(measured, strict=False)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop at the first loss that is not a number, or not the network's; keep the others for the epoch's mean."""
        # Without one: a batch that the training step left out, or an optimization by hand that hands none out.
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self._first_batch.require_called(
            pl_module, batch, has_loss=isinstance(loss, Tensor), quantized=self.mode is not Mode.FLOAT
        )
        if isinstance(loss, Tensor) and not torch.isfinite(loss):
            raise NotFinite(
                where=f"training loss, epoch {trainer.current_epoch}, batch {batch_idx}",
                expected="a finite number",
                got=f"{float(loss)}",
                remedy="lower the learning rate or check the data",
            )
        if isinstance(loss, Tensor):
            self._batch_losses.append(loss.detach())

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the epoch's validation loss, if there is one."""
        loss = trainer.callback_metrics.get("val_loss")
        if loss is not None and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.losses["validation"][trainer.current_epoch] = float(loss)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the epoch's mean loss; say in the log and the progress bar what was trained."""
        if self._batch_losses:
            mean: Tensor = trainer.strategy.reduce(torch.stack(self._batch_losses).mean(), reduce_op="mean")
            # What Lightning hands out is divided by the number of batches whose gradients it accumulates.
            self.losses["training"][trainer.current_epoch] = float(mean) * trainer.accumulate_grad_batches
        pl_module.log("qat_mode", _LOGGED[self.mode], prog_bar=True, sync_dist=True)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See that the network was trained and can be exported, and report outgrown ranges.

        Raises:
            BadConfiguration: steps were taken, and no weight has moved.
        """
        network = network_of(pl_module)
        first, before = self._at_start
        if trainer.global_step > first:
            require_moved(network, before, f"training of {type(pl_module).__name__}")
        epochs = self.epochs(trainer)
        if epochs.freeze_batch_norm is not None and unfrozen_batch_norms(network):
            for each in (network, *averaged_networks(trainer)):
                freeze_batch_norm(each)
            if self.began is not None:
                rank_zero_warn(epochs.said_of_early_end())
        if self.began is None:
            rank_zero_warn("training ended before quantized training began: its ranges are calibrated, no more")
            self.began, self.mode = trainer.current_epoch, Mode.QUANTIZED
            self._calibrate(trainer, pl_module)
            set_mode(network, self.mode)
        elif averages_weights(trainer) and all(q.learned == "measured" for q in quantizers(network).values()):
            # Those of training: what they hold back, wider ones would let out. Learned ones were averaged too.
            self._hand_on(trainer, network)
            for each in (network, *averaged_networks(trainer)):
                set_mode(each, self.mode)
        self._lap("qat")
        with quiet_beside(trainer), closing(training_inputs(trainer, pl_module)) as inputs:
            outgrew = [each for each in saturation(network, inputs) if each.outgrown]
        if outgrew:
            remedy = "qat.margin 0.2, or ranges that follow (qat.freeze_observers 0.9) or are learned (qat.scales lsq)"
            rank_zero_warn(outgrown(outgrew, remedy), category=UserWarning)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say what the checkpoint belongs to, so that it can be opened by itself, and how to go on from it."""
        put_entry(checkpoint, trainer, pl_module, self.options(), self.state_dict())

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on drawing random numbers where the saved run was."""
        if trainer.state.fn == "fit":
            draw_on(checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """The float network that quantized training started from, when that was, the mode of the last epoch, losses."""
        return {
            "float_parameters": self.float_parameters,
            "mode": self.mode.value,
            "began": self.began,
            "froze_early": self.froze_early,
            "losses": {part: dict(losses) for part, losses in self.losses.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See :meth:`state_dict`."""
        self.float_parameters = dict(state_dict["float_parameters"])
        self.mode, self.began = Mode(state_dict["mode"]), state_dict["began"]
        # Checkpoints of earlier versions have neither.
        self.froze_early = state_dict.get("froze_early", False)
        kept = state_dict.get("losses", {})
        self.losses = {part: dict(kept.get(part, {})) for part in self.losses}

    def _lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] += now - self._since
        self._since = now
