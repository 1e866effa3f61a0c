"""The network of the keyword task: a DS-CNN."""

from __future__ import annotations

import torch

from qtorch.lightning.classification import Classification
from qtorch.widths import require_classes, require_width

from .network import keyword_network

__all__ = ["Keyword"]


class Keyword(Classification):
    """Log-mel energies of one second of sound to the probability of each word.

    Args:
        classes: words; the synthetic sounds are 8.
        channels: of every convolution; 64 make it MLPerf Tiny's network.
        learning_rate: of Adam, at the start of float training.
        qat_learning_rate: of Adam, at the start of quantized training.
    """

    task = "keyword"

    def __init__(
        self, classes: int = 8, channels: int = 32, learning_rate: float = 3e-3, qat_learning_rate: float = 3e-4
    ) -> None:
        require_classes(classes)
        require_width("channels", channels, most=1024)
        example = torch.zeros(1, 1, 49, 10)
        super().__init__(keyword_network(classes, channels), example, True, learning_rate, qat_learning_rate)
        self.save_hyperparameters()
