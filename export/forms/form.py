"""What a form of export is made of: its option, what contradicts it, how it is tried, written and proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from export.graph.ir import Graph
from export.parity.outputs import EngineParity
from qtorch.errors import BadConfiguration

__all__ = ["Choices", "Form", "FormFiles", "require_form"]


class Choices(Protocol):
    """What a form may ask of an export's options; see :class:`export.options.ExportOptions`."""

    @property
    def format(self) -> str:
        """Of the export."""

    @property
    def io(self) -> str:
        """Type of the model's input and output."""

    @property
    def input_layout(self) -> str:
        """Order of the axes of images."""


@dataclass(frozen=True)
class FormFiles:
    """A network in one form, proven.

    Attributes:
        files: bytes by file name.
        engines: what runs the files computes this, by its name; for parity.json. They judge nothing there: what must
            agree, the form has compared.
        figures: for metrics.json, under the form's option.
        line: what the terminal says of it at the export's end.
    """

    files: Mapping[str, bytes]
    engines: Mapping[str, EngineParity]
    figures: Mapping[str, Any]
    line: str


@dataclass(frozen=True)
class Form:
    """One form of export, of a network of integers.

    Attributes:
        option: ``--export.<option>`` asks for it: a field of :class:`export.options.ExportOptions` that is false unless
            said otherwise.
        require: raises BadConfiguration where options contradict it, or a package that it needs is absent.
        try_out: of a model's name and its graph, before training: raises what an export would raise whatever the
            weights are.
        write: of the same after training, and samples ``[N, ...]`` of each input as integers: its files, proven.
            Raises UnsupportedLayer where an op has no such form, ParityError where the files are not the network.
    """

    option: str
    require: Callable[[Choices], None]
    try_out: Callable[[str, Graph], None]
    write: Callable[[str, Graph, tuple[np.ndarray, ...]], FormFiles]


def require_form(form: Form, options: Choices) -> None:
    """Refuse options with which the form would be left out.

    Raises:
        BadConfiguration: they contradict it.
    """
    form.require(options)
    if options.format != "int8":
        raise BadConfiguration(
            where=f"export.{form.option}",
            expected="format int8: it is made of a network of integers",
            got=f"format {options.format}",
            remedy=f"leave export.{form.option} or export.format out",
        )
