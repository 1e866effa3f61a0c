"""Options that all commands of ``python -m export`` write alike."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtorch.lightning.command_line.boolean_options import TRUTHS, with_values

__all__ = ["BOOLEAN", "folder", "parsed"]


def _truth(word: str) -> bool:
    """What is said of a boolean option."""
    if word.lower() not in TRUTHS:
        raise argparse.ArgumentTypeError(f"expected true or false, got {word!r}")
    return TRUTHS[word.lower()]


#: An option that is true where it stands alone.
BOOLEAN: dict[str, Any] = {"type": _truth, "nargs": "?", "const": True, "default": False, "metavar": "true|false"}


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; see :func:`~qtorch.lightning.command_line.boolean_options.with_values`."""
    booleans = {option for action in parser._actions if action.type is _truth for option in action.option_strings}
    return parser.parse_args(with_values(arguments, booleans))


def folder(written: str) -> Path:
    """A path that says which."""
    if not written.strip():
        raise argparse.ArgumentTypeError("expected the name of a folder, got nothing")
    return Path(written)
