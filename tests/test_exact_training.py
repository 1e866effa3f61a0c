"""A step of training computes the device's integers, to the last: in configurations that are odd enough to break it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.parity.outputs import corner_codes
from qtorch import Mode
from qtorch.capture.call_form import tensors_in
from qtorch.errors import AccumulatorOverflow, BadInput
from qtorch.network import calibration
from qtorch.network.calibration import observe_in_training
from qtorch.network.quantizer import Quantizer
from tests.conftest import in_turn

pytestmark = pytest.mark.usefixtures("one_thread")


class OneGrid(nn.Module):
    """What a concatenation brings onto one grid, a fused ReLU's result among it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        return self.last(torch.cat([a, torch.relu(self.b(x)), torch.tanh(a)], 1))


class Image(nn.Module):
    """Groups, a depthwise convolution, batch norms, sums, products, a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.depthwise, self.other_norm = nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.BatchNorm2d(8)
        self.groups, self.last = nn.Conv2d(8, 4, 1, groups=2, bias=False), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.norm(self.first(x)))
        y = y + F.relu(self.groups(self.other_norm(self.depthwise(y))))
        return self.last((y * torch.sigmoid(y)).mean((2, 3)))


class Signal(nn.Module):
    """Convolutions and poolings along one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(3, 6, 3, groups=3), nn.BatchNorm1d(6)
        self.second, self.last = nn.Conv1d(6, 6, 3, dilation=2, padding=1), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.avg_pool1d(F.relu(self.norm(self.first(x))), 2, 1, padding=1)
        return self.last(F.max_pool1d(F.leaky_relu(self.second(y)), 3).flatten(1))


class Up(nn.Module):
    """Transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.last = nn.ConvTranspose2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.up(F.avg_pool2d(F.relu(self.down(x)), 2))))


class Gated(nn.Module):
    """Two outputs, one of which is read inside too."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.held, self.last = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gate = torch.sigmoid(self.gate(x))
        y = self.last(gate * torch.tanh(self.held(x)) + (1 - gate))
        return F.softmax(y - x, -1), y


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU6(), nn.Linear(8, 2, bias=False)), (3,)),
    # Sums beyond 2**24 if all weights are as large as the largest.
    "wide": (lambda: nn.Sequential(nn.Linear(900, 9), nn.ReLU(), nn.Linear(9, 2)), (900,)),
    "one grid": (OneGrid, (3,)),
    "image": (Image, (2, 6, 6)),
    "signal": (Signal, (3, 11)),
    "up": (Up, (2, 8, 8)),
    "gated": (Gated, (5,)),
}
CONFIGS: list[dict[str, Any]] = [
    {},
    {"weights": "per_tensor"},
    {"weight_bits": 4, "margin": 0.3},
    {"activations": "int16"},
    {"observer": "fixed:-0.01:0.02"},
    {"observer": "fixed:-4000:1000"},
    {"observer": "percentile:80", "weight_observer": "percentile:90", "weights": "per_tensor"},
    {"scales": "lsq"},
    {"scales": "lsq+", "weights": "per_tensor"},
    {"scales": "pact", "activations": "int16"},
    {"gradient": "plain"},
    {"gradient": "ewgs", "weight_observer": "mse"},
]


def untouched(weight: Tensor, bias: Tensor | None) -> None:
    pass


def zero_channel(weight: Tensor, bias: Tensor | None) -> None:
    weight[0] = 0


def all_zero(weight: Tensor, bias: Tensor | None) -> None:
    weight.zero_()


def large_bias(weight: Tensor, bias: Tensor | None) -> None:
    """So large that it is added apart from the products, and that it widens scales."""
    if bias is not None:
        bias.mul_(10.0 ** torch.arange(len(bias)))
        weight.mul_(0.1)


def one_sign(weight: Tensor, bias: Tensor | None) -> None:
    weight.abs_()


def of_all_sizes(weight: Tensor, bias: Tensor | None) -> None:
    weight.mul_(torch.exp2(torch.randint(-12, 6, (len(weight), *[1] * (weight.dim() - 1))).float()))


def few_bits(weight: Tensor, bias: Tensor | None) -> None:
    """So that sums lie on ties."""
    weight.copy_(torch.randint(-4, 5, weight.shape) / 4)


CHANGES = [untouched, zero_channel, all_zero, large_bias, one_sign, of_all_sizes, few_bits]


def trained(name: str, config: dict[str, Any], change: Callable[[Tensor, Tensor | None], None], steps: int) -> Any:
    """A network with changed weights, calibrated, frozen and trained for some steps; in training."""
    torch.manual_seed(len(name))
    build, shape = NETWORKS[name]
    net, x = build(), torch.randn(48, *shape)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.1, 2)
                module.weight.normal_()
            elif isinstance(getattr(module, "weight", None), Tensor):
                change(module.weight, module.bias)
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(**config))
    qtorch.calibrate(qat, [x])
    qtorch.freeze_batch_norm(qat)
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    optimizer = torch.optim.Adam(qat.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(y.square().mean() for y in tensors_in(qat(x))).backward()
        optimizer.step()
    return qat


def assert_exact(qat: fx.GraphModule) -> None:
    """Outputs of a step, and without gradients, in training and in evaluation, against the graph's integers."""
    graph = integer_graph(qat)
    codes = tuple(part[-100:] for part in corner_codes(graph, 80))
    reals = [torch.from_numpy(graph.decode(name, part)) for name, part in zip(graph.inputs, codes, strict=True)]
    try:
        expected = interpret(graph, codes)
    except AccumulatorOverflow:
        # Then nobody may make a number of it.
        with pytest.raises(AccumulatorOverflow):
            qat(*reals)
        return
    for training in (True, False):
        for gradients in (True, False):
            qat.train(training)
            with torch.set_grad_enabled(gradients):
                outputs = tensors_in(qat(*reals))
            for name, y in zip(graph.outputs, outputs, strict=True):
                assert np.array_equal(graph.encode(name, y.detach().numpy()), expected[name]), (training, gradients)
    qat.train()


@pytest.mark.parametrize(
    ("name", "config"),
    in_turn(NETWORKS, CONFIGS, every=2),
    ids=lambda each: each if isinstance(each, str) else "-".join(map(str, each.values())),
)
def test_a_step_is_the_device_s_integers(name: str, config: dict[str, Any]) -> None:
    """Each of the changes in some case; what no device could compute, sums or factors too large, is refused."""
    first, exact = CONFIGS.index(config) + list(NETWORKS).index(name), 0
    if name == "up" and "weight_bits" in config:
        # TFLite Micro has no transposed convolution of 4-bit weights.
        config = config | {"layers": {layer: {"weight_bits": 8} for layer in ("up", "last")}}
    for change, steps in ((untouched, 2), (CHANGES[1 + first % 6], 0), (CHANGES[1 + (first + 3) % 6], 2)):
        try:
            qat = trained(name, config, change, steps)
            integer_graph(qat)
        except BadInput:
            assert change is not untouched
            continue
        assert_exact(qat)
        exact += 1
    assert exact


@pytest.mark.parametrize("config", [{}, {"activations": "int16"}, {"weights": "per_tensor"}, {"gradient": "ewgs"}])
@pytest.mark.parametrize("name", ["perceptron", "image", "gated"])
def test_ranges_that_are_followed_are_those_that_are_computed_on(
    name: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grid moves before the step that moved it rounds to it."""
    # What is not followed any more is made to agree with other kernels, and may move once more.
    monkeypatch.setattr(calibration, "let_agree", lambda op: False)
    qat = trained(name, config, untouched, 1)
    observe_in_training(qat, True)
    x = 3 * torch.randn(40, *NETWORKS[name][1])
    before = {n: float(q.scale) for n, q in qtorch.quantizers(qat).items()}
    followed = [y.detach() for y in tensors_in(qat(x))]
    after = {n: float(q.scale) for n, q in qtorch.quantizers(qat).items()}
    assert after != before
    observe_in_training(qat, False)
    assert all(map(torch.equal, tensors_in(qat(x)), followed))
    assert_exact(qat)


def test_what_flows_between_layers_are_whole_steps_of_their_grids() -> None:
    qat = trained("image", {}, untouched, 1)
    seen = 0
    for module in qat.modules():
        if isinstance(module, Quantizer | qtorch.QuantizedOp):
            grid = module.output if isinstance(module, qtorch.QuantizedOp) else module

            def look(_: nn.Module, __: Any, y: Tensor, grid: Quantizer = grid) -> None:
                nonlocal seen
                seen += isinstance(y, Tensor)
                low, high = grid.steps
                assert torch.equal(y, y.round())
                assert low <= float(y.detach().min()) <= float(y.detach().max()) <= high

            if module is not grid or not any(module is op.output for op in qat.modules() if hasattr(op, "output")):
                module.register_forward_hook(look)
    qat(torch.randn(9, 2, 6, 6))
    assert seen >= 9
