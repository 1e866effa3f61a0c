"""Straight-through estimators: values against integers, gradients against plain autograd in double precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from qtorch.numbers import functional as F
from qtorch.numbers import straight_through as S
from qtorch.numbers.fixedpoint import quantize_multiplier, requantize
from qtorch.numbers.grid import Grid

SCALE = torch.tensor(0.25)
#: -128 to 127 around a zero point of -28.
LOW, HIGH = -100, 155
BOUNDS = S.Bounds.of(SCALE, LOW, HIGH)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Of the sum of ``function(x)``, elements weighted."""
    x = x.clone().requires_grad_()
    y = function(x)
    (y if weights is None else y * weights).sum().backward()
    assert x.grad is not None
    return x.grad


def around_codes(*codes: float) -> Tensor:
    """Values a quarter of a step below, at, and above codes, in real numbers."""
    return torch.tensor([code + offset for code in codes for offset in (-0.25, 0.0, 0.25)]) * SCALE


def rounded(x: Tensor) -> Tensor:
    """Half away from zero, gradient 1: plain autograd, in whatever precision."""
    return x + (torch.sign(x) * torch.floor(x.abs() + 0.5) - x).detach()


def rounded_to_even(x: Tensor) -> Tensor:
    return x + (torch.round(x) - x).detach()


def test_round_ste() -> None:
    x = torch.cat([torch.randn(500) * 20, torch.arange(-9, 9) + 0.5])
    assert torch.equal(S.round_ste(x).double(), rounded(x.double()))
    weights = torch.randn(len(x))
    assert torch.equal(gradient(S.round_ste, x, weights), weights)


def test_scale_gradient() -> None:
    x, weights = torch.randn(9), torch.randn(9)
    assert torch.equal(S.scale_gradient(x, 0.125), x)
    assert torch.equal(gradient(lambda v: S.scale_gradient(v, 0.125), x, weights), weights * 0.125)


def test_replace_value() -> None:
    x, value, weights = torch.randn(9), torch.randn(9), torch.randn(9)
    before = value.clone()
    assert torch.equal(S.replace_value(x, value), value)
    assert torch.equal(gradient(lambda v: S.replace_value(v, value), x, weights), weights)
    assert torch.equal(value, before)


@pytest.mark.parametrize("estimator", ["clipped", "plain", "ewgs"])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_fake_quantize_is_dequantized_quantize(estimator: S.Estimator, needs_gradient: bool) -> None:
    torch.manual_seed(0)
    grid = Grid(SCALE, torch.tensor(-28, dtype=torch.int32))
    x = torch.cat([torch.randn(2000) * 20, (torch.arange(-260, 400) + 0.5) * SCALE, torch.tensor([1e30, -1e30])])
    before = x.clone()
    got = S.fake_quantize(x.requires_grad_(needs_gradient), SCALE, BOUNDS, estimator)
    assert torch.equal(got, F.dequantize(F.quantize(before, grid, -128, 127), grid))
    assert torch.equal(x, before)


#: Around the lowest and the highest code, and one in the middle.
ENDS = around_codes(LOW - 1, LOW, LOW + 1, 7, HIGH - 1, HIGH, HIGH + 1)
#: Of these, those whose code is on the grid.
INSIDE = torch.tensor([0.0] * 3 + [1.0] * 15 + [0.0] * 3)


def test_clipped_gradient_is_one_for_every_code_that_there_is() -> None:
    weights = torch.randn(len(ENDS))
    assert torch.equal(gradient(lambda x: S.fake_quantize(x, SCALE, BOUNDS), ENDS, weights), weights * INSIDE)


def test_plain_gradient_is_one_everywhere() -> None:
    weights = torch.randn(len(ENDS))
    assert torch.equal(gradient(lambda x: S.fake_quantize(x, SCALE, BOUNDS, "plain"), ENDS, weights), weights)


def test_ewgs_pulls_values_towards_where_the_gradient_wants_them() -> None:
    """Equation 6 of Lee et al.: by the distance to the code, with the sign of the gradient."""
    weights = torch.cat([torch.ones(10), -2 * torch.ones(11)])
    steps = ENDS / SCALE
    expected = weights * INSIDE * (1 + 1e-3 * weights.sign() * (steps - rounded(steps)))
    got = gradient(lambda x: S.fake_quantize(x, SCALE, BOUNDS, "ewgs"), ENDS, weights)
    assert torch.equal(got, expected)
    # A tie has been rounded away from zero.
    got = gradient(lambda x: S.fake_quantize(x, SCALE, BOUNDS, "ewgs"), 2.5 * SCALE)
    assert float(got) == pytest.approx(1 - 0.5e-3, abs=1e-6)


def exact_sums(numerators: list[int], denominator: int, count: int) -> Tensor:
    """Integers ``[count, C]`` whose products with ``numerator / denominator`` are float32, and are no ties.

    A tie of the first rounding goes up on the device and to even in FAKE mode; it takes a mantissa of few bits, as
    here, for one to exist.
    """
    sums = torch.randint(-(2**13), 2**13, (count, len(numerators)))
    tie = sums * torch.tensor(numerators) % denominator * 2 == denominator
    return torch.where(tie, torch.zeros_like(sums), sums)


@pytest.mark.parametrize("estimator", ["clipped", "plain", "ewgs"])
@pytest.mark.parametrize("exponent", [-1, 0, 1, 3, 6, 9])
@pytest.mark.parametrize(
    ("shape", "axis"), [((4000, 4), 1), ((1000, 4, 4), 1), ((20, 4, 10, 20), 1), ((40, 100, 4), 2)]
)
def test_fake_accumulator_is_the_device_s_double_rounding(
    estimator: S.Estimator, exponent: int, shape: tuple[int, ...], axis: int
) -> None:
    """Where float32 holds every number on the way, the very integers; outer ties are as frequent as they can be."""
    torch.manual_seed(0)
    numerators, denominator = [512, 683, 1023, 777], 1024
    factor = torch.tensor(numerators) / denominator * 2.0**-exponent
    sums = exact_sums(numerators, denominator, int(np.prod(shape)) // 4)
    device = requantize(sums.clone(), quantize_multiplier(factor.double())) - 28
    unit, moved = factor * SCALE, (sums * (factor * SCALE)).T.reshape(4, *[n for d, n in enumerate(shape) if d != axis])
    got = S.fake_accumulator(moved.movedim(0, axis).clone(), unit, SCALE, BOUNDS, axis, estimator)
    grid = Grid(SCALE, torch.tensor(-28, dtype=torch.int32))
    assert torch.equal(F.codes_on_grid(got.movedim(axis, 0).reshape(4, -1).T, grid), device.clamp(-128, 127))
    assert torch.equal(got % SCALE, torch.zeros_like(got))
    assert BOUNDS.low <= float(got.min()) <= float(got.max()) <= BOUNDS.high


@pytest.mark.parametrize("unit", [torch.tensor(0.01), torch.tensor([0.01])])
@pytest.mark.parametrize("estimator", ["clipped", "plain", "ewgs"])
def test_fake_accumulator_has_fake_quantize_s_gradient(estimator: S.Estimator, unit: Tensor) -> None:
    weights = torch.randn(len(ENDS))
    got = gradient(lambda x: S.fake_accumulator(x * 1, unit, SCALE, BOUNDS, 0, estimator), ENDS, weights)
    assert torch.equal(got, gradient(lambda x: S.fake_quantize(x, SCALE, BOUNDS, estimator), ENDS, weights))


def test_fake_normalized_rounds_and_clips() -> None:
    weights = torch.randn(len(ENDS))
    got = S.fake_normalized(ENDS.clone(), SCALE, BOUNDS)
    assert torch.equal(got, torch.round(ENDS / SCALE).clamp(LOW, HIGH) * SCALE)
    assert torch.equal(gradient(lambda x: S.fake_normalized(x * 1, SCALE, BOUNDS), ENDS, weights), weights * INSIDE)


@pytest.mark.parametrize(("shape", "axis"), [((6, 5), 0), ((6, 5), None), ((3, 6, 2, 2), 1), ((6, 1, 3, 3), 0)])
def test_fake_constants_are_the_stored_integers(shape: tuple[int, ...], axis: int | None) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(shape).requires_grad_(), torch.randn(6).requires_grad_()
    scale, s_in = F.largest_magnitude(weight, axis) / 127, torch.tensor(0.03)
    with torch.no_grad():
        # A tie, which goes to even.
        weight.view(-1)[1] = 2.5 * (scale if axis is None else scale.flatten()[0])
    unit = F.bias_scale(s_in, scale)
    fake_weight, fake_bias = S.fake_constants(weight, bias, scale, unit, axis)
    zero = torch.tensor(0, dtype=torch.int32)
    grid = Grid(scale, zero, "int8")
    assert torch.equal(fake_weight, F.dequantize(F.weight_codes(weight, grid, axis), grid, axis))
    assert fake_bias is not None
    codes = F.bias_codes(bias, Grid(unit, zero, "int32"))
    assert float((fake_bias / unit - codes).detach().abs().max()) < 1e-3
    weights = torch.randn(shape)
    ((fake_weight * weights).sum() + 3 * fake_bias.sum()).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert torch.equal(weight.grad, weights)
    assert torch.equal(bias.grad, torch.full((6,), 3.0))
    assert S.fake_constants(weight, None, scale, unit, axis)[1] is None


def test_lsq_gradient_scale() -> None:
    assert S.lsq_gradient_scale(300, 127) == pytest.approx(1 / np.sqrt(300 * 127))
    assert S.lsq_gradient_scale(0, 0) == 1


def reference_step(
    x: Tensor, scale: Tensor, zero: Tensor, low: int, high: int, axis: int | None, rounding: bool, even: bool
) -> Tensor:
    """:func:`learned_step` from plain operations, whose gradients autograd works out."""
    shape = [-1 if d == axis else 1 for d in range(x.dim())]
    step = scale if axis is None else scale.reshape(shape)
    if not rounding:
        # PACT: alpha is the upper end, and has the gradient 1 beyond it; what rounds to the lower end is within.
        steps = rounded(x / step.detach())
        alpha = step * (high - float(zero.detach()))
        held = torch.where(steps < low - zero, steps.detach().clamp_min(low - float(zero.detach())), steps)
        return torch.where(steps > high - zero, alpha, held * step.detach())
    codes = (rounded_to_even if even else rounded)(x / step) + rounded_to_even(zero)
    # Without gradient beyond the ends, whole within.
    held = torch.where((codes > high) | (codes < low), codes.detach().clamp(low, high), codes)
    return step * (held - rounded_to_even(zero))


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("zero", [0.0, -28.4, 127.0, -128.0])
def test_learned_step_has_lsq_s_gradients(axis: int | None, even: bool, zero: float) -> None:
    """Of the input, the scale and the zero point, against autograd in double precision; LSQ is the case of zero 0."""
    compare_learned_step(axis, even, zero, rounding=True)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("zero", [-128.0, -28.0])
def test_learned_step_has_pact_s_gradients(axis: int | None, zero: float) -> None:
    """The upper end is learned from what lies beyond it; the lower one, which only 16 bits have, is not."""
    compare_learned_step(axis, even=False, zero=zero, rounding=False)


def compare_learned_step(axis: int | None, even: bool, zero: float, rounding: bool) -> None:
    torch.manual_seed(0)
    shape = (6, 5, 40)
    scale = torch.tensor(0.25) if axis is None else 2.0 ** torch.arange(-4.0, shape[axis] - 4)
    x, weights = torch.randn(shape) * 60, torch.randn(shape)
    # Ties, in every channel: scales are powers of two.
    x[..., :20] = torch.round(x[..., :20] * 32) / 32
    leaves = [
        [t.detach().to(dtype, copy=True).requires_grad_() for t in (x, scale, torch.tensor(zero))]
        for dtype in (torch.float32, torch.float64)
    ]
    y = S.learned_step(*leaves[0], -128, 127, axis, rounding=rounding, even=even)
    expected = reference_step(*leaves[1], -128, 127, axis, rounding, even)
    assert torch.equal(y.double(), expected)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    for name, got, wanted in zip(("x", "scale", "zero"), leaves[0], leaves[1], strict=True):
        assert got.grad is not None, name
        if wanted.grad is not None:
            torch.testing.assert_close(
                got.grad.double(), wanted.grad, rtol=1e-4, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize(("low", "high", "zero"), [(-128, 127, -28), (-128, 127, -128), (-32768, 32767, 0)])
def test_learned_step_is_dequantized_quantize(low: int, high: int, zero: int) -> None:
    torch.manual_seed(0)
    scale = torch.tensor(0.0371)
    x = torch.cat([torch.randn(5000) * (high - low) * scale / 2, (torch.arange(-300, 300) + 0.5) * scale])
    grid = Grid(scale, torch.tensor(zero, dtype=torch.int32), "int16" if high > 127 else "int8")
    y = S.learned_step(x, scale, torch.tensor(float(zero)), low, high)
    assert torch.equal(y, F.dequantize(F.quantize(x, grid, low, high), grid))


def test_learned_step_needs_no_gradient_of_what_has_none() -> None:
    x = around_codes(-200, 7, 300)
    for scale in (SCALE, SCALE.clone().requires_grad_()):
        weights = torch.randn(len(x))
        got = gradient(lambda v, s=scale: S.learned_step(v, s, torch.zeros(()), -128, 127), x, weights)
        assert torch.equal(got, weights * torch.tensor([0.0] * 3 + [1.0] * 3 + [0.0] * 3))
