"""A task from its data to its files in one command: data, float training, QAT, export, parity, headers, report.

``main`` makes that command of anybody's task: of a shipped recipe, of a copy of one, of a script with two classes.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.cli import LightningArgumentParser

from export.bundle.dry_run import dry_run
from export.bundle.folder import probe_export
from export.bundle.outcome_page import whole_page
from export.console.page import Line
from export.console.terminal import show
from export.lightning_run.exported_run import export_run
from export.lightning_run.kept_training import KeepInterrupted, kept_until_exported
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.pipeline.recipes import handed
from export.pipeline.training import TrainingCLI, add_export_options, read_export_options
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.checkpointing.saving import checkpoint_bytes, checkpoint_of
from qtorch.lightning.cli import SUBCOMMANDS, QuantizationCLI, run_command, subcommand
from qtorch.lightning.command_line.option_errors import nearest, refusal
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.task import Task
from qtorch.progress import in_lines, stage

__all__ = ["PipelineCLI", "epochs_between_validations", "main"]

#: Of a run, at least: points enough for a curve.
_VALIDATIONS = 10


class PipelineCLI(QuantizationCLI):
    """The options of ``fit``, where ``--out`` has a default, and validation now and then."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        add_export_options(parser, "build/<task> if it is not said")

    def before_instantiate_classes(self) -> None:
        """Say when to validate, unless the command line does."""
        super().before_instantiate_classes()
        trainer: Any = self.config["trainer"]
        # Lightning takes no null without a number of batches between validations: here it can only mean "you choose".
        if trainer.check_val_every_n_epoch is None and not isinstance(trainer.val_check_interval, int):
            total = trainer.max_epochs
            trainer.check_val_every_n_epoch = epochs_between_validations(total if total is not None else -1)


def epochs_between_validations(epochs: int) -> int:
    """So many that a run has ten to twenty validations: they draw a curve, and take next to no time.

    >>> epochs_between_validations(120), epochs_between_validations(25), epochs_between_validations(-1)
    (12, 2, 1)

    Args:
        epochs: of the run; less than one where it has no such limit.
    """
    return max(1, epochs // _VALIDATIONS)


def main(module: Any, data: Any, config: Path, arguments: Sequence[str] | None = None) -> int:
    """Entry point of a task's command; returns the exit code.

    Args:
        module: the task's LightningModule class, with its ``task``.
        data: its data module class.
        config: the YAML with its defaults.
        arguments: of the command line.
    """
    words = _words(arguments)
    for word in words[:1]:
        _require_subcommand(word)
    if any(word in SUBCOMMANDS for word in words[:1]):
        return run_command(lambda: subcommand(module, data, config, words, TrainingCLI, _program()))
    return run_command(lambda: _pipeline(module, data, config, words))


def _require_subcommand(word: str) -> None:
    """Leave where the first word is neither an option nor a subcommand.

    Raises:
        SystemExit: with 2.
    """
    if word in SUBCOMMANDS or word.startswith("-"):
        return
    alike = nearest(word, SUBCOMMANDS, 0.5)
    wanted = f"an option, or one of {', '.join(SUBCOMMANDS)}"
    said = refusal("recipe", wanted, repr(word), f"write {alike}" if alike else "leave it out")
    print(f"error: {said}", file=sys.stderr)
    sys.exit(2)


def _words(arguments: Sequence[str] | None) -> list[str]:
    """Those that it was given, those behind ``qtorch recipe NAME``, or the process's own."""
    if arguments is not None:
        return list(arguments)
    behind = handed.get()
    return sys.argv[1:] if behind is None else list(behind[1])


def _program() -> str:
    """What a person types to get here."""
    behind = handed.get()
    if behind is not None:
        return behind[0]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python {Path(sys.argv[0]).name}" if spec is None else f"python -m {spec.name.removesuffix('.__main__')}"


def _try_export(run: Run, name: str, options: ExportOptions) -> None:
    subject = subject_of(run)
    dry_run(subject.networks, subject.inputs["train"], name, options)


def _pipeline(module: type[Task], data: type[ArrayDataModule], config: Path, words: list[str]) -> None:
    task: str = module.task  # type: ignore[attr-defined]
    warnings.filterwarnings("ignore", message=".*LightningCLI's args parameter.*")
    cli = PipelineCLI(
        module,
        data,
        run=False,
        seed_everything_default=0,
        save_config_callback=None,
        trainer_defaults={"check_val_every_n_epoch": None, "num_sanity_val_steps": 0},
        parser_kwargs={
            "prog": _program(),
            "default_config_files": [str(config)],
            "description": (
                f"Train, quantize, export and verify the {task} model. Subcommands: {', '.join(SUBCOMMANDS)}."
            ),
            "epilog": "example: %(prog)s --trainer.max_epochs 4 --export.c",
        },
        args=words,
    )
    out, name = cli.config["out"] or Path("build") / task, cli.config["name"] or task
    options = read_export_options(cli.config_init)
    probe_export(out, options, name)
    started = time.perf_counter()
    with in_lines(), stage("loading the data"):
        arrays = cli.datamodule.arrays
    data_seconds = time.perf_counter() - started
    callbacks: list[Any] = cli.trainer.callbacks  # type: ignore[attr-defined]
    run = Run(task, cli.model, cli.datamodule, next(c for c in callbacks if isinstance(c, QuantizationAwareTraining)))
    resumed = cli.checkpoint_to_resume
    with in_lines(), stage("trying the export before anything is trained"):
        _try_export(run, name, options)
    callbacks.append(KeepInterrupted(out, name, options))
    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=resumed)
    cli.model.cpu().eval()
    checkpoint = checkpoint_of(cli.trainer)
    if not cli.trainer.is_global_zero:
        return
    content = checkpoint_bytes(checkpoint)
    with kept_until_exported(content, out, name, options):
        bundle = export_run(run, content, out, name, options, data_seconds)
    summary = arrays.summary
    about = f"{task}: {summary.train} training and {summary.test} test samples, {summary.source}"
    heading = (Line(), Line(about, "heading"), Line())
    show((*heading, *whole_page(bundle)))
