"""Machine sounds, the scores of anomalies, and the area under their ROC curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qtorch.errors import BadConfiguration, BadData, NotFinite
from qtorch.features import Feature
from qtorch.lightning.data import DataSummary
from qtorch.lightning.scores import anomaly_scores, area_under_roc
from recipes.anomaly_qat.data import AnomalyData
from recipes.anomaly_qat.machine import FAULTS, machine_clips, machine_features
from recipes.anomaly_qat.network import anomaly_network

pytestmark = pytest.mark.usefixtures("one_thread")


def counted(scores: Tensor, labels: Tensor) -> float:
    """The area by its definition: over all pairs of an anomaly and a normal sample."""
    wins = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1].tolist() for b in scores[labels == 0].tolist()]
    return sum(wins) / len(wins)


@pytest.mark.parametrize("kinds", [2, 5, 30, 10**6])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_area_counts_pairs_and_halves_ties(kinds: int, share: float) -> None:
    generator = torch.Generator().manual_seed(kinds)
    labels = (torch.rand(80, generator=generator) < share).long()
    labels[:2] = torch.tensor([0, 1])
    scores = torch.randint(0, kinds, (80,), generator=generator) / 7 + labels * kinds / 30
    assert area_under_roc(scores, labels) == pytest.approx(counted(scores, labels), abs=1e-12)


def test_areas_that_are_known() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert area_under_roc(torch.tensor([0.1, 0.4, 0.35, 0.8]), labels) == 0.75
    assert area_under_roc(torch.tensor([1.0, 2.0, 3.0, 4.0]), labels) == 1
    assert area_under_roc(torch.tensor([4.0, 3.0, 2.0, 1.0]), labels) == 0
    assert area_under_roc(torch.ones(4), labels) == 0.5


def test_areas_that_are_none() -> None:
    with pytest.raises(BadData, match=r"at least one of each, got labels \[0\]"):
        area_under_roc(torch.ones(3), torch.zeros(3).long())
    with pytest.raises(BadData, match=r"got labels \[0, 1, 2\]"):
        area_under_roc(torch.ones(3), torch.arange(3))
    with pytest.raises(BadData, match=r"scores \(3,\) and labels \(2,\)"):
        area_under_roc(torch.ones(3), torch.arange(2))
    with pytest.raises(BadData, match=r"scores \(2, 1\)"):
        area_under_roc(torch.ones(2, 1), torch.arange(2)[:, None])
    for value in (math.nan, math.inf):
        with pytest.raises(NotFinite, match="got 1 that are not"):
            area_under_roc(torch.tensor([0.0, value]), torch.arange(2))


def test_scores_are_mean_squared_errors_of_each_sample() -> None:
    x = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    assert anomaly_scores(x + torch.tensor([[[1.0, 2.0]], [[0.0, -1.0]]]), x).tolist() == [2.5, 0.5]


def test_parts() -> None:
    data = AnomalyData(clips=50, seed=3)
    arrays = data.load()
    for part, count in ((arrays.train, 50), (arrays.validation, 12)):
        assert part[0].shape == (count, 640)
        assert part[0].dtype == torch.float32
        assert torch.equal(part[0], part[1])
    x, labels = arrays.test
    assert x.shape == (24, 640)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0] * 12 + [1] * 12
    assert float(arrays.train[0].mean()) == pytest.approx(0, abs=1e-5)
    assert float(arrays.train[0].std()) == pytest.approx(1, abs=1e-5)
    assert float(x.abs().max()) < 6
    (before,), (behind,) = arrays.interface.inputs, arrays.interface.outputs
    assert before.name == "log-mel energy"
    assert behind == Feature("reconstructed log-mel energy", "", before.offset, before.span)
    assert arrays.summary == DataSummary("synthetic", 86, 0, 50, 24)
    assert dict(data.hparams) == {"batch_size": 128, "clips": 50, "seed": 3}
    raw = machine_features(machine_clips(50, None, np.random.default_rng(3)))
    torch.testing.assert_close(arrays.train[0] * before.span + before.offset, raw, atol=1e-4, rtol=0)
    again, other = (AnomalyData(clips=50, seed=seed).load() for seed in (3, 4))
    assert torch.equal(arrays.test[0], again.test[0])
    assert not torch.equal(arrays.test[0], other.test[0])
    assert len(torch.cat([arrays.train[0], arrays.validation[0], x]).unique(dim=0)) == 86


def test_too_few_clips() -> None:
    with pytest.raises(BadConfiguration, match=r"data\.clips: expected at least 16, got 15"):
        AnomalyData(clips=15)


def energies(fault: str | None) -> Tensor:
    """Mean log-mel energies over 300 clips and their frames, ``[128]``."""
    clips = machine_clips(300, fault, np.random.default_rng(0))
    assert clips.shape == (300, 3072)
    assert clips.dtype == np.float32
    assert 0.3 < np.abs(clips).max() <= 1
    assert (np.abs(clips) == 1).mean() < 1e-4
    return machine_features(clips).view(300, 5, 128).mean((0, 1))


def test_faults_sound_where_they_should() -> None:
    normal = energies(None)
    louder = {fault: energies(fault) - normal for fault in FAULTS}
    # Bands below 64 end at 1.7 kHz, where harmonics dominate; those from 68 begin at 1.9 kHz.
    for fault in ("bearing", "rub", "rattle"):
        assert float(louder[fault][68:].mean()) > 0.1 > float(louder[fault][:60].abs().mean()), fault
    missing = louder["missing harmonic"]
    assert float(missing[20:50].mean()) < -0.05
    assert float(missing[68:].abs().mean()) < 0.05


def test_the_autoencoder_hears_most_faults() -> None:
    torch.manual_seed(0)
    arrays = AnomalyData(clips=1500).load()
    x, (tested, labels) = arrays.train[0], arrays.test
    mean = area_under_roc(anomaly_scores(x.mean(0).expand_as(tested), tested), labels)
    net = anomaly_network(48)
    optimizer = torch.optim.Adam(net.parameters(), 4e-3)
    for _ in range(16):
        for at in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x[at]), x[at]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        area = area_under_roc(anomaly_scores(net(tested), tested), labels)
    assert mean < 0.88 < 0.92 < area < 0.995, (mean, area)
