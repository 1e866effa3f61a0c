"""Float network to QAT network."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch import Mode
from qtorch.errors import BadConfiguration, UnsupportedLayer
from qtorch.numbers.short_mantissa import rounded_up_short


class Functional(nn.Module):
    """ReLU as function, method and module; a shared linear layer; a ReLU that nothing can absorb."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared, self.act = nn.Linear(2, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.shared(F.relu(self.first(x))))
        return torch.relu(self.shared(x).relu())


def test_float_mode_is_the_float_network_and_leaves_it_alone() -> None:
    net = Functional()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    qat = qtorch.prepare(net, torch.zeros(1, 2))
    x = torch.randn(50, 2)
    assert torch.equal(qat(x), net(x))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("mode", [Mode.QUANTIZED])
def test_quantized_modes_stay_near_the_float_network(mode: Mode) -> None:
    torch.manual_seed(0)
    net = Functional()
    qat = qtorch.prepare(net, torch.zeros(1, 2))
    x = torch.randn(200, 2)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, mode)
    with torch.no_grad():
        error, largest = (qat(x) - net(x)).abs().max(), net(x).abs().max()
    assert 0 < float(error) < 0.05 * float(largest)


def test_activations_are_absorbed() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1), nn.ReLU(), nn.ReLU())
    ops = [m for m in qtorch.prepare(net, torch.zeros(1, 2)).modules() if isinstance(m, qtorch.QuantizedOp)]
    assert [(op.row.name, op.attrs) for op in ops] == [
        ("fully_connected", {"activation": "relu", "keep_num_dims": False}),
        ("fully_connected", {"activation": "relu", "keep_num_dims": False}),
        ("relu", {}),
    ]


def test_every_parameter_gets_a_gradient_in_every_mode(network: fx.GraphModule) -> None:
    for mode in Mode:
        network.zero_grad()
        qtorch.set_mode(network, mode)
        network(torch.rand(64, 3)).sum().backward()
        assert all(p.grad is not None for p in network.parameters()), mode


def test_training_multiplies_with_the_exported_integers(network: fx.GraphModule) -> None:
    """Of weights and biases alike: what a step of training computes with is what the file will hold."""
    qtorch.set_mode(network, Mode.QUANTIZED)
    for op in (m for m in network.modules() if isinstance(m, qtorch.QuantizedOp)):
        probed: dict[str, Tensor] = {}
        row = op.row
        op.row = replace(
            row, forward=lambda attrs, x, row=row, probed=probed: probed.update(x) or row.forward(attrs, x)
        )
        op(torch.zeros(1, op.weight.shape[1]))
        op.row = row
        for role, constant in op.constants.integers().items():
            assert torch.equal(probed[role].detach().to(torch.int64), constant.codes), role


def test_per_tensor_weights() -> None:
    qat = qtorch.prepare(nn.Linear(3, 4), torch.zeros(1, 3), qtorch.QuantizationConfig(weights="per_tensor"))
    qtorch.calibrate(qat, [torch.rand(9, 3)])
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))
    assert op.constants.integers()["weight"].grid.scale.shape == ()


def test_margin_widens_ranges() -> None:
    x = torch.linspace(1, 3, 50)[:, None]
    spans = []
    for margin in (0.0, 0.5):
        qat = qtorch.prepare(nn.ReLU(), torch.zeros(1, 1), qtorch.QuantizationConfig(margin=margin))
        qtorch.calibrate(qat, [x])
        spans.append([q.qparams().scale[0] * 255 for q in qtorch.quantizers(qat).values()])
    # Scales are rounded up to twelve bits.
    assert spans[0] == pytest.approx([3, 3], rel=2**-11)
    assert spans[1] == pytest.approx([4, 4], rel=2**-11)


def test_saturation_is_reported(network: fx.GraphModule) -> None:
    x = torch.rand(100, 3)
    network_range = qtorch.saturation(network, [x * 0.9])
    found = qtorch.saturation(network, [x * 3])
    assert not network_range
    assert any("input" in s.name and s.share > 0.3 and s.needed[1] > 2 for s in found)
    assert "outside" in str(found[0])


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(2, 3, 3), nn.BatchNorm2d, (2, 5, 5)),
        (nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d, (4, 5, 5)),
        (nn.ConvTranspose2d(2, 3, 3), nn.BatchNorm2d, (2, 5, 5)),
        (nn.Conv1d(2, 3, 3), nn.BatchNorm1d, (2, 9)),
        (nn.Linear(4, 3), nn.BatchNorm1d, (4,)),
    ],
)
def test_batch_norm_is_folded(
    layer: nn.Module, norm: type[nn.Module], shape: tuple[int, ...], affine: bool, momentum: float | None
) -> None:
    torch.manual_seed(0)
    channels = getattr(layer, "out_channels", getattr(layer, "out_features", 0))
    net = nn.Sequential(copy.deepcopy(layer), norm(channels, eps=1e-3, momentum=momentum, affine=affine), nn.ReLU6())
    x = torch.randn(64, *shape) * 2 + 1
    qat = qtorch.prepare(net, x[:1]).train()
    # Training statistics are measured, in float and in quantized training alike, as in the network it was made from.
    assert torch.allclose(qat(x), net.train()(x), atol=1e-5)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    before = qat.get_buffer("1.running_mean").clone()
    by_batch = qat(x)
    assert not torch.equal(before, qat.get_buffer("1.running_mean"))
    qtorch.freeze_batch_norm(qat)
    after = qat.get_buffer("1.running_mean").clone()
    frozen = qat(x)
    frozen.sum().backward()
    assert torch.equal(after, qat.get_buffer("1.running_mean"))
    assert float((by_batch - frozen).detach().abs().max()) > 0
    # What is quantized is the folded weight: the frozen network in training is the one in evaluation.
    assert torch.equal(frozen, qat.eval()(x))
    net.load_state_dict(qat.state_dict(), strict=False)
    largest = float(net.eval()(x).detach().abs().max())
    assert float((frozen - net(x)).detach().abs().max()) < 0.06 * largest
    assert [m.row.name for m in qat.modules() if isinstance(m, qtorch.QuantizedOp)] != []
    assert sum(isinstance(m, qtorch.QuantizedOp) for m in qat.modules()) == 1
    if affine:
        assert all(p.grad is not None for p in qat.parameters())


def test_a_batch_norm_alone_becomes_a_depthwise_convolution() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3))
    x = torch.randn(50, 3, 4, 4)
    net(x)
    qat = qtorch.prepare(net.eval(), x[:1])
    assert torch.allclose(qat(x), net(x), atol=1e-5)
    rows = [m.row.name for m in qat.modules() if isinstance(m, qtorch.QuantizedOp)]
    assert rows == ["relu", "depthwise_conv_2d"]


def test_parameters_keep_their_names_and_a_state_dict_loads() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 2), nn.LayerNorm(2))
    qat = qtorch.prepare(net, torch.zeros(1, 1, 5, 5))
    state = {name: torch.randn_like(t) if t.is_floating_point() else t for name, t in net.state_dict().items()}
    _, unexpected = qat.load_state_dict(state, strict=False)
    assert not unexpected
    for name, tensor in state.items():
        assert torch.equal(qat.state_dict()[name], tensor), name


class Shared(nn.Module):
    """A module used twice, a tensor used three times, two inputs and two outputs, a fixed grid in a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.conv(x), self.conv(y)
        return torch.cat([a, torch.sigmoid(b), x], 1), torch.maximum(a, b) + 0.5 * x


def test_shared_modules_and_grids() -> None:
    torch.manual_seed(0)
    net = Shared()
    x, y = torch.randn(9, 3, 4, 4), 5 * torch.randn(9, 3, 4, 4)
    qat = qtorch.prepare(net, (x[:1], y[:1]))
    qtorch.calibrate(qat, [(x, y)])
    for mode in (Mode.FLOAT, Mode.QUANTIZED):
        qtorch.set_mode(qat, mode)
        for got, expected in zip(qat(x, y), net(x, y), strict=True):
            assert float((got - expected).detach().abs().max()) < 0.06 * float(expected.detach().abs().max())
    assert len(list(qat.parameters())) == 2
    ops = {n: m for n, m in qat.named_modules() if isinstance(m, qtorch.QuantizedOp)}
    joined = next(op for op in ops.values() if op.row.name == "concatenation")
    assert all(source is joined.output for source in joined.sources.values())
    # The sigmoid's grid is fixed, so it is requantized before it joins the others.
    assert "quantize" in [op.row.name for op in ops.values()]


def test_layer_norm_is_taken_apart() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 4))
    x = torch.randn(400, 16)
    qat = qtorch.prepare(net, x[:1])
    assert torch.allclose(qat(x), net(x), atol=1e-5)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with torch.no_grad():
        error = (qat(x) - net(x)).pow(2).mean() / net(x).var()
    assert float(error) < 0.003


class Statistics(nn.Module):
    """What a norm computes, by hand, and a spread that another layer and the output read."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.norm, self.linear = kind, nn.LayerNorm(16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Any:
        if self.kind == "norm":
            return self.linear(self.norm(x))
        if self.kind == "spread":
            return self.linear(x), x.var(1).flatten(1), torch.cat([x.mean(1), x.std(1)], 1)
        return self.linear(x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-5))


@pytest.mark.tflm
@pytest.mark.parametrize("kind", ["norm", "sum", "spread"])
def test_summed_squares_have_16_bits(kind: str) -> None:
    """Less is lost than in 8 bits, nothing behind them has another type, and the file is exact."""
    torch.manual_seed(0)
    net, x = Statistics(kind).eval(), torch.randn(64, 6, 16) * torch.rand(64, 1, 1).mul(3).exp()
    expected, lost = _tensors(net(x)), {}
    for squares in ("int8", "int16"):
        qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(squares=squares))
        qtorch.calibrate(qat, [x])
        qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
        graph = integer_graph(qat)
        assert {graph.values[name].quantization.dtype for name in (*graph.inputs, *graph.outputs)} == {"int8"}
        parity(graph, write_tflite(graph), corner_codes(graph, 8), qat, reported=())
        with torch.no_grad():
            got = _tensors(qat(x))
            lost[squares] = sum(float(((a - b) ** 2).mean() / b.var()) for a, b in zip(got, expected, strict=True))
    assert lost["int16"] < 0.8 * lost["int8"]


def _tensors(found: Any) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


def test_configuration_by_layer() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    config = qtorch.QuantizationConfig(layers={"0": {"weight_bits": 4}, "4": {"activations": "int16"}})
    qat = qtorch.prepare(net, torch.zeros(1, 1, 6, 6), config)
    qtorch.calibrate(qat, [torch.randn(20, 1, 6, 6)])
    ops = {n: m for n, m in qat.named_modules() if isinstance(m, qtorch.QuantizedOp)}
    assert ops["0"].constants.integers()["weight"].qparams.dtype == "int4"
    assert ops["2"].constants.integers()["weight"].qparams.dtype == "int8"
    dtypes = {op.row.name: op.output.dtype for op in ops.values()}
    assert (dtypes["fully_connected"], dtypes["quantize"], dtypes["reshape"]) == ("int16", "int16", "int8")
    with pytest.raises(BadConfiguration, match="weight_bits"):
        qtorch.QuantizationConfig(layers={"0": {"weight_bits": 3}})
    with pytest.raises(BadConfiguration, match="bits"):
        qtorch.QuantizationConfig(layers={"0": {"bits": 4}})
    with pytest.raises(BadConfiguration, match="int16 with int4"):
        qtorch.QuantizationConfig(activations="int16", weight_bits=4)
    with pytest.raises(UnsupportedLayer, match=r"hard_swish.*int16.*layers"):
        qtorch.prepare(nn.Hardswish(), torch.zeros(1, 2), qtorch.QuantizationConfig(activations="int16"))


@pytest.mark.parametrize("scales", ["measured", "lsq"])
@pytest.mark.parametrize("weights", ["per_tensor", "per_channel"])
def test_pinned_weights_keep_their_codes(scales: str, weights: str) -> None:
    """In constants, in quantized training, beside a learned scale, through a state dict; until another is loaded."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(200, 3)
    config = qtorch.QuantizationConfig(scales=scales, weights=weights)  # type: ignore[arg-type]
    qats = [qtorch.prepare(net, x[:1], config) for _ in range(2)]
    for qat in qats:
        qtorch.calibrate(qat, [x])
    pinned, other = qats
    before = copy.deepcopy(other.state_dict())
    op = pinned.get_submodule("0")
    assert isinstance(op, qtorch.QuantizedOp)
    # One scale for all weights has twelve bits.
    step = rounded_up_short(0.3 * op.constants.integers()["weight"].grid.scale)
    codes = torch.randint(-127, 128, op.get_parameter("weight").shape)
    op.pin_weight(codes * (step[:, None] if step.dim() else step), step)
    other.load_state_dict(copy.deepcopy(pinned.state_dict()))
    for qat in qats:
        op = qat.get_submodule("0")
        assert isinstance(op, qtorch.QuantizedOp)
        assert torch.equal(op.constants.integers()["weight"].codes, codes)
        assert torch.equal(op.constants.integers()["weight"].grid.scale, step)
        assert torch.allclose(op.constants.rounded()["weight"], op.get_parameter("weight"), rtol=1e-6, atol=0)
        qtorch.set_mode(qat, Mode.QUANTIZED)
    with torch.no_grad():
        assert torch.equal(pinned(x), other(x))
    other.load_state_dict(before)
    fresh = other.get_submodule("0")
    assert isinstance(fresh, qtorch.QuantizedOp)
    assert fresh.constants.weight_grid is not None
    assert fresh.constants.weight_grid.covering == (scales == "measured")
    assert not torch.equal(fresh.constants.integers()["weight"].codes, codes)
