"""Numbers for which there is no integer: NaN, floats far outside a grid, sums beyond the accumulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.bundle import proof
from export.engines import TFLM
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.passes.float_interface import float_interface
from export.parity import float_ends
from export.parity.outputs import corner_codes
from export.tflite.writer import write_tflite
from qtorch import Mode, QuantizationConfig
from qtorch.errors import AccumulatorOverflow, BadInput, NotFinite, ParityError
from qtorch.network import routes
from qtorch.network.calibration import Saturation
from qtorch.network.training_check import outgrown
from qtorch.ops.quantize import FURTHEST, far_values

NAN, INFINITY = float("nan"), float("inf")


def small(x: torch.Tensor) -> torch.fx.GraphModule:
    torch.manual_seed(0)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), x[:1])
    qtorch.calibrate(qat, [x])
    return qat.eval()


@pytest.mark.parametrize(("training", "gradients"), [(False, False), (False, True), (True, False)])
def test_nan_is_named_where_nothing_is_trained(training: bool, gradients: bool) -> None:
    x = torch.rand(8, 2)
    qat = small(x).train(training)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with torch.set_grad_enabled(gradients), pytest.raises(NotFinite, match="1 of 2 values NaN"):
        qat(torch.tensor([[NAN, 0.0]]))
    with torch.no_grad():
        qat.get_parameter("2.bias")[1] = NAN
    with torch.set_grad_enabled(gradients), pytest.raises(NotFinite, match="'bias' of a fully_connected layer"):
        qat(x)
    with pytest.raises(NotFinite, match="'bias' of a fully_connected layer"):
        qtorch.set_mode(qat, Mode.QUANTIZED)


class Shifted(nn.Module):
    """Sums with a constant, of which there is no sum of products."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.shift


class Between(nn.Module):
    """A function of one tensor, as a layer of its own."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


ROUTES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str]] = {
    "sums": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU()), {}, "sums"),
    "many sums": (lambda: nn.Sequential(nn.Linear(4, 9000), nn.ReLU()), {}, "sums"),
    "sums, plain": (lambda: nn.Linear(4, 3), {"gradient": "plain"}, "sums"),
    "sums, learned": (lambda: nn.Linear(4, 3), {"scales": "lsq+"}, "sums"),
    "sums, 16 bits": (lambda: nn.Linear(4, 3), {"activations": "int16"}, "sums"),
    "normalizing": (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), {}, "normalizing"),
    "looked up": (nn.Tanh, {}, "looked_up"),
    "looked up, 16 bits": (nn.Tanh, {"activations": "int16"}, "looked_up"),
    "stepwise": (lambda: Between(lambda x: x + x * x), {}, "stepwise"),
    "twice": (lambda: Between(lambda x: torch.softmax(x, -1)), {}, "twice"),
    "twice, a table": (nn.Tanh, {"gradient": "ewgs"}, "twice"),
    "twice, learned": (lambda: Between(lambda x: x + x * x), {"scales": "lsq"}, "twice"),
    "skipped": (lambda: nn.Sequential(nn.Linear(4, 3)), {"layers": {"0": {"skip": True}}}, "skipped"),
    "selecting": (lambda: Between(lambda x: x.reshape(-1, 2, 2)), {}, "selecting"),
}


def on_a_route(name: str) -> tuple[torch.fx.GraphModule, torch.Tensor]:
    """The network, in training, whose first op takes that route."""
    torch.manual_seed(0)
    build, options, route = ROUTES[name]
    x = torch.randn(12, 4)
    qat = qtorch.prepare(build(), x[:1], QuantizationConfig(**options))
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))
    assert op.route is getattr(routes, f"{route}_route")
    return qat, x


@pytest.mark.parametrize("name", ROUTES)
def test_nan_in_a_step_of_training_comes_out_as_nan(name: str) -> None:
    """It is not looked for, since that waits for the device; and no number is made of it."""
    qat, x = on_a_route(name)
    right = qat(x)
    x[3, 1] = NAN
    y = qat(x.requires_grad_())
    assert bool(y[3].isnan().any())
    assert bool(y.square().mean().isnan())
    if name != "normalizing":
        assert torch.equal(y[[0, 7]], right[[0, 7]])
    if y.requires_grad:
        y.square().mean().backward()


@pytest.mark.parametrize(
    "name", [n for n, (build, *_) in ROUTES.items() if "sums" in n or n in ("normalizing", "skipped")]
)
@pytest.mark.parametrize("role", ["weight", "bias"])
def test_nan_among_what_is_trained_comes_out_as_nan(name: str, role: str) -> None:
    qat, x = on_a_route(name)
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))
    with torch.no_grad():
        op.get_parameter(role)[0].fill_(NAN)
    assert bool(qat(x)[:, 0].isnan().all())
    with torch.no_grad(), pytest.raises(NotFinite):
        qat(x)


@pytest.mark.parametrize("gradient", ["clipped", "ewgs"])
def test_nan_among_constants_of_other_ops(gradient: Any) -> None:
    x = torch.randn(12, 4)
    qat = qtorch.prepare(Shifted(), x[:1], QuantizationConfig(gradient=gradient))
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with torch.no_grad():
        next(qat.parameters())[1] = NAN
    if gradient == "clipped":
        assert bool(qat(x).sum().isnan())
    with torch.no_grad(), pytest.raises(NotFinite, match="NaN"):
        qat(x)


def test_infinity_saturates() -> None:
    qat = small(torch.tensor([[-1.0, 2.0], [3.0, -4.0]]))
    qtorch.set_mode(qat, Mode.QUANTIZED)
    assert torch.equal(qat(torch.tensor([[INFINITY, -INFINITY]])), qat(torch.tensor([[1e9, -1e9]])))


def test_saturation_names_nan_and_infinity() -> None:
    x = torch.rand(8, 2)
    qat = small(x)
    found = {each.name: each for each in qtorch.saturation(qat, [torch.tensor([[NAN, 0.5], [0.25, 0.0]])])}
    first = found["input_1_quantizer"]
    assert (first.share, first.not_numbers, first.needed) == (0.25, 0.25, (0.0, 0.5))
    assert str(first) == "input_1_quantizer: 25.00% of the values are NaN"
    assert found["0.quantizer"].not_numbers == 0.5
    both = qtorch.saturation(qat, [torch.tensor([[NAN, 0.5]]), torch.tensor([[INFINITY, -2.0]])])[-1]
    assert (both.share, both.not_numbers, both.needed) == (0.75, 0.25, (-2.0, INFINITY))
    assert "25.00% are NaN" in str(both)
    assert "inf" in str(both)
    assert qtorch.saturation(qat, [x]) == ()


@pytest.mark.tflm
@pytest.mark.parametrize("observer", ["fixed:-1:1", "fixed:0:1", "fixed:-1:0", "fixed:-1000:10"])
def test_floats_as_far_out_as_the_kernel_is_defined(observer: str) -> None:
    qat = qtorch.prepare(nn.Sequential(nn.Flatten()), torch.zeros(1, 1, 1), QuantizationConfig(observer=observer))
    qtorch.calibrate(qat, [torch.zeros(2, 1, 1)])
    qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
    graph = float_interface(integer_graph(qat))
    qparams = qtorch.quantizers(qat)["input_1_quantizer"].qparams()
    x = far_values(qparams.scale[0], (300, 1, 1), np.random.default_rng(0))
    steps = np.abs(x / np.float32(qparams.scale[0]))
    assert FURTHEST / 2 < steps.max() <= FURTHEST < 2**31
    device = TFLM.run(write_tflite(graph), (x,))[0]
    np.testing.assert_array_equal(device, interpret(graph, (x,))[graph.outputs[0]].reshape(device.shape))
    np.testing.assert_array_equal(device, qat(torch.from_numpy(x)).numpy().reshape(device.shape))


@pytest.mark.tflm
def test_parity_tries_floats_that_far_out(network: torch.fx.GraphModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that is wrong there alone is found."""
    graph = integer_graph(network)
    final = float_interface(graph)
    model, codes = write_tflite(final), corner_codes(graph, random=20)
    proof._verify_float_interface(graph, final, model, codes)

    def wrong(graph: Graph, inputs: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        return interpret(graph, tuple(np.where(np.abs(x) > 2.0**20, -x, x) for x in inputs))

    monkeypatch.setattr(float_ends, "interpreted", wrong)
    with pytest.raises(ParityError, match="float32 interface"):
        proof._verify_float_interface(graph, final, model, codes)


def test_sums_that_could_overflow_are_refused_in_words() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(70000, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, 70000).sign() * 0.01)
    x = torch.rand(4, 70000)
    qat = qtorch.prepare(layer, x[:1]).eval()
    qtorch.calibrate(qat, [x])
    # 255 * 127 * 70,000 is 2,266,950,000.
    for refuse in (lambda: integer_graph(qat), lambda: qtorch.set_mode(qat, Mode.QUANTIZED)):
        with pytest.raises(AccumulatorOverflow, match="layer '0': expected accumulators up to 2147483647") as caught:
            refuse()
        assert isinstance(caught.value, BadInput)
        assert caught.value.remedy


def test_a_sum_that_overflows_is_refused_in_words() -> None:
    x = torch.rand(4, 70000)
    qat = qtorch.prepare(nn.Linear(70000, 1), x[:1]).eval()
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with torch.no_grad():
        qat.get_parameter("0.weight").fill_(1.0)
    with pytest.raises(AccumulatorOverflow, match="accumulator: expected int32 values"):
        qat(torch.full((1, 70000), 1.0) * x.max())


def test_of_many_ranges_that_are_left_the_worst_is_named() -> None:
    def left(name: str, share: float, nan: float = 0.0) -> Saturation:
        return Saturation(name, share, (-2.0, 3.0), (-1.0, 1.0), nan)

    said = outgrown([left("a", 0.001), left("b", 0.25), left("c", 1e-6)], "widen it")
    assert said.startswith(
        "saturated range: b: 25.00% of the values lie outside [-1, 1]; seen [-2, 3]; the worst of 3."
    )
    assert said.endswith(" Remedy: widen it")
    assert "less than 0.01%" in outgrown([left("c", 1e-6)], "")
    assert "a: 0.10%" in outgrown([left("b", 0.25), left("a", 0.001, 0.001)], "")
