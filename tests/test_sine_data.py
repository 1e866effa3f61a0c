"""The sine samples."""

from __future__ import annotations

import math

import pytest
import torch

from qtorch.errors import BadConfiguration
from recipes.sine_qat.data import SineData


def test_samples() -> None:
    arrays = SineData(noise=0.1).arrays
    assert [len(part[0]) for part in (arrays.train, arrays.validation, arrays.test)] == [600, 200, 200]
    x, y = arrays.train
    assert float(x.min()) >= 0
    assert float(x.max()) <= 2 * math.pi
    assert float((y - torch.sin(x)).std()) == pytest.approx(0.1, rel=0.15)
    clean = SineData(noise=0).arrays.test
    assert torch.equal(clean[1], torch.sin(clean[0]))


@pytest.mark.parametrize("arguments", [{"noise": -0.1}, {"noise": float("nan")}, {"samples": 5}])
def test_bad_options(arguments: dict) -> None:
    with pytest.raises(BadConfiguration, match=str(next(iter(arguments.values())))):
        SineData(**arguments)
