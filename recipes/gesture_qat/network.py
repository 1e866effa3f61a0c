"""Two networks for gestures: a perceptron, and convolutions over time."""

from __future__ import annotations

from torch import nn

from qtorch.perceptron import perceptron

__all__ = ["gesture_convolutions", "gesture_perceptron"]


def gesture_perceptron(classes: int = 2, hidden: tuple[int, ...] = (10, 5)) -> nn.Sequential:
    """Windows ``[N, 150]`` (or any shape of 150 values each) to probabilities ``[N, classes]``."""
    return nn.Sequential(nn.Flatten(), *perceptron((150, *hidden, classes)), nn.Softmax(-1))


def gesture_convolutions(classes: int = 2, channels: tuple[int, int] = (8, 16)) -> nn.Sequential:
    """Windows ``[N, 3, 50]`` to probabilities ``[N, classes]``; where in the window the motion lies is averaged out."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, channels[0]), channels):
        layers += [nn.Conv1d(inputs, outputs, 5, stride=2), nn.BatchNorm1d(outputs), nn.ReLU()]
    pool = nn.AvgPool1d(10)  # 50 samples, 23 after the first convolution, 10 after the second
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(channels[1], classes), nn.Softmax(-1))
