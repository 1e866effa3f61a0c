"""``python -m export compare CHECKPOINT``: what other engines and converters say of a network."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from export.commands.options import BOOLEAN, parsed
from export.console.terminal import show
from export.lightning_run.subject import subject_of
from export.opinions.comparison import compare, require_names
from export.opinions.opinion import as_json, comparison_table
from export.opinions.question import first_figure
from qtorch.lightning.checkpoint import load_run

__all__ = ["compare_command"]


def compare_command(arguments: Sequence[str]) -> None:
    """Print a table of opinions, or JSON.

    Raises:
        BadInput: the checkpoint can't be read, or a name of a line is none.
    """
    parser = argparse.ArgumentParser(
        prog="python -m export compare",
        description="Ask every engine and converter that is installed about a checkpoint: sizes, scales, outputs.",
    )
    parser.add_argument("checkpoint", type=Path, help="written by training; its classes are imported, so trust it")
    parser.add_argument("--only", nargs="+", default=(), help="names of the lines to print (default: all)")
    parser.add_argument("--json", **BOOLEAN, help="for machines")
    asked = parsed(parser, arguments)
    run = load_run(asked.checkpoint)
    require_names(asked.only)
    opinions = compare(subject := subject_of(run), asked.only)
    if asked.json:
        print(json.dumps(as_json(opinions), indent=2))
    else:
        show([comparison_table(opinions, first_figure(subject))])
