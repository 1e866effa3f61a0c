"""The anomaly network: MLPerf Tiny's autoencoder, narrower."""

from __future__ import annotations

from recipes.mlperf_tiny.autoencoder import Autoencoder

__all__ = ["anomaly_network"]


def anomaly_network(hidden: int = 64, code: int = 8) -> Autoencoder:
    """Features ``[N, 640]`` to their reconstruction ``[N, 640]``; 128 hidden units make it MLPerf Tiny's."""
    return Autoencoder(640, hidden, code)
