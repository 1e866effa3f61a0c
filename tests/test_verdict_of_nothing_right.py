"""The worst figure there is, 0, is a figure: pages and files have it."""

from __future__ import annotations

import json

import torch
from torch import nn

import export


def test_an_accuracy_of_0_is_said() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        net[1].bias.copy_(torch.tensor([0.0, 0.0, 50.0]))  # always the third class, which no sample has
    x = torch.rand(200, 4)
    bundle = export.export_network(net, calibration=x, test=(x, (x[:, 0] > 0.5).long()))
    verdict = json.loads(bundle.files["metrics.json"])["verdict"]
    assert verdict["device"] == verdict["low"] == verdict["high"] == 0
    assert "on the device: 0, 95 %: 0 to 0" in bundle.report
