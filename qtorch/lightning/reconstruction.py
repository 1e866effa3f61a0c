"""Anomaly detection by reconstruction: what an autoencoder that knows normal samples reconstructs badly is none."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.lightning.task import Task

__all__ = ["Reconstruction", "anomaly_scores", "area_under_roc"]


def anomaly_scores(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean squared error of each sample, float64 ``[N]``."""
    return ((reconstruction.to(torch.float64) - x) ** 2).flatten(1).mean(1)


def area_under_roc(scores: Tensor, labels: Tensor) -> float:
    """The chance that an anomaly scores higher than a normal sample, a tie counting half; in [0, 1].

    From ranks: ``(sum of the anomalies' ranks - P (P + 1) / 2) / (P N)`` with P anomalies and N normal samples, equal
    scores sharing their mean rank (the Mann-Whitney statistic; Hanley and McNeil 1982).

    Args:
        scores: ``[N]``.
        labels: int64 ``[N]``, 1 for an anomaly, 0 for normal.
    """
    _, place, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    last = torch.cumsum(counts, 0).to(torch.float64)
    ranks = (last - (counts - 1) / 2)[place]
    anomalies = int(labels.sum())
    normal = len(labels) - anomalies
    return float((ranks[labels == 1].sum() - anomalies * (anomalies + 1) / 2) / (anomalies * normal))


class Reconstruction(Task):
    """Float32 ``[N, F]`` to itself; trained on normal samples, tested on labelled ones.

    Args:
        net: the autoencoder.
        features: ``F``.
        learning_rate: at the start of float training.
        qat_learning_rate: at the start of quantized training.
    """

    columns: ClassVar[tuple[str, ...]] = ("auc", "mse")

    def __init__(
        self, net: nn.Module, features: int, learning_rate: float = 1e-3, qat_learning_rate: float = 1e-4
    ) -> None:
        super().__init__(net, torch.zeros(1, features), learning_rate, qat_learning_rate)

    def objective(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(output, target)

    def metrics(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, float]:
        """Area under the receiver's curve, and the mean squared error of normal samples."""
        scores = anomaly_scores(x, output)
        return {"auc": area_under_roc(scores, target), "mse": float(scores[target == 0].mean())}
