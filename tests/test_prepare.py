"""Float network to QAT network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from qtorch import Mode
from qtorch.errors import BadConfiguration, NotFinite, UnsupportedLayer
from qtorch.functional import dequantize


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


@pytest.mark.parametrize("mode", [Mode.FAKE, Mode.EXACT])
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


def test_fake_constants_are_the_exported_integers(network: fx.GraphModule) -> None:
    """Of weights and biases alike: what FAKE multiplies with is what the file will hold, on its grid."""
    qtorch.set_mode(network, Mode.FAKE)
    for op in (m for m in network.modules() if isinstance(m, qtorch.QuantizedOp)):
        probed: dict[str, Tensor] = {}
        row = op.row
        op.row = replace(
            row, forward=lambda attrs, x, row=row, probed=probed: probed.update(x) or row.forward(attrs, x)
        )
        op(torch.zeros(1, op.weight.shape[1]))
        op.row = row
        for role, constant in op.constants().items():
            expected = dequantize(constant.codes, constant.grid, constant.axis)
            assert torch.allclose(probed[role], expected, rtol=1e-6, atol=0), role
            assert not torch.equal(probed[role], op.get_parameter(role)), role


def test_per_tensor_weights() -> None:
    qat = qtorch.prepare(nn.Linear(3, 4), torch.zeros(1, 3), qtorch.QuantizationConfig(weights="per_tensor"))
    qtorch.calibrate(qat, [torch.rand(9, 3)])
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))
    assert op.constants()["weight"].grid.scale.shape == ()


def test_margin_widens_ranges() -> None:
    x = torch.linspace(1, 3, 50)[:, None]
    spans = []
    for margin in (0.0, 0.5):
        qat = qtorch.prepare(nn.ReLU(), torch.zeros(1, 1), qtorch.QuantizationConfig(margin=margin))
        qtorch.calibrate(qat, [x])
        spans.append([q.qparams().scale[0] * 255 for q in qtorch.quantizers(qat).values()])
    assert spans[0] == pytest.approx([3, 3])
    assert spans[1] == pytest.approx([4, 4])


def test_saturation_is_reported(network: fx.GraphModule) -> None:
    x = torch.rand(100, 3)
    network_range = qtorch.saturation(network, [x * 0.9])
    found = qtorch.saturation(network, [x * 3])
    assert not network_range
    assert any("input" in s.name and s.share > 0.3 and s.needed[1] > 2 for s in found)
    assert "outside" in str(found[0])


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.GELU()), ["'1'", "GELU", "Linear", "ReLU"]),
        (nn.Sequential(nn.Linear(2, 2), nn.Softplus()), ["Softplus"]),
    ],
)
def test_unsupported_layers_are_named(net: nn.Module, words: list[str]) -> None:
    with pytest.raises(UnsupportedLayer) as error:
        qtorch.prepare(net, torch.zeros(1, 2))
    assert all(word in str(error.value) for word in words)


def test_bad_inputs() -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(BadConfiguration, match=r"\(2, 5\)"):
        qtorch.prepare(net, torch.zeros(1, 5))
    with pytest.raises(BadConfiguration, match="calibrate"):
        qtorch.set_mode(qtorch.prepare(net, torch.zeros(1, 2)), Mode.FAKE)
    with pytest.raises(BadConfiguration, match="prepare"):
        qtorch.set_mode(net, Mode.FAKE)
    with pytest.raises(BadConfiguration, match="batch"):
        qtorch.calibrate(qtorch.prepare(net, torch.zeros(1, 2)), [])
    with pytest.raises(NotFinite, match="calibration"):
        qtorch.calibrate(qtorch.prepare(net, torch.zeros(1, 2)), [torch.tensor([[1.0, float("nan")]])])
    with torch.no_grad():
        net.weight[0, 0] = float("inf")
    with pytest.raises(NotFinite, match="weight"):
        qtorch.prepare(net, torch.zeros(1, 2))
    with pytest.raises(BadConfiguration, match="margin"):
        qtorch.QuantizationConfig(margin=2)
