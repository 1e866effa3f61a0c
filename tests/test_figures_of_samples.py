"""A function of somebody's own that says what samples add to its figures gets the verdict that remarks promise it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import export
import qtorch
from export.figures.figures_by_name import figures_by_name

X = torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
Y = torch.stack([X.sum(1), X[:, 0] - X[:, 2]], 1)


def _huber(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.huber_loss(outputs, targets, delta=0.05, reduction="none").mean(1)


def _bundle(figures: Any, better: dict[str, str] | None) -> export.Bundle:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(X), Y).backward()
        optimizer.step()
    return export.export_network(
        net, calibration=X, test=(X, Y), figures=figures, better=better, c=False, onnx=False, firmware=None
    )


def test_what_the_remark_asks_for_can_be_given_and_brings_the_verdict() -> None:
    bundle = _bundle(lambda x, outputs, targets: {"huber": float(_huber(outputs, targets).mean())}, None)
    assert bundle.verdict is not None
    assert "pass better = {'huber': 'higher'} or better = {'huber': 'lower'}" in bundle.verdict.reason
    bundle = _bundle(lambda x, outputs, targets: {"huber": float(_huber(outputs, targets).mean())}, {"huber": "lower"})
    assert bundle.verdict is not None
    assert bundle.verdict.answer == "no verdict"
    assert "let figures return a tensor [N] under 'huber'" in bundle.verdict.reason
    assert "method" not in bundle.verdict.reason

    asked = _bundle(lambda x, outputs, targets: {"huber": _huber(outputs, targets)}, {"huber": "lower"})
    assert asked.verdict is not None
    assert asked.verdict.figure == "huber"
    assert asked.verdict.samples == len(X)
    assert asked.verdict.answer in ("ship", "do not ship")
    for stage, figures in bundle.metrics["test"].items():
        assert asked.metrics["test"][stage]["huber"] == pytest.approx(figures["huber"], rel=1e-5), stage


@pytest.mark.parametrize("each", [torch.tensor([1.0, 2.0, 6.0]), np.array([1.0, 2.0, 6.0]), torch.tensor([1, 2, 6])])
def test_what_samples_add_is_a_figure_by_its_mean(each: Any) -> None:
    asked = figures_by_name(lambda x, outputs, targets: {"own": each, "n": 3}, "figures of x", {}, "")
    assert asked(None, None, torch.zeros(3)) == {"own": 3.0, "n": 3.0}
    with pytest.raises(qtorch.errors.BadConfiguration):
        asked(None, None, torch.zeros(4))
