"""A network whose outputs saturate learns no more: said in the loop itself, and of no network that learns."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import qtorch
from qtorch import Mode, QuantizationConfig

_DATA = torch.rand(200, 8, generator=torch.Generator().manual_seed(0))
_CLASSES = (_DATA[:, :4].mean(1) > _DATA[:, 4:].mean(1)).long()


def trained(config: QuantizationConfig | None, *, float_first: bool, rectified: bool = False) -> float:
    """The loss at the end of a loop of one's own."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2), *([nn.ReLU()] if rectified else []))
    qat = qtorch.prepare(net, _DATA[:1], config)
    optimizer = torch.optim.Adam(qat.parameters(), 0.02)
    loss = torch.zeros(())
    for mode in (*([Mode.FLOAT] if float_first else []), Mode.QUANTIZED):
        qtorch.calibrate(qat, [_DATA])
        qtorch.set_mode(qat, mode)
        for _ in range(70):
            optimizer.zero_grad()
            loss = F.cross_entropy(qat(_DATA), _CLASSES)
            loss.backward()
            optimizer.step()
    return loss.item()


def test_a_network_that_was_calibrated_before_any_training_is_told_of() -> None:
    with pytest.warns(UserWarning, match=r"of an output.s 400 values lie at the ends .* train in Mode\.FLOAT") as said:
        loss = trained(None, float_first=False)
    assert len(said) == 1
    assert loss > 0.4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The remedies.
        assert trained(None, float_first=True) < 0.2
        assert trained(QuantizationConfig(scales="lsq"), float_first=False) < 0.2


def test_what_a_relu_cuts_off_is_no_range() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(None, float_first=False, rectified=True)
