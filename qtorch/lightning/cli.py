"""LightningCLI for a recipe: ``fit``, ``validate``, ``test``, ``predict``, all from one commented YAML."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from qtorch.errors import BadInput, ParityError
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.regression import Regression

__all__ = ["SUBCOMMANDS", "QuantizationCLI", "run_command"]

SUBCOMMANDS = ("fit", "validate", "test", "predict")


class QuantizationCLI(LightningCLI):
    """LightningCLI whose trainer has the quantization callback, with its options under ``--qat``."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``--qat.start``, ``--qat.exact`` and ``--qat.weights``."""
        parser.add_lightning_class_args(QuantizationAwareTraining, "qat")


def subcommand(module: type[Regression], data: type[ArrayDataModule], config: Path, arguments: Sequence[str]) -> None:
    """Run one LightningCLI subcommand with ``config`` as the default configuration file."""
    defaults: dict[str, Any] = {name: {"default_config_files": [str(config)]} for name in SUBCOMMANDS}
    QuantizationCLI(
        module, data, seed_everything_default=0, save_config_callback=None, parser_kwargs=defaults, args=list(arguments)
    )


def run_command(command: Callable[[], None]) -> int:
    """Exit code of a command: 0, 2 for bad input, 1 for failed parity; both say why on stderr, without a traceback."""
    try:
        command()
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ParityError as error:
        print(f"no export: {error}", file=sys.stderr)
        return 1
    return 0
