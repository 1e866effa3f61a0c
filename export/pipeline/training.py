"""``qtorch fit`` and the other commands of LightningCLI, with the classes that the configuration names.

A fit that is told where exports at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser

from export.bundle.outcome_page import whole_page
from export.command_line.declared import with_listed
from export.command_line.invocation import program
from export.command_line.table import COMMANDS
from export.console.terminal import show
from export.lightning_run.export_bundle import ExportBundle
from export.options import ExportOptions
from qtorch.errors import BadConfiguration
from qtorch.lightning.cli import QuantizationCLI, subcommand
from qtorch.lightning.command_line.help_sections import SectionedParser

__all__ = [
    "TrainingCLI",
    "add_export_options",
    "fit_command",
    "predict_command",
    "read_export_options",
    "test_command",
    "validate_command",
]


#: What follows the command in the example of its help.
_EXAMPLES = {
    "fit": "--config run.yaml --out build/kws --export.c",
    "validate": "--config run.yaml --ckpt_path build/kws/kws.ckpt",
    "test": "--config run.yaml --ckpt_path build/kws/kws.ckpt",
    "predict": "--config run.yaml --ckpt_path build/kws/kws.ckpt",
}


def add_export_options(parser: LightningArgumentParser, unless: str) -> None:
    """Where and how to export, as the other commands are told.

    Args:
        parser: of the command.
        unless: what happens without ``--out``.
    """
    parser.add_argument("--out", type=Path | None, default=None, help=f"folder for the files of an export; {unless}")
    parser.add_argument(
        "--name", type=str | None, default=None, help="name of the model and its files (default: the task's)"
    )
    parser.add_class_arguments(ExportOptions, "export")
    with_listed(parser, ExportOptions, "export")
    if isinstance(parser, SectionedParser):
        parser.show_first(ExportOptions, "export")


def read_export_options(config: Any) -> ExportOptions:
    """What a command line says of the export, which its reader gives as a plain namespace or as the options."""
    options = config["export"]
    return options if isinstance(options, ExportOptions) else ExportOptions(**vars(options))


class TrainingCLI(QuantizationCLI):
    """Its ``fit`` exports at the end where ``--out`` says so."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.description, parser.epilog = (
            _sentence(COMMANDS[subcommand].help),
            f"example: %(prog)s {_EXAMPLES[subcommand]}",
        )
        if subcommand == "fit":
            add_export_options(parser, "without it nothing is exported")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """As any command.

        Raises:
            BadConfiguration: how to export is said, and not where.
        """
        super().parse_arguments(parser, args)
        if self._options.get("out") is None:
            asked = self._asked.get("export") or {}
            # What --print_config writes names every default, and asks for nothing.
            chosen = {name for name, value in dict(asked).items() if value != getattr(ExportOptions(), name)}
            for option, said in (("name", self._asked.get("name")), ("export", chosen)):
                if said:
                    raise BadConfiguration(
                        where=f"--{option}",
                        expected="--out beside it: without it nothing is exported",
                        got="no --out",
                        remedy="add --out DIR, or leave it out",
                    )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """With the callback that exports, if that is asked for."""
        trainer = super().instantiate_trainer(**kwargs)
        if self._options.get("out") is not None:
            options = read_export_options(self.config_init["fit"])
            callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
            callbacks.append(ExportBundle(self._options["out"], self._options["name"], options))
        return trainer

    def after_fit(self) -> None:
        """Print the page of the export."""
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        for each in callbacks:
            if isinstance(each, ExportBundle) and each.bundle is not None:
                show(whole_page(each.bundle))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _lightning(name: str, arguments: Sequence[str]) -> None:
    subcommand(None, None, None, [name, *arguments], TrainingCLI, program())


def fit_command(arguments: Sequence[str]) -> None:
    """Train, and export if ``--out`` says where."""
    _lightning("fit", arguments)


def validate_command(arguments: Sequence[str]) -> None:
    """Figures on the validation data."""
    _lightning("validate", arguments)


def test_command(arguments: Sequence[str]) -> None:
    """Figures on the test data."""
    _lightning("test", arguments)


def predict_command(arguments: Sequence[str]) -> None:
    """Outputs for data of one's own."""
    _lightning("predict", arguments)
