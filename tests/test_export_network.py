"""One call exports the network of any loop: whatever form its data have, with the figures that go without saying."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

import export
import qtorch
from export.bundle.bundle import Bundle
from qtorch.errors import BadConfiguration, BadData, BadInput, NotFinite, UnknownArgument, UnsupportedLayer
from qtorch.lightning.regression import Regression
from qtorch.network.quantized_network import QuantizedNetwork

pytestmark = pytest.mark.tflm

X = torch.rand(96, 3, generator=torch.Generator().manual_seed(0))
Y = torch.stack([X.sum(1), X[:, 0] - X[:, 2]], 1)
CLASSES = (Y[:, 1] > 0).long()
#: Of the smallest bundle: what takes time beside the model is tested once, as a whole.
BARE = {"c": False, "onnx": False, "firmware": None}


def small() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(net.parameters(), 3e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(X), Y).backward()
        optimizer.step()
    return net


def prepared() -> QuantizedNetwork:
    network = qtorch.prepare(small(), X[:1])
    qtorch.calibrate(network, [X])
    return network


def export_bare(network: nn.Module, **arguments: Any) -> Bundle:
    return export.export_network(network, **({"calibration": X} | BARE | arguments))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.one(x) + self.other(y)


@pytest.mark.onnx
def test_everything_is_made_and_written(tmp_path: Path) -> None:
    out = tmp_path / "my net"
    bundle = export.export_network(prepared(), out, calibration=(X, Y), test=(X, Y), target="nano33ble")
    assert (bundle.name, bundle.out, bundle.left_out) == ("my_net", out, {})
    expected = {
        ".tflite", "_named.tflite", "_model.h", "_model.c", "_model_data.h", "_model_data.cc", "_quantization.h",
        "_op_resolver.h", "_test_vectors.h", "_arena.h", "_layer_checks.h", ".onnx",
    }  # fmt: skip
    assert {f"my_net{each}" for each in expected} <= set(bundle.files)
    for file, content in bundle.files.items():
        assert (out / file).read_bytes() == content
    for file, content in bundle.firmware.items():
        assert (out / "project" / file).read_bytes() == content
    assert "library.properties" in bundle.firmware
    assert bundle.model == (out / "my_net.tflite").read_bytes()
    said = str(bundle)
    assert f"written to {out}/: my_net.tflite" in said
    assert said.splitlines()[-1].startswith("verdict: ")
    assert repr(bundle) == (
        f"<Bundle my_net: {len(bundle.files)} files, {len(bundle.model):,} bytes of model, "
        f"verdict: {bundle.verdict.answer}>"  # type: ignore[union-attr]
    )


def test_nothing_is_written_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = export.export_network(prepared(), calibration=X, onnx=False)
    assert bundle.firmware
    assert bundle.out is None
    assert bundle.name == "model"
    assert [*tmp_path.iterdir()] == []
    assert "written to" not in str(bundle)


def test_in_a_notebook_it_is_its_report() -> None:
    bundle = export_bare(prepared(), name="<net>")
    shown = bundle._repr_html_()
    inside = shown.partition('srcdoc="')[2].partition('"')[0]
    assert (
        inside.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", '"')
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
        == bundle.report
    )
    assert shown.startswith("<iframe ")
    assert shown.endswith("</iframe>")


#: By form: training inputs, and inputs and targets of a test, for a network with one input.
FORMS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "tensors": (lambda: X, lambda: (X, Y)),
    "arrays": (X.numpy, lambda: (X.numpy(), Y.numpy().astype(np.float64))),
    "lists of numbers": (X.tolist, lambda: (X.tolist(), Y.tolist())),
    "pairs": (lambda: (X, Y), lambda: [(X[:40], Y[:40]), (X[40:], Y[40:])]),
    "a list of batches": (lambda: list(X.split(40)), lambda: [[X[:40], Y[:40]], [X[40:], Y[40:]]]),
    "a generator": (lambda: (each for each in X.split(40)), lambda: zip(X.split(40), Y.split(40), strict=True)),
    "loaders": (
        lambda: DataLoader(X, batch_size=40),  # type: ignore[arg-type]
        lambda: DataLoader(TensorDataset(X, Y), batch_size=40),
    ),
    "datasets": (lambda: TensorDataset(X), lambda: TensorDataset(X, Y)),
    "other datasets": (lambda: Rows(X), lambda: Rows(X, Y)),
}


class Rows(torch.utils.data.Dataset[Any]):
    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> Any:
        row = tuple(each[index] for each in self.tensors)
        return row if len(row) > 1 else row[0]


@pytest.fixture(scope="module")
def bare() -> Bundle:
    return export_bare(prepared(), test=(X, Y))


def without_time(bundle: Bundle) -> dict[str, bytes]:
    return {file: content for file, content in bundle.files.items() if file not in ("timings.json", "report.html")}


@pytest.mark.parametrize("form", FORMS)
def test_data_come_in_any_form(form: str, bare: Bundle) -> None:
    calibration, test = FORMS[form]
    bundle = export_bare(prepared(), calibration=calibration(), test=test())
    files, expected = without_time(bundle), without_time(bare)
    if form == "pairs":
        # Training targets are there too.
        assert bundle.metrics["test"]["linear_regression"]["mse"] == pytest.approx(0, abs=1e-9)
        del files["metrics.json"], expected["metrics.json"]
    assert files == expected


def test_a_loader_that_shuffles_draws_for_itself_alone() -> None:
    network = prepared()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    export_bare(network, calibration=DataLoader(TensorDataset(X), batch_size=40, shuffle=True))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_how_many_inputs_a_network_takes_tells_targets_from_inputs() -> None:
    torch.manual_seed(0)
    net = TwoInputs()
    both = (X, X.flip(1))
    for network in (net, qtorch.quantize(net, both)):
        expected = export_bare(network, calibration=both, test=(both, Y))
        assert expected.metrics["columns"] == ["mse", "mae", "r2"]
        for test in ((*both, Y), DataLoader(TensorDataset(*both, Y), batch_size=40)):
            assert without_time(export_bare(network, calibration=both, test=test)) == without_time(expected)
        assert "targets" not in export_bare(network, calibration=both, test=both).left_out.get("layers", "")


def test_figures_of_a_regression_are_those_of_lightnings(bare: Bundle) -> None:
    assert bare.metrics["columns"] == list(Regression.columns)
    network = prepared()
    task = Regression(small(), 3)
    with torch.no_grad(), qtorch.in_mode(network, qtorch.Mode.QUANTIZED):
        said = network.eval()(X)
    assert bare.metrics["test"]["qat_int8"] == task.metrics(X, said, Y)
    assert "predicted over" in bare.report


def test_whole_numbers_beside_several_outputs_are_classes() -> None:
    targets = CLASSES.numpy()
    bundle = export_bare(
        prepared(), calibration=(X, CLASSES), test=(X, targets), class_names=("falls", "rises"), metadata=True
    )
    assert bundle.metrics["columns"] == ["accuracy", "errors"]
    assert "confusion matrix" in bundle.report
    assert "rises" in bundle.report
    against = {each["against"] for each in bundle.metrics["verdict"]["comparisons"]}
    assert "the commonest class" in against
    assert bundle.metrics["data"]["train"] == len(X)
    assert b"rises" in bundle.model
    for form in (CLASSES[:, None], CLASSES.float(), CLASSES.tolist()):
        assert export_bare(prepared(), test=(X, form)).metrics["test"] == bundle.metrics["test"]


#: What no figures go without saying of: targets, and words of the reason.
UNKNOWN = {
    "fractions as classes": (X[:, 0], "is no class"),
    "another shape": (torch.rand(96, 3, 3), "go without saying"),
    "ones and zeros": ((Y > 0).long(), "may be classes"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_without_figures_that_go_without_saying_the_reason_is_said(case: str) -> None:
    targets, words = UNKNOWN[case]
    bundle = export_bare(prepared(), test=(X, targets))
    assert words in bundle.left_out["test"]
    assert words in str(bundle)
    assert bundle.metrics["quantization"]["tensors"]


def test_a_function_of_ones_own_is_asked_before_anything_is_inferred() -> None:
    def worst(_x: Any, output: Any, target: Tensor) -> dict[str, float]:
        return {"worst": float((output - target).abs().max())}

    bundle = export_bare(prepared(), test=(X, Y), figures=worst, better={"worst": "lower"})
    assert list(bundle.metrics["test"]["qat_int8"]) == ["worst"]


def test_a_float_network_is_quantized_without_training() -> None:
    net = small()
    weights = copy.deepcopy(net.state_dict())
    bundle = export_bare(net, test=(X, Y))
    assert bundle.model == export_bare(qtorch.quantize(net, X)).model
    assert bundle.options.post_training
    assert list(bundle.metrics["test"])[-1] == "post_training_int8"
    assert net.training
    assert all(torch.equal(net.state_dict()[name], each) for name, each in weights.items())
    assert export_bare(net, format="float32").options.format == "float32"


def test_what_quantize_gives_computes_the_devices_numbers() -> None:
    net = small()
    network = qtorch.quantize(net, DataLoader(TensorDataset(X, Y), batch_size=40), equalize=True)
    assert (network.mode, network.training, net.training) == (qtorch.Mode.QUANTIZED, False, True)
    graph = export.integer_graph(network)
    report = export_bare(network).parity
    assert report is not None
    assert network(X).shape == (96, 2)
    codes = graph.values[graph.outputs[0]]
    steps = network(X) / float(codes.quantization.scale[0])
    assert torch.allclose(steps, steps.round(), atol=1e-4)


def states(network: QuantizedNetwork) -> Any:
    return (
        network.training, network.mode, [each.requires_grad for each in network.parameters()],
        [each.device for each in network.parameters()], dict(network.state_dict()),
    )  # fmt: skip


@pytest.mark.parametrize("mode", [qtorch.Mode.FLOAT, qtorch.Mode.QUANTIZED])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_in_any_state_stays_in_it(mode: qtorch.Mode, training: bool, bare: Bundle) -> None:
    network = prepared().train(training)
    next(network.parameters()).requires_grad_(False)
    qtorch.set_mode(network, mode)
    before = states(copy.deepcopy(network))
    assert export_bare(network).model == bare.model
    for was, now in zip(before, states(network), strict=True):
        if isinstance(was, dict):
            assert all(torch.equal(now[name], each) for name, each in was.items() if isinstance(each, Tensor))
        else:
            assert was == now


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.compile, lambda net: AveragedModel(nn.DataParallel(net))],
    ids=["DataParallel", "compile", "AveragedModel"],
)  # fmt: skip
def test_a_wrapped_network_is_the_one_inside(wrap: Callable[[nn.Module], nn.Module], bare: Bundle) -> None:
    assert export_bare(wrap(prepared())).model == bare.model
    assert export_bare(wrap(small())).model == export_bare(small()).model


class Owner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = prepared()


#: By what is wrong: arguments, the type of the error, its place, and words of it.
REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], type[BadInput], str, str]] = {
    "no network": (lambda: {"network": 3}, BadConfiguration, "network", "a module"),
    "ranges never measured": (lambda: {"network": qtorch.prepare(small(), X[:1])}, BadConfiguration, "network",
                              r"never measured.*qtorch\.calibrate"),
    "an owner of the network": (lambda: {"network": Owner()}, BadConfiguration, "network", "pass its part 'net'"),
    "a configuration of what is prepared": (lambda: {"config": qtorch.QuantizationConfig()}, BadConfiguration, "config",
                                            "None beside a prepared network"),
    "two float networks": (lambda: {"network": small(), "float_network": small()}, BadConfiguration, "float_network",
                           "None beside"),
    "an unknown choice": (lambda: {"optimise": "speed"}, UnknownArgument, "argument 'optimise'", "write optimize"),
    "an unknown board": (lambda: {"target": "nano"}, BadConfiguration, "target", "'nano'"),
    "options that are none": (lambda: {"options": {"c": True}}, BadConfiguration, "options", "got dict"),
    "what contradicts": (lambda: {"format": "float32", "c": True}, BadConfiguration, "c", "format int8"),
    "a text as data": (lambda: {"calibration": "x.npy"}, BadData, "calibration", "a DataLoader"),
    "nothing as data": (lambda: {"calibration": None}, BadData, "calibration", "got None"),
    "no batches": (lambda: {"calibration": iter(())}, BadData, "calibration", "at least one batch"),
    "three parts": (lambda: {"calibration": (X, Y, Y)}, BadData, "calibration", "1 input of the network.*3 parts"),
    "a list instead of a tuple": (lambda: {"test": [X, CLASSES]}, BadData, "test", "in a tuple, not in a list"),
    "other samples": (lambda: {"calibration": X[:, :2]}, BadData, "calibration", r"shape \(N, 3\)"),
    "other test samples": (lambda: {"test": (X[:, :2], Y)}, BadData, "test", r"shape \(N, 3\)"),
    "too few targets": (lambda: {"test": (X, Y[:3])}, BadData, "targets of test", "96, one for each sample of test"),
    "NaN": (lambda: {"calibration": X.clone().fill_(torch.nan)}, NotFinite, "calibration", "in sample 0"),
    "NaN in targets": (lambda: {"test": (X, Y / 0)}, NotFinite, "targets of test", "sample 0"),
    "a class too many": (lambda: {"test": (X, CLASSES + 1)}, BadData, "targets of test", "from 0 to 1,.*from 1 to 2"),
    "a loader that breaks": (lambda: {"test": (1 / 0 for _ in range(2))}, BadData, "test", "ZeroDivisionError"),
    "targets now and then": (lambda: {"calibration": [(X, Y), X]}, BadData, "calibration", "1 of 2 with targets"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_exported_is_refused_in_words(case: str, tmp_path: Path) -> None:
    arguments, kind, where, words = REFUSED[case]
    whole = {"network": prepared(), "calibration": X} | arguments()
    network = whole.pop("network")
    with pytest.raises(kind, match=words) as refused:
        export.export_network(network, tmp_path / "out", **whole)
    assert refused.value.where == where
    assert refused.value.remedy
    assert not (tmp_path / "out").exists()


def test_an_unknown_choice_is_a_type_error_too() -> None:
    with pytest.raises(TypeError, match="write target"):
        export_bare(prepared(), taget="uno")


def test_data_without_an_end_are_read_as_far_as_memory_goes(monkeypatch: pytest.MonkeyPatch, bare: Bundle) -> None:
    def endless() -> Any:
        while True:
            yield X

    monkeypatch.setattr("qtorch.handed_over.data._MOST", X.numel())
    bundle = export_bare(prepared(), calibration=endless(), test=(X, Y))
    assert bundle.model == bare.model
    assert bundle.verdict is not None
    assert "the first 96 samples of calibration stand for all of them" in bundle.verdict.remarks


def failing(*_arguments: Any, **_options: Any) -> None:
    raise UnsupportedLayer(where="layer 'x'", expected="C", got="none", remedy="write it")


def test_what_nobody_asked_for_is_left_out_where_it_can_not_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("export.bundle.int8_files.c_model", failing)
    bundle = export.export_network(prepared(), tmp_path / "out", calibration=X, onnx=False)
    assert set(bundle.left_out) == {"test", "quantization_report.csv", "predictions", "layers", "c"}
    assert "left out: plain C (layer 'x': expected C, got none; write it)" in str(bundle)
    assert "model.c" not in " ".join(bundle.files)
    assert bundle.firmware
    with pytest.raises(UnsupportedLayer):
        export.export_network(prepared(), calibration=X, c=True)
    # Without TFLite Micro the project is made of the C.
    with pytest.raises(UnsupportedLayer):
        export.export_network(prepared(), calibration=X, target="uno", onnx=False)


def test_packages_that_are_absent_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.optional_packages.find_spec", lambda package: None)
    bundle = export.export_network(prepared(), calibration=X, c=False, firmware=None)
    assert "the package onnx, got none installed" in bundle.left_out["onnx"]
    with pytest.raises(BadConfiguration, match="the package onnx"):
        export.export_network(prepared(), calibration=X, onnx=True)


def test_float_ends_leave_the_project_out() -> None:
    bundle = export.export_network(prepared(), calibration=X, io="float32", onnx=False)
    assert "io int8" in bundle.left_out["firmware"]
    assert not bundle.firmware


def test_options_are_taken_as_they_are() -> None:
    bundle = export.export_network(prepared(), calibration=X, options=export.ExportOptions(strip=True), version="2",
                                   metadata=True)  # fmt: skip
    assert bundle.options == export.ExportOptions(strip=True, metadata=True, version="2")
    assert "model_model.c" not in bundle.files
    assert bundle.firmware == {}
