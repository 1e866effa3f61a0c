"""Straight-through estimators: values against integers, gradients against plain autograd in double precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from qtorch.numbers import functional as F
from qtorch.numbers import straight_through as S
from qtorch.numbers.fixedpoint import Multiplier, quantize_multiplier, requantize, requantize_wide
from qtorch.numbers.grid import Grid
from qtorch.numbers.rescaled_sums import rescale_and_hold
from qtorch.numbers.rescaling import Rescaling, rescaling, rescaling_of_16_bits

SCALE = torch.tensor(0.25)
#: -128 to 127 around a zero point of -28.
LOW, HIGH = -100, 155
ENDS = S.Ends(LOW, HIGH)
#: Of a fused ReLU, and of a ReLU6 that is less than the grid holds.
RECTIFIED, CAPPED = S.Ends(0, HIGH, True), S.Ends(0, 24, True, True)
ESTIMATORS: list[S.Estimator] = ["clipped", "plain", "ewgs"]


def gradient(function: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Of the sum of ``function(x)``, elements weighted."""
    x = x.clone().requires_grad_()
    y = function(x)
    (y if weights is None else y * weights).sum().backward()
    assert x.grad is not None
    return x.grad


def around(*steps: float) -> Tensor:
    """Numbers a quarter below, at, and above whole ones."""
    return torch.tensor([step + offset for step in steps for offset in (-0.25, 0.0, 0.25)])


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


def test_replace_value() -> None:
    x, value, weights = torch.randn(9), torch.randn(9), torch.randn(9)
    before = value.clone()
    assert torch.equal(S.replace_value(x, value), value)
    assert torch.equal(gradient(lambda v: S.replace_value(v, value), x, weights), weights)
    assert torch.equal(value, before)


def test_lsq_gradient_scale() -> None:
    assert S.lsq_gradient_scale(300, 127) == pytest.approx(1 / np.sqrt(300 * 127))
    assert S.lsq_gradient_scale(0, 0) == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_rounded_and_held_are_the_codes_of_quantize(estimator: S.Estimator, needs_gradient: bool) -> None:
    torch.manual_seed(0)
    grid = Grid(SCALE, torch.tensor(-28, dtype=torch.int32))
    x = torch.cat([torch.randn(2000) * 20, (torch.arange(-260, 400) + 0.5) * SCALE, torch.tensor([1e30, -1e30])])
    real = (x / SCALE).requires_grad_(needs_gradient)
    before = real.detach().clone()
    got = S.round_and_hold(real, ENDS, estimator)
    assert torch.equal(F.codes_of_steps(got, grid), F.quantize(x, grid, -128, 127))
    assert torch.equal(S.round_and_hold(real, ENDS, estimator, even=True), torch.round(before).clamp(LOW, HIGH))
    assert torch.equal(real, before)


#: Around the lowest and the highest code, and one in the middle; and which of them have a code that is on the grid.
STEPS = around(LOW - 1, LOW, LOW + 1, 7, HIGH - 1, HIGH, HIGH + 1)
INSIDE = torch.tensor([0.0] * 3 + [1.0] * 15 + [0.0] * 3)


@pytest.mark.parametrize("even", [False, True])
def test_clipped_gradient_is_one_for_every_code_that_there_is(even: bool) -> None:
    weights = torch.randn(len(STEPS))
    got = gradient(lambda x: S.round_and_hold(x, ENDS, even=even), STEPS, weights)
    assert torch.equal(got, weights * INSIDE)


def test_plain_gradient_is_one_everywhere() -> None:
    weights = torch.randn(len(STEPS))
    assert torch.equal(gradient(lambda x: S.round_and_hold(x, ENDS, "plain"), STEPS, weights), weights)


def test_ewgs_pulls_values_towards_where_the_gradient_wants_them() -> None:
    """Equation 6 of Lee et al.: by the distance to the code, with the sign of the gradient."""
    weights = torch.cat([torch.ones(10), -2 * torch.ones(11)])
    expected = weights * INSIDE * (1 + 1e-3 * weights.sign() * (STEPS - rounded(STEPS)))
    assert torch.equal(gradient(lambda x: S.round_and_hold(x, ENDS, "ewgs"), STEPS, weights), expected)
    # A tie has been rounded away from zero.
    got = gradient(lambda x: S.round_and_hold(x, ENDS, "ewgs"), torch.tensor(2.5))
    assert float(got) == pytest.approx(1 - 0.5e-3, abs=1e-6)


def as_tensors(ends: S.Ends) -> S.Ends:
    """As they are where they move."""
    low, high = (torch.tensor(float(end)) for end in ends[:2])
    return S.Ends(low, high, ends.rectifies, torch.tensor(True) if ends.caps else False)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("ends", [RECTIFIED, CAPPED, S.Ends(0, HIGH, True, torch.tensor(False))])
def test_no_estimator_undoes_a_fused_activation(estimator: S.Estimator, moving: bool, ends: S.Ends) -> None:
    """Below zero, and beyond 6, no gradient; beyond what the grid holds the estimator decides."""
    x = around(-3, -1, 7, int(ends.high) + 1, int(ends.high) + 9)
    held = as_tensors(ends) if moving and isinstance(ends.caps, bool) else ends
    got = gradient(lambda v: S.round_and_hold(v, held, estimator), x)
    beyond = float(estimator == "plain" and not bool(ends.caps))
    assert torch.equal(got.round(), torch.tensor([0.0] * 6 + [1.0] * 3 + [beyond] * 6))


# Sums of products.

#: Of the factors: the bits of their mantissas, few (so that there are ties), and as many as there are.
NUMERATORS = torch.tensor([512, 683, 1023, 777], dtype=torch.float64) / 1024
ANY = torch.tensor([0.5000001, 0.7654321, 0.9999999, 0.6180339887], dtype=torch.float64)


def requantized(sums: Tensor, factor: Tensor) -> Tensor:
    """As integers have it, channels last; int64."""
    return requantize(sums.clone().to(torch.int64), quantize_multiplier(factor))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("exponent", [-1, 0, 1, 9, 14])
# The last three are more than are rescaled at a time.
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((400, 4), 1), ((2, 4, 10, 20), 1), ((9000, 4), 1), ((3, 4, 60, 50), 1), ((2, 100, 45, 4), 3)],
)
def test_rescaled_sums_are_the_device_s_two_roundings(
    estimator: S.Estimator, exponent: int, shape: tuple[int, ...], axis: int
) -> None:
    """On every way that sums take: at once and in parts, float32 and float64, with bounds as numbers and as tensors."""
    torch.manual_seed(0)
    for mantissas in (NUMERATORS, ANY):
        factor = mantissas * 2.0**-exponent
        reach = min(2**23, 2 ** (exponent + 9))
        sums = torch.randint(-reach, reach, (int(np.prod(shape)) // 4, 4))
        whole = requantized(sums, factor).T
        last = [n for d, n in enumerate(shape) if d != axis]
        moved, device = (each.T.reshape(4, *last).movedim(0, axis) for each in (sums, whole.T))
        factors = rescaling(factor).along(axis, len(shape))
        for ends in (ENDS, RECTIFIED, CAPPED):
            for held in (ends, as_tensors(ends)):
                for dtype in (torch.float32, torch.float64):
                    for any_sum in (False, True):
                        given = moved.to(dtype).contiguous()
                        got = rescale_and_hold(given, factors, held, estimator, any_sum=any_sum)
                        assert got.dtype is torch.float32
                        assert torch.equal(got.to(torch.int64), device.clamp(ends.low, ends.high))


@pytest.mark.parametrize("exponent", [-6, 0, 7, 12])
def test_rescaled_sums_are_the_16_bit_kernels_one_rounding(exponent: int) -> None:
    torch.manual_seed(0)
    factor = ANY * 2.0**-exponent
    sums = torch.randint(-(2 ** (15 + exponent)), 2 ** (15 + exponent), (20000, 4))
    expected = requantize_wide(sums.clone(), quantize_multiplier(factor)).clamp(-(2**15), 2**15 - 1)
    for any_sum in (False, True):
        ends = S.Ends(-(2**15), 2**15 - 1)
        got = rescale_and_hold(sums.double(), rescaling_of_16_bits(factor), ends, any_sum=any_sum)
        assert torch.equal(got.to(torch.int64), expected)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("ends", [ENDS, RECTIFIED, CAPPED])
@pytest.mark.parametrize("rows", [50, 20000])
def test_rescaled_sums_have_the_gradient_of_rounded_ones_times_the_factor(
    estimator: S.Estimator, ends: S.Ends, rows: int
) -> None:
    """In parts and at once, float32 and float64."""
    torch.manual_seed(0)
    factor = ANY * 2.0**-9
    sums = torch.randint(-(2**18), 2**18, (rows, 4)).float()
    real = sums.double() * factor
    # Next to a tie the device may have rounded otherwise, onto the grid or off it.
    weights = torch.randn(sums.shape) * ((real - real.floor() - 0.5).abs() > 2.0**-8)
    expected = gradient(lambda v: S.round_and_hold(v, ends, estimator), real.float(), weights.float()) * factor
    for dtype in (torch.float32, torch.float64):
        for any_sum in (False, True):
            got = gradient(
                lambda v, d=dtype, a=any_sum: rescale_and_hold(
                    v.to(d) * 1, rescaling(factor), ends, estimator, any_sum=a
                ),
                sums,
                weights,
            )
            torch.testing.assert_close(got.double(), expected.double(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("ends", [ENDS, RECTIFIED, CAPPED])
# At once and in parts.
@pytest.mark.parametrize("rows", [50, 5000])
@pytest.mark.parametrize("exponent", [0, 1, 6])
def test_rescaled_sums_have_a_gradient_where_the_device_s_two_roundings_end_on_the_grid(
    estimator: S.Estimator, ends: S.Ends, rows: int, exponent: int
) -> None:
    """Of large factors the first rounding is coarse: around the ends, one rounding would often say otherwise."""
    torch.manual_seed(0)
    for factor in (
        NUMERATORS * 2.0**-exponent,
        ANY * 2.0**-exponent,
        2.0 ** -torch.arange(exponent, exponent + 4.0).double(),
    ):
        near = [
            torch.round(end / factor) + torch.randint(-(2**exponent) - 2, 2**exponent + 3, (rows, 4))
            for end in ends[:2]
        ]
        sums = torch.cat([*near, torch.zeros(1, 4)]).float()
        whole = requantized(sums, factor)
        stopped = ((whole < ends.low) & (estimator != "plain" or ends.rectifies)) | (
            (whole > ends.high) & (estimator != "plain" or bool(ends.caps))
        )
        assert bool(stopped.any() == (estimator != "plain" or ends.rectifies))
        for held in (ends, as_tensors(ends)):
            for dtype in (torch.float32, torch.float64):
                for any_sum in (False, True):
                    got = gradient(
                        lambda v, d=dtype, a=any_sum, h=held, f=factor: rescale_and_hold(
                            v.to(d) * 1, rescaling(f), h, estimator, any_sum=a
                        ),
                        sums,
                    )
                    assert torch.equal(got == 0, stopped)


def test_sums_in_parts_that_are_a_view() -> None:
    """As those of a convolution along one axis, which is computed as an image's."""
    torch.manual_seed(0)
    x, weight = torch.randn(40, 3, 1, 800).round(), torch.randn(4, 3, 1, 5).mul(9).round()
    got = {}
    for parts in (1, 40):
        leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
        y = torch.cat([
            rescale_and_hold(
                torch.nn.functional.conv2d(part, leaves[1]).squeeze(2), rescaling(ANY / 9).along(1, 3), ENDS
            )
            for part in leaves[0].chunk(parts)
        ])  # fmt: skip
        (y * torch.arange(y.numel()).reshape(y.shape).sin()).sum().backward()
        got[parts] = [y, *(leaf.grad for leaf in leaves)]
    for at_once, apart in zip(*got.values(), strict=True):
        torch.testing.assert_close(at_once, apart, rtol=1e-4, atol=1e-3)


# What is learned of a grid.


def reference(
    x: Tensor, step: Tensor, zero: Tensor, codes: tuple[int, int], kind: str, whole: Tensor, cap: float
) -> Tensor:
    """Real numbers on a learned grid from plain operations, whose gradients autograd works out.

    Args:
        x: real numbers.
        step: the scale, shaped to broadcast.
        zero: the zero point as a real number.
        codes: lowest and highest.
        kind: of what is learned.
        whole: of ``x``, as the device rounds them; what is rounded is handed straight through.
        cap: of a fused activation, in steps; infinite for none, negative where there is no activation at all.
    """
    low, high = (end - rounded_to_even(zero) for end in codes)
    real = x / (step.detach() if kind == "pact" else step)
    steps = real + (whole - real).detach()
    fused = cap >= 0
    if fused:
        # A ReLU's own gradient ends at 0. Constants, which nothing moves.
        steps = torch.where(real.detach() <= 0, torch.zeros_like(whole), steps)
        low = torch.clamp_min(low, 0.0).detach()
    caps = fused and cap < float(high.detach())
    ends = [low.detach() if fused or kind == "pact" else low, torch.tensor(cap) if caps else high]
    held = torch.where(whole < ends[0], ends[0], torch.where(whole > ends[1], ends[1], steps))
    # With PACT the scale is learned of the upper end alone, the clipping level.
    y = held * (step if kind != "pact" else torch.where((whole > ends[1]) & (not caps), step, step.detach()))
    # Ends that an activation set are no matter of the scale.
    at_fused = (real.detach() <= 0) & fused if not caps else (real.detach() <= 0) | (whole > ends[1])
    return torch.where(at_fused, y.detach(), y)


def learned_case(kind: str, axis: int | None, zero: float, cap: float) -> tuple[S.Ends, list[list[Tensor]]]:
    """The ends, and the leaves (real numbers, scale, zero point) in float32 and float64."""
    torch.manual_seed(0)
    shape = (6, 5, 40)
    scale = torch.tensor(0.25) if axis is None else 2.0 ** torch.arange(-4.0, shape[axis] - 4)
    x = torch.randn(shape) * 60
    # Ties, in every channel: scales are powers of two.
    x[..., :20] = torch.round(x[..., :20] * 32) / 32
    leaves = [
        [t.detach().to(dtype, copy=True).requires_grad_() for t in (x, scale, torch.tensor(zero))]
        for dtype in (torch.float32, torch.float64)
    ]
    low, high = (end - round(zero) for end in (-128, 127))
    if cap < 0:
        return S.Ends(low, high), leaves
    return S.Ends(max(low, 0), min(high, cap), True, cap < high), leaves


def compare(kind: str, leaves: list[list[Tensor]], y: Tensor, expected: Tensor) -> None:
    """Values and gradients of both leaves."""
    assert torch.equal(y.double(), expected)
    weights = torch.randn(y.shape)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    for name, got, wanted in zip(("x", "scale", "zero"), *leaves, strict=True):
        if name == "zero" and kind != "lsq+":
            continue
        assert got.grad is not None, name
        # Of a zero point that stays out of all, autograd says nothing.
        by_autograd = torch.zeros_like(wanted) if wanted.grad is None else wanted.grad
        torch.testing.assert_close(
            got.grad.double(), by_autograd, rtol=1e-4, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )


KINDS = ["lsq", "lsq+", "pact"]
#: None, a ReLU, a ReLU6 within what the grid holds, and one beyond.
CAPS = [-1.0, float("inf"), 24.0, 300.0]


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("zero", [0.0, -28.4, 127.0, -128.0])
def test_learned_grids_have_the_papers_gradients(
    kind: str, axis: int | None, even: bool, zero: float, cap: float
) -> None:
    """Of the number, the scale and the zero point, against autograd in double precision."""
    ends, leaves = learned_case(kind, axis, zero, cap)
    for held in (ends, as_tensors(ends)):
        (x, scale, start), (x64, scale64, start64) = leaves
        for leaf in (*leaves[0], *leaves[1]):
            leaf.grad = None
        step, step64 = (F.along(s, axis, 3) for s in (scale, scale64))
        learned = S.Learned(kind, scale.log(), 1.0, start / 256 if kind == "lsq+" else None, axis)
        y = S.round_and_hold(x / step.detach(), held, "ewgs", learned, even=even) * step.detach()
        whole = (rounded_to_even if even else rounded)((x64 / step64).detach())
        compare(kind, leaves, y, reference(x64, step64, start64, (-128, 127), kind, whole, cap))


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("any_sum", [False, True])
def test_sums_on_learned_grids_have_the_papers_gradients(kind: str, any_sum: bool, cap: float) -> None:
    """The same of sums, rounded as the device does."""
    unit = torch.tensor([2.0**-9, 3 * 2.0**-11, 2.0**-8])
    ends, leaves = learned_case(kind, None, -28.4, cap)
    torch.manual_seed(1)
    sums = torch.randint(-(2**14), 2**14, (500, 3))
    (_, scale, start), (_, scale64, start64) = leaves
    leaves = [[sums.to(s.dtype).requires_grad_(), s, z] for s, z in ((scale, start), (scale64, start64))]
    factor = unit.double() / scale.detach()
    learned = S.Learned(kind, scale.log(), 1.0, start / 256 if kind == "lsq+" else None)
    y = rescale_and_hold(leaves[0][0] * 1, rescaling(factor), ends, "clipped", learned, any_sum=any_sum)
    whole = requantized(sums, factor).double()
    expected = reference(leaves[1][0] * unit.double(), scale64, start64, (-128, 127), kind, whole, cap)
    compare(kind, leaves, y * scale.detach(), expected)


def test_a_learned_scale_needs_no_gradient_of_what_has_none() -> None:
    for scale in (SCALE, SCALE.clone().requires_grad_()):
        weights = torch.randn(len(STEPS))
        got = gradient(lambda v, s=scale: S.round_and_hold(v, ENDS, learned=S.Learned("lsq", s.log())), STEPS, weights)
        assert torch.equal(got, weights * INSIDE)


def test_a_factor_of_nothing_gives_zero() -> None:
    """TFLite Micro takes factors below 2**-32 for 0."""
    factors = rescaling(torch.tensor(2.0**-40, dtype=torch.float64))
    assert isinstance(factors, Rescaling)
    assert not rescale_and_hold(torch.tensor([[2.0**23, -(2.0**23)]]), factors, ENDS).any()
    assert Multiplier(*quantize_multiplier(torch.tensor(2.0**-40))).mantissa == 0
