"""The sine samples."""

from __future__ import annotations

import math

import pytest
import torch

from qtorch.errors import BadConfiguration
from qtorch.features import Feature, Interface
from qtorch.lightning.data import DataSummary
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


def test_samples_repeat_for_a_seed() -> None:
    first, again, other = (SineData(seed=seed).arrays for seed in (3, 3, 4))
    assert torch.equal(first.train[1], again.train[1])
    assert not torch.equal(first.train[0], other.train[0])


def test_every_sample_stands_in_one_part() -> None:
    arrays = SineData(samples=503).arrays
    xs = torch.cat([part[0] for part in (arrays.train, arrays.validation, arrays.test)])
    assert len(xs) == 503
    assert len(xs.unique()) > 495, "float32 draws rarely coincide"
    assert xs.dtype == arrays.train[1].dtype == torch.float32


def test_what_it_says_of_itself() -> None:
    data = SineData(samples=50)
    assert data.arrays.interface == Interface((Feature("angle", "rad"),), (Feature("sine"),))
    assert data.arrays.summary == DataSummary("synthetic", 50, 0, 30, 10)
    assert dict(data.hparams) == {"noise": 0.1, "samples": 50, "batch_size": 32, "seed": 0}
