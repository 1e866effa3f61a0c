"""In which type sums are made, and that tables and figures are those of the grids as they are now."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

import qtorch
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from qtorch import Mode
from qtorch.errors import AccumulatorOverflow
from qtorch.network.summing import Summing, require_results, require_sums, summing_of
from qtorch.numbers.rescaling import rescaling, rescaling_of_16_bits

pytestmark = pytest.mark.usefixtures("one_thread")


def summing(taps: int, magnitude: float, bias: float | None, dtype: str = "int8") -> Summing:
    """Of two channels, of which the second has weights of that magnitude, with steps up to 255."""
    weight = torch.ones(2, taps)
    weight[1] = magnitude
    codes = None if bias is None else torch.tensor([0.0, bias], dtype=torch.float64)
    return summing_of(torch.zeros(1, taps), weight, codes, 0, 255, dtype)


@pytest.mark.parametrize(
    ("taps", "magnitude", "bias", "wanted"),
    [
        # 255 * 127 * 518 is below 2**24, and 519 taps are beyond unless their weights are small.
        (518, 127, None, (torch.float32, True)),
        (519, 127, None, (torch.float64, True)),
        (519, 12, None, (torch.float32, True)),
        (518, 127, 2.0**14, (torch.float32, False)),
        (518, 127, -(2.0**29), (torch.float32, False)),
        (500, 127, 2.0**19, (torch.float32, True)),
        (519, 127, 2.0**29, (torch.float64, True)),
    ],
)
def test_sums_are_float32_as_long_as_it_holds_them(
    taps: int, magnitude: float, bias: float | None, wanted: tuple[torch.dtype, bool]
) -> None:
    found = summing(taps, magnitude, bias)
    assert (found.dtype, found.with_bias) == wanted
    assert found.checked
    assert found.largest >= 255 * magnitude * taps + abs(bias or 0)
    assert found.dtype is not torch.float32 or 255 * magnitude * taps < 2**24
    assert not found.may_overflow


def test_sums_of_16_bits_are_float64() -> None:
    found = summing(3, 127, 2.0**30, "int16")
    assert (found.dtype, found.with_bias, found.mantissa_bits) == (torch.float64, True, 15)


def test_sums_that_no_accumulator_holds_are_refused() -> None:
    found = summing(70000, 127, None)
    assert found.may_overflow
    with pytest.raises(AccumulatorOverflow, match="int32"):
        require_sums(torch.tensor([2.0**31], dtype=torch.float64), "int8")
    require_sums(torch.tensor([2.0**31 - 1, -(2.0**31) + 1], dtype=torch.float64), "int8")
    require_sums(torch.tensor([2.0**31], dtype=torch.float64), "int16")
    with pytest.raises(AccumulatorOverflow, match="48-bit"):
        require_sums(torch.tensor([-(2.0**47)], dtype=torch.float64), "int16")
    require_sums(torch.zeros(0, 3), "int8")


def test_results_that_16_bit_kernels_do_not_hold_are_refused() -> None:
    factors = rescaling_of_16_bits(torch.tensor(2.0, dtype=torch.float64))
    large = Summing(torch.float64, True, 2.0**40, 15)
    require_results(torch.tensor([2.0**30 - 1], dtype=torch.float64), large, factors)
    with pytest.raises(AccumulatorOverflow, match="int32"):
        require_results(torch.tensor([2.0**30], dtype=torch.float64), large, factors)


@pytest.mark.parametrize(("largest", "factor", "any_sum"), [(2.0**23, 2.0**-14, False), (2.0**23, 2.0**-16, True)])
def test_small_factors_need_more_for_large_sums(largest: float, factor: float, any_sum: bool) -> None:
    found = Summing(torch.float32, True, largest, 31)
    assert found.any_sum(rescaling(torch.tensor([0.5, factor], dtype=torch.float64))) == any_sum
    assert not found._replace(largest=2.0**20).any_sum(rescaling(torch.tensor([factor], dtype=torch.float64)))


# What is kept from step to step.


class Shared(nn.Module):
    """One weight at three places, behind a function that is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.tanh(self.layer(torch.sigmoid(3 * self.layer(x)))))


def trained(x: Tensor) -> fx.GraphModule:
    """Calibrated, and called in training, so that whatever can be kept is."""
    torch.manual_seed(0)
    qat = qtorch.prepare(Shared(), x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    qat(x).sum().backward()
    return qat


def assert_exact(qat: fx.GraphModule, x: Tensor) -> None:
    graph = integer_graph(qat)
    expected = interpret(graph, tuple(graph.encode(name, x.numpy()) for name in graph.inputs))
    for y in (qat(x), qat.eval()(x), qat.train()(x)):
        for name in graph.outputs:
            assert np.array_equal(graph.encode(name, y.detach().numpy()), expected[name])


def calibrated_anew(qat: fx.GraphModule, x: Tensor) -> fx.GraphModule:
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    return qat


def moved_and_back(qat: fx.GraphModule, x: Tensor) -> fx.GraphModule:
    """Every tensor a new one, as on another device, with other numbers in them."""
    for _ in range(2):
        qat._apply(lambda tensor: tensor.clone())
        qtorch.calibrate(qat, [x])
        qat._apply(lambda tensor: tensor.clone())
        qtorch.set_mode(qat.train(), Mode.QUANTIZED)
        qat(x)
        x = 2 * x
    return qat


@pytest.mark.parametrize(
    "change",
    [
        calibrated_anew,
        lambda qat, x: calibrated_anew(copy.deepcopy(qat), x),
        lambda qat, x: (qat.load_state_dict(trained(x).state_dict()), qat)[1],
        moved_and_back,
    ],
)
@pytest.mark.parametrize("factor", [0.2, 3.0])
def test_nothing_is_kept_of_grids_that_have_changed(change: Any, factor: float) -> None:
    torch.manual_seed(1)
    x = torch.randn(200, 4)
    qat = trained(x)
    assert_exact(qat, x)
    before = qat(x).detach()
    qat = change(qat, factor * x)
    assert_exact(qat, x)
    assert not torch.equal(qat(x), before)


def test_one_weight_of_several_layers_is_trained_by_all() -> None:
    torch.manual_seed(1)
    x = torch.randn(200, 4)
    qat = trained(x)
    assert len(list(qat.parameters())) == 2
    optimizer = torch.optim.SGD(qat.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        qat(x).square().sum().backward()
        optimizer.step()
        assert_exact(qat, x)
