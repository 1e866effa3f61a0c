"""Normalization in the network: folded where that is right, standing where not, and exact on the device."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

import qtorch
from export.boards import BOARDS
from export.c.compiled import c_compiler, run_c
from export.c.network import c_network
from export.c.source import c_source
from export.forms.onnx.parity import onnx_parity
from export.forms.onnx.writer import write_onnx
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch import Feature, Mode, Normalization, QuantizationConfig
from qtorch.errors import BadConfiguration, UnsupportedLayer
from qtorch.network.folded_normalization import fold
from qtorch.normalization import normalize
from qtorch.post_training import correct_biases, equalize, round_adaptively

pytestmark = pytest.mark.usefixtures("one_thread")

CHANNELS, ONE = ([120.0, 110.0, 100.0], [60.0, 50.0, 70.0]), (127.5, 127.5)
DENSE, CONV, DEPTHWISE, STANDING = ["fully_connected"], ["conv_2d"], ["depthwise_conv_2d"], "depthwise_conv_2d"


class Branches(nn.Module):
    """Two layers read what was normalized; with ``padding`` one of them can't take it."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.normalization = Normalization(*CHANNELS)
        self.a, self.b = nn.Conv2d(3, 2, 3, padding=padding), nn.Conv2d(3, 2, 1 + 2 * (1 - padding))

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalization(x)
        return torch.cat([self.a(x).flatten(1), self.b(x).flatten(1)], 1)


def bytes_of(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape).float()


def batch_normed() -> nn.Module:
    norm = nn.BatchNorm2d(4)
    norm(torch.randn(64, 4, 3, 3))
    return nn.Sequential(Normalization(*CHANNELS), nn.Conv2d(3, 4, 3, bias=False), norm, nn.ReLU())


#: Network, shape of one input, and the ops that it must become.
CASES: dict[str, tuple[Any, tuple[int, ...], list[str]]] = {
    "dense, per tensor": (lambda: nn.Sequential(Normalization(*ONE), nn.Linear(6, 4)), (6,), DENSE),
    "dense, per feature": (lambda: nn.Sequential(Normalization(*CHANNELS), nn.Linear(3, 4)), (3,), DENSE),
    "dense without a bias": (lambda: nn.Sequential(Normalization(*ONE), nn.Linear(6, 4, bias=False)), (6,), DENSE),
    "dense on sequences": (lambda: nn.Sequential(Normalization(*ONE), nn.Linear(5, 4)), (3, 5), DENSE),
    "axes that a dense layer mixes": (
        lambda: nn.Sequential(Normalization(*CHANNELS), nn.Linear(5, 4)), (3, 5),
        [STANDING, "transpose", "reshape", "fully_connected"]),
    "dense behind a flatten": (
        lambda: nn.Sequential(Normalization(*CHANNELS), nn.Flatten(), nn.Linear(48, 4)), (3, 4, 4), DENSE),
    "convolution": (lambda: nn.Sequential(Normalization(*CHANNELS), nn.Conv2d(3, 4, 3)), (3, 5, 6), CONV),
    "convolution, per tensor": (lambda: nn.Sequential(Normalization(*ONE), nn.Conv2d(3, 4, 3)), (3, 5, 6), CONV),
    "Conv1d": (lambda: nn.Sequential(Normalization(*CHANNELS), nn.Conv1d(3, 4, 3)), (3, 9), CONV),
    "groups": (
        lambda: nn.Sequential(Normalization([9.0, 8, 7, 6], [5.0, 6, 7, 8]), nn.Conv2d(4, 6, 3, groups=2)), (4, 5, 5),
        None),  # as many ops as groups are split into; what folds is what is equal
    "depthwise": (
        lambda: nn.Sequential(Normalization(*CHANNELS), nn.Conv2d(3, 6, 3, groups=3)), (3, 5, 5), DEPTHWISE),
    "batch norm behind": (batch_normed, (3, 5, 5), CONV),
    "padding, a pure scale": (
        lambda: nn.Sequential(Normalization(0.0, CHANNELS[1]), nn.Conv2d(3, 4, 3, padding=1)), (3, 5, 5), CONV),
    "padding, an offset": (
        lambda: nn.Sequential(Normalization(*CHANNELS), nn.Conv2d(3, 4, 3, padding=1)), (3, 5, 5), [STANDING, *CONV]),
    "padding, an offset for all": (
        lambda: nn.Sequential(Normalization(*ONE), nn.Conv2d(3, 4, 3, padding=1)), (3, 5, 5), [STANDING, *CONV]),
    "unequal spans": (
        lambda: nn.Sequential(Normalization([4.0, 6, 250], [2.0, 2, 60]), nn.Linear(3, 4)), (3,), [STANDING, *DENSE]),
    "unequal spans, depthwise": (
        lambda: nn.Sequential(Normalization([4.0, 6, 250], [2.0, 2, 60]), nn.Conv2d(3, 3, 3, groups=3)), (3, 5, 5),
        DEPTHWISE),
    "nothing that takes it": (
        lambda: nn.Sequential(Normalization(*CHANNELS), nn.MaxPool2d(2)), (3, 4, 4), [STANDING, "max_pool_2d"]),
    "an activation behind": (
        lambda: nn.Sequential(Normalization(*ONE), nn.ReLU(), nn.Linear(6, 4)), (6,), [STANDING, *DENSE]),
    "a batch norm right behind": (
        lambda: nn.Sequential(Normalization(*ONE), nn.BatchNorm1d(6), nn.Linear(6, 4)), (6,), [STANDING, *DENSE]),
    "alone": (lambda: Normalization(*CHANNELS), (3, 4, 4), [STANDING]),
    "two readers": (lambda: Branches(0), (3, 6, 6), None),
    "two readers, one pads": (lambda: Branches(1), (3, 6, 6), None),
}  # fmt: skip


def prepared(case: str, **options: Any) -> tuple[nn.Module, fx.GraphModule, Tensor]:
    """A case's float network in evaluation, the network prepared and calibrated, and the data."""
    torch.manual_seed(0)
    make, shape, _ = CASES[case]
    net, x = make().eval(), bytes_of(64, *shape)
    qat = qtorch.prepare(net, x[:1], QuantizationConfig(**options)).eval()
    qtorch.calibrate(qat, [x])
    return net, qat, x


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def graph_of(net: nn.Module, x: Tensor, **options: Any) -> Graph:
    qat = qtorch.prepare(net, x[:1], QuantizationConfig(**options)).eval()
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)


@pytest.mark.parametrize("case", CASES)
def test_the_prepared_network_is_the_float_network(case: str) -> None:
    """Within float32's rounding, as offsets of twice the spans cost it; quantized, near it."""
    net, qat, x = prepared(case)
    with torch.no_grad():
        expected = net(x)
        size = float(expected.abs().max())
        assert float((qat(x) - expected).abs().max()) < 2e-6 * size
        qtorch.set_mode(qat, Mode.QUANTIZED)
        assert float((qat(x) - expected).abs().mean()) < (0.15 if case == "unequal spans" else 0.02) * size


@pytest.mark.parametrize("case", [case for case, (_, _, found) in CASES.items() if found is not None])
def test_it_is_folded_where_that_is_right_and_nowhere_else(case: str) -> None:
    _, qat, _ = prepared(case)
    assert ops(integer_graph(qat)) == CASES[case][2]


def test_all_readers_fold_it_or_none() -> None:
    for case, standing in (("two readers", 0), ("two readers, one pads", 1)):
        assert ops(integer_graph(prepared(case)[1])).count(STANDING) == standing


@pytest.mark.tflm
@pytest.mark.parametrize("case", CASES)
def test_parity(case: str) -> None:
    """TFLite Micro and the network against the integers, on codes of every kind."""
    judge(case)


@pytest.mark.tflm
@pytest.mark.parametrize("case", ["dense, per feature", "groups", "batch norm behind", "padding, an offset", "alone"])
@pytest.mark.parametrize("options", [{"weights": "per_tensor"}, {"activations": "int16"}], ids=str)
def test_parity_of_other_types(case: str, options: dict[str, Any]) -> None:
    judge(case, **options)


def judge(case: str, **options: Any) -> None:
    _, qat, _ = prepared(case, **options)
    graph = integer_graph(qat)
    report = parity(graph, write_tflite(graph), corner_codes(graph, 30), qat)
    assert {"tflm", "qat_network"} <= set(report.judges)


@pytest.mark.onnx
@pytest.mark.parametrize("case", CASES)
def test_onnx(case: str) -> None:
    graph = integer_graph(prepared(case)[1])
    found = onnx_parity(graph, write_onnx(graph), corner_codes(graph, 100))
    assert max(found.largest.values()) <= 1


@pytest.mark.parametrize("case", CASES)
def test_plain_c(case: str) -> None:
    if c_compiler() is None:
        pytest.skip("no C compiler; install one (Debian: apt-get install gcc) to run this test")
    graph = integer_graph(prepared(case)[1])
    codes = corner_codes(graph, 50)
    files = c_source("m", c_network(graph, BOARDS["host"].cpu)).files
    got = run_c("m", files, graph, codes)
    for name, each in zip(graph.outputs, got, strict=True):
        assert (each == interpret(graph, codes)[name].reshape(each.shape)).all()


def test_folding_is_normalizing_first() -> None:
    torch.manual_seed(0)
    x, weight, bias = 300 * torch.rand(50, 4, dtype=torch.float64), torch.randn(3, 4).double(), torch.randn(3).double()
    offset, span = torch.tensor([100.0, 5, 0, 250]).double(), torch.tensor([60.0, 2, 255, 1]).double()
    for given in (bias, None):
        expected = nn.functional.linear(normalize(x, offset, span), weight, given)
        folded = fold(weight, given, offset, span)
        torch.testing.assert_close(nn.functional.linear(x, folded["weight"], folded["bias"]), expected)
    assert set(fold(weight, None, None, span)) == {"weight"}


@pytest.mark.parametrize("case", ["dense, per feature", "batch norm behind", "unequal spans"])
def test_training_goes_through_it_and_leaves_it_alone(case: str) -> None:
    """The parameters that the float network has learn, at the pace that they would with inputs normalized outside."""
    net, qat, x = prepared(case)
    with torch.no_grad():
        target = 0.5 * net(x) + 0.3
    norm = next(m for m in net.modules() if isinstance(m, Normalization))
    kept = {name: t.clone() for name, t in qat.named_buffers() if t.is_floating_point() and "running" not in name}
    assert any(torch.equal(t, norm.offset) or t.shape[-1:] == norm.offset.shape for t in kept.values())
    qtorch.set_mode(qat, Mode.QUANTIZED)
    qtorch.freeze_batch_norm(qat)
    optimizer = torch.optim.Adam(qat.train().parameters(), 1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(qat(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
    assert all(torch.equal(t, kept[name]) for name, t in qat.named_buffers() if name in kept)
    assert {name for name, _ in net.named_parameters()} == {name for name, _ in qat.named_parameters()}


def test_gradients_are_those_of_inputs_normalized_outside() -> None:
    net, qat, x = prepared("convolution")
    qat.train()(x).square().mean().backward()
    outside = copy.deepcopy(net)
    outside(x).square().mean().backward()
    for name, parameter in outside.named_parameters():
        torch.testing.assert_close(qat.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-5)


def test_a_wish_of_its_own_keeps_it() -> None:
    torch.manual_seed(0)
    x = bytes_of(50, 6)
    net = nn.Sequential(Normalization(*ONE), nn.Linear(6, 4))
    wide = {"activations": "int16"}
    assert ops(graph_of(net, x)) == DENSE
    assert ops(graph_of(net, x, layers={"*": wide})) == DENSE
    graph = graph_of(net, x, layers={"input_1": wide, "0": wide})
    assert ops(graph) == [STANDING, "quantize", "fully_connected"]
    assert graph.values[graph.inputs[0]].dtype == "int16"
    assert ops(graph_of(net, x, layers={"1": {"weight_bits": 4, "weights": "per_tensor"}})) == DENSE


def test_standing_constants_stay_exact_whatever_the_configuration() -> None:
    """One weight per channel is its scale's highest code, so 1 / span to a rounding of float32."""
    torch.manual_seed(0)
    net = nn.Sequential(Normalization([4.0, 6, 250], [2.0, 2, 600]), nn.Linear(3, 4))
    x = torch.rand(99, 3) * torch.tensor([8.0, 12, 500])
    options = {"weights": "per_tensor", "scales": "lsq", "weight_observer": "mse"}
    qat = qtorch.prepare(net, x[:1], QuantizationConfig(**options)).eval()
    qtorch.calibrate(qat, [x])
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp) and m.row.name == STANDING)
    weight = op.constants.integers()["weight"]
    torch.testing.assert_close(weight.grid.scale * weight.codes.flatten(), 1 / net[0].span, rtol=3e-7, atol=0)
    assert not list(op.parameters())


def test_a_camera_byte_is_a_code() -> None:
    """On a grid fixed to 0..255 the byte b is the code b - 128, and dividing by 255 costs no op."""
    torch.manual_seed(0)
    x = bytes_of(20, 1, 6, 6).clamp(max=200)  # data that do not reach the end
    net = nn.Sequential(Normalization(span=255.0), nn.Conv2d(1, 3, 3, padding=1), nn.ReLU())
    graph = graph_of(net, x, layers={"input_1": {"observer": "fixed:0:255"}})
    qparams = graph.values[graph.inputs[0]].quantization
    assert (qparams.scale, qparams.zero_point) == ((1.0,), (-128,))
    assert ops(graph) == CONV
    codes = qparams.quantize(torch.arange(256.0).numpy())
    assert codes.tolist() == list(range(-128, 128))


def test_one_range_for_all_pixels_costs_nothing() -> None:
    """The same integers as with pictures divided outside; a power of 2, so that float32 rounds both alike."""
    torch.manual_seed(0)
    x = bytes_of(40, 1, 6, 6)
    layers = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))
    inside, outside = graph_of(nn.Sequential(Normalization(span=256.0), *layers), x), graph_of(layers, x / 256)
    assert ops(inside) == ops(outside)
    pairs = list(zip(inside.constants().values(), outside.constants().values(), strict=True))
    assert pairs
    for a, b in pairs:
        assert (a.contents == b.contents).all()
    codes = corner_codes(inside, 100)
    assert (interpret(inside, codes)[inside.outputs[0]] == interpret(outside, codes)[outside.outputs[0]]).all()


@pytest.mark.parametrize("case", ["dense, per feature", "unequal spans"])
def test_a_checkpoint_holds_it(case: str) -> None:
    """Offsets and spans too: a network made with others computes the saved one's numbers."""
    _, qat, x = prepared(case)
    other = copy.deepcopy(qat)
    for tensor in (*other.parameters(), *other.buffers()):
        tensor.data = tensor.data + 1
    assert not torch.equal(other(x), qat(x))
    other.load_state_dict(qat.state_dict())
    for mode in (Mode.FLOAT, Mode.QUANTIZED):
        for network in (qat, other):
            qtorch.set_mode(network, mode)
        assert torch.equal(other(x), qat(x))


def test_features_become_a_layer() -> None:
    features = (Feature.min_max("a", "", (10.0, 30.0)), Feature.standardized("b", "", [1.0, 3.0]))
    x = torch.tensor([[30.0, 3.0], [10.0, 1.0]])
    assert Normalization.of(features)(x).tolist() == [[1.0, 1.0], [0.0, -1.0]]
    assert Normalization.of(features[:1])(torch.tensor([[10.0, 20.0, 30.0]])).tolist() == [[0.0, 0.5, 1.0]]


def test_post_training_steps_take_it() -> None:
    """Channels equalized, folded weights rounded adaptively, biases corrected: nearer to the float network."""
    torch.manual_seed(0)
    x = bytes_of(200, 3, 6, 6)
    for norm in (Normalization(span=255.0), Normalization(*ONE)):
        net = nn.Sequential(norm, nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        with torch.no_grad():
            expected = net(x)
            torch.testing.assert_close(equalize(net, x[:1])(x), expected, rtol=1e-4, atol=1e-5)
        qat = qtorch.prepare(net, x[:1], QuantizationConfig(weight_bits=4)).eval()
        qtorch.calibrate(qat, [x])
        qtorch.set_mode(qat, Mode.QUANTIZED)
        before = (qat(x) - expected).square().mean().item()
        rounded = round_adaptively(qat, [x], steps=200)
        assert (rounded[0].skipped == "") == (not norm.offset.any())
        assert rounded[0].learned <= rounded[0].nearest
        correct_biases(qat, [x])
        qtorch.set_mode(qat, Mode.QUANTIZED)
        assert (qat(x) - expected).square().mean().item() < before
        assert ops(integer_graph(qat)) == ["conv_2d", "conv_2d"]


@pytest.mark.parametrize(
    ("offset", "span", "expected"),
    [
        (0.0, 0.0, "positive, finite spans in float32, got offset 0.0 and span 0.0"),
        (0.0, [1.0, -2.0], "span .1.0, -2.0."),
        (float("nan"), 1.0, "finite offsets"),
        (0.0, float("inf"), "span inf"),
        (0.0, 1e-60, "in float32, got offset 0.0 and span 0.0"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"one for each channel, got shapes \[2\] and \[3\]"),
        ([[1.0]], 1.0, r"shapes \[1, 1\]"),
        ([], [], r"shapes \[0\]"),
    ],
)
def test_bad_numbers_are_refused(offset: Any, span: Any, expected: str) -> None:
    with pytest.raises(BadConfiguration, match=f"Normalization: .*{expected}.*Remedy"):
        Normalization(offset, span)


def test_other_channels_are_refused() -> None:
    with pytest.raises(BadConfiguration, match=r"an input \[N, 3, ...\].* got shape \[2, 4\]"):
        Normalization(*CHANNELS)(torch.zeros(2, 4))
    with pytest.raises(BadConfiguration, match=r"an input \[N, 3, ...\]"):
        qtorch.prepare(nn.Sequential(Normalization(*CHANNELS), nn.Linear(4, 1)), torch.zeros(1, 4))
    with pytest.raises(UnsupportedLayer, match="2 to 4 axes"):
        qtorch.prepare(nn.Sequential(Normalization(*ONE), nn.Flatten(), nn.Linear(16, 1)), torch.zeros(1, 2, 2, 2, 2))
