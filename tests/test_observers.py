"""Observers: each formula against an oracle in numpy, merging, what is refused, and what a checkpoint keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from qtorch import Mode
from qtorch.observers import Observer, make_observer


def make_observer_of(
    name: str, x: Tensor, axis: int | None = None, levels: int = 256, symmetric: bool = False
) -> Observer:
    """The observer ``name`` after it has seen ``x``."""
    observer = make_observer(name, axis, levels, symmetric)
    observer.observe(x)
    return observer


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize(
    "name", ["minmax", "moving_average", "percentile:99.9", "mse", "entropy", "fixed:-1:1", "lsq", "lsq+"]
)
def test_every_observer_calibrates_a_network(name: str, activations: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    config = qtorch.QuantizationConfig(observer=name, weight_observer=name, activations=activations)  # type: ignore[arg-type]
    qat, x = qtorch.prepare(net, torch.zeros(1, 3), config), torch.rand(500, 3) * 2 - 1
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.FAKE)
    with torch.no_grad():
        error = (qat(x) - net(x)).pow(2).mean() / net(x).pow(2).mean()
    assert float(error) < 0.01


@pytest.mark.parametrize("values", [[0.105, 0.5, 0.9], [-0.105, 0.9], [1.0], [-3.0, 3.0]])
def test_entropy_keeps_few_values(values: list[float]) -> None:
    low, high = make_observer_of("entropy", torch.tensor(values), levels=255).range()
    assert float(torch.maximum(-low, high)) == pytest.approx(max(map(abs, values)), rel=2**-10)


def draw(what: str, count: int = 3000) -> Tensor:
    """Float32 samples ``[count]`` of one distribution."""
    torch.manual_seed(0)
    x = torch.randn(count)
    drawn = {
        "normal": x,
        "rectified": x.relu(),
        "positive": x.abs() + 0.1,
        "negative": -x.abs(),
        "skew": x + 2,
        "laplace": torch.distributions.Laplace(0.0, 1.0).sample((count,)),
        "outlier": torch.cat([x, torch.tensor([50.0])]),
    }
    return drawn[what]


def rounding_error(x: np.ndarray, scale: float, low: int, high: int) -> float:
    """Mean squared error of rounding ``x`` to ``low`` to ``high`` steps."""
    return float(((np.clip(np.round(x / scale), low, high) * scale - x) ** 2).mean())


def least_rounding_error(x: np.ndarray, levels: int, symmetric: bool) -> float:
    """The least that any of some thousands of grids has."""
    low, high, half = min(0.0, x.min()), max(0.0, x.max()), levels // 2
    if symmetric:
        return min(rounding_error(x, s * max(-low, high) / half, -half, half) for s in np.linspace(0.02, 1, 800))
    best = np.inf
    for a in np.linspace(0.1, 1, 37) if low < 0 else [1.0]:
        for b in np.linspace(0.1, 1, 37) if high > 0 else [1.0]:
            scale = (b * high - a * low) / (levels - 1)
            bottom = round(a * low / scale)
            best = min(best, rounding_error(x, scale, bottom, bottom + levels - 1))
    return best


@pytest.mark.parametrize("what", ["normal", "rectified", "positive", "negative", "skew", "laplace", "outlier"])
@pytest.mark.parametrize(("levels", "symmetric"), [(15, True), (16, False), (255, True), (256, False)])
def test_mse_is_as_good_as_the_best_of_all_grids(what: str, levels: int, symmetric: bool) -> None:
    x = draw(what, 1000)
    low, high = (float(end) for end in make_observer_of("mse", x, None, levels, symmetric).range())
    if symmetric:
        scale, bottom = max(-low, high) / (levels // 2), -(levels // 2)
    else:
        scale = (high - low) / (levels - 1)
        bottom = round(low / scale)
    values = x.double().numpy()
    found = rounding_error(values, scale, bottom, bottom + levels - 1)
    assert found < 1.02 * least_rounding_error(values, levels, symmetric)


@pytest.mark.parametrize("what", ["normal", "rectified", "positive"])
@pytest.mark.parametrize(("levels", "symmetric"), [(256, False), (255, True), (65536, True)])
def test_lsq_starts_at_twice_the_mean_over_the_root_of_the_highest_code(
    what: str, levels: int, symmetric: bool
) -> None:
    x = draw(what)
    unsigned = not symmetric and what != "normal"
    highest = levels - 1 if unsigned else (levels - 1) // 2
    step = 2 * np.abs(x.double().numpy()).mean() / np.sqrt(highest)
    low, high = make_observer_of("lsq", x, None, levels, symmetric).range()
    assert float(high) == pytest.approx(step * highest, rel=1e-6)
    assert float(low) == pytest.approx(0 if what != "normal" else -step * highest, rel=1e-6)


def test_lsq_starts_a_positive_weight_and_a_wide_activation_at_its_step() -> None:
    """Grids that have no use for the sign of what they hold."""
    net = nn.Linear(4, 2)
    with torch.no_grad():
        net.weight.abs_()
    config = qtorch.QuantizationConfig(scales="lsq", weights="per_tensor", activations="int16")
    qat, x = qtorch.prepare(net, torch.zeros(1, 4), config), torch.rand(50, 4)
    qtorch.calibrate(qat, [x])
    weight_step = 2 * float(net.weight.detach().mean()) / 127**0.5
    assert float(qat.get_parameter("0.log_weight_scale").detach().exp()) == pytest.approx(weight_step, rel=1e-5)
    source = qtorch.quantizers(qat)["input_1_quantizer"]
    assert float(source.scale) == pytest.approx(2 * float(x.mean()) / 32767**0.5, rel=1e-5)
