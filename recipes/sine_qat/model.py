"""The network of the sine task: 1-16-16-1 with ReLU."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from qtorch.lightning.regression import Regression
from qtorch.perceptron import perceptron, spread_kinks
from qtorch.widths import require_widths

__all__ = ["Sine"]


class Sine(Regression):
    """An angle in [0, 2 pi] to its sine.

    Args:
        hidden: widths of the hidden layers.
        loss: ``mse`` or ``huber``.
        learning_rate: of Adam, at the start of float training.
        qat_learning_rate: of Adam, at the start of quantized training.
    """

    task = "sine"

    def __init__(
        self,
        hidden: tuple[int, ...] = (16, 16),
        loss: Literal["mse", "huber"] = "mse",
        learning_rate: float = 1e-2,
        qat_learning_rate: float = 1e-3,
    ) -> None:
        require_widths("hidden", hidden)
        net = perceptron((1, *hidden, 1))
        if hidden and isinstance(net[0], nn.Linear):
            spread_kinks(net[0], 0.0, 2 * math.pi)
        super().__init__(net, 1, loss, learning_rate, qat_learning_rate)
        self.save_hyperparameters()
