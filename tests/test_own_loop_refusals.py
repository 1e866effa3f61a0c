"""What a loop of somebody's own hands over and does not fit is refused in words, before anything is computed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.bundle.make import make_bundle
from export.figures.subject import Subject, subject_of_networks
from export.opinions.comparison import compare
from export.options import ExportOptions
from qtorch.errors import BadConfiguration, BadData, BadInput, NotFinite
from qtorch.features import Feature, Interface
from qtorch.network.quantized_network import QuantizedNetwork

X = torch.rand(48, 3, generator=torch.Generator().manual_seed(0))
Y = torch.stack([X[:, 0] * X[:, 1], X.sum(1)], 1)


def small(inputs: int = 3, outputs: int = 2, width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))


def prepared(net: nn.Module, *inputs: Tensor, calibrated: bool = True) -> tuple[QuantizedNetwork, nn.Module]:
    before = copy.deepcopy(net)
    network = qtorch.prepare(net, tuple(each[:1] for each in inputs))
    if calibrated:
        qtorch.calibrate(network, [inputs])
        qtorch.set_mode(network, qtorch.Mode.QUANTIZED)
    return network.eval(), before


class Two(nn.Module):
    """Of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.left(x) + self.right(y)


def mse(_x: Any, output: Tensor, target: Tensor) -> dict[str, float]:
    return {"mse": float((output.double() - target).square().mean())}


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """Arguments that all fit."""
    torch.manual_seed(0)
    network, before = prepared(small(), X)
    return {
        "name": "own", "network": network, "float_network": before, "inputs": X[:32], "targets": Y[:32],
        "test_inputs": X[32:], "test_targets": Y[32:], "test_figures": mse, "better": {"mse": "lower"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def two() -> dict[str, Any]:
    torch.manual_seed(0)
    network, before = prepared(Two(), X, X)
    return {"name": "two", "network": network, "float_network": before, "inputs": (X, X)}


def spoilt(value: float) -> Tensor:
    x = X[:32].clone()
    x[5, 1] = value
    return x


def features(count: int) -> tuple[Feature, ...]:
    return tuple(Feature(f"f{i}") for i in range(count))


#: By what is wrong: the arguments that take the place of good ones, the type and place of the error, words of it.
REFUSED: dict[str, tuple[dict[str, Any], type[BadInput], str, str]] = {
    "no inputs": ({"inputs": None}, BadData, "inputs", "got None"),
    "texts as inputs": ({"inputs": ["a", "b"]}, BadData, "inputs", "expected numbers, got list"),
    "uneven lists": ({"inputs": [[1.0, 2.0, 3.0], [1.0]]}, BadData, "inputs", "in rows of one length"),
    "complex inputs": ({"inputs": X.to(torch.complex64)}, BadData, "inputs", "expected real numbers"),
    "wide inputs": ({"inputs": torch.rand(8, 5), "targets": None}, BadData, "inputs",
                    r"shape \(N, 3\), as in the example, got Tensor of shape \(8, 5\)"),
    "wide inputs of a float network": ({"network": None, "inputs": torch.rand(8, 5), "targets": None}, BadData,
                                       "inputs", r"shape \(8, 5\), torch.float32: RuntimeError"),
    "wide test inputs": ({"test_inputs": torch.rand(16, 5)}, BadData, "test_inputs", r"got Tensor of shape \(16, 5\)"),
    "a sample alone": ({"inputs": torch.tensor(1.0)}, BadData, "inputs", "along the first axis"),
    "no training samples": ({"inputs": X[:0], "targets": None}, BadData, "inputs", r"at least.* of shape \(0"),
    "no test samples": ({"test_inputs": X[:0], "test_targets": Y[:0]}, BadData, "test_inputs", "at least one"),
    "NaN in inputs": ({"inputs": spoilt(torch.nan)}, NotFinite, "inputs", "1 of 96 NaN.* first in sample 5"),
    "infinity in test inputs": ({"test_inputs": spoilt(torch.inf)[:16]}, NotFinite, "test_inputs", "first in sample 5"),
    "few targets": ({"targets": Y[:31]}, BadData, "targets", "32, one for each sample of inputs, got 31"),
    "texts as targets": ({"targets": ["a"] * 32}, BadData, "targets", "expected real numbers"),
    "few test targets": ({"test_targets": Y[:3]}, BadConfiguration, "test_targets", "got 16 inputs and 3 targets"),
    "few test targets, no figures": ({"test_targets": Y[:3], "test_figures": None}, BadData, "test_targets",
                                     "16, one for each sample of test_inputs, got 3"),
    "a number as figures": ({"test_figures": 3}, BadConfiguration, "test_figures", "a function, got int"),
    "no network at all": ({"network": None, "float_network": None}, BadConfiguration, "float_network", "got None"),
    "another float network": ({"float_network": small(width=5)}, BadConfiguration, "float_network", "size mismatch"),
    "other outputs": ({"float_network": nn.Sequential(*small().children(), nn.Flatten(0))}, BadConfiguration,
                      "float_network", r"own outputs, \(2,\) of a sample, got \(\)"),
    "an interface of texts": ({"interface": "inputs"}, BadConfiguration, "interface", "an Interface, or None, got str"),
    "texts in an interface": ({"interface": Interface(("a", "b", "c"), ("d",))}, BadConfiguration,  # type: ignore[arg-type]
                              "interface.inputs", "a tuple of features"),
    "two names for three inputs": ({"interface": Interface(features(2), features(2))}, BadConfiguration,
                                   "interface.inputs", r"for each number of a sample, \(3,\), got 2: f0, f1"),
    "five names for two outputs": ({"interface": Interface(features(3), features(5))}, BadConfiguration,
                                   "interface.outputs", r"\(2,\), got 5"),
    "classes in one text": ({"class_names": "ab"}, BadConfiguration, "class_names", "a tuple of texts"),
    "numbers as classes": ({"class_names": (0, 1)}, BadConfiguration, "class_names", "a tuple of texts"),
    "a class twice": ({"class_names": ("a", "a")}, BadConfiguration, "class_names", "'a' more than once"),
    "three classes of two": ({"class_names": ("a", "b", "c")}, BadConfiguration, "class_names", "2 names.* got 3: a"),
    "better in one word": ({"better": "lower"}, BadConfiguration, "better", "a dict of 'higher' or 'lower'"),
    "better in other words": ({"better": {"mse": "smaller"}}, BadConfiguration, "better", "smaller"),
    "no name": ({"name": None}, BadConfiguration, "name", "a text.* got None"),
    "an empty name": ({"name": ""}, BadConfiguration, "name", "got ''"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_at_once(case: str, whole: dict[str, Any]) -> None:
    arguments, kind, where, words = REFUSED[case]
    with pytest.raises(kind, match=words) as refused:
        subject_of_networks(**(whole | arguments))
    assert refused.value.where == where
    assert refused.value.remedy


def test_the_prepared_network_is_no_float_network(whole: dict[str, Any]) -> None:
    for network in (whole["network"], None):
        with pytest.raises(BadConfiguration, match=r"^float_network: .* with quantizers in it.*deepcopy\(net\)"):
            subject_of_networks(**(whole | {"network": network, "float_network": whole["network"]}))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"inputs": X}, "^inputs: expected inputs of shape"),
        (
            {"inputs": X, "network": None},
            "^inputs: expected what Two takes.*missing a required argument|^inputs: .*TypeEr",
        ),
        ({"inputs": (X, X[:5])}, r"^inputs: .*as many of each, got Tensor of shape \(48, 3\).* \(5, 3\)"),
        ({"test_inputs": X}, "^test_inputs: expected inputs of shape"),
        ({"interface": Interface(features(4), features(2))}, r"^interface\.inputs: .*\(3,\) and \(3,\), got 4"),
    ],
)
def test_a_network_of_two_inputs_gets_two(arguments: dict[str, Any], words: str, two: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=words):
        subject_of_networks(**(two | arguments))


SAID: Mapping[str, tuple[Callable[..., Any], str]] = {
    "nothing": (lambda *_: None, "test_figures of own: expected numbers by the figure's name, got None"),
    "a number": (lambda *_: 0.5, "got float 0.5"),
    "no name": (lambda *_: {1: 0.5}, "got 1: float 0.5"),
    "a text": (lambda *_: {"mse": "small"}, "got 'mse': str 'small'"),
    "many numbers": (lambda *_: {"mse": torch.rand(2)}, r"got 'mse': Tensor of shape \(2,\)"),
    "NaN": (lambda *_: {"mse": torch.tensor(torch.nan)}, "got mse nan"),
    "another figure": (lambda *_: {"mae": 1.0}, "^better: expected figures that test_figures returns.*mae, got mse"),
}


@pytest.mark.parametrize("case", SAID)
def test_figures_are_looked_at_when_they_are_taken(case: str, whole: dict[str, Any]) -> None:
    said, words = SAID[case]
    subject = subject_of_networks(**(whole | {"test_figures": said}))
    with pytest.raises(BadConfiguration, match=words):
        subject.evaluation.required()(subject.networks.float_network())


def test_a_network_without_ranges_is_told_how_a_loop_measures_them(whole: dict[str, Any]) -> None:
    network, before = prepared(small(), X, calibrated=False)
    for handed_over, words in ((network, r"call qtorch\.calibrate"), (None, "prepare it, calibrate it")):
        subject = subject_of_networks("own", handed_over, before, X)
        with pytest.raises(BadConfiguration, match=f"^network: .*{words}") as refused:
            make_bundle(subject, "own", ExportOptions())
        assert "ExportOptions(post_training=True)" in refused.value.remedy
        assert "callback" not in str(refused.value)
        assert make_bundle(subject, "own", ExportOptions(post_training=True)).files["own.tflite"]
    for name in (None, ""):
        with pytest.raises(BadConfiguration, match=r"^name: expected a text"):
            make_bundle(subject, name, ExportOptions())  # type: ignore[arg-type]
    with pytest.raises(BadData, match=r"^test_inputs: .*none were handed over. Remedy: pass test_inputs"):
        compare(subject_of_networks("own", whole["network"], whole["float_network"], X), ["qtorch"])


def files_of(subject: Subject) -> dict[str, bytes]:
    files = make_bundle(subject, "own", ExportOptions()).files
    return {name: data for name, data in files.items() if name != "timings.json"}


def test_arrays_and_lists_are_the_tensors_that_they_hold(whole: dict[str, Any]) -> None:
    data = ("inputs", "targets", "test_inputs", "test_targets")
    expected = files_of(subject_of_networks(**whole))
    before = {key: value.clone() for key, value in whole["network"].state_dict().items() if isinstance(value, Tensor)}
    arrays = {name: whole[name].numpy().astype(np.float64) for name in data}
    arrays["inputs"] = arrays["inputs"][::-1][::-1]
    for other in (arrays, {name: whole[name].tolist() for name in data}, {"inputs": whole["inputs"].double()}):
        assert files_of(subject_of_networks(**(whole | other))) == expected
    assert all(torch.equal(value, before[key]) for key, value in whole["network"].state_dict().items() if key in before)


def test_handing_over_leaves_everything_as_it_was(whole: dict[str, Any]) -> None:
    network, float_network = whole["network"], whole["float_network"].train()
    state, drawn = torch.random.get_rng_state(), network.mode
    subject = subject_of_networks(**whole)
    assert subject.inputs["train"] is whole["inputs"]
    assert subject.inputs["test"] is whole["test_inputs"]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert network.mode is drawn
    assert float_network.training
    assert not network.training


def test_a_wrapped_float_network_is_the_one_inside(whole: dict[str, Any]) -> None:
    wrapped = nn.DataParallel(whole["float_network"])
    assert files_of(subject_of_networks(**(whole | {"float_network": wrapped}))) == files_of(
        subject_of_networks(**whole)
    )


def test_a_float_network_that_is_gone_is_made_of_the_prepared_one(whole: dict[str, Any]) -> None:
    subject = subject_of_networks(**(whole | {"float_network": None}))
    plain = subject.networks.float_network()
    assert not plain.training
    assert torch.equal(plain(X), whole["network"].origin.net.eval()(X))
    bundle = make_bundle(subject, "own", ExportOptions())
    assert bundle.metrics["float_network"] == "QAT network's weights in float"
    assert bundle.files["own.tflite"] == files_of(subject_of_networks(**whole))["own.tflite"]
    float32 = ExportOptions(format="float32")
    alone = subject_of_networks("own", None, plain, X)
    assert (
        make_bundle(subject, "own", float32).files["own.tflite"]
        == make_bundle(alone, "own", float32).files["own.tflite"]
    )


def test_a_batch_of_no_samples_is_refused_in_words_and_the_ranges_stay() -> None:
    network, _ = prepared(small(), X)
    before = {name: quantizer.qparams() for name, quantizer in qtorch.quantizers(network).items()}
    with pytest.raises(BadData, match=r"calibration: expected batches of at least one sample, got .*\(0, 3\)"):
        qtorch.calibrate(network, [X, X[:0]])
    assert {name: quantizer.qparams() for name, quantizer in qtorch.quantizers(network).items()} == before
