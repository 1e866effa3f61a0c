"""Scales of activations and of whole weights have twelve bits, so that float32 and double give one product."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from qtorch import Mode, QuantizationConfig
from qtorch.numbers.short_mantissa import (
    is_power_of_two,
    nearest_short,
    power_of_two_beside,
    round_up_short_,
    rounded_up_power_of_two,
    rounded_up_short,
)

RANDOM = torch.randn(2000, generator=torch.Generator().manual_seed(0)).mul(20).exp2()


def bits(number: float) -> int:
    """How many significant bits a number has."""
    numerator = Fraction(number).numerator
    return (numerator // (numerator & -numerator)).bit_length()


def test_rounding_up_gives_the_least_number_of_twelve_bits_that_is_not_below() -> None:
    for before, after in zip(RANDOM.tolist(), rounded_up_short(RANDOM).tolist(), strict=True):
        assert bits(after) <= 12
        assert before <= after < before * (1 + 2.0**-11)
    short, array = rounded_up_short(RANDOM), RANDOM.numpy().copy()
    round_up_short_(array.view(np.int32))
    assert np.array_equal(array, short.numpy())
    assert torch.equal(rounded_up_short(short), short)
    assert float(rounded_up_short(torch.tensor(0.0))) == 0.0
    # A carry into the exponent.
    assert float(rounded_up_short(torch.tensor(np.float32(2.0) - np.float32(2.0**-20)))) == 2.0


def test_the_nearest_is_no_farther_than_half_of_a_step() -> None:
    for before, after in zip(RANDOM.tolist(), nearest_short(RANDOM).tolist(), strict=True):
        assert bits(after) <= 12
        assert abs(after - before) <= before * 2.0**-12


def test_products_are_the_same_in_both_types() -> None:
    one, other = rounded_up_short(RANDOM[:1000]), nearest_short(RANDOM[1000:])
    assert torch.equal((one * other).double(), one.double() * other.double())
    # Of scales as they come they are not.
    one, other = RANDOM[:1000], RANDOM[1000:]
    assert not torch.equal((one * other).double(), one.double() * other.double())


def test_powers_of_two_are_told_and_rounded_up_to() -> None:
    for before, after in zip(RANDOM.tolist(), rounded_up_power_of_two(RANDOM).tolist(), strict=True):
        assert bits(after) == 1
        assert before <= after < 2 * before
    powers = rounded_up_power_of_two(RANDOM)
    assert torch.equal(rounded_up_power_of_two(powers), powers)
    assert bool(is_power_of_two(powers).all())
    assert is_power_of_two(RANDOM).tolist() == [bits(each) == 1 for each in RANDOM.tolist()]


def test_a_scale_follows_others_that_are_all_powers_of_two() -> None:
    third, half, quarter = (torch.tensor(each) for each in (1 / 3, 0.5, 0.25))
    assert float(power_of_two_beside(third, [half, quarter])) == 0.5
    assert torch.equal(power_of_two_beside(third, [half, third]), third)


class Residual(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x))
        return self.second(y - x * y)


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize(
    ("scales", "weights"),
    [("measured", "per_channel"), *((scales, "per_tensor") for scales in ("measured", "lsq", "lsq+", "pact"))],
)
def test_every_scale_of_a_trained_network_is_short(scales: str, weights: str, activations: str) -> None:
    torch.manual_seed(0)
    config = QuantizationConfig(scales=scales, weights=weights, activations=activations)  # type: ignore[arg-type]
    net, x = Residual(3 if weights == "per_tensor" else 1), torch.rand(64, 8) * 3 - 1
    qat = qtorch.prepare(net, x[:1], config)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    optimizer = torch.optim.Adam(qat.parameters(), 0.003)
    for _ in range(5):
        optimizer.zero_grad()
        qat(x).square().mean().backward()
        optimizer.step()
    grids = {name: each.qparams() for name, each in qtorch.quantizers(qat).items()}
    assert len(grids) >= 4
    assert max(bits(q.scale[0]) for q in grids.values()) <= 12
    layers = [each for each in qat.modules() if isinstance(each, qtorch.QuantizedOp) and each.has_weight]
    of_weights = [layer.constants.integers()["weight"].grid.scale.flatten().tolist() for layer in layers]
    assert len(of_weights) == 2
    if weights == "per_tensor":
        assert max(bits(scale) for (scale,) in of_weights) <= 12
    else:
        # Products with several are taken in double by all kernels; with one they are not.
        assert [len(each) for each in of_weights] == [8, 1]
        assert bits(of_weights[1][0]) <= 12
