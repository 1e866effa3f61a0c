"""The fully connected autoencoder of MLPerf Tiny's anomaly detection.

Source: Koizumi et al. 2020, DCASE challenge task 2 baseline (arXiv:2006.05822).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

__all__ = ["Autoencoder"]


class Autoencoder(nn.Module):
    """Five stacked log-mel frames ``[N, features]`` to their reconstruction of the same shape."""

    def __init__(self, features: int = 640, hidden: int = 128, code: int = 8) -> None:
        super().__init__()
        sizes = [features, hidden, hidden, hidden, hidden, code, hidden, hidden, hidden, hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, features))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.layers(x)
        return y
