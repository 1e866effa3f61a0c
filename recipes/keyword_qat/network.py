"""The keyword network: MLPerf Tiny's DS-CNN, narrower."""

from __future__ import annotations

from recipes.mlperf_tiny.ds_cnn import DSCNN

__all__ = ["keyword_network"]


def keyword_network(classes: int, channels: int = 32) -> DSCNN:
    """Log-mel energies ``[N, 1, 49, 10]`` to probabilities ``[N, classes]``; 64 channels make it MLPerf Tiny's."""
    return DSCNN(classes, channels)
