"""A small network with a function of a test's own between its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

X = torch.rand(6, 8, generator=torch.Generator().manual_seed(0))
Function = Callable[[Any, Tensor], Tensor]


class Between(nn.Module):
    """Two linear layers, and a function of the network and a tensor ``[N, 8]`` between them."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.function = nn.Linear(8, 8), nn.Linear(8, 2), function
        self.flatten, self.steps, self.level = nn.Flatten(), 0, torch.zeros(8)
        self.history: Tensor
        self.register_buffer("history", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.function(self, self.first(x)))
        return y


def scaled(net: Between, y: Tensor) -> Tensor:
    return y * 2 if net.training else y
