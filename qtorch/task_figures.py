"""Figures of the tasks that everybody has: how good outputs are beside targets, and what each sample adds to that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from qtorch.baselines import linear_regression

__all__ = [
    "CLASSIFICATION",
    "REGRESSION",
    "Pairs",
    "TaskFigures",
    "classification_contributions",
    "classification_metrics",
    "line_figures",
    "regression_contributions",
    "regression_metrics",
]

#: Inputs and targets of one part of a data set.
Pairs: TypeAlias = tuple[Tensor, Tensor]


def regression_metrics(prediction: Tensor, target: Tensor) -> dict[str, float]:
    """Mean squared and absolute error, root of the former, and R2; any shape, in double precision."""
    # Whoever measures nothing does not wait for its import.
    from torchmetrics.functional import mean_absolute_error, mean_squared_error, r2_score

    p, t = prediction.to(torch.float64).flatten(), target.to(torch.float64).flatten()
    mse = float(mean_squared_error(p, t))
    return {
        "mse": mse,
        "mae": float(mean_absolute_error(p, t)),
        "rmse": math.sqrt(mse),
        "r2": float(r2_score(p, t)),
    }


def regression_contributions(prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
    """What each sample contributes to :func:`regression_metrics`: float64 ``[N]``, in the mean the figures.

    R2 and the root of the mean squared error are functions of means: a sample contributes by the first derivative.
    """
    t = target.to(torch.float64).reshape(len(target), -1)
    difference = prediction.to(torch.float64).reshape(len(t), -1) - t
    squares, spread = difference.square().mean(1), (t - t.mean()).square().mean(1)
    mse, variance = float(squares.mean()), float(spread.mean())
    root = math.sqrt(mse)
    figures = {
        "mse": squares,
        "mae": difference.abs().mean(1),
        "rmse": root + (squares - mse) / (2 * root) if root else torch.zeros_like(squares),
    }
    if variance:
        figures["r2"] = 1 - squares / variance + mse / variance**2 * (spread - variance)
    return figures


def line_figures(train: Pairs, test: Pairs) -> dict[str, dict[str, float]]:
    """:func:`regression_metrics` of a straight line that is fitted on ``train``, by what it is called."""
    return {"linear_regression": regression_metrics(linear_regression(train, test[0]), test[1])}


def classification_metrics(output: Tensor, target: Tensor) -> dict[str, float]:
    """Share of samples whose largest output is the target's, and the number of those whose is not.

    Args:
        output: ``[N, classes]``; of equal ones the first counts, as on a device that looks for the largest code.
        target: int64 ``[N]``.
    """
    right = int((output.argmax(1) == target).sum())
    return {"accuracy": right / max(len(target), 1), "errors": float(len(target) - right)}


def classification_contributions(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """1 for each sample that is right; of the number of errors, the number of samples for each that is wrong."""
    right = (output.argmax(1) == target).to(torch.float64)
    return {"accuracy": right, "errors": len(target) * (1 - right)}


@dataclass(frozen=True)
class TaskFigures:
    """How a kind of task is measured.

    Attributes:
        kind: of task.
        columns: names of the figures that a report shows, the most telling first.
        better: which of them are better the higher, and which the lower.
        metrics: figures of outputs and targets, by name.
        contributions: what each sample contributes to them.
    """

    kind: Literal["regression", "classification"]
    columns: tuple[str, ...]
    better: Mapping[str, Literal["higher", "lower"]]
    metrics: Callable[[Tensor, Tensor], dict[str, float]]
    contributions: Callable[[Tensor, Tensor], dict[str, Tensor]]


REGRESSION = TaskFigures(
    "regression",
    ("mse", "mae", "r2"),
    {"mse": "lower", "mae": "lower", "rmse": "lower", "r2": "higher"},
    regression_metrics,
    regression_contributions,
)
CLASSIFICATION = TaskFigures(
    "classification",
    ("accuracy", "errors"),
    {"accuracy": "higher", "errors": "lower"},
    classification_metrics,
    classification_contributions,
)
