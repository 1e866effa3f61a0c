"""The network of the digits task."""

from __future__ import annotations

import torch

from qtorch.lightning.classification import Classification
from qtorch.widths import require_classes, require_width, require_widths

from .network import digits_network

__all__ = ["Digits"]


class Digits(Classification):
    """A picture of a digit, brightness in [0, 1], to a logit for each of the ten.

    Args:
        image: pixels along an edge: 8 for scikit-learn's pictures, 28 for MNIST's.
        channels: of the three convolutions.
        classes: digits.
        learning_rate: of Adam, at the start of float training.
        qat_learning_rate: of Adam, at the start of quantized training.
    """

    task = "digits"

    def __init__(
        self,
        image: int = 8,
        channels: tuple[int, int, int] = (16, 16, 32),
        classes: int = 10,
        learning_rate: float = 3e-3,
        qat_learning_rate: float = 5e-4,
    ) -> None:
        require_width("image", image, 1, 512)
        require_widths("channels", channels, 3, 1024)
        require_classes(classes)
        net = digits_network(image, channels, classes)
        super().__init__(net, torch.zeros(1, 1, image, image), False, learning_rate, qat_learning_rate)
        self.save_hyperparameters()
