"""ResNet-8 for small images: three residual stacks of one block each.

Source: He et al. 2016 (arXiv:1512.03385), in the size of MLPerf Tiny's image classification.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ResNet8"]


class _Residual(nn.Module):
    """Two convolutions beside the identity, or beside a strided one of one pixel."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        strided = channels != out
        first = nn.Conv2d(channels, out, 3, stride=2 if strided else 1, padding=int(not strided))
        pad = [nn.ZeroPad2d((0, 1, 0, 1))] if strided else []
        self.branch = nn.Sequential(
            *pad, first, nn.BatchNorm2d(out), nn.ReLU(), nn.Conv2d(out, out, 3, padding=1), nn.BatchNorm2d(out)
        )
        self.shortcut = nn.Conv2d(channels, out, 1, stride=2) if strided else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.branch(x))


class ResNet8(nn.Module):
    """Images ``[N, 3, 32, 32]`` to class probabilities ``[N, classes]``."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.stacks = nn.Sequential(_Residual(16, 16), _Residual(16, 32), _Residual(32, 64))
        self.classify = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, classes), nn.Softmax(-1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.classify(self.stacks(self.first(x)))
        return y
