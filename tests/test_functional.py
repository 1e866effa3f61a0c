"""Rounding, codes, gradients."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from qtorch.numbers import functional as F
from qtorch.numbers import straight_through as S
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams

GRID = Grid(torch.tensor(0.5), torch.tensor(3, dtype=torch.int32))
ENDS = S.Ends(-131, 124)


def test_round_half_away_agrees_with_a_double_oracle() -> None:
    ties = torch.arange(-50, 50) + 0.5
    near = torch.cat([torch.nextafter(ties, torch.tensor(-1e9)), torch.nextafter(ties, torch.tensor(1e9))])
    x = torch.cat([ties, near, torch.randn(1000) * 100, torch.tensor([0.0, -0.0, 1e20])])
    expected = [math.copysign(math.floor(abs(v) + 0.5), v) for v in x.double().tolist()]
    assert F.round_half_away(x).tolist() == expected


@pytest.mark.parametrize(("real", "code"), [(float("inf"), 127), (-float("inf"), -128), (float("nan"), 3), (3e38, 127)])
def test_quantize_saturates_and_sends_nan_to_the_zero_point(real: float, code: int) -> None:
    assert int(F.quantize(torch.tensor(real), GRID, -128, 127)) == code


def test_rounded_and_held_steps_are_codes_less_the_zero_point() -> None:
    x = torch.randn(500) * 60
    steps = S.round_and_hold(x / GRID.scale, ENDS)
    assert torch.equal(F.codes_of_steps(steps, GRID), F.quantize(x, GRID, -128, 127))
    assert torch.equal(steps * GRID.scale, F.dequantize(F.quantize(x, GRID, -128, 127), GRID))


def test_dequantized_codes_of_32_bits_are_rounded_once() -> None:
    """Beyond 2**24 a code is no float32 itself: it must not be rounded before the product is."""
    scale, codes = torch.tensor(0.1), 2**24 + torch.arange(1, 2**15, 7)
    exact = [Fraction(float(scale)) * (code - 3) for code in codes.tolist()]
    found = F.dequantize(codes, Grid(scale, torch.tensor(3, dtype=torch.int32)))
    assert found.tolist() == [float(np.float32(float(product))) for product in exact]


def test_gradient_is_one_inside_and_zero_where_it_saturates() -> None:
    x = torch.tensor([-100.0, -65.0, 0.3, 61.9, 62.3, 90.0], requires_grad=True)
    S.round_and_hold(x / GRID.scale, ENDS).mul(GRID.scale).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0, 0]


def test_round_ste_passes_the_gradient() -> None:
    x = torch.tensor([0.4, 2.5], requires_grad=True)
    y = S.round_ste(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 3.0]
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0), (-1e-3, 500.0)])
def test_range_to_grid_covers_the_range_and_zero(low: float, high: float) -> None:
    qparams = QParams.of(F.range_to_grid(torch.tensor(low), torch.tensor(high)))
    codes = np.arange(-128, 128, dtype=np.int8)
    real = qparams.dequantize(codes)
    half = qparams.scale[0] / 2 + 1e-6 * abs(high)
    assert 0.0 in real
    assert real[0] <= low + half
    assert real[-1] >= high - half


def test_bias_widens_the_weight_scale() -> None:
    weight, bias, s_in = torch.full((2, 3), 1e-6), torch.tensor([1000.0, 1e-9]), torch.tensor(0.01)
    scale = F.with_room_for_bias(F.largest_magnitude(weight, 0) / 127, bias, s_in)
    codes = F.bias_codes(bias, Grid(F.bias_scale(s_in, scale), torch.tensor(0), "int32"))
    assert float(codes.abs().max()) <= 2**29 * (1 + 1e-6)
    assert float(scale[1]) == pytest.approx(1e-6 / 127)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (((0.0,), (0,)), "scale"),
        (((0.1,), (0,)), "float32"),
        (((0.5,), (200,)), "zero_point"),
        (((0.5, 0.5), (0, 0)), "axis"),
        (((0.5,), (1,), "int64"), "zero_point"),
        (((0.5,), (0,), "int7"), "dtype"),
        (((float("nan"),), (0,)), "scale"),
    ],
)
def test_invalid_qparams_cannot_be_built(arguments: tuple, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        QParams(*arguments)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (-5.0, 2.0), (0.5, 2.0), (-4.0, -1.0)])
def test_a_grid_of_16_bits_spans_the_larger_side(low: float, high: float) -> None:
    grid = F.range_to_grid(torch.tensor(low), torch.tensor(high), "int16")
    exact = max(abs(low), abs(high)) / 32767
    # Rounded up to twelve bits.
    assert exact <= float(grid.scale) < exact * (1 + 2.0**-11)
    assert int(grid.zero_point) == 0


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_no_scale_is_below_the_smallest(dtype: str) -> None:
    fine = F.range_to_grid(torch.tensor(-1e-6), torch.tensor(1e-6), dtype, smallest=0.25)
    assert float(fine.scale) == 0.25
    assert float(F.range_to_grid(torch.tensor(-1.0), torch.tensor(1.0), dtype, smallest=1e-9).scale) > 1e-9


@pytest.mark.parametrize("per_channel", [True, False])
def test_codes_of_biases_are_the_nearest_there_are(per_channel: bool) -> None:
    """Half to even of the exact quotient, where a float32 would have lost the last bits."""
    bias = (torch.rand(50, generator=torch.Generator().manual_seed(0)) - 0.5) * 1000
    scale = torch.full((50,), 1.2345e-6) if per_channel else torch.tensor(1.2345e-6)
    found = F.bias_codes(bias, Grid(scale, torch.tensor(0), "int32")).tolist()
    step = Fraction(float(np.float32(1.2345e-6)))
    assert found == [round(Fraction(value) / step) for value in bias.double().tolist()]


@pytest.mark.parametrize(("dtype", "end"), [("int32", 2**31), ("int64", 2**40)])
def test_codes_of_biases_end_where_their_type_does(dtype: str, end: int) -> None:
    codes = F.bias_codes(torch.tensor([-1e30, 1e30]), Grid(torch.tensor(1e-3), torch.tensor(0), dtype))
    assert codes.tolist() == [-end, end - 1 if dtype == "int32" else end]
