"""Errors by tensor: against figures computed otherwise, and known mistakes that must be found and named."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

import export
import qtorch
from export.__main__ import main as export_main
from export.figures.quantization_advice import Evidence, advice
from export.figures.quantization_report import csv_text, findings, network_report
from export.figures.tensor_error import COLUMNS, TensorError
from export.graph.build import integer_graph
from export.graph.encoding import stored
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.numbers.qparams import QParams


def prepared(net: nn.Module, x: torch.Tensor, **config: object) -> tuple[fx.GraphModule, Graph]:
    qat = qtorch.prepare(net.eval(), x[:1], qtorch.QuantizationConfig(**config))  # type: ignore[arg-type]
    qtorch.calibrate(qat, [x])
    return qat, integer_graph(qat)


def report_of(net: nn.Module, x: torch.Tensor, calibration: torch.Tensor | None = None, **config: object) -> dict:
    qat, graph = prepared(net, x if calibration is None else calibration, **config)
    return by_value(graph, network_report(qat, graph, x))


def by_value(graph: Graph, rows: tuple[TensorError, ...]) -> dict[str, TensorError]:
    names = list(graph.values)
    return {names[row.tensor_idx]: row for row in rows}


def found(rows: dict[str, TensorError]) -> dict[str, str]:
    return {each["tensor"]: each["finding"] for each in findings(list(rows.values()))}


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def test_a_table_is_compared_with_the_function_that_it_stands_for() -> None:
    """GELU of what its op had, by torch; behind a layer and in front of one, where the output lies otherwise too."""

    class Gelus(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.gelu(self.conv(torch.sin(x)))

    torch.manual_seed(0)
    x = torch.randn(200, 3, 5)
    qat, graph = prepared(Gelus(), x)
    rows = by_value(graph, network_report(qat, graph, x))
    codes = interpret(graph, (graph.values[graph.inputs[0]].quantize(stored(graph, x)[0]),), every=True)
    checked = 0
    for node in graph.nodes:
        if node.op == "table":
            source = torch.from_numpy(graph.values[node.inputs[0]].dequantize(codes[node.inputs[0]]))
            right = torch.sin(source) if node.inputs[0] in graph.inputs else nn.functional.gelu(source)
            got = graph.values[node.output].dequantize(codes[node.output])
            error = float(((got - right.numpy()) ** 2).mean())
            scale = graph.values[node.output].quantization.scale[0]
            assert rows[node.output].rmse_over_scale == pytest.approx(math.sqrt(error) / scale, rel=1e-3)
            assert rows[node.output].rmse_over_scale > 0.2
            checked += 1
    assert checked == 2


def test_figures_are_those_of_the_definition() -> None:
    """Each op on the dequantized inputs that it had, with float weights, computed here by NumPy alone."""
    net, x = small_network(), torch.randn(500, 4, generator=torch.Generator().manual_seed(1))
    qat, graph = prepared(net, x)
    rows = by_value(graph, network_report(qat, graph, x))
    source, hidden, output = graph.inputs[0], graph.nodes[0].output, graph.nodes[1].output
    q = {name: graph.values[name].quantization for name in (source, hidden, output)}
    codes = interpret(graph, (q[source].quantize(x.numpy()),), every=True)
    real = {name: np.float32(q[name].scale[0]) * (codes[name].astype(np.float32) - q[name].zero_point[0]) for name in q}
    weights = [p.detach().numpy().astype(np.float64) for p in net.parameters()]
    wanted = {
        source: x.numpy(),
        hidden: np.maximum(real[source] @ weights[0].T + weights[1], 0),
        output: real[hidden] @ weights[2].T + weights[3],
    }
    for name, op in ((source, "QUANTIZE"), (hidden, "FULLY_CONNECTED"), (output, "FULLY_CONNECTED")):
        error, row = real[name] - wanted[name], rows[name]
        scale = q[name].scale[0]  # type: ignore[union-attr]
        assert row.op_name == op
        assert row.num_elements == error[0].size
        assert row.mean_error == pytest.approx(error.mean(), abs=1e-3 * scale)
        assert row.stddev == pytest.approx(error.std(), rel=1e-3)
        assert row.max_abs_error == pytest.approx(np.abs(error).max(), rel=1e-3)
        assert row.mean_squared_error == pytest.approx((error**2).mean(), rel=1e-3)
        assert row.rmse_over_scale == pytest.approx(math.sqrt((error**2).mean()) / scale, rel=1e-3)
        assert row.snr_db == pytest.approx(10 * math.log10((wanted[name] ** 2).mean() / (error**2).mean()), abs=0.01)
        assert row.range == pytest.approx(255 * scale)
    assert 0.25 < rows[source].rmse_over_scale < 0.32


def test_weights_are_compared_channel_by_channel() -> None:
    net, x = small_network(), torch.rand(200, 4)
    rows = report_of(net, x)
    weight = net[0].weight.detach().numpy()  # type: ignore[index,union-attr]
    scale = np.abs(weight).max(1, keepdims=True) / 127
    error = np.round(weight / scale) * scale - weight
    row = rows["0.weight"]
    assert row.max_abs_error == pytest.approx(np.abs(error).max(), rel=1e-3)
    assert row.rmse_over_scale == pytest.approx(math.sqrt(((error / scale) ** 2).mean()), rel=1e-3)
    assert row.scale == pytest.approx(scale.max(), rel=1e-5)
    assert row.num_elements == weight.size
    assert not found(rows)


def test_the_index_is_the_files() -> None:
    """Convolution and linear layer behind a flatten: constants in another order than PyTorch's."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(20, 3), nn.Softmax(-1))
    x = torch.rand(60, 2, 6, 6)
    qat, graph = prepared(net, x)
    rows = network_report(qat, graph, x)
    values = list(read_tflite(write_tflite(graph)).values.values())
    assert len({row.tensor_idx for row in rows}) == len(rows) == len(graph.values)
    for row in rows:
        qparams = values[row.tensor_idx].qparams
        assert qparams is not None
        assert row.scale == max(qparams.scale)
        assert row.num_elements == math.prod(values[row.tensor_idx].shape)
        assert row.rmse_over_scale < 0.7, row
    (pooled,) = (row for row in rows if row.op_name == "MAX_POOL_2D")
    assert (pooled.max_abs_error, pooled.snr_db) == (0, math.inf)


class _Weighed(nn.Module):
    """Steps by weights of their own, summed: without a SUM in TFLite Micro's older editions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.first(x).view(-1, 3, 2)
        y: Tensor = self.last((steps * steps.softmax(1)).sum(1).repeat(1, 3))
        return y


@pytest.mark.tflm
def test_the_index_is_that_of_a_file_in_an_older_editions_forms() -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 6)
    qat = qtorch.prepare(_Weighed(), x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    bundle = export.export_network(qat, name="weighed", calibration=x, test=x, target="nano33ble", onnx=False)
    values = list(read_tflite(bundle.files["weighed.tflite"]).values.values())
    rows = list(csv.DictReader(io.StringIO(bundle.files["quantization_report.csv"].decode())))
    # A layer that is written otherwise is not there as it was.
    assert len(rows) != len(values)
    found = [row for row in rows if row["tensor_idx"] != "-1"]
    assert len(found) > len(rows) / 2
    for row in found:
        qparams = values[int(row["tensor_idx"])].qparams
        assert qparams is not None
        assert float(row["scale"]) == pytest.approx(max(qparams.scale), rel=1e-4), row


def test_a_range_that_is_too_narrow() -> None:
    rows = report_of(small_network(), torch.randn(300, 4), layers={"0": {"observer": "fixed:0:0.2"}})
    (row,) = (row for row in rows.values() if row.finding == "saturated")
    assert row.tensor_name == "0.fully_connected"
    assert row.saturation > 0.1
    assert "observer" in row.advice
    assert "margin" in row.advice
    assert report_of(small_network(), torch.randn(300, 4))["0"].saturation == 0


def test_inputs_beyond_the_calibration_data() -> None:
    x = torch.randn(300, 4)
    rows = report_of(small_network(), 4 * x, calibration=x)
    assert rows["input_1"].finding == "saturated"
    assert "the data leave" in rows["input_1"].advice


def test_a_range_stretched_by_an_outlier() -> None:
    torch.manual_seed(0)  # of some draws a layer saturates, and is named for it
    x = torch.rand(300, 4)
    rows = report_of(small_network(), x, calibration=torch.cat([x, torch.full((1, 4), 200.0)]))
    assert rows["0"].finding == "range too wide"
    assert rows["0"].rmse_over_scale < 0.7  # the error of rounding alone does not show it
    assert "percentile" in rows["0"].advice
    again = report_of(
        small_network(), x, calibration=torch.cat([x, torch.full((1, 4), 200.0)]), observer="percentile:99.6"
    )
    assert not found(again)


def test_channels_of_unequal_weights_on_one_scale() -> None:
    net, x = small_network(), torch.rand(300, 4)
    with torch.no_grad():
        net[0].weight[0] *= 1000  # type: ignore[index,union-attr]
    rows = report_of(net, x, weights="per_tensor")
    assert rows["0.weight"].finding == "weak channel"
    assert "per_channel" in rows["0.weight"].advice
    assert report_of(net, x)["0.weight"].finding == ""


def test_four_bits_are_named_as_the_cause() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3)), torch.randn(300, 64)
    rows = report_of(net, x, weight_bits=4)
    assert rows["0"].finding == "weights"
    assert "weight_bits: 8" in rows["0"].advice
    assert not found(report_of(net, x))


def test_features_of_unequal_spans() -> None:
    x = torch.rand(300, 4) * torch.tensor([1.0, 1.0, 1.0, 0.01])
    rows = report_of(small_network(), x)
    assert rows["input_1"].finding == "unequal features"
    assert "features 3 " in rows["input_1"].advice
    assert "normalization" in rows["input_1"].advice


def test_what_no_range_explains_is_left_to_16_bits() -> None:
    _, graph = prepared(small_network(), torch.rand(20, 4))
    qparams = QParams((0.5,), (0,))
    coarse = Evidence(
        role="output", node=graph.nodes[0], qparams=qparams, rmse_over_scale=0.9, snr_db=30.0, rms_steps=40.0,
        powerless=False, saturated_error=0.1, saturated_share=0.0, end_error=0.0, weights_error=0.1, code_spans=(255,),
        float_spans=(255.0,), same_code=False,
    )  # fmt: skip
    assert advice(coarse)[0] == "coarse arithmetic"
    assert "int16" in advice(coarse)[1]
    assert advice(replace(coarse, rmse_over_scale=0.69)) == ("", "")
    assert advice(replace(coarse, rmse_over_scale=0.3, same_code=True))[0] == "constant"


def test_the_end_of_a_fixed_grid_is_no_finding() -> None:
    """A sigmoid that says 1 to everything: 255/256 is the last code there is."""
    net, x = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), torch.rand(300, 4)
    with torch.no_grad():
        net[0].weight.fill_(20)  # type: ignore[union-attr]
        net[0].bias.fill_(2)  # type: ignore[union-attr]
    rows = report_of(net, x)
    (row,) = (row for row in rows.values() if row.op_name == "LOGISTIC")
    assert row.rmse_over_scale > 0.7
    assert row.saturation > 0.9
    assert row.finding == ""


def test_float_layers_and_mixed_types_are_passed_over() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)), torch.rand(200, 4)
    rows = report_of(net, x, layers={"2": {"skip": True}, "4": {"activations": "int16"}})
    assert "2.weight" not in rows
    assert "2" not in rows
    assert {"0", "0.weight", "4", "4.weight"} <= set(rows)
    assert rows["4"].range == pytest.approx(65535 * rows["4"].scale)


def test_the_same_figures_give_the_same_bytes() -> None:
    net, x = small_network(), torch.randn(3000, 4, generator=torch.Generator().manual_seed(2))
    texts = [csv_text(list(report_of(net, x).values())) for _ in range(2)]
    assert texts[0] == texts[1]
    assert (
        texts[0]
        .splitlines()[0]
        .startswith(
            "op_name,tensor_idx,num_elements,stddev,mean_error,max_abs_error,mean_squared_error,scale,zero_point,"
            "tensor_name,range,rmse/scale,"
        )
    )


@pytest.mark.tflm
def test_every_bundle_has_it(fuel_out: Path, tmp_path: Path) -> None:
    written = (fuel_out / "quantization_report.csv").read_bytes()
    rows = list(csv.DictReader(written.decode().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["op_name"] for row in rows[:5]] == ["QUANTIZE", *["FULLY_CONNECTED"] * 4]
    assert all(float(row["rmse/scale"]) < 0.7 for row in rows)
    for kind in ("int8", "dynamic_range"):
        command = [str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / kind), "--export.format", kind]
        assert export_main(command) == 0
    assert (tmp_path / "int8" / "quantization_report.csv").read_bytes() == written
    weights = list(csv.DictReader((tmp_path / "dynamic_range" / "quantization_report.csv").read_text().splitlines()))
    assert [row["op_name"] for row in weights] == ["FULLY_CONNECTED"] * 4


@pytest.mark.tflm
def test_a_finding_is_printed(fuel_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from tests.conftest import run_fuel

    layers = '{"*": {"weight_bits": 4}}'
    assert run_fuel("--out", tmp_path / "out", "--qat.layers", layers) in (0, 1)
    assert "weight_bits: 8" in capsys.readouterr().out


@pytest.mark.filterwarnings("error")
def test_infinities_of_a_mask_that_the_ends_of_a_grid_stand_for_are_no_errors() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
            self.layer = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return self.layer(x, src_key_padding_mask=mask < 0.5)

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, 8, generator=generator)
    mask = (torch.arange(6) < torch.randint(2, 7, (40, 1), generator=generator)).float()
    torch.manual_seed(0)
    qat = qtorch.prepare(Masked().eval(), (x[:1], mask[:1]))
    qtorch.calibrate(qat, [(x, mask)])
    graph = integer_graph(qat)
    rows = by_value(graph, network_report(qat, graph, (x, mask)))
    # Infinite where a key counts, minus infinity where not.
    table = next(row for row in rows.values() if row.op_name == "TABLE")
    assert (table.finding, table.max_abs_error, table.saturation, table.snr_db) == ("", 0, 0, math.inf)
    assert all(math.isfinite(row.max_abs_error) and not math.isnan(row.snr_db) for row in rows.values())
