"""Regression: a task whose network maps features to numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics.functional import mean_absolute_error, mean_squared_error, r2_score

from qtorch.baselines import linear_regression
from qtorch.lightning.task import Part, Task

__all__ = ["Regression", "regression_contributions", "regression_metrics"]


def regression_metrics(prediction: Tensor, target: Tensor) -> dict[str, float]:
    """Mean squared and absolute error, root of the former, and R2; any shape, in double precision."""
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


class Regression(Task):
    """Float32 features ``[N, F]`` to ``[N, T]``.

    Args:
        net: the network.
        features: ``F``.
        loss: ``"mse"`` or ``"huber"`` (delta 1, in the target's unit).
        learning_rate: at the start of float training.
        qat_learning_rate: at the start of quantized training.
    """

    columns: ClassVar[tuple[str, ...]] = ("mse", "mae", "r2")
    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = {
        "mse": "lower", "mae": "lower", "rmse": "lower", "r2": "higher",
    }  # fmt: skip

    def __init__(
        self,
        net: nn.Module,
        features: int,
        loss: Literal["mse", "huber"] = "mse",
        learning_rate: float = 1e-2,
        qat_learning_rate: float = 1e-3,
    ) -> None:
        super().__init__(net, torch.zeros(1, features), learning_rate, qat_learning_rate)
        self.loss = nn.HuberLoss() if loss == "huber" else nn.MSELoss()

    def objective(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss that was chosen."""
        loss: Tensor = self.loss(output, target)
        return loss

    def metrics(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, float]:
        """See :func:`regression_metrics`."""
        return regression_metrics(output, target)

    def contributions(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Of all figures; of R2 and the root, which are no means, how they change with a sample."""
        return regression_contributions(output, target)

    def baseline(self, train: Part, test: Part) -> dict[str, dict[str, float]]:
        """A straight line."""
        return {"linear_regression": regression_metrics(linear_regression(train, test[0]), test[1])}
