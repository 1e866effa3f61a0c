"""``python -m export compare CHECKPOINT``: what other engines and converters say of a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from export.command_line.reader import POSITIONAL, read_options
from export.console.terminal import show
from export.opinions.comparison import compare, require_names
from export.opinions.opinion import as_json, comparison_table
from export.opinions.question import first_figure

__all__ = ["CompareOptions", "compare_command"]


@dataclass(frozen=True)
class CompareOptions:
    """Ask every engine and converter that is installed about a checkpoint: sizes, scales, outputs.

    Example:
        qtorch compare build/kws/kws.ckpt
        qtorch compare build/kws/kws.ckpt --only LiteRT --json

    Attributes:
        checkpoint: written by training; its classes are imported, so trust it.
        only: names of the lines to print, instead of all.
        json: for machines.
    """

    checkpoint: Annotated[Path, POSITIONAL]
    only: tuple[str, ...] = ()
    json: bool = False


def compare_command(arguments: Sequence[str]) -> None:
    """Print a table of opinions, or JSON.

    Raises:
        BadInput: the checkpoint can't be read, or a name of a line is none.
    """
    asked = read_options(CompareOptions, arguments, "compare")
    # Lightning takes seconds to import, which the help has no need of.
    from export.lightning_run.subject import subject_of
    from qtorch.lightning.checkpoint import load_run

    run = load_run(asked.checkpoint)
    require_names(asked.only)
    opinions = compare(subject := subject_of(run), asked.only)
    if asked.json:
        print(json.dumps(as_json(opinions), indent=2))
    else:
        show([comparison_table(opinions, first_figure(subject))])
