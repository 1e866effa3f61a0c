"""DS-CNN for keyword spotting: a convolution, four depthwise separable ones, a global average.

Source: Zhang et al. 2017, "Hello Edge" (arXiv:1711.07128), in the size of MLPerf Tiny.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["DSCNN"]


class DSCNN(nn.Module):
    """Log-mel features ``[N, 1, 49, 10]`` to class probabilities ``[N, classes]``."""

    def __init__(self, classes: int = 12, channels: int = 64) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.ZeroPad2d((1, 1, 4, 5)),
            nn.Conv2d(1, channels, (10, 4), stride=2),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(0.2),
        )
        self.blocks = nn.Sequential(*(_separable(channels) for _ in range(4)))
        self.classify = nn.Sequential(
            nn.Dropout(0.4), nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(channels, classes), nn.Softmax(-1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.classify(self.blocks(self.first(x)))
        return y


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
