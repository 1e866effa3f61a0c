"""Whole numbers that become floats again, and other forms behind a layer: the module's own numbers in float, and TFLite
Micro's codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.exact_networks import require_exact

pytestmark = pytest.mark.usefixtures("one_thread")

_SHARES = torch.tensor([0.25, 0.5, 1.0])


class Behind(nn.Module):
    """A layer with weights, and a form of its result."""

    def __init__(self, form: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.form, self.layer, self.norm = form, nn.Linear(6, 6), nn.BatchNorm1d(6)
        self.scales = nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.form(self, self.layer(x))


def _as_ghosts(net: Any, x: Tensor) -> Tensor:
    """A batch norm for each 128 samples, of which an example has fewer."""
    return torch.cat([net.norm(part) for part in x[:, 0].chunk(-(-len(x) // 128), 0)], 0)


FORMS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "cut off, and a float": lambda s, x: x.mul(3).long().float() * 2,
    "cut off, and divided": lambda s, x: x.mul(3).int() / 2,
    "bytes": lambda s, x: (x.sigmoid() * 255).round().byte() / 255.0,
    "a float of bytes": lambda s, x: (x.sigmoid() * 200).to(torch.uint8).float(),
    "the place of the largest, as a number": lambda s, x: x.argmax(-1).float() * 0.5,
    "the place of the smallest, kept": lambda s, x: x.argmin(1, keepdim=True).float() * x,
    "several quantiles": lambda s, x: x.quantile(_SHARES, dim=2).movedim(0, 1) * 2,
    "several quantiles, time in front": lambda s, x: (
        x.transpose(0, 1).quantile(_SHARES, dim=0, keepdim=True).sum((0, 1))
    ),
    "fmax and fmin": lambda s, x: torch.fmax(x, s.scales) + torch.fmin(x, x * 2),
    "a trained choice": lambda s, x: torch.where(torch.arange(6) > 2, x, s.scales) * 2,
    "as large as another": lambda s, x: x * 2 + 0.2 * s.scales.expand_as(x),
    "in parts, of which there is one": _as_ghosts,
}  # fmt: skip


@pytest.mark.tflm
@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_exact(name: str) -> None:
    torch.manual_seed(0)
    require_exact(Behind(FORMS[name]).eval(), torch.randn(16, 4, 6))
