"""Regression: a task whose network maps features to numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from qtorch.lightning.task import Part, Task
from qtorch.task_figures import REGRESSION, line_figures, regression_contributions, regression_metrics

__all__ = ["Regression", "regression_contributions", "regression_metrics"]


class Regression(Task):
    """Float32 features ``[N, F]`` to ``[N, T]``.

    Args:
        net: the network.
        features: ``F``.
        loss: ``"mse"`` or ``"huber"`` (delta 1, in the target's unit).
        learning_rate: at the start of float training.
        qat_learning_rate: at the start of quantized training.
    """

    columns: ClassVar[tuple[str, ...]] = REGRESSION.columns
    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = REGRESSION.better

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
        return line_figures(train, test)
