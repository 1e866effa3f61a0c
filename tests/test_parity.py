"""Test the test: whatever differs by one bit must be caught; and what is equal must pass."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

import qtorch
from export.engines import ENGINES, TFLM
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.passes.float_interface import float_interface
from export.parity.outputs import compare_file, compare_graphs, corner_codes, parity
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile, NotFinite, ParityError


@pytest.mark.tflm
def test_a_network_is_its_export(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    report = parity(graph, write_tflite(graph), corner_codes(graph, 2000), network)
    assert report.engines["tflm"].mismatches == 0
    assert report.engines["qat_network"].mismatches == 0
    assert report.judges == ("tflm", "qat_network")
    assert not report.exhaustive


@pytest.mark.tflm
@pytest.mark.parametrize("recording", [True, False])
def test_the_network_is_judged_by_the_pass_that_training_takes(network: fx.GraphModule, recording: bool) -> None:
    """One output that is off by a step in training fails; what only a pass without gradients does is not asked."""
    graph = integer_graph(network)
    step = graph.values[graph.outputs[0]].quantization.scale[0]

    def off_by_one(module: nn.Module, inputs: object, outputs: Tensor) -> Tensor:
        moved = torch.zeros_like(outputs)
        moved[0] = step if outputs.detach()[0] < outputs.detach().mean() else -step
        return outputs + moved if torch.is_grad_enabled() == recording else outputs

    network.register_forward_hook(off_by_one)
    if recording:
        with pytest.raises(ParityError, match=r"the network as it is trained .* on 1 of 128 outputs, by up to 1 LSB"):
            parity(graph, write_tflite(graph), corner_codes(graph, 120), network, reported=())
    else:
        report = parity(graph, write_tflite(graph), corner_codes(graph, 120), network, reported=())
        assert report.engines["qat_network"].mismatches == 0


def flipped(graph: Graph, what: str) -> Graph:
    """The graph with one figure changed by the least that can be."""
    values = dict(graph.values)
    if what in ("weight", "bias"):
        name = f"0.{what}"
        data = values[name].contents.copy()
        data.flat[1] += -1 if data.flat[1] > 0 else 1
        values[name] = replace(values[name], data=data)
    else:
        name = graph.outputs[0]
        qparams = values[name].quantization
        if what == "scale":
            qparams = replace(qparams, scale=(float(np.nextafter(np.float32(qparams.scale[0]), np.float32(1))),))
        else:
            qparams = replace(qparams, zero_point=(qparams.zero_point[0] + (1 if qparams.zero_point[0] < 127 else -1),))
        values[name] = replace(values[name], qparams=qparams)
    return replace(graph, values=values)


@pytest.mark.parametrize("what", ["weight", "bias", "scale", "zero_point"])
def test_one_changed_figure_in_the_file_is_caught(network: fx.GraphModule, what: str) -> None:
    graph = integer_graph(network)
    with pytest.raises(ParityError, match="differ, first"):
        compare_file(graph, write_tflite(flipped(graph, what)))


def test_a_changed_activation_is_caught(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    nodes = (replace(graph.nodes[0], attrs={**graph.nodes[0].attrs, "activation": "none"}), *graph.nodes[1:])
    with pytest.raises(ParityError, match="attributes"):
        compare_file(graph, write_tflite(replace(graph, nodes=nodes)))


@pytest.mark.tflm
def test_an_engine_that_is_off_by_one_is_caught(network: fx.GraphModule, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = integer_graph(network)

    def wrong(model: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        (outputs,) = TFLM.run(model, inputs)
        outputs[17] += np.int8(1)
        return (outputs,)

    monkeypatch.setitem(ENGINES, "tflm", replace(TFLM, run=wrong))
    with pytest.raises(ParityError, match=r"on 1 of .* by up to 1 LSB.*sample 17"):
        parity(graph, write_tflite(graph), corner_codes(graph, 50))


@pytest.mark.tflm
@pytest.mark.parametrize("seed", range(20))
def test_random_perceptrons_are_exact(seed: int) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 40, rng.integers(2, 6)).tolist()
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()] if rng.random() < 0.7 else [nn.Linear(a, b)]
    net = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 10.0 ** rng.uniform(-3, 2)
    config = qtorch.QuantizationConfig(weights="per_channel" if seed % 2 else "per_tensor")
    qat = qtorch.prepare(net, torch.zeros(1, sizes[0]), config)
    qtorch.calibrate(qat, [torch.randn(100, sizes[0])])
    graph = integer_graph(qat)
    assert parity(graph, write_tflite(graph), corner_codes(graph, 300), qat).engines["tflm"].mismatches == 0


@pytest.mark.tflm
def test_float_interface_adds_two_ops_and_changes_no_integer(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    real = float_interface(graph)
    assert [n.op for n in real.nodes] == ["quantize", *[n.op for n in graph.nodes], "dequantize"]
    x = np.random.default_rng(0).uniform(-0.2, 1.2, (300, 3)).astype(np.float32)
    (outputs,) = TFLM.run(write_tflite(real), (x,))
    np.testing.assert_array_equal(outputs, interpret(real, (x,))[real.outputs[0]])
    source, sink = (graph.values[names[0]].qparams for names in (graph.inputs, graph.outputs))
    assert source is not None
    assert sink is not None
    codes = interpret(graph, (source.quantize(x),))[graph.outputs[0]]
    np.testing.assert_array_equal(outputs, sink.dequantize(codes))


def test_every_truncation_is_refused(network: fx.GraphModule) -> None:
    model = write_tflite(integer_graph(network))
    for length in range(0, len(model) - 16, 7):
        try:
            found = read_tflite(model[:length])
        except BadModelFile:
            continue
        # What is cut off may be padding: then nothing may be different.
        assert not compare_graphs(integer_graph(network), found).first


def test_foreign_files_are_refused() -> None:
    for content in (b"", b"TFL3", b"\x20\0\0\0TFL3" + b"\xff" * 100, b"PK\x03\x04" * 50):
        with pytest.raises(BadModelFile, match="Remedy"):
            read_tflite(content, "some.tflite")


def test_bad_weights_are_refused(network: fx.GraphModule) -> None:
    with torch.no_grad():
        next(network.parameters())[0, 0] = float("nan")
    with pytest.raises(NotFinite, match=r"weight of layer '0'"):
        integer_graph(network)


@pytest.fixture
def convolutional() -> fx.GraphModule:
    """A convolution with a batch norm, a strided depthwise one, a pooling, a linear layer."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    x = torch.randn(32, 2, 8, 8)
    net(x)
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    return qat


@pytest.mark.tflm
@pytest.mark.parametrize("what", ["mantissa", "shift"])
def test_a_wrong_multiplier_is_caught(
    convolutional: fx.GraphModule, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from qtorch.families import accumulator
    from qtorch.numbers import fixedpoint

    def wrong(real: torch.Tensor) -> fixedpoint.Multiplier:
        mantissa, shift = fixedpoint.quantize_multiplier(real)
        # 2**-12 of the factor: less would change no code of these inputs, and so be nothing that a device shows.
        return fixedpoint.Multiplier(mantissa + (2**18 if what == "mantissa" else 0), shift + (what == "shift"))

    graph = integer_graph(convolutional)
    codes = corner_codes(graph, 500)
    parity(graph, write_tflite(graph), codes, reported=())
    monkeypatch.setattr(accumulator, "quantize_multiplier", wrong)
    with pytest.raises(ParityError, match="tflm"):
        parity(graph, write_tflite(graph), codes, reported=())


@pytest.mark.tflm
def test_a_wrong_layout_is_caught(convolutional: fx.GraphModule) -> None:
    graph = integer_graph(convolutional)
    weight = graph.values["0.weight"]
    turned = replace(weight, data=np.ascontiguousarray(weight.contents.swapaxes(1, 2)))
    with pytest.raises(ParityError, match=r"0\.weight"):
        compare_file(graph, write_tflite(replace(graph, values={**graph.values, "0.weight": turned})))
    # Rows and columns exchanged at the input: the file is right in itself, but not the network.
    name = graph.inputs[0]
    wrong = replace(graph, views={**graph.views, name: replace(graph.views[name], axes=(0, 3, 2, 1))})
    with pytest.raises(ParityError, match="the network as it is trained differs"):
        parity(wrong, write_tflite(wrong), corner_codes(wrong, 50), convolutional, reported=())


@pytest.mark.tflm
@pytest.mark.parametrize("what", ["padding", "stride_h", "activation"])
def test_a_changed_attribute_is_caught(convolutional: fx.GraphModule, what: str) -> None:
    graph = integer_graph(convolutional)
    changed = {"padding": "valid", "stride_h": 3, "activation": "relu6"}[what]
    nodes = (replace(graph.nodes[0], attrs={**graph.nodes[0].attrs, what: changed}), *graph.nodes[1:])
    # With some the op gives other shapes, which the reader sees.
    words = "attributes" if what == "activation" else "expected outputs of"
    with pytest.raises((ParityError, BadModelFile), match=words):
        compare_file(graph, write_tflite(replace(graph, nodes=nodes)))
