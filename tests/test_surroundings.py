"""What surrounds a prepared network does not change its integers: autocast, types, devices, defaults, a compiler."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import qtorch
from export.engines import TFLM
from export.graph.build import integer_graph
from export.tflite.writer import write_tflite
from qtorch import Mode, QuantizationConfig
from qtorch.errors import BadConfiguration, BadData, BadInput
from qtorch.ranges.observer import Observer
from tests.device_cases import Attention
from tests.random_drawing import draw

pytestmark = pytest.mark.usefixtures("one_thread")

HALVES = (torch.bfloat16, torch.float16)


IMAGE = (
    lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 3),
    ),
    (2, 8, 8),
)  # fmt: skip
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], QuantizationConfig]] = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), (8,), QuantizationConfig()),
    "sigmoid": (
        lambda: nn.Sequential(nn.Linear(8, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Tanh()), (8,), QuantizationConfig()
    ),
    "softmax": (lambda: nn.Sequential(nn.Linear(8, 4), nn.Softmax(-1)), (8,), QuantizationConfig()),
    "attention": (Attention, (6,), QuantizationConfig()),
    "image": (*IMAGE, QuantizationConfig()),
    "image, int16": (*IMAGE, QuantizationConfig(activations="int16")),
    "image, 4 bits": (*IMAGE, QuantizationConfig(weight_bits=4, weight_observer="mse")),
    "image, learned": (*IMAGE, QuantizationConfig(scales="lsq+")),
    "normalized": (
        lambda: nn.Sequential(qtorch.Normalization([1.0, 2.0], [3.0, 4.0]), nn.Linear(2, 3)), (2,), QuantizationConfig()
    ),
    "left in float": (*IMAGE, QuantizationConfig(layers={"0": {"skip": True}})),
    "ewgs": (*IMAGE, QuantizationConfig(gradient="ewgs")),
}  # fmt: skip


def prepared(name: str) -> tuple[fx.GraphModule, Tensor]:
    build, shape, config = NETWORKS[name]
    torch.manual_seed(3)
    net, x = build(), 2 * torch.randn(40, *shape)
    qat = qtorch.prepare(net, x[:1], config)
    qtorch.calibrate(qat, [x])
    return qat, x


def gradients(qat: nn.Module, y: Tensor) -> list[Tensor]:
    qat.zero_grad()
    y.square().sum().backward()
    return [p.grad.clone() for p in qat.parameters() if p.grad is not None]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", [Mode.QUANTIZED])
@pytest.mark.parametrize("name", NETWORKS)
def test_autocast_changes_nothing(name: str, mode: Mode, training: bool) -> None:
    qat, x = prepared(name)
    qtorch.set_mode(qat.train(training), mode)
    expected = copy.deepcopy(qat)
    y = expected(x)
    wanted = gradients(expected, y)
    for half in HALVES:
        again = copy.deepcopy(qat)
        with torch.autocast("cpu", dtype=half):
            found = again(x)
        assert found.dtype is torch.float32
        assert torch.equal(found, y)
        assert all(map(torch.equal, gradients(again, found), wanted))


@pytest.mark.parametrize("name", NETWORKS)
def test_ranges_are_measured_without_autocast(name: str) -> None:
    qat, x = prepared(name)
    expected = {n: q.qparams() for n, q in qtorch.quantizers(qat).items()}
    for half in HALVES:
        with torch.autocast("cpu", dtype=half):
            qtorch.calibrate(qat, [x])
        assert {n: q.qparams() for n, q in qtorch.quantizers(qat).items()} == expected


@pytest.mark.tflm
@pytest.mark.parametrize("name", ["perceptron", "sigmoid", "softmax"])
def test_exact_under_autocast_is_what_the_device_computes(name: str) -> None:
    qat, x = prepared(name)
    qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
    graph = integer_graph(qat)
    source, sink = (graph.values[names[0]].qparams for names in (graph.inputs, graph.outputs))
    assert source is not None
    assert sink is not None
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        found = qat(x)
    device = TFLM.run(write_tflite(graph), (source.quantize(x.numpy()),))[0]
    assert torch.equal(found, torch.from_numpy(sink.dequantize(device)))


def test_a_float_network_keeps_its_autocast() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Linear(16, 4))
    x = torch.randn(20, 8)
    qat = qtorch.prepare(net, x[:1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = net(x), qat(x)
    assert found.dtype is torch.bfloat16
    assert torch.equal(found, expected)


@pytest.mark.parametrize("mode", [Mode.FLOAT, Mode.QUANTIZED])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.float64])
def test_inputs_of_other_types_become_float32(dtype: torch.dtype, mode: Mode) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(qtorch.Normalization(span=255.0), nn.Conv2d(1, 2, 3), nn.ReLU())
    x = torch.randint(0, 256, (4, 1, 8, 8)).to(dtype)
    qat = qtorch.prepare(net, x[:1].float()).eval()
    qtorch.calibrate(qat, [x])
    expected = qtorch.prepare(net, x[:1].float()).eval()
    qtorch.calibrate(expected, [x.float()])
    for each in (qat, expected):
        qtorch.set_mode(each, mode)
    assert torch.equal(qat(x), expected(x.float()))


def test_complex_inputs_are_refused() -> None:
    qat, x = prepared("perceptron")
    with pytest.raises(BadData, match="complex64"):
        qat(x.to(torch.complex64))


@pytest.mark.parametrize("mode", [Mode.FLOAT, Mode.CALIBRATE, Mode.QUANTIZED])
@pytest.mark.parametrize("name", ["perceptron", "image", "image, learned", "left in float"])
def test_parameters_of_other_types_are_refused_in_words(name: str, mode: Mode) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        qat, x = prepared(name)
        qtorch.set_mode(qat, mode)
        with pytest.raises(BadConfiguration, match=f"float32.*got {dtype}.*32-true"):
            qat.to(dtype)(x.to(dtype))
        # The figures of the grids have not become others.
        assert {q.scale.dtype for q in qtorch.quantizers(qat.float()).values()} == {torch.float32}
        assert torch.isfinite(qat(x)).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_figure_follows_to_another_device(name: str) -> None:
    qat, x = prepared(name)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    shape, records = qat(x).shape, {n: q.qparams() for n, q in qtorch.quantizers(qat).items()}
    qat.to("meta")
    for module in qat.modules():
        tensors = {k: v for k, v in vars(module).items() if isinstance(v, Tensor)}
        if not isinstance(module, Observer):
            assert {v.device.type for v in tensors.values()} <= {"meta"}, (module, tensors)
    for mode in (Mode.FLOAT, Mode.QUANTIZED):
        qtorch.set_mode(qat, mode)
        for training in (False, True):
            y = qat.train(training)(x.to("meta").requires_grad_())
            assert (y.device.type, y.shape) == ("meta", shape)
            y.sum().backward()
    assert {n: q.qparams() for n, q in qtorch.quantizers(qat).items()} == records
    with pytest.raises(BadData, match="meta"):
        qtorch.calibrate(qat, [x.to("meta")])


def test_random_networks_mix_no_devices() -> None:
    """Every layer that is drawn, forwards and backwards."""
    judged = 0
    for seed in range(14, 26):
        program = draw(seed)
        net, data = program.build(), program.data(4)
        try:
            qat = qtorch.prepare(net, tuple(x[:1] for x in data))
            qtorch.calibrate(qat, [data])
        except BadInput:
            continue
        qat.to("meta")
        for mode in (Mode.FLOAT, Mode.QUANTIZED):
            qtorch.set_mode(qat, mode)
            found = qat(*(x.to("meta").requires_grad_() for x in data))
            outputs = found if isinstance(found, tuple) else (found,)
            assert {y.device.type for y in outputs} == {"meta"}
            sum(y.sum() for y in outputs).backward()
        judged += 1
    assert judged >= 6, "most networks drawn should be prepared"


@pytest.mark.parametrize("name", ["perceptron", "image, 4 bits", "image, learned"])
def test_what_is_known_of_a_grid_is_known_anew_after_a_move(name: str) -> None:
    """As on a device of its own: other tensors, which count their changes anew."""
    qat, x = prepared(name)
    qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
    before = qat(x)
    qat._apply(torch.clone)
    assert torch.equal(qat(x), before)
    other = copy.deepcopy(qat)
    for each in (qat, other):
        each._apply(torch.clone)
        qtorch.calibrate(each, [3 * x])
        qtorch.set_mode(each, Mode.QUANTIZED)
    expected = qtorch.prepare(NETWORKS[name][0](), x[:1], NETWORKS[name][2]).eval()
    expected.load_state_dict(other.state_dict())
    qtorch.set_mode(expected, Mode.QUANTIZED)
    assert torch.equal(qat(x), other(x))
    assert torch.equal(qat(x), expected(x))
    assert not torch.equal(qat(x), before)


# About the compiler's own looks at tensors between two graphs.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.sweep)])
def test_a_compiled_network_computes_the_same(backend: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 4)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), x[:1])
    qtorch.calibrate(qat, [x])
    torch._dynamo.reset()
    compiled = torch.compile(qat, backend=backend)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    expected = qat(x)
    wanted = gradients(qat, expected)
    found = compiled(x)
    assert torch.equal(found, expected)
    # Sums of gradients may be made in another order.
    torch.testing.assert_close(gradients(qat, found), wanted, rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(compiled(x), expected)


@pytest.mark.parametrize("name", ["perceptron", "sigmoid", "image"])
def test_shapes_alone_pass_through(name: str) -> None:
    qat, x = prepared(name)
    for mode in (Mode.FLOAT, Mode.QUANTIZED):
        qtorch.set_mode(qat, mode)
        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            found = qat(fake.from_tensor(x))
        assert found.shape == qat(x).shape


@pytest.mark.parametrize("name", ["perceptron", "image", "image, int16", "image, learned"])
def test_defaults_of_pytorch_change_nothing(name: str) -> None:
    qat, x = prepared(name)
    qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
    expected, records = qat(x), {n: q.qparams() for n, q in qtorch.quantizers(qat).items()}
    for switch, value, usual in (
        (torch.set_default_dtype, torch.float64, torch.float32),
        (torch.set_default_dtype, torch.bfloat16, torch.float32),
        (torch.set_float32_matmul_precision, "medium", "highest"),
    ):
        switch(value)
        try:
            again = qtorch.prepare(NETWORKS[name][0]().float(), x[:1], NETWORKS[name][2]).eval()
            again.load_state_dict(copy.deepcopy(qat.state_dict()))
            qtorch.set_mode(again, Mode.QUANTIZED)
            assert torch.equal(again(x), expected)
            if value != "medium":
                qtorch.calibrate(again, [x])
                assert {n: q.qparams() for n, q in qtorch.quantizers(again).items()} == records
        finally:
            switch(usual)


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap, torch.func.jacrev], ids=lambda f: f.__name__)
@pytest.mark.parametrize("net", [nn.Linear(3, 2), nn.Tanh()], ids=["weights", "none"])
def test_transforms_of_torch_func_are_refused_in_words_and_pass_in_float(net: nn.Module, transform: Any) -> None:
    x = torch.rand(4, 3)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])

    def computed(x: Tensor) -> Tensor:
        y: Tensor = qat(x.reshape(-1, 3))
        return y.square().sum()

    transform(computed)(x)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with pytest.raises(BadConfiguration, match=r"outside the transforms of torch\.func.*Mode\.FLOAT"):
        transform(computed)(x)
    computed(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_trace_of_torchscript_is_refused_in_words_and_passes_in_float() -> None:
    x = torch.rand(4, 3)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), x[:1])
    qtorch.calibrate(qat, [x])
    assert torch.equal(torch.jit.trace(qat, x[:2])(x), qat(x))
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with pytest.raises(
        BadConfiguration, match=r"torch\.jit\.trace does not follow.*torch\.export\.export.*Mode\.FLOAT"
    ):
        torch.jit.trace(qat, x[:2])
    assert torch.equal(torch.export.export(qat.eval(), (x,)).module()(x), qat(x))
