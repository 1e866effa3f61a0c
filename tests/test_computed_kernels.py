"""Convolutions with weights of each sample's own, which people write as groups of one image: exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.exact_networks import require_exact


class Mixed(nn.Module):
    """Kernels mixed of a few by a gate, with biases, in groups and strides."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.norm = nn.Linear(4, 3), nn.BatchNorm2d(6)
        self.kernels, self.biases = nn.Parameter(torch.randn(3, 6 * 2 * 9) / 3), nn.Parameter(torch.randn(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        gates = self.gate(x.mean((2, 3))).sigmoid()
        kernels = (gates @ self.kernels).view(batch * 6, channels // 2, 3, 3)
        biases = (gates @ self.biases).view(batch * 6)
        image = x.reshape(1, batch * channels, height, width)
        y = F.conv2d(image, kernels, biases, stride=2, padding=1, groups=2 * batch)
        return F.relu(self.norm(y.permute(1, 0, 2, 3).view(batch, 6, *y.shape[-2:])))


class Searched(nn.Module):
    """A template of the sample looked for in the sample: one map, or one for each channel."""

    def __init__(self, by_channel: bool) -> None:
        super().__init__()
        self.features, self.by_channel = nn.Conv2d(4, 3, 3), by_channel

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        batch, channels, height, width = y.shape
        template = y[:, :, 2:5, 2:5]
        kernels = template.reshape(batch * channels, 1, 3, 3) if self.by_channel else template
        groups = batch * channels if self.by_channel else batch
        found = F.conv2d(y.view(1, batch * channels, height, width), kernels, groups=groups)
        return found.view(batch, -1, *found.shape[2:])


class Signals(nn.Module):
    """A kernel of a signal's own."""

    def __init__(self, size: int, **settings: Any) -> None:
        super().__init__()
        self.kernels, self.size, self.settings = nn.Linear(4, 2 * 4 * size), size, settings

    def forward(self, x: Tensor) -> Tensor:
        batch = len(x)
        kernels = self.kernels(x.mean(-1)).view(batch * 2, 4, self.size)
        y = F.conv1d(x.view(1, batch * 4, -1), kernels, groups=batch, **self.settings)
        return y.view(batch, 2, -1)


IMAGE, SIGNAL = (4, 10, 10), (4, 16)
FORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mixed kernels": (Mixed, IMAGE),
    "a template": (lambda: Searched(False), IMAGE),
    "a template for each channel": (lambda: Searched(True), IMAGE),
    "signals": (lambda: Signals(5, padding="same"), SIGNAL),
    "signals padded unevenly": (lambda: Signals(4, padding="same"), SIGNAL),
    "signals with holes": (lambda: Signals(3, dilation=2, stride=2, padding=1), SIGNAL),
}


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", FORMS)
def test_the_device_computes_it(name: str) -> None:
    torch.manual_seed(0)
    made, shape = FORMS[name]
    require_exact(made().eval(), torch.randn(24, *shape), lost=0.01)
