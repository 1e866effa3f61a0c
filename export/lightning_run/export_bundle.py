"""A callback that exports at the end of a fit, by the very function that the command ``qtorch export`` runs."""

from __future__ import annotations

import copy
from os import PathLike
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_info

from export.bundle.bundle import Bundle
from export.bundle.dry_run import dry_run
from export.bundle.folder import probe_export
from export.lightning_run.exported_run import export_run
from export.lightning_run.kept_training import KeepInterrupted, kept_until_exported
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining, network_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.checkpointing.entry import task_of
from qtorch.lightning.checkpointing.saving import checkpoint_bytes, checkpoint_of
from qtorch.progress import in_lines, stage

__all__ = ["ExportBundle"]


class ExportBundle(pl.Callback):
    """Writes the bundle of what was trained to ``out``, with its checkpoint, at the end of a fit.

    What an export would refuse whatever is learned is refused before anything is trained. What was trained is kept
    before it is exported, also where training is interrupted. With ``post_training``, or a float format, no
    :class:`~qtorch.lightning.callback.QuantizationAwareTraining` is needed beside it; then no checkpoint is written.

    Example:
        >>> trainer = pl.Trainer(callbacks=[QuantizationAwareTraining(), export.ExportBundle("build/kws")])

    Args:
        out: folder for the files, made if need be.
        name: of the model and its files; the task's if ``None``.
        options: of the export; ``ExportOptions()`` if ``None``.

    Attributes:
        bundle: what the last fit gave; ``None`` before, and in every process but the first.
    """

    def __init__(self, out: str | PathLike[str], name: str | None = None, options: ExportOptions | None = None) -> None:
        self.out, self.name = Path(out), name
        self.options = ExportOptions() if options is None else options
        self.bundle: Bundle | None = None
        self._trained = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Try the export.

        Raises:
            BadInput: it could not be made or written, whatever is learned; or nothing quantizes the network.
        """
        self.bundle, self._trained, run = None, False, self._run(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        name = self.name or run.task
        probe_export(self.out, self.options, name)
        with in_lines(), stage("trying the export before anything is trained"):
            subject = subject_of(run)
            measure = subject.evaluation.measure
            if isinstance(measure, BadConfiguration):
                rank_zero_info(f"the export will have no test figures: {measure.got}; {measure.remedy}")
            dry_run(subject.networks, subject.inputs.get("train"), name, self.options)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Export.

        Raises:
            ParityError: a comparison that must be exact is not.
            BadInput: the network can't be exported, or the folder can't be written.
        """
        self._trained, checkpoint = True, checkpoint_of(trainer)
        if not trainer.is_global_zero:
            return
        if trainer.progress_bar_callback is not None:
            # Training is over, and with it its bar, which some would go on drawing until all hooks are.
            trainer.progress_bar_callback.teardown(trainer, pl_module, "fit")
        run = self._run(trainer, pl_module)
        name = self.name or run.task
        if run.qat not in trainer.callbacks:  # type: ignore[attr-defined]
            # Nothing says in its checkpoint how to open it.
            self.bundle = export_run(run, None, self.out, name, self.options)
            return
        content = checkpoint_bytes(checkpoint)
        with kept_until_exported(content, self.out, name, self.options):
            self.bundle = export_run(run, content, self.out, name, self.options)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Keep what was trained; see :class:`~export.lightning_run.kept_training.KeepInterrupted`."""
        # What fails over an export has its checkpoint already.
        if self._trained:
            return
        name = self.name or str(task_of(pl_module))
        KeepInterrupted(self.out, name, self.options).on_exception(trainer, pl_module, exception)

    def _run(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Run:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        qat = next((each for each in callbacks if isinstance(each, QuantizationAwareTraining)), None)
        if qat is None and (self.options.post_training or self.options.format != "int8"):
            qat = QuantizationAwareTraining()
            qat.original = copy.deepcopy(network_of(pl_module))
        if qat is None:
            raise BadConfiguration(
                where="ExportBundle", expected="a QuantizationAwareTraining callback beside it, which quantizes",
                got=f"{', '.join(type(each).__name__ for each in callbacks)}",
                remedy="pass both to the Trainer, as in callbacks=[QuantizationAwareTraining(), ExportBundle(out)]; or "
                "quantize without training, by options=ExportOptions(post_training=True)",
            )  # fmt: skip
        data: Any = getattr(trainer, "datamodule", None)
        return Run(str(task_of(pl_module)), pl_module, data, qat)
