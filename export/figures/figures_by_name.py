"""Figures that a function of somebody's own gives, looked at each time, and which way they are said to be better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.errors import BadConfiguration
from qtorch.handed_over.words import in_words, shown

__all__ = ["figures_by_name", "samples_by_figure", "ways_by_figure"]


def ways_by_figure(better: Any) -> dict[str, Any]:
    """Which figures are better the higher, and which the lower.

    Raises:
        BadConfiguration: that is not what it says.
    """
    if better is None:
        return {}
    if not isinstance(better, Mapping) or not all(
        isinstance(figure, str) and way in ("higher", "lower") for figure, way in better.items()
    ):
        raise BadConfiguration(
            where="better", expected="a dict of 'higher' or 'lower' by the figure's name", got=f"{better!r:.80}",
            remedy="pass such, as in {'accuracy': 'higher'}",
        )  # fmt: skip
    return dict(better)


def figures_by_name(
    function: Callable[[Any, Any, Tensor], Any], where: str, better: Mapping[str, Any], remedy: str
) -> Callable[[Any, Any, Tensor], dict[str, float]]:
    """A function of inputs, outputs and targets whose figures are looked at each time that it is called.

    Args:
        function: somebody's own; of each figure the number, or a tensor ``[N]`` of what samples add, whose mean it is.
        where: what a person calls it.
        better: what is said of its figures, which have to be there.
        remedy: what is to be done where it gives none.
    """

    def refused(expected: str, got: str, where: str = where, remedy: str = remedy) -> BadConfiguration:
        return BadConfiguration(where=where, expected=expected, got=got, remedy=remedy)

    def figures(inputs: Any, outputs: Any, wanted: Tensor) -> dict[str, float]:
        expected = "numbers by the figure's name"
        try:
            said = function(inputs, outputs, wanted)
        # A function of somebody's own fails in whatever way it does.
        except Exception as error:
            raise refused(expected, in_words(error)) from error
        if not isinstance(said, Mapping) or not said:
            raise refused(expected, shown(said))
        values = {figure: _figure(value, len(wanted)) for figure, value in said.items()}
        for figure, value in values.items():
            if not isinstance(figure, str) or not figure or value is None:
                raise refused(expected, f"{figure!r}: {shown(said[figure])}")
            if math.isnan(value):
                raise refused(expected, f"{figure} nan", remedy="look at the targets, and at what the network says")
        if values and (unknown := [figure for figure in better if figure not in values]):
            raise refused(
                f"figures that test_figures returns, some of {', '.join(values)}", ", ".join(unknown), "better",
                "correct the name, or leave it out",
            )  # fmt: skip
        return {figure: value for figure, value in values.items() if value is not None}

    return figures


def samples_by_figure(
    function: Callable[[Any, Any, Tensor], Any], inputs: Any, outputs: Any, wanted: Tensor
) -> dict[str, Tensor]:
    """What every sample adds to the figures of a function that says it: ``[N]`` by name, whose mean is the figure."""
    said = function(inputs, outputs, wanted)
    return {figure: torch.as_tensor(value) for figure, value in said.items() if _is_of_samples(value, len(wanted))}


def _is_of_samples(value: Any, count: int) -> bool:
    return isinstance(value, Tensor | np.ndarray) and tuple(value.shape) == (count,) and count > 1


def _figure(value: Any, count: int) -> float | None:
    """A number, or the mean of what samples add; ``None`` of everything else."""
    return float(torch.as_tensor(value).double().mean()) if _is_of_samples(value, count) else _number(value)


def _number(value: Any) -> float | None:
    """A number, or the one of a tensor or array; ``None`` of everything else."""
    if isinstance(value, Tensor | np.ndarray):
        value = value.item() if math.prod(value.shape) == 1 else None
    return float(value) if isinstance(value, Real) else None
