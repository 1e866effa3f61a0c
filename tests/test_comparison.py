"""The table of second opinions: what is compared, what is missing, and that a difference is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.__main__ import main as export_main
from export.console.page import plain_text
from export.engines import ENGINES, LITERT_REFERENCE
from export.engines.tensorflow import TENSORFLOW
from export.figures.device_network import DeviceNetwork
from export.graph.build import float_graph, integer_graph
from export.graph.ir import Graph
from export.lightning_run.subject import subject_of
from export.opinions import comparison
from export.opinions import tensorflow as tensorflow_opinion
from export.opinions.comparison import compare
from export.opinions.grids import counterparts, ends, grid_agreement, operators
from export.opinions.litert_torch import converted_by_litert_torch, quantized_by_ai_edge, ranges_by_name
from export.opinions.network import ForeignNetwork
from export.opinions.opinion import Opinion, comparison_table
from export.opinions.tensorflow import fake_quantization, quantized_by_tensorflow
from export.optional_packages import EXTRAS
from export.parity.outputs import corner_codes
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.lightning.checkpoint import load_run
from qtorch.numbers.qparams import QParams

INPUTS = torch.rand(64, 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 3 - 1


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5), nn.Softmax(-1)
    ).eval()


@pytest.fixture(scope="module")
def graph(plain: nn.Module) -> Graph:
    qat = qtorch.prepare(plain, INPUTS[:1])
    qtorch.calibrate(qat, [INPUTS])
    return integer_graph(qat.eval())


def float_file(plain: nn.Module) -> bytes:
    return write_tflite(float_graph(plain, INPUTS[:1], "float32", "nhwc"))


def with_input_scale(graph: Graph, scale: float) -> Graph:
    """The same with another scale at the input; written, never computed."""
    name = graph.inputs[0]
    value = graph.values[name]
    other = replace(value, qparams=replace(value.quantization, scale=(scale,)))
    return replace(graph, values={**graph.values, name: other})


def test_a_file_agrees_with_itself_and_a_scale_one_bit_off_is_seen(graph: Graph, plain: nn.Module) -> None:
    model = write_tflite(graph)
    assert [op.name for op in operators(model)] == ["CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "SOFTMAX"]
    own = grid_agreement(model, model)
    assert own is not None
    # Input, convolution, pooling, sums, probabilities, and two weights.
    assert (own.tensors, own.equal, own.largest) == (7, 7, 0.0)
    qparams = graph.values[graph.inputs[0]].quantization
    off = float(np.nextafter(np.float32(qparams.scale[0]), np.float32(9)))
    other = grid_agreement(model, write_tflite(with_input_scale(graph, off)))
    assert other is not None
    assert (other.tensors, other.equal) == (7, 6)
    assert 0 < other.largest < 2e-7
    assert grid_agreement(model, float_file(plain)) is None


def test_files_with_other_ops_are_not_laid_beside_each_other(graph: Graph) -> None:
    shorter = replace(graph, nodes=graph.nodes[:-1], outputs=(graph.nodes[-2].output,))
    other = grid_agreement(write_tflite(graph), write_tflite(shorter))
    assert other is not None
    assert other.tensors == 0
    assert counterparts(write_tflite(graph), write_tflite(shorter)) == {}


def test_a_foreign_network_computes_what_the_device_does(graph: Graph) -> None:
    model = write_tflite(graph)
    found = ForeignNetwork(graph, model, LITERT_REFERENCE.run)(INPUTS)
    torch.testing.assert_close(found, DeviceNetwork(graph, model, LITERT_REFERENCE)(INPUTS), rtol=0, atol=0)
    assert len(found.unique()) > 3
    sources, sinks = ends(model)
    qparams = graph.values[graph.inputs[0]].quantization
    assert (sources[0].scale, sinks[0].scale) == (qparams.scale, (1 / 256,))


OWN = ("qtorch", "tflm", "compiled_c", "qat_network", "qtorch_float32")


@pytest.mark.tflm
def test_what_has_to_be_exact_is(fuel_out: Path) -> None:
    found = {each.name: each for each in compare(subject_of(load_run(fuel_out / "fuel.ckpt")), OWN)}
    assert tuple(found) == OWN
    for name in OWN[:-1]:
        if not found[name].note.startswith("not installed"):
            assert (found[name].exact_share, found[name].max_lsb) == (1.0, 0.0), found[name]
    assert found["qtorch"].bytes == (fuel_out / "fuel.tflite").stat().st_size
    assert found["qtorch"].grids is not None
    assert found["qtorch"].grids.equal == found["qtorch"].grids.tensors == 13
    figures = json.loads((fuel_out / "metrics.json").read_text())["test"]
    assert found["qtorch"].figure == figures["qat_int8"]["mse"]
    # The same weights in float, which differ from the integers by what rounding costs.
    plain = found["qtorch_float32"]
    assert plain.figure == pytest.approx(figures["qat_int8"]["mse"], rel=0.05)
    assert plain.grids is None
    assert 0 < (plain.max_lsb or 0) < 10
    assert (plain.exact_share or 0) > 0.3


@pytest.mark.tflm
@pytest.mark.onnx
def test_as_json(fuel_out: Path, capsys: pytest.CaptureFixture) -> None:
    assert export_main(["compare", str(fuel_out / "fuel.ckpt"), "--json", "--only", "qtorch", "onnxruntime"]) == 0
    own, onnx = json.loads(capsys.readouterr().out)
    assert own["ops"] == 4 < onnx["ops"]
    assert onnx["grids"]["equal"] == onnx["grids"]["tensors"]
    assert onnx["max_lsb"] <= 4
    assert onnx["exact_share"] > 0.9


@pytest.mark.tflm
def test_what_is_not_installed_is_said_with_the_remedy(
    fuel_out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for module in ("export.opinions.comparison", "export.engines.tensorflow"):
        monkeypatch.setattr(f"{module}.missing", lambda *packages: packages)
    assert export_main(["compare", str(fuel_out / "fuel.ckpt")]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    asked = {name: packages for name, packages, _ in comparison._opinions()}
    needing = {name: packages for name, packages in asked.items() if packages} | {"tensorflow": ("tensorflow",)}
    assert len(needing) == 8
    for name, packages in needing.items():
        assert f'not installed: pip install "qtorch-tflm[{EXTRAS[packages[0]]}]"' in lines[name]
    for name in asked:
        assert ("pip install" in lines[name]) == (name in needing)


@pytest.mark.tflm
def test_one_that_fails_is_a_line_and_one_that_is_wrong_is_seen(
    fuel_out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def broken(subject: object, blank: Opinion) -> Opinion:
        print("noise")
        raise RuntimeError("no luck today\nsecond line")

    off = replace(LITERT_REFERENCE, run=lambda model, x: tuple(y + 1 for y in LITERT_REFERENCE.run(model, x)))
    asked = (("broken", (), broken), ("off", (), comparison._engine(off)))
    monkeypatch.setattr(comparison, "_opinions", lambda: asked)
    first, second = compare(subject_of(load_run(fuel_out / "fuel.ckpt")))
    assert capsys.readouterr().out == ""
    assert first.note == "failed: RuntimeError: no luck today"
    assert (second.exact_share or 0) < 0.1
    table = comparison_table((first, second), "mse")
    assert table.attention == {0, 1}
    text = plain_text([table])
    assert "no luck today" in text
    assert "mse" in text.splitlines()[0]


@pytest.mark.tflm
def test_a_new_engine_is_a_line(fuel_out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_kernel(model: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        raise RuntimeError("no kernel for it")

    mine = replace(LITERT_REFERENCE, name="mine", version_of=lambda: "0.1", preference=None)
    subject = subject_of(load_run(fuel_out / "fuel.ckpt"))
    monkeypatch.setitem(ENGINES, "mine", mine)
    known, new = compare(subject, ("litert_reference", "mine"))
    assert replace(new, seconds=0.0) == replace(known, name="mine", version="0.1", seconds=0.0)
    monkeypatch.setitem(ENGINES, "mine", replace(mine, run=no_kernel))
    assert compare(subject, ("mine",)) == (Opinion("mine", "0.1", note="failed: RuntimeError: no kernel for it"),)
    monkeypatch.setitem(ENGINES, "mine", replace(mine, absent=lambda: "bring it here"))
    assert compare(subject, ("mine",)) == (Opinion("mine", note="not installed: bring it here"),)


@pytest.mark.tflm
def test_a_name_that_nobody_has_is_refused(fuel_out: Path, capsys: pytest.CaptureFixture) -> None:
    assert export_main(["compare", str(fuel_out / "fuel.ckpt"), "--only", "nobody"]) == 2
    assert "--only: expected some of qtorch, tflm" in capsys.readouterr().err


GRIDS = [
    QParams((float(np.float32(scale)),), (zero_point,))
    for scale in (1e-3, 0.1, 1 / 3, 7.7)
    for zero_point in (-128, -3, 0, 100, 127)
]


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("qparams", GRIDS, ids=lambda q: f"{q.scale[0]:.4f}@{q.zero_point[0]}")
def test_tensorflow_fake_quantizes_alike_but_for_ties(qparams: QParams) -> None:
    found = fake_quantization(qparams)
    assert found.wrong == 0
    assert found.codes > 4000
    assert found.largest < 1e-6
    assert found.ties >= 200


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore")
def test_another_code_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = QParams.quantize
    monkeypatch.setattr(tensorflow_opinion.QParams, "quantize", lambda self, x: right(self, x * np.float32(1.01)))
    assert fake_quantization(GRIDS[1]).wrong > 0


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore")
def test_tensorflow_quantizes_our_float_file(graph: Graph, plain: nn.Module) -> None:
    stored = (np.ascontiguousarray(INPUTS.numpy().transpose(0, 2, 3, 1)),)
    model = quantized_by_tensorflow(float_file(plain), stored)
    ours = write_tflite(graph)
    assert [op.name for op in operators(model)] == [op.name for op in operators(ours)]
    found = grid_agreement(ours, model)
    assert found is not None
    assert found.tensors == 7
    # Ranges of the same data, but those of all numbers before the softmax.
    assert found.equal >= 3
    assert found.largest < 0.5
    theirs = read_tflite(model)
    assert theirs.values[theirs.outputs[0]].qparams == QParams((1 / 256,), (-128,))
    apart = ForeignNetwork(graph, model, LITERT_REFERENCE.run)(INPUTS) - plain(INPUTS)
    assert 0 < float(apart.abs().max()) < 0.05


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore")
def test_tensorflow_interprets_our_file(graph: Graph) -> None:
    codes = corner_codes(graph, random=50)
    model = write_tflite(graph)
    (got,), (wanted,) = TENSORFLOW.run(model, codes), LITERT_REFERENCE.run(model, codes)
    assert np.abs(got.astype(int) - wanted).max() <= 2
    assert len(np.unique(got)) > 3


@pytest.mark.litert_torch
@pytest.mark.filterwarnings("ignore")
def test_ai_edge_quantizer_on_our_ranges_makes_our_file(graph: Graph, plain: nn.Module) -> None:
    source, twin = (converted_by_litert_torch(plain, graph, batch) for batch in (1, len(INPUTS)))
    ours, stored = write_tflite(graph), (np.ascontiguousarray(INPUTS.numpy().transpose(0, 2, 3, 1)),)
    ranges = ranges_by_name(ours, source)
    assert len(ranges) >= 5
    alone, fed = (quantized_by_ai_edge(source, twin, stored, given) for given in ({}, ranges))
    found = grid_agreement(ours, fed)
    assert found is not None
    assert found.tensors == 7
    assert found.largest < 1e-6  # it computes scales from the ends of ranges again
    (got,), (wanted,) = (LITERT_REFERENCE.run(model, corner_codes(graph, random=200)) for model in (fed, ours))
    assert np.abs(got.astype(int) - wanted).max() <= 1
    assert alone != fed
    # A range of twice the width is what the file then has.
    wide = {name: replace(q, scale=(q.scale[0] * 2,)) for name, q in ranges.items()}
    other = grid_agreement(ours, quantized_by_ai_edge(source, twin, stored, wide))
    assert other is not None
    assert other.largest == pytest.approx(0.5, abs=1e-3)
