"""ONNX in QDQ form: every row's samples and whole networks through ONNX Runtime, within what the rows declare."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from benchmarks.mlperf_networks import varied
from export import optional_packages as second_opinions
from export.forms.onnx.form import onnx_files
from export.forms.onnx.parity import compare_onnx, onnx_parity
from export.forms.onnx.runtime import ONNX_RUNTIME
from export.forms.onnx.writer import OnnxModel, write_onnx
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.names import speaking_names
from export.graph.passes.float_interface import float_interface
from export.options import ExportOptions
from export.parity.outputs import corner_codes
from export.rows import batch_of, require_onnx, sample_graph
from qtorch.errors import BadConfiguration, ParityError, UnsupportedLayer
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.constraints import Indices
from qtorch.row.row import Row, Sample, Unsupported
from recipes.mlperf_tiny import DSCNN, Autoencoder, MobileNetV1, ResNet8
from tests.conftest import run_fuel
from tests.random_drawing import draw
from tests.test_random_c import integers
from tests.test_random_networks import CHUNK, a_dozen, chunks
from tests.test_rows import CASES
from tests.warm_python import warm_python

pytestmark = [
    pytest.mark.onnx,
    pytest.mark.filterwarnings("ignore:layers.* has no effect"),
    # Some random networks write behind dropout, which is another tensor in training.
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
]


def quantized(net: nn.Module, x: Tensor, **options: object) -> Graph:
    torch.manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = 0.5  # so that a few batches are enough to know the data
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(**options)).train()  # type: ignore[arg-type]
    with torch.no_grad():
        for _ in range(8):
            qat(x)
    qtorch.calibrate(qat, [x])
    qtorch.freeze_batch_norm(qat)
    return integer_graph(qat.eval())


def operators(model: OnnxModel) -> Counter[str]:
    proto = second_opinions.onnx_package().ModelProto.FromString(model.file)
    return Counter(node.op_type for node in proto.graph.node)


def refusal_of(row: Row, sample: Sample) -> str:
    if isinstance(row.onnx, Unsupported):
        return "expected an op with a form in ONNX, got"
    if row.name in ("squared_difference", "logistic", "tanh") and "TFLM alone" in sample.label:
        return "expected a case of it that ONNX says as the device computes it"
    if row.name == "unidirectional_sequence_lstm" or sample.label.startswith("uint"):
        return "gates and a cell state on grids of their own|numbers without sign"
    return "expected a bias of at most 32 bits" if "cancelled" in sample.label and "int16" in sample.label else ""


@pytest.mark.parametrize(("row", "sample"), CASES)
def test_onnx_runtime_computes_what_the_row_says(row: Row, sample: Sample) -> None:
    graph, words = sample_graph(row, sample), refusal_of(row, sample)
    if words:
        with pytest.raises(UnsupportedLayer, match=words):
            write_onnx(graph)
        return
    if "cancelled" in sample.label and row.name != "fully_connected":
        pytest.skip("ONNX Runtime sums in float32, and these sums pass what that holds")
    model = write_onnx(graph)
    count = operators(model)
    assert compare_onnx(graph, model).tensors == count["QuantizeLinear"] + count["DequantizeLinear"]
    assert require_onnx(row, sample) > 0


def test_a_row_without_a_tolerance_of_its_own_is_exact() -> None:
    """What only picks elements, of its input or of a table, declares nothing: the test above is one for equality."""
    for row in ROWS.values():
        if isinstance(row.onnx, Unsupported):
            continue
        places = isinstance(row.constraints["output"], Indices)
        assert bool(row.onnx.lsb) != (row.selects or places or row.name in ("dequantize", "table")), row.name


def test_a_mean_on_a_grid_beyond_float32_is_refused() -> None:
    sample = next(iter(ROWS["mean"].samples()))
    finer = QParams((float(np.float32(1e-7)),), (0,))
    with pytest.raises(UnsupportedLayer, match=r"mean 'output'.*float32 sums are coarser.*Remedy"):
        write_onnx(sample_graph(ROWS["mean"], replace(sample, qparams={**sample.qparams, "output": finer})))


RANDOM = 200


@pytest.mark.parametrize("first", chunks(RANDOM, 0, CHUNK, RANDOM // 4))
@pytest.mark.usefixtures("one_thread")
def test_random_networks(first: int) -> None:
    """Ops in any order, types and wild weights: every op within its row's tolerance on ONNX Runtime's own codes."""
    judged = 0
    for seed in range(first, first + CHUNK):
        graph = integers(draw(seed))
        if isinstance(graph, str):
            continue
        try:
            model = write_onnx(graph)
        except UnsupportedLayer:
            continue
        onnx_parity(graph, model, a_dozen(graph))
        judged += 1
    assert judged >= CHUNK // 2, "most networks drawn should be exported"


MLPERF = [(DSCNN, (1, 49, 10)), (MobileNetV1, (3, 96, 96)), (ResNet8, (3, 32, 32)), (Autoencoder, (640,))]


@pytest.mark.parametrize(("network", "shape"), MLPERF, ids=lambda part: getattr(part, "__name__", ""))
def test_a_reference_network(network: type[nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = network()
    *_, last = (layer for layer in net.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        last.weight *= 20  # an untrained network says the same of everything
    graph = quantized(net, varied(32, shape))
    model, codes = write_onnx(graph), codes_of(graph, varied(40, shape))
    found = onnx_parity(graph, model, codes)
    tensors = interpret(graph, codes, every=True)
    assert all(len(np.unique(tensors[node.output])) > 3 for node in graph.nodes if node.op != "softmax")
    assert max(found.largest.values()) <= 1
    assert set(found.largest) == {node.op for node in graph.nodes}
    # One Transpose where channels come first and, unless a pooling leaves one pixel, one where they come last again.
    assert operators(model)["Transpose"] == (0 if network is Autoencoder else 2)


class Branches(nn.Module):
    """Two inputs, two outputs, ops of every kind between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)
        self.up, self.slope = nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.PReLU(4)
        self.head = nn.Linear(4 * 8 * 8, 3)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.first(x), self.slope(self.second(y))
        joined = torch.cat([torch.relu(a + b), a - b], 1)
        small = nn.functional.max_pool2d(joined, 3, 2, 1)
        wide = nn.functional.hardswish(self.up(small)) * 0.5
        return torch.softmax(self.head(wide.flatten(1)), -1), wide.mean((2, 3))


@pytest.mark.parametrize("io", ["integers", "floats"])
def test_branches_and_several_ends(io: str) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 64, 2, 8, 8)
    qat = qtorch.prepare(Branches(), (x[:1], y[:1]))
    qtorch.calibrate(qat, [(x, y)])
    graph = integer_graph(qat.eval())
    final = graph if io == "integers" else float_interface(graph)
    found = onnx_files("branches", final, corner_codes(graph, random=300))
    assert set(found.files) == {"branches.onnx"}
    assert set(found.figures["largest_lsb"]) == {node.op for node in final.nodes}
    outputs = found.engines["onnxruntime"]
    assert outputs.inputs > 300
    assert outputs.max_lsb <= 3
    # Two inputs, a padding before the pooling and behind it, and the flattening; sum, difference, concatenation and
    # product stay channels first.
    assert operators(write_onnx(graph))["Transpose"] == 5


@pytest.mark.parametrize(
    "options",
    [
        {"activations": "int16"},
        {"weight_bits": 4, "weights": "per_tensor"},
        {"weight_bits": 4, "layers": {"4": {"weight_bits": 8}}},
        {"layers": {"2": {"skip": True}}},
        {"layers": {"0": {"activations": "int16"}}},
    ],
    ids=["int16", "int4 per tensor", "int4 per channel", "a layer left in float", "mixed types"],
)
def test_types(options: dict[str, object]) -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4 * 36, 3))
    graph = quantized(net, torch.randn(64, 2, 8, 8), **options)
    found = onnx_parity(graph, write_onnx(graph), corner_codes(graph, random=300))
    assert max(found.largest.values()) <= 1
    assert found.outputs.max_lsb <= (40 if options == {"activations": "int16"} else 3)


def test_ops_with_cases_that_have_no_form_may_stay_in_float() -> None:
    class Float(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.gate, self.norm = nn.Linear(6, 8), nn.Sigmoid(), nn.LayerNorm(8)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.gate(self.first(x)))

    layers = {"gate": {"skip": True}, "norm*": {"skip": True}}
    graph = quantized(Float(), torch.randn(64, 6), layers=layers)
    assert any(graph.is_float(node) for node in graph.nodes if node.op == "logistic")
    found = onnx_parity(graph, write_onnx(graph), corner_codes(graph, random=100))
    assert {"fully_connected", "dequantize", "quantize"} <= set(found.largest)
    assert "logistic" not in found.largest


def test_a_batch_of_any_size_gives_the_same() -> None:
    graph = quantized(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4)), torch.rand(32, 1, 8, 8)
    )
    model, codes = write_onnx(graph), corner_codes(graph, random=300)
    (together,) = ONNX_RUNTIME.run(model.file, codes)
    alone = np.concatenate([ONNX_RUNTIME.run(model.file, (codes[0][i : i + 1],))[0] for i in range(1000, 1010)])
    np.testing.assert_array_equal(together[1000:1010], alone)
    assert len(np.unique(together)) > 3


def test_a_joined_constant_fixes_the_batch() -> None:
    row = ROWS["concatenation"]
    sample = next(s for s in row.samples() if s.constants)
    proto = second_opinions.onnx_package().ModelProto.FromString(write_onnx(sample_graph(row, sample)).file)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1 == batch_of(sample)


@pytest.fixture(scope="module")
def small() -> tuple[Graph, OnnxModel, tuple[np.ndarray, ...]]:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 2, groups=4), nn.Flatten(), nn.Linear(4 * 25, 3))
    graph = quantized(net, torch.randn(64, 2, 8, 8))
    return graph, write_onnx(graph), corner_codes(graph, random=100)


def test_the_same_graph_gives_the_same_bytes(small: tuple[Graph, OnnxModel, tuple[np.ndarray, ...]]) -> None:
    assert write_onnx(small[0]).file == small[1].file


@pytest.mark.parametrize("what", ["scale", "zero point", "weight", "bias", "channel axis", "type"])
def test_a_file_that_is_not_the_network_is_refused(
    small: tuple[Graph, OnnxModel, tuple[np.ndarray, ...]], what: str
) -> None:
    graph, model, _ = small
    onnx = second_opinions.onnx_package()
    proto = onnx.ModelProto.FromString(model.file)
    held = {each.name: each for each in proto.graph.initializer}

    def change(name: str, delta: float) -> None:
        array = onnx.numpy_helper.to_array(held[name]).copy()
        array.reshape(-1)[0] += array.dtype.type(delta)
        held[name].CopyFrom(onnx.numpy_helper.from_array(array, name))

    weight = next(n.inputs[1] for n in graph.nodes if n.op == "conv_2d")
    scale, zero_point = (next(n for n in held if n.endswith(end)) for end in (".scale", ".zero_point"))
    if what == "scale":
        array = onnx.numpy_helper.to_array(held[scale])
        change(scale, float(np.nextafter(array, np.float32(9)) - array))
    elif what == "zero point":
        change(zero_point, 1 if onnx.numpy_helper.to_array(held[zero_point]) < 127 else -1)
    elif what == "weight":
        change(f"{weight}.nchw", 1)
    elif what == "bias":
        change(next(n.inputs[2] for n in graph.nodes if n.op == "conv_2d"), 1)
    elif what == "channel axis":
        quantizer = next(n for n in proto.graph.node if n.input[0] == f"{weight}.nchw")
        quantizer.attribute[0].i = 1
    else:
        array = onnx.numpy_helper.to_array(held[zero_point]).astype(np.int16)
        held[zero_point].CopyFrom(onnx.numpy_helper.from_array(array, zero_point))
    changed = replace(model, file=proto.SerializeToString())
    with pytest.raises(ParityError, match="the ONNX file is not the network"):
        compare_onnx(graph, changed)


def test_grids_are_called_after_their_tensors(small: tuple[Graph, OnnxModel, tuple[np.ndarray, ...]]) -> None:
    graph, model, _ = small

    def grids(file: bytes) -> set[str]:
        held = second_opinions.onnx_package().ModelProto.FromString(file).graph.initializer
        return {each.name.rpartition(".")[0] for each in held if each.name.endswith((".scale", ".zero_point"))}

    assert graph.inputs[0] in grids(model.file)
    assert grids(model.file) <= set(graph.values)
    # A network may have a parameter of that very name, which must not be overwritten.
    weight = next(n.inputs[1] for n in graph.nodes if n.op == "conv_2d")
    called = {weight: f"{graph.inputs[0]}.scale"}
    renamed = replace(
        graph,
        values={called.get(name, name): value for name, value in graph.values.items()},
        nodes=tuple(replace(n, inputs=tuple(called.get(name, name) for name in n.inputs)) for n in graph.nodes),
    )
    changed = write_onnx(renamed)
    compare_onnx(renamed, changed)
    assert f"{graph.inputs[0]}.grid_0" in grids(changed.file)


def test_an_op_beyond_its_tolerance_is_refused_and_named(
    small: tuple[Graph, OnnxModel, tuple[np.ndarray, ...]],
) -> None:
    """A stride, which no reading back of scales and weights would see, and rounding where nothing is declared."""
    graph, model, codes = small
    onnx = second_opinions.onnx_package()
    proto = onnx.ModelProto.FromString(model.file)
    relu = next(node for node in proto.graph.node if node.op_type == "Relu")
    relu.op_type = "Abs"
    with pytest.raises(ParityError, match=r"row of conv_2d declares.*reference -?\d+, onnxruntime -?\d+"):
        onnx_parity(graph, replace(model, file=proto.SerializeToString()), codes)


def test_a_tolerance_of_nothing_is_not_met(
    small: tuple[Graph, OnnxModel, tuple[np.ndarray, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, model, codes = small
    row = ROWS["conv_2d"]
    assert not isinstance(row.onnx, Unsupported)
    monkeypatch.setitem(ROWS, "conv_2d", replace(row, onnx=replace(row.onnx, lsb={})))
    with pytest.raises(ParityError, match="0 LSB that the row of conv_2d declares"):
        onnx_parity(graph, model, codes)


def test_an_op_without_a_form_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    row = ROWS["fully_connected"]
    monkeypatch.setitem(ROWS, "fully_connected", replace(row, onnx=Unsupported("nobody knows how")))
    assert run_fuel("--out", tmp_path / "out", "--export.onnx", "true") == 2
    assert (
        "fully_connected: expected an op with a form in ONNX, got nobody knows how. Remedy" in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


def test_a_bias_beyond_32_bits_is_refused() -> None:
    row = ROWS["fully_connected"]
    sample = next(s for s in row.samples() if s.label.startswith("int16"))
    bias = sample.arrays["bias"].copy()
    bias[0] = 2**31
    graph = sample_graph(row, replace(sample, arrays={**sample.arrays, "bias": bias}))
    with pytest.raises(UnsupportedLayer, match=f"32 bits.*{2**31}"):
        write_onnx(graph)


def test_options() -> None:
    with pytest.raises(BadConfiguration, match="format int8"):
        ExportOptions(format="float32", onnx=True)


def test_an_export_has_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_fuel("--out", out, "--export.onnx", "true", "--export.io", "float32") == 0
    parity = json.loads((out / "parity.json").read_text())
    assert parity["engines"]["onnxruntime"]["inputs"] >= 1_000
    assert "onnxruntime" not in parity["judges"]
    figures = json.loads((out / "metrics.json").read_text())["onnx"]
    assert figures["bytes"] == (out / "fuel.onnx").stat().st_size
    assert figures["largest_lsb"] == {"quantize": 0, "fully_connected": 1, "dequantize": 0}
    proto = second_opinions.onnx_package().load(out / "fuel.onnx")
    assert [each.name for each in proto.graph.output] == [proto.graph.node[-1].output[0]]


def test_the_core_does_not_import_it() -> None:
    code = "import sys, export.__main__, export.pipeline; print([m for m in sys.modules if m.startswith('onnx')])"
    # Whoever has imported more of the project has not imported it either.
    found = warm_python(["-W", "ignore", "-c", code], Path.cwd())
    assert (found.returncode, found.stdout.strip()) == (0, "[]")


def test_qparams_of_one_channel_keep_their_axis() -> None:
    row = ROWS["fully_connected"]
    sample = next(s for s in row.samples() if s.label == "one output channel")
    assert sample.qparams["weight"] == QParams(sample.qparams["weight"].scale, (0,), axis=0)  # type: ignore[union-attr]
    compare_onnx(sample_graph(row, sample), write_onnx(sample_graph(row, sample)))


def test_exported_tensors_speak(small: tuple[Graph, OnnxModel, tuple[np.ndarray, ...]]) -> None:
    """They are called as in the named .tflite file: a layer's number alone says nothing in a viewer."""
    graph, _, codes = small
    (file,) = onnx_files("small", graph, codes).files.values()
    held = second_opinions.onnx_package().ModelProto.FromString(file).graph
    names = {name for node in held.node for name in (*node.input, *node.output)}
    assert "0.conv_2d.nchw" in names
    assert not any(name.isdigit() for name in names)
    assert [output.name for output in held.output] == [speaking_names(graph)[name] for name in graph.outputs]
