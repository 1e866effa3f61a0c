"""Float32 kernels that do more than multiply and add are found out, and float64 takes their place."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from qtorch.network import kernel_probe


def transforming(image: Tensor, weight: Tensor, *arguments: Any) -> Tensor:
    """A convolution that rounds on the way, as Winograd's transform does, where it has float32."""
    if image.dtype is torch.float32:
        return torch.conv2d(image / 3, weight, *arguments) * 3
    return torch.conv2d(image, weight, *arguments)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> dict[Any, bool]:
    """The answers of other tests put aside."""
    answers: dict[Any, bool] = {}
    monkeypatch.setattr(kernel_probe, "_ANSWERS", answers)
    return answers


def test_a_kernel_is_asked_once_of_each_shape(forgotten: dict[Any, bool]) -> None:
    asked = []

    def sums(x: Tensor, weight: Tensor) -> Tensor:
        asked.append(x.dtype)
        return F.conv2d(x, weight)

    for size in (8, 8, 9, 8):
        x, weight = torch.zeros(5, 2, size, size), torch.zeros(3, 2, 3, 3)
        assert kernel_probe.adds_exactly("conv", sums, x, weight, 255)
    assert asked == [torch.float32, torch.float64] * 2
    assert list(forgotten.values()) == [True, True]


def test_one_that_transforms_is_found_out(forgotten: dict[Any, bool]) -> None:
    x, weight = torch.zeros(5, 2, 8, 8), torch.zeros(3, 2, 3, 3)
    assert not kernel_probe.adds_exactly("conv", transforming, x, weight, 255)


def test_float64_takes_its_place(forgotten: dict[Any, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """The integers stay the device's."""
    torch.manual_seed(0)
    x = torch.randn(40, 3, 9, 9)
    qat = qtorch.prepare(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)), x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    expected = qat(x)
    forgotten.clear()
    monkeypatch.setattr(F, "conv2d", transforming)
    got = qat(x)
    assert list(forgotten.values()) == [False, False]
    assert torch.equal(got, expected)
    monkeypatch.setattr("qtorch.network.routes.adds_exactly", lambda *_: True)
    assert not torch.equal(qat(x), expected)
