"""MobileNetV1 of width 0.25 for person detection.

Source: Howard et al. 2017 (arXiv:1704.04861), in the size of MLPerf Tiny's visual wake words.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["MobileNetV1"]

#: Channels behind each separable convolution at width 1, and its stride.
_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


class MobileNetV1(nn.Module):
    """Images ``[N, 3, size, size]`` to class probabilities ``[N, classes]``; ``size`` a multiple of 32."""

    def __init__(self, classes: int = 2, width: float = 0.25, size: int = 96) -> None:
        super().__init__()
        channels = int(32 * width)
        layers = [*_strided(nn.Conv2d(3, channels, 3, stride=2, bias=False)), nn.BatchNorm2d(channels), nn.ReLU()]
        for out, stride in _BLOCKS:
            widened = int(out * width)
            layers += _separable(channels, widened, stride)
            channels = widened
        self.features = nn.Sequential(*layers)
        self.classify = nn.Sequential(
            nn.AvgPool2d(size // 32), nn.Flatten(), nn.Linear(channels, classes), nn.Softmax(-1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.classify(self.features(x))
        return y


def _strided(convolution: nn.Conv2d) -> list[nn.Module]:
    """A 3 x 3 window of stride 2 on an even image reads one pixel beyond its end."""
    return [nn.ZeroPad2d((0, 1, 0, 1)), convolution]


def _separable(channels: int, out: int, stride: int) -> list[nn.Module]:
    depthwise = nn.Conv2d(channels, channels, 3, stride, padding=int(stride == 1), groups=channels, bias=False)
    return [
        *(_strided(depthwise) if stride == 2 else [depthwise]),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    ]
