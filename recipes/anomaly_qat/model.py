"""The network of the anomaly task: an autoencoder."""

from __future__ import annotations

from qtorch.lightning.reconstruction import Reconstruction
from qtorch.widths import require_width

from .network import anomaly_network

__all__ = ["Anomaly"]


class Anomaly(Reconstruction):
    """Five frames of 128 log-mel energies to themselves.

    Args:
        hidden: width of the hidden layers; 128 make it MLPerf Tiny's network.
        code: width of the narrowest.
        learning_rate: of Adam, at the start of float training.
        qat_learning_rate: of Adam, at the start of quantized training.
    """

    task = "anomaly"

    def __init__(
        self, hidden: int = 64, code: int = 8, learning_rate: float = 2e-3, qat_learning_rate: float = 3e-4
    ) -> None:
        require_width("hidden", hidden)
        require_width("code", code)
        super().__init__(anomaly_network(hidden, code), 640, learning_rate, qat_learning_rate)
        self.save_hyperparameters()
