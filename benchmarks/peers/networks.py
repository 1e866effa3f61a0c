"""The networks that every library gets, by name; built of PyTorch alone, so that every environment can."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from qtorch.perceptron import perceptron
from recipes.mlperf_tiny import DSCNN

__all__ = ["NETWORKS"]

#: What builds a network, and the shape of one sample in PyTorch's order.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "sine": (lambda: perceptron((1, 16, 16, 1)), (1,)),
    "fuel": (lambda: perceptron((3, 32, 16, 8, 1)), (3,)),
    "DS-CNN": (DSCNN, (1, 49, 10)),
}
