"""LightningCLI with quantization: ``fit``, ``validate``, ``test``, ``predict``, all from one commented YAML.

A recipe calls :func:`subcommand` with its own classes. The command ``qtorch`` takes the classes, yours or the shipped
ones, from the configuration: ``qtorch fit --config run.yaml`` with ``model: {class_path: ...}``.
"""

from __future__ import annotations

import warnings
from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn

from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import adopt_options, read_checkpoint, require_resumable
from qtorch.lightning.checkpointing.changed_options import changed_options
from qtorch.lightning.checkpointing.entry import KEY
from qtorch.lightning.checkpointing.resume import ResumePoint
from qtorch.lightning.command_line.help_sections import SectionedParser
from qtorch.lightning.command_line.notices import tensorboard_absent
from qtorch.lightning.command_line.outcome import run_command
from qtorch.lightning.command_line.refusals import require_options
from qtorch.lightning.networks import example_of, network_of
from qtorch.lightning.phases import EXACT_AFTER, said_of_exact_after
from qtorch.network.quantized_network import QuantizedNetwork

__all__ = ["SUBCOMMANDS", "QuantizationCLI", "run_command", "subcommand"]

#: Steps after which the progress bar is drawn anew.
_STEPS_PER_BAR = 50
#: What Lightning takes for ``--ckpt_path`` beside a path.
_NAMED = ("best", "last", "hpc", "registry")

SUBCOMMANDS = ("fit", "validate", "test", "predict")


class QuantizationCLI(LightningCLI):
    """LightningCLI whose trainer has the quantization callback, with its options under ``--qat``."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """One whose help has sections."""
        self.parser_class = SectionedParser
        return super().init_parser(**kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``--qat...``, ``--threads`` and ``--resume``."""
        parser.add_lightning_class_args(QuantizationAwareTraining, "qat")
        parser.add_argument(f"--qat.{EXACT_AFTER}", default=SUPPRESS, help=SUPPRESS)
        if isinstance(parser, SectionedParser):
            parser.show_first(QuantizationConfig, "qat")
        parser.add_argument(
            "--threads",
            type=int | None,
            default=None,
            help="threads of a PyTorch operation; a network of a few thousand weights is fastest with 1",
        )

        parser.add_argument(
            "--resume",
            type=Path | None,
            default=None,
            help="a folder to keep the state after every epoch in; a run that finds one there goes on from it",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the checkpoint that the run begins with: what it says of network and quantization holds.

        Raises:
            BadCheckpoint: it can't be read.
            BadConfiguration: an option that was given is another than the checkpoint's.
        """
        super().parse_arguments(parser, args)
        if EXACT_AFTER in self._options["qat"]:
            rank_zero_warn(said_of_exact_after(self._options["qat"].pop(EXACT_AFTER)))
        require_options(self._options)
        self._asked = self._subcommands_own(parser.parse_args(args, defaults=False).as_dict())
        path = self._first_checkpoint()
        if path is not None:
            checkpoint = read_checkpoint(path)
            adopt_options(checkpoint, self._options, self._asked, str(path))
            if self.config.get("subcommand") in (None, "fit"):
                for line in changed_options(checkpoint.get(KEY) or {}, self._options):
                    rank_zero_info(f"going on from {path}: {line}")

    def _parse_ckpt_path(self) -> None:
        """Nothing more: Lightning would take a checkpoint's hyperparameters in place of those that were given."""

    def _subcommands_own(self, config: Any) -> Any:
        name = config.get("subcommand")
        return config[name] if name else config

    def _first_checkpoint(self) -> Path | None:
        """What the run goes on from, or looks at."""
        resume = self._options.get("resume")
        point = None if resume is None else ResumePoint(Path(resume)).checkpoint
        return _plain_path(self._options) if point is None else Path(point)

    @property
    def _options(self) -> Any:
        """The options, a subcommand's own if there is one."""
        return self._subcommands_own(self.config)

    def before_instantiate_classes(self) -> None:
        """Set the number of threads."""
        threads = self._options.get("threads")
        if threads is not None:
            torch.set_num_threads(threads)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """With the quantization callback first: others may copy the module, which must be prepared by then.

        Raises:
            BadConfiguration: there is another one.
        """
        chosen: Any = self._get(self._get(self.config_init, "trainer", default={}), "callbacks") or []
        if any(
            isinstance(each, QuantizationAwareTraining) for each in (chosen if isinstance(chosen, list) else [chosen])
        ):
            raise BadConfiguration(
                where="trainer.callbacks",
                expected="no QuantizationAwareTraining: the command line has its own",
                got="one",
                remedy="give its options under qat",
            )
        trainer = super().instantiate_trainer(**kwargs)
        asked = self._get(self._get(self.config_init, "trainer", default={}), "logger")
        if asked in (None, True) and tensorboard_absent():
            rank_zero_info(
                f"TensorBoard is not installed: losses go to CSV files below {trainer.default_root_dir}; for curves, "
                "pip install tensorboard"
            )
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, QuantizationAwareTraining):
                # The command line hands over every option, asked for or not.
                callback.chosen = callback.chosen & frozenset(self._asked.get("qat") or ())
                callback.needs_checkpoint = True
        callbacks.sort(key=lambda callback: not isinstance(callback, QuantizationAwareTraining))
        for i, callback in enumerate(callbacks):
            if type(callback) is TQDMProgressBar and callback.refresh_rate == 1:
                # To draw the bar at every step takes as long as a small network's step.
                callbacks[i] = TQDMProgressBar(refresh_rate=_STEPS_PER_BAR)
        if self._options.get("resume") is not None:
            callbacks.append(ResumePoint(self._options["resume"]))
        return trainer

    def before_fit(self) -> None:
        """Go on where an earlier run was; what the network is prepared with is asked for before data are loaded.

        Raises:
            BadConfiguration: there is no example of an input.
        """
        if not isinstance(network_of(self.model), QuantizedNetwork):
            example_of(self.model)
        earlier = self.checkpoint_to_resume
        if earlier is None:
            self._require_checkpoint()
        else:
            self.config_init[self.subcommand]["ckpt_path"] = earlier

    def before_validate(self) -> None:
        """See :meth:`_require_checkpoint`."""
        self._require_checkpoint()

    def before_test(self) -> None:
        """See :meth:`_require_checkpoint`."""
        self._require_checkpoint()

    def before_predict(self) -> None:
        """See :meth:`_require_checkpoint`."""
        self._require_checkpoint()

    def _require_checkpoint(self) -> None:
        """See that what is in ``--ckpt_path`` fits this run."""
        asked = self.config_init[self.subcommand].get("ckpt_path")
        if asked is None and self.subcommand != "fit":
            rank_zero_warn(f"{self.subcommand} without --ckpt_path: the network is the one that its constructor makes")
        if asked == "last" and self.subcommand != "fit":
            raise BadConfiguration(
                where="--ckpt_path",
                expected="a file: nothing was trained in this process that could be the last",
                got="last",
                remedy="name the checkpoint",
            )
        path = _plain_path(self.config_init[self.subcommand])
        if path is not None:
            require_resumable(path, self.model, self._qat, self._epochs if self.subcommand == "fit" else -1)

    @property
    def checkpoint_to_resume(self) -> str | None:
        """What an earlier run left in the folder given by ``--resume``.

        Raises:
            BadCheckpoint, BadConfiguration: this run can't go on from it.
        """
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        earlier = next((c.checkpoint for c in callbacks if isinstance(c, ResumePoint)), None)
        if earlier is not None:
            require_resumable(Path(earlier), self.model, self._qat, self._epochs)
        return earlier

    @property
    def _qat(self) -> QuantizationAwareTraining:
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        return next(c for c in callbacks if isinstance(c, QuantizationAwareTraining))

    @property
    def _epochs(self) -> int:
        return -1 if self.trainer.max_epochs is None else self.trainer.max_epochs


def _plain_path(options: Any) -> Path | None:
    """What ``--ckpt_path`` says, if that is a file of plain values and neither a word of Lightning's nor a URL."""
    path = options.get("ckpt_path")
    elsewhere = path in (None, *_NAMED) or "://" in str(path) or options.get("weights_only") is False
    return None if elsewhere else Path(path)


def subcommand(
    module: type[LightningModule] | None,
    data: type[LightningDataModule] | None,
    config: Path | None,
    arguments: Sequence[str] | None,
    cli: type[QuantizationCLI] = QuantizationCLI,
    program: str | None = None,
) -> None:
    """Run one LightningCLI subcommand.

    Args:
        module: the module's class; ``None`` for whichever the configuration names.
        data: the data module's class, or ``None``.
        config: the default configuration file, or ``None``.
        arguments: of the command line; the process's own if ``None``.
        cli: that reads them.
        program: as it was called, for lines of usage; ``None`` for the process's own name.
    """
    # What it is handed, while the process has arguments of its own.
    warnings.filterwarnings("ignore", message=".*LightningCLI's args parameter.*")
    defaults: dict[str, Any] = {name: {"default_config_files": [str(config)]} for name in SUBCOMMANDS} if config else {}
    cli(
        module,
        data,
        seed_everything_default=0,
        save_config_callback=None,
        subclass_mode_model=module is None,
        subclass_mode_data=data is None,
        parser_kwargs={**defaults, "prog": program},
        args=None if arguments is None else list(arguments),
    )
