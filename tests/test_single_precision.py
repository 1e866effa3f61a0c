"""Networks whose code computes in float64 for a while, or with numbers of NumPy: in float32, and exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from qtorch.errors import BadInput
from tests.exact_networks import require_exact


class Doubled(nn.Module):
    """A function of a layer's result, and numbers in double precision."""

    buffer: Tensor

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.linear = function, nn.Linear(8, 8)
        self.register_buffer("buffer", torch.linspace(0.5, 2, 8, dtype=torch.float64))
        self.attribute = torch.arange(1, 9, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.linear(x))


FORMS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "of unit length": lambda s, x: ((y := x.double()) / (y.pow(2).sum(-1, keepdim=True).sqrt() + 1e-3)).float(),
    "softmax": lambda s, x: F.softmax(x, -1, dtype=torch.float64).to(x.dtype),
    "added up": lambda s, x: x.sum(-1, dtype=torch.float64).type_as(x) + x.mean(-1, dtype=torch.float32),
    "times a buffer": lambda s, x: (x * s.buffer).float(),
    "times an attribute": lambda s, x: (x * s.attribute).to(torch.float32).relu(),
    "plus what NumPy made": lambda s, x: (x + torch.from_numpy(np.linspace(0, 1, 8))).float(),
    "beside zeros": lambda s, x: torch.maximum(x.to(torch.float64), torch.zeros(8, dtype=torch.float64)).float(),
    "spectrum": lambda s, x: torch.fft.rfft(x.double()).abs().float(),
}


@pytest.mark.tflm
@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_exact(name: str) -> None:
    torch.manual_seed(0)
    require_exact(Doubled(FORMS[name]).eval(), torch.randn(32, 4, 8), lost=0.01)


def test_the_networks_own_numbers_stay_double() -> None:
    net = Doubled(FORMS["times a buffer"]).eval()
    qtorch.prepare(net, torch.randn(1, 4, 8))
    assert (net.buffer.dtype, net.attribute.dtype) == (torch.float64, torch.float64)


def test_results_in_double_precision_are_refused() -> None:
    net = Doubled(lambda s, x: x.double() * 2).eval()
    with pytest.raises(BadInput, match="float32 is the type of networks"):
        qtorch.prepare(net, torch.randn(1, 4, 8))


def test_what_float32_can_not_tell_is_refused() -> None:
    """A difference of large numbers, of which float32 keeps nothing."""
    net = Doubled(lambda s, x: ((x.double() + 1e9) - 1e9).float()).eval()
    with pytest.raises(BadInput, match="prepare"):
        qtorch.prepare(net, torch.randn(1, 4, 8))
