"""Anomaly detection by reconstruction: what an autoencoder that knows normal samples reconstructs badly is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.lightning.scores import anomaly_scores, area_contributions, area_under_roc
from qtorch.lightning.task import Part, Task

__all__ = ["Reconstruction"]


class Reconstruction(Task):
    """Float32 ``[N, F]`` to itself; trained on normal samples, tested on labelled ones.

    Args:
        net: the autoencoder.
        features: ``F``.
        learning_rate: at the start of float training.
        qat_learning_rate: at the start of quantized training.
    """

    columns: ClassVar[tuple[str, ...]] = ("auc", "mse")
    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = {"auc": "higher", "mse": "lower"}

    def __init__(
        self, net: nn.Module, features: int, learning_rate: float = 1e-3, qat_learning_rate: float = 1e-4
    ) -> None:
        super().__init__(net, torch.zeros(1, features), learning_rate, qat_learning_rate)

    def objective(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(output, target)

    def metrics(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, float]:
        """Area under the receiver's curve, and the mean squared error of normal samples."""
        scores = anomaly_scores(output.to(torch.float64), x.to(torch.float64))
        return {"auc": area_under_roc(scores, target), "mse": float(scores[target == 0].mean())}

    def contributions(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Of both figures, see :func:`qtorch.lightning.scores.area_contributions`; an anomaly adds no error."""
        scores, normal = anomaly_scores(output.to(torch.float64), x.to(torch.float64)), target == 0
        mean, share = scores[normal].mean(), normal.to(torch.float64).mean()
        errors = torch.where(normal, mean + (scores - mean) / share, mean)
        return {"auc": area_contributions(scores, target), "mse": errors}

    def simple_outputs(self, figure: str, train: Part, test: Part) -> dict[str, Tensor]:
        """The mean training sample for every sample; for the area a copy of each too, which tells nothing apart."""
        mean = train[0].mean(0).expand_as(test[0])
        copied = {"chance": test[0]} if figure == "auc" else {}
        return {**copied, "the mean training sample": mean}
