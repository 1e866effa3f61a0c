"""A small convolutional network for pictures of one channel."""

from __future__ import annotations

from torch import nn

__all__ = ["digits_network"]


def digits_network(image: int = 8, channels: tuple[int, int, int] = (16, 16, 32), classes: int = 10) -> nn.Sequential:
    """Pictures ``[N, 1, image, image]`` to logits ``[N, classes]``.

    Three convolutions of 3 by 3 with batch norm and ReLU, and one linear layer. A max pooling halves the picture in
    front of the second if more than 8 pixels are left along an edge, in front of the third and of the linear layer if
    more than 4.

    Args:
        image: pixels along an edge; 8 makes 12,378 parameters, 28 makes 10,138.
        channels: of each convolution.
        classes: outputs.
    """
    layers: list[nn.Module] = []
    side, inputs = image, 1
    for outputs, widest in zip(channels, (8, 4, 4), strict=True):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
        if side > widest:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(side * side * inputs, classes))
