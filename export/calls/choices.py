"""What a call asks of an export: named fields of the options, and by default everything that can be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from export.boards import board
from export.bundle.attempted import Attempted, reason
from export.engines import tflm_absent
from export.forms import FORMS
from export.options import ExportOptions
from qtorch.errors import BadConfiguration

__all__ = ["Choice", "everything", "names_of_choices", "options_of"]

#: Of a project that nobody named a folder for, below the bundle's.
_PROJECT = "project"


@dataclass(frozen=True)
class Choice:
    """Options, and what of them is only tried."""

    options: ExportOptions
    attempted: Attempted


def names_of_choices() -> tuple[str, ...]:
    """What a call may name beside its own arguments."""
    return tuple(field.name for field in fields(ExportOptions))


def options_of(options: ExportOptions | None, choices: Mapping[str, Any]) -> ExportOptions:
    """Options with named fields put into them; that they are fields, the call itself has seen to.

    Raises:
        BadConfiguration: they contradict each other or are of no such value, or ``options`` are none.
    """
    if options is not None and not isinstance(options, ExportOptions):
        raise BadConfiguration(
            where="options", expected="an ExportOptions, or None", got=type(options).__name__,
            remedy="pass export.ExportOptions(...), or its fields as arguments of their own",
        )  # fmt: skip
    return replace(options or ExportOptions(), **choices)


def everything(out: Path | None, choices: Mapping[str, Any]) -> Choice:
    """What is named, and beside it all else that goes with it: plain C, the forms, the board's TFLite Micro, a project.

    Args:
        out: the bundle's folder, if there is one.
        choices: fields of :class:`~export.options.ExportOptions`.

    Raises:
        BadInput: what is named can't be had.
    """
    options, attempted = options_of(None, choices), Attempted()
    # Where no interpreter runs, the project is made of the C: then one without the other was never meant.
    needed = () if board(options.target).tflm else ("c",)
    wanted: dict[str, Any] = {"c": True, **dict.fromkeys(FORMS, True), "firmware": (out or Path()) / _PROJECT}
    parts = []
    for part, value in wanted.items():
        if part in choices:
            continue
        try:
            if part == "firmware":
                _require_arena(options.target)
            options = replace(options, **{part: value})
            parts.append(part)
        except BadConfiguration as error:
            attempted.left_out[part] = reason(error)
    if not choices.get("tflm") and choices.get("firmware") is None:
        parts.append("tflm")
    return Choice(options, Attempted(frozenset(parts) - {*needed}, attempted.left_out))


def _require_arena(target: str) -> None:
    if board(target).tflm and tflm_absent():
        raise BadConfiguration(
            where="export.firmware", expected="the tflite-micro Python package, which measures the arena",
            got=tflm_absent(), remedy="export on Linux on x86-64, where pip installs it",
        )  # fmt: skip
