"""The networks of the gesture task."""

from __future__ import annotations

from typing import Literal

import torch

from qtorch.lightning.classification import Classification
from qtorch.widths import require_classes

from .network import gesture_convolutions, gesture_perceptron

__all__ = ["Gesture"]


class Gesture(Classification):
    """A window of 50 accelerations along three axes to the probability of each gesture.

    Args:
        network: ``perceptron``, for data of layout ``flat``; ``convolutions`` over time, for layout ``channels``.
        classes: gestures.
        learning_rate: of Adam, at the start of float training.
        qat_learning_rate: of Adam, at the start of quantized training.
    """

    task = "gesture"

    def __init__(
        self,
        network: Literal["perceptron", "convolutions"] = "perceptron",
        classes: int = 2,
        learning_rate: float = 5e-3,
        qat_learning_rate: float = 1e-3,
    ) -> None:
        require_classes(classes)
        flat = network == "perceptron"
        net = gesture_perceptron(classes) if flat else gesture_convolutions(classes)
        example = torch.zeros(1, 150) if flat else torch.zeros(1, 3, 50)
        super().__init__(net, example, True, learning_rate, qat_learning_rate)
        self.save_hyperparameters()
