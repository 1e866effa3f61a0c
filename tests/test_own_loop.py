"""Networks that a plain loop trained get everything that an export has; nothing of Lightning is asked."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import qtorch
from export.bundle.make import make_bundle
from export.figures.subject import Subject, subject_of_networks
from export.graph.build import integer_graph
from export.opinions.comparison import compare
from export.options import ExportOptions
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration, BadData
from qtorch.network.quantized_network import QuantizedNetwork
from tests.plain_lightning import TRAINED, X, Y


def trained(net: nn.Module, loss: Any, y: Tensor) -> tuple[QuantizedNetwork, nn.Module]:
    """Quantized and float: trained by hand, as anyone does it."""

    def train(module: nn.Module, steps: int, rate: float) -> None:
        optimizer = torch.optim.Adam(module.train().parameters(), rate)
        for _ in range(steps):
            optimizer.zero_grad()
            loss(module(X[:TRAINED]), y[:TRAINED]).backward()
            optimizer.step()

    train(net, 100, 0.02)
    before = copy.deepcopy(net).eval()
    network = qtorch.prepare(net, X[:1])
    qtorch.calibrate(network, [X[:TRAINED]])
    qtorch.set_mode(network, qtorch.Mode.QUANTIZED)
    train(network, 20, 0.002)
    return network.eval(), before


def regression_networks() -> tuple[QuantizedNetwork, nn.Module]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 1))
    return trained(net, mse_loss, Y)


def figures(_x: Tensor, output: Tensor, target: Tensor) -> dict[str, float]:
    return {"mse": float((output.double() - target).square().mean())}


def whole_subject() -> Subject:
    network, before = regression_networks()
    return subject_of_networks(
        "hand made", network, before, X[:TRAINED], Y[:TRAINED], X[TRAINED:], Y[TRAINED:], figures, {"mse": "lower"}
    )


@pytest.mark.tflm
def test_a_plain_loop_gets_everything(tmp_path: Path) -> None:
    subject = whole_subject()
    bundle = make_bundle(subject, "own", ExportOptions(c=True, metadata=False, firmware=tmp_path / "firmware"))
    assert bundle.files["own.tflite"] == write_tflite(integer_graph(subject.networks.trained))  # type: ignore[arg-type]
    expected = {
        "own.tflite", "own_named.tflite", "own_model.h", "own_model.c", "own_model_data.h", "own_model_data.cc",
        "own_quantization.h", "own_op_resolver.h", "own_test_vectors.h", "own_arena.h",
        "own_layer_checks.h", "quantization_report.csv",
        "metrics.json", "parity.json", "timings.json", "report.html",
    }  # fmt: skip
    assert set(bundle.files) == expected
    assert bundle.firmware
    test = bundle.metrics["test"]
    assert list(test) == ["float", "ptq_int8", "qat_network", "qat_int8"]
    assert test["float"] == figures(X, subject.networks.float_network()(X[TRAINED:]).detach(), Y[TRAINED:])
    floats = figures(X, subject.networks.in_float()(X[TRAINED:]).detach(), Y[TRAINED:])
    assert floats != test["float"]
    assert bundle.verdict is not None
    against = {each["against"]: each["kind"] for each in bundle.metrics["verdict"]["comparisons"]}
    assert against["QAT network's weights in float"] == "float"
    assert against["linear regression"] == "baseline"
    known = {each["against"]: each["figure"] for each in bundle.metrics["verdict"]["comparisons"]}
    assert known["QAT network's weights in float"] == pytest.approx(floats["mse"], rel=1e-6)
    assert "predicted over" in bundle.files["report.html"].decode()
    assert "left_out" not in bundle.metrics


def test_without_test_data_what_needs_them_is_left_out() -> None:
    network, before = regression_networks()
    bundle = make_bundle(subject_of_networks("bare", network, before, X[:TRAINED]), "bare", ExportOptions())
    assert bundle.files["bare.tflite"] == write_tflite(integer_graph(network))
    assert bundle.metrics["test"] == {}
    assert bundle.metrics["left_out"]["test"].startswith("no test data; hand over inputs and targets")
    assert bundle.metrics["left_out"]["predictions"] == "no test data: none were handed over"
    with pytest.raises(BadConfiguration, match="test_figures"):
        compare(subject_of_networks("bare", network, before, X[:TRAINED], test_inputs=X[TRAINED:]), ["qtorch"])
    with pytest.raises(BadData, match="none were handed over"):
        compare(subject_of_networks("bare", network, before, X[:TRAINED]), ["qtorch"])


def test_classes_have_names_and_a_float_format_is_of_the_float_network() -> None:
    torch.manual_seed(1)
    labels = (Y[:, 0] > Y.median()).long()
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    network, before = trained(net, nn.functional.cross_entropy, labels)

    def accuracy(_x: Tensor, output: Tensor, target: Tensor) -> dict[str, float]:
        return {"accuracy": float((output.argmax(1) == target).double().mean())}

    subject = subject_of_networks(
        "sides", network, before, X[:TRAINED], test_inputs=X[TRAINED:], test_targets=labels[TRAINED:],
        test_figures=accuracy, class_names=("below", "above"),
    )  # fmt: skip
    bundle = make_bundle(subject, "sides", ExportOptions(metadata=True))
    assert '"below"' in bundle.files["sides_metadata.h"].decode()
    assert bundle.metrics["verdict"]["better"] == "higher"
    opinions = compare(subject, ["qtorch", "qat_network", "qtorch_float32"])
    assert [each.max_lsb for each in opinions[:2]] == [0, 0]
    assert opinions[0].figure == bundle.metrics["test"]["qat_int8"]["accuracy"]
    floats = make_bundle(subject, "sides", ExportOptions(format="float32"))
    assert json.loads(floats.files["metrics.json"])["test"]["float"] == bundle.metrics["test"]["float"]


def test_a_float_network_alone_is_quantized_without_training() -> None:
    _, before = regression_networks()
    subject = subject_of_networks(
        "alone", None, before, X[:TRAINED], test_inputs=X[TRAINED:], test_targets=Y[TRAINED:], test_figures=figures,
        config=qtorch.QuantizationConfig(weight_bits=4),
    )  # fmt: skip
    with pytest.raises(BadConfiguration, match=r"network without training, by ExportOptions\(post_train"):
        make_bundle(subject, "alone", ExportOptions())
    bundle = make_bundle(subject, "alone", ExportOptions(post_training=True))
    assert list(bundle.metrics["test"]) == ["float", "ptq_int8", "post_training_network", "post_training_int8"]
    dtypes = {value.dtype for value in read_tflite(bundle.files["alone.tflite"]).values.values()}
    assert "int4" in dtypes


def test_what_is_not_whole_is_refused() -> None:
    network, before = regression_networks()
    with pytest.raises(BadConfiguration, match="a target for each of them, to make test_figures of, got 64 inputs and"):
        subject_of_networks("x", network, before, X, test_inputs=X[TRAINED:], test_figures=figures)
    with pytest.raises(BadConfiguration, match=r"a network that qtorch\.prepare made, got Sequential"):
        subject_of_networks("x", before, before, X)  # type: ignore[arg-type]
    silent = subject_of_networks("x", network, before, X, None, X, Y, lambda x, output, target: None)  # type: ignore
    with pytest.raises(BadConfiguration, match="test_figures of x: expected numbers by the figure's name, got None"):
        make_bundle(silent, "x", ExportOptions())
    with pytest.raises(BadConfiguration, match="1 names, one for each output of the network, got 2: one, two"):
        subject_of_networks("x", network, before, X[:TRAINED], class_names=("one", "two"))
