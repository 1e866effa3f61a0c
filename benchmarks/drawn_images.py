"""Convolutional networks drawn at random, of the kinds that microcontrollers are given pictures for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["drawn_images"]

_SAMPLES = 8
_FEWEST, _MOST = 16, 64
_CHANNELS = 48


class _Residual(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class _Branches(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _block(rng: np.random.Generator, channels: int, halve: bool) -> nn.Sequential:
    """One that keeps or halves an image's height and width."""
    kind, stride = int(rng.integers(6)), 2 if halve else 1
    out = min(_CHANNELS, channels * (2 if halve else 1) + int(rng.integers(0, 5)))
    kernel = int(rng.choice((3, 3, 5)))
    spatial: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": kernel // 2}
    if kind == 0:
        return nn.Sequential(nn.Conv2d(channels, out, **spatial), nn.ReLU())
    if kind == 1:
        return nn.Sequential(
            nn.Conv2d(channels, channels, groups=channels, **spatial),
            nn.ReLU(),
            nn.Conv2d(channels, out, 1),
            nn.ReLU6(),
        )
    if kind == 2:
        wide = channels * int(rng.integers(2, 5))
        branch = nn.Sequential(
            nn.Conv2d(channels, wide, 1), nn.ReLU6(), nn.Conv2d(wide, wide, groups=wide, **spatial), nn.ReLU6(),
            nn.Conv2d(wide, out if halve else channels, 1),
        )  # fmt: skip
        return branch if halve else nn.Sequential(_Residual(branch))
    if kind == 3:
        if halve:
            kinds: Any = (nn.MaxPool2d, nn.AvgPool2d)
            pooling: nn.Module = rng.choice(kinds)(2)
            return nn.Sequential(nn.Conv2d(channels, out, kernel, 1, kernel // 2), nn.ReLU(), pooling)
        return nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(channels, out, 1), nn.ReLU())
    if kind == 4 and not halve:
        layers = [nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1)]
        return nn.Sequential(_Residual(nn.Sequential(*layers)), nn.ReLU())
    half = max(1, out // 2)
    return nn.Sequential(
        _Branches(
            nn.Sequential(nn.Conv2d(channels, half, 1, stride), nn.ReLU()),
            nn.Sequential(nn.Conv2d(channels, half, 3, stride, 1), nn.ReLU()),
        )
    )


def drawn_images(seed: int) -> tuple[nn.Module, Tensor]:
    """A network in evaluation, and pictures for it."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    height, width = (int(n) for n in rng.integers(_FEWEST, _MOST + 1, 2))
    x = torch.randn(_SAMPLES, int(rng.integers(1, 5)), height, width)
    layers, y = list[nn.Module](), x
    for index in range(int(rng.integers(3, 10))):
        halve = min(y.shape[2:]) >= 8 and bool(index == 0 or rng.random() < 0.35)
        layers.append(_block(rng, y.shape[1], halve).eval())
        with torch.no_grad():
            y = layers[-1](y)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(y.shape[1], int(rng.integers(2, 11)))]
    return nn.Sequential(*layers).eval(), x
