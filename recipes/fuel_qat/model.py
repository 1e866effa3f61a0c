"""The network of the fuel task: 3-32-16-8-1 with ReLU."""

from __future__ import annotations

from typing import Literal

from qtorch.lightning.regression import Regression
from qtorch.perceptron import perceptron
from qtorch.widths import require_widths

__all__ = ["FuelConsumption"]


class FuelConsumption(Regression):
    """Engine size, cylinders and CO2, each min-max scaled, to L/100 km.

    Args:
        hidden: widths of the hidden layers.
        loss: ``mse`` or ``huber``.
        learning_rate: of Adam, at the start of float training.
        qat_learning_rate: of Adam, at the start of quantized training.
    """

    task = "fuel"

    def __init__(
        self,
        hidden: tuple[int, ...] = (32, 16, 8),
        loss: Literal["mse", "huber"] = "mse",
        learning_rate: float = 3e-2,
        qat_learning_rate: float = 1e-3,
    ) -> None:
        require_widths("hidden", hidden)
        super().__init__(perceptron((3, *hidden, 1)), 3, loss, learning_rate, qat_learning_rate)
        self.save_hyperparameters()
