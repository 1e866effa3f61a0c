"""What gives test figures of a network, and what a verdict on them has to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from export.figures.record import Record, sha256_of
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples, called, chunks, joined
from qtorch.errors import BadConfiguration

__all__ = ["Evaluation", "Measure", "OutputFigures", "Tested", "tested_on_rows"]

#: Figures of one network by name, and what the test met.
Tested: TypeAlias = tuple[dict[str, float], Record]
#: Tests a network.
Measure: TypeAlias = Callable[[nn.Module], Tested]
#: Samples that a network computes at a time.
_CHUNK = 512


@dataclass(frozen=True)
class OutputFigures:
    """Figures of a network's outputs alone.

    Attributes:
        inputs: float32 ``[N, ...]``.
        figures: of what a network says to them, ``[N, ...]``.
    """

    inputs: Tensor
    figures: Callable[[Tensor], dict[str, float]]


def _no_baselines() -> Mapping[str, dict[str, float]]:
    return {}


def _nothing_simple(_figure: str) -> Mapping[str, Tensor]:
    return {}


def _no_pairs(_record: Record, _target: Tensor) -> str:
    return "no training targets are known"


@dataclass(frozen=True)
class Evaluation:
    """How networks are tested, and what the figures mean.

    Attributes:
        measure: tests a network; where nothing does, the error that says so.
        owner: what a person calls whoever says the figures: a class of a module.
        source: what a person calls that which gives them, such as ``"test_step of Plain"``.
        remedy: what is to be done where it gives none.
        columns: names of figures that a report shows first, whether there are such or not.
        better: ``"higher"`` or ``"lower"`` by the figure's name, or of all figures.
        contributions: of inputs, outputs and targets of all test samples, what each contributes to figures, by name:
            ``[N]`` whose mean is the figure. ``None`` where nothing says it.
        baselines: gives figures of simpler models, by name.
        simple_outputs: of a figure's name: outputs ``[N, ...]`` of what is simpler than a network, by what it is
            called; the first looks at nothing.
        training_pairs: of a test and its target: inputs and targets of training samples ``[N, ...]`` in the form in
            which the test has them, or why they are not known.
        of_outputs: figures of outputs for rows that are in memory; ``None`` without such.
        handed_over: whether a function that a call was given says the figures, of inputs that it holds itself, and no
            module.
    """

    measure: Measure | BadConfiguration
    owner: str
    source: str
    remedy: str
    columns: tuple[str, ...] = ()
    better: Any = field(default_factory=dict)
    contributions: Callable[[Any, Tensor, Tensor], Any] | None = None
    baselines: Callable[[], Mapping[str, dict[str, float]]] = _no_baselines
    simple_outputs: Callable[[str], Mapping[str, Tensor]] = _nothing_simple
    training_pairs: Callable[[Record, Tensor], tuple[Tensor, Tensor] | str] = _no_pairs
    of_outputs: OutputFigures | None = None
    handed_over: bool = False

    def required(self) -> Measure:
        """What tests a network.

        Raises:
            BadConfiguration: nothing does.
        """
        if isinstance(self.measure, BadConfiguration):
            raise self.measure
        return self.measure

    def direction(self, figure: str) -> Any:
        """Which way a figure is said to be better, as it is said; ``None`` where nothing is."""
        return self.better.get(figure) if isinstance(self.better, Mapping) else self.better


def tested_on_rows(x: Samples, target: Tensor, figures: Callable[[Any, Any, Tensor], dict[str, float]]) -> Measure:
    """What tests a network on rows that are in memory.

    Args:
        x: float32 ``[N, ...]`` as the network reads it, or a tuple of its several inputs.
        target: ``[N, ...]``.
        figures: of inputs, outputs and targets, all rows together.
    """

    @cache
    def samples() -> str:
        return sha256_of(*tensors_in(x), target)

    def measure(net: nn.Module) -> Tested:
        with torch.no_grad():
            output = joined([called(net, part) for part in chunks(x, _CHUNK)])
        inputs, outputs = (each if isinstance(each, Tensor) else None for each in (x, output))
        return figures(x, output, target), Record(samples(), inputs, outputs, {1: target})

    return measure
