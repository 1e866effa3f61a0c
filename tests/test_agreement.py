"""Networks whose integers are the same to kernels that divide scales in float32 and to those that do so in double."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import export
import qtorch
from export.faults.found import faults_in
from export.graph.interpret import interpret
from export.tflite.writer import write_tflite
from qtorch import Mode, QuantizationConfig
from qtorch.editions.known import edition
from qtorch.errors import BadConfiguration
from qtorch.network import calibration
from qtorch.network.agreement import agrees_in_float32
from qtorch.numbers.fixedpoint import Rounding


class Differences(nn.Module):
    """Every op that divides scales: differences, a constant among them, and functions on their own."""

    def __init__(self, curve: nn.Module) -> None:
        super().__init__()
        self.curve = curve
        self.first, self.second = nn.Linear(2, 40), nn.Linear(2, 40)
        self.register_buffer("shift", torch.linspace(-1, 2, 40))

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.first(x), self.second(x)
        down = one - other
        up = (one + other) - self.shift
        return torch.cat([torch.relu(down), self.curve(up), nn.functional.leaky_relu(down - up, 0.3)], 1)


def calibrated(
    seed: int, config: QuantizationConfig, curve: nn.Module | None = None
) -> tuple[qtorch.QuantizedNetwork, Tensor]:
    torch.manual_seed(seed)
    x = torch.randn(400, 2)
    qat = qtorch.prepare(Differences(curve or nn.Hardswish()), x[:1], config)
    qtorch.calibrate(qat, [x])
    return qat, x


def parted(qat: qtorch.QuantizedNetwork, x: Tensor) -> int:
    """Codes that the arithmetic of earlier kernels makes others of."""
    graph = export.integer_graph(qat)
    codes = (np.random.default_rng(0).integers(-128, 128, (20_000, 2)).astype(np.int8),)
    now, earlier = (interpret(graph, codes, each)[graph.outputs[0]] for each in (Rounding.DOUBLE, Rounding.EARLIER))
    return int((now != earlier).sum())


def divided(qat: qtorch.QuantizedNetwork) -> list[qtorch.QuantizedOp]:
    return [each for each in qat.modules() if isinstance(each, qtorch.QuantizedOp) and each.row.divides_scales]


def test_calibrated_networks_agree_and_would_not_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(4):
        qat, x = calibrated(seed, QuantizationConfig())
        assert len(divided(qat)) == 6
        assert all(agrees_in_float32(op) for op in divided(qat))
        assert parted(qat, x) == 0
    monkeypatch.setattr(calibration, "let_agree", lambda op: False)
    without = [calibrated(seed, QuantizationConfig()) for seed in range(4)]
    assert sum(not agrees_in_float32(op) for qat, _ in without for op in divided(qat)) > 2
    assert sum(parted(*each) for each in without) > 0


def test_ranges_that_stop_to_follow_agree() -> None:
    qat, x = calibrated(0, QuantizationConfig())
    qtorch.set_mode(qat, Mode.QUANTIZED)
    calibration.observe_in_training(qat, True)
    optimizer = torch.optim.SGD(qat.parameters(), 0.01)
    for begin in range(0, 200, 40):
        optimizer.zero_grad()
        qat(x[begin : begin + 40] * 3).square().mean().backward()
        optimizer.step()
    before = [float(op.output.scale) for op in divided(qat)]
    assert not all(agrees_in_float32(op) for op in divided(qat))
    calibration.observe_in_training(qat, False)
    after = [float(op.output.scale) for op in divided(qat)]
    assert all(agrees_in_float32(op) for op in divided(qat))
    assert parted(qat, x) == 0
    assert before != after
    assert all(a <= b < a * 1.03 for a, b in zip(before, after, strict=True))


def test_of_sixteen_bits_functions_of_one_number_agree() -> None:
    qat, _ = calibrated(1, QuantizationConfig(activations="int16"), nn.Tanh())
    by_name = {op.row.name: op for op in divided(qat)}
    assert agrees_in_float32(by_name["relu"])
    assert agrees_in_float32(by_name["leaky_relu"])
    # Two tensors of sixteen bits have more combinations than can be tried.
    assert agrees_in_float32(by_name["sub"])


class SteepDifferences(nn.Module):
    """Differences of int16 tensors, with constants on either side and a fixed grid, and a steep slope."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 8), nn.Linear(2, 8)
        self.register_buffer("shift", torch.linspace(-1, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.first(x), self.second(x)
        shifted = (one - other) - self.shift
        return nn.functional.leaky_relu(torch.tanh(one) - shifted, 1.3) + (1.5 - other) * (self.shift - one)


@pytest.mark.parametrize("scales", ["measured", "lsq+"])
def test_of_sixteen_bits_differences_and_steep_slopes_lie_on_powers_of_two(scales: str) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        net, x = SteepDifferences(), torch.randn(300, 2)
        with torch.no_grad():
            wanted = net(x)
        qat = qtorch.quantize(net, x, QuantizationConfig(activations="int16", scales=scales))
        assert len(divided(qat)) == 6
        assert all(agrees_in_float32(op) for op in divided(qat))
        graph = export.integer_graph(qat)
        codes = (np.random.default_rng(0).integers(-32768, 32768, (20_000, 2)).astype(np.int16),)
        now, earlier = (interpret(graph, codes, each)[graph.outputs[0]] for each in (Rounding.DOUBLE, Rounding.EARLIER))
        assert np.array_equal(now, earlier)
        assert not faults_in(write_tflite(graph), edition("python-2026-10"), "host")
        qtorch.set_mode(qat, Mode.QUANTIZED)
        with torch.no_grad():
            error = (qat(x) - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
        # As with scales of twelve bits: the weights' eight bits are what costs.
        assert error < 0.01


@pytest.mark.parametrize(("s_one", "s_other"), [*itertools.product([0.013, 0.7], [0.02, 3.0])])
def test_the_grid_that_agrees_is_the_first_that_does(s_one: float, s_other: float) -> None:
    """Of twelve bits, from the measured one up."""

    class Difference(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x - y

    one, other = (
        torch.linspace(-128 * s_one, 127 * s_one, 300)[:, None],
        torch.linspace(-s_other, s_other, 300)[:, None],
    )
    qat = qtorch.prepare(Difference(), (one[:1], other[:1]))
    qtorch.calibrate(qat, [(one, other.flip(0))])
    (op,) = divided(qat)
    low, high = op.output.observer.range()
    found = float(op.output.scale)
    assert agrees_in_float32(op)
    scale = np.float32(float(high - low) / 255)
    while True:
        scale = np.uint32((scale.view(np.uint32) + np.uint32(0xFFF)) & np.uint32(0xFFFFF000)).view(np.float32)
        op.output.coarsen(float(scale), stays=False)
        if agrees_in_float32(op):
            break
        scale = np.nextafter(scale, np.float32(np.inf))
    assert float(scale) == found


def test_a_range_beyond_all_scales_is_refused_for_its_size() -> None:
    class Difference(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) - x.flip(1)

    torch.manual_seed(0)
    x = torch.randn(64, 6) * 1e21
    qat = qtorch.prepare(Difference(), x[:1])
    with pytest.raises(BadConfiguration, match=r"a tensor with a scale of .*, beyond 1.15e\+18"):
        qtorch.calibrate(qat, [x])
