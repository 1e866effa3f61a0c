"""Whether a bundle says ``saturated`` where values beyond a range cost something, and is silent where they do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import export
import qtorch
from export.bundle.bundle import Bundle

Loss = Callable[[Tensor, Tensor], Tensor]


def _fit(net: nn.Module, x: Tensor, y: Tensor, loss: Loss, steps: int, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()


def _exported(net: qtorch.QuantizedNetwork, x: Tensor, y: Tensor) -> Bundle:
    half = len(x) // 2
    return export.export_network(
        net, calibration=(x[:half], y[:half]), test=(x[half:], y[half:]), options=export.ExportOptions()
    )


def _said(bundle: Bundle) -> list[str]:
    return [each["tensor"] for each in bundle.metrics["quantization"]["findings"] if each["finding"] == "saturated"]


def _cut_off(bundle: Bundle) -> float:
    """The largest share of a tensor's values that lie beyond its range."""
    rows = bundle.files["quantization_report.csv"].decode().splitlines()
    column = rows[0].split(",").index("saturation")
    return max(float(row.split(",")[column]) for row in rows[1:])


@pytest.mark.filterwarnings("ignore:training. after 64 steps 100%")
def test_ranges_from_before_training_cost_a_regression_and_are_named_until_they_are_measured_anew() -> None:
    torch.manual_seed(0)
    x = torch.rand(1000, 2)
    y = 3 * (x[:, :1] * x[:, 1:] + x[:, :1].square()).sin()
    qat = qtorch.prepare(nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1)), x[:1])
    optimizer = torch.optim.Adam(qat.parameters(), 0.01)
    qtorch.calibrate(qat, [x[:500]])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    _fit(qat, x[:500], y[:500], F.mse_loss, 300, optimizer)
    spoilt = _exported(qat, x, y)
    assert "2.fully_connected" in _said(spoilt)
    assert "2.fully_connected: saturated: the layer's results leave the range" in str(spoilt)

    qtorch.calibrate(qat, [x[:500]])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    mended = _exported(qat, x, y)
    assert _said(mended) == []
    assert mended.metrics["test"]["qat_int8"]["mse"] < 0.8 * spoilt.metrics["test"]["qat_int8"]["mse"]


def test_logits_that_grew_beyond_their_range_and_choose_the_same_classes_are_not_named() -> None:
    torch.manual_seed(0)
    x = torch.rand(2000, 6)
    y = (x[:, :3].sum(1) > x[:, 3:].sum(1)).long()
    qat = qtorch.prepare(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)), x[:1])
    optimizer = torch.optim.Adam(qat.parameters(), 0.01)
    for mode, steps in ((qtorch.Mode.FLOAT, 100), (qtorch.Mode.QUANTIZED, 300)):
        qtorch.calibrate(qat, [x[:1000]])
        qtorch.set_mode(qat, mode)
        _fit(qat, x[:1000], y[:1000], F.cross_entropy, steps, optimizer)
    bundle = _exported(qat, x, y)
    assert _cut_off(bundle) > 0.2
    assert bundle.verdict is not None
    assert bundle.verdict.answer == "ship"
    assert _said(bundle) == []
    assert "saturated" not in str(bundle)
