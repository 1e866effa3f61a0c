"""A figure named after an engine is the file's in that engine; what looks at a network leaves it as it was."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.functional import mse_loss

import qtorch
from benchmarks.agreement import agreement
from export.bundle.make import make_bundle
from export.figures.sensitivity import layer_costs
from export.graph.build import integer_graph
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.parity.outputs import corner_codes, network_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import Run
from qtorch.post_training.steps import PostTraining, quantize_after_training
from tests.plain_lightning import TRAINED, Alias, Plain, PlainData, X, Y, calibrated_run, mse_in_tflm
from tests.small_task import small_trainer


class Whole(Plain):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self.net.forward(batch[0]), batch[1]))


class InAList(Plain):
    """As one hides a module from ``parameters()``."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [self.net]

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden[0](x)


class Nested(Plain):
    """The same, deeper."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = {"a": [{"b": self.net}]}

    def forward(self, x: Tensor) -> Tensor:
        return self.deep["a"][0]["b"](x)


class Collecting(Plain):
    """Keeps what it tested from batch to batch, and never lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append((self(batch[0]) - batch[1]).square())

    def on_test_epoch_end(self) -> None:
        self.log("mse", torch.cat(self.seen).mean())


class TwoLoaders(Plain):
    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("mse", mse_loss(self(batch[0]), batch[1]))


class TwoParts(PlainData):
    def test_dataloader(self) -> Any:
        return [super().test_dataloader()] * 2


@pytest.mark.tflm
@pytest.mark.parametrize("module", [Plain, Alias, Whole, InAList, Nested, Collecting])
def test_the_tflm_figure_is_the_files(module: type[Plain]) -> None:
    bundle = make_bundle(subject_of(calibrated_run(module, PlainData())), "plain", ExportOptions())
    figures = bundle.metrics["test"]
    assert figures["qat_int8"]["mse"] == pytest.approx(mse_in_tflm(bundle.files["plain.tflite"]), rel=1e-5)
    assert len({figures[stage]["mse"] for stage in ("float", "ptq_int8", "qat_int8")}) == 3
    assert "left_out" not in bundle.metrics


@pytest.mark.tflm
def test_steps_by_another_name_train_and_test_what_is_exported() -> None:
    module, data, qat = Alias(), PlainData(), QuantizationAwareTraining(start=0.5)
    small_trainer(qat, max_epochs=10).fit(module, datamodule=data)
    bundle = make_bundle(subject_of(Run("plain", module.eval(), data, qat)), "plain", ExportOptions())
    in_tflm = mse_in_tflm(bundle.files["plain.tflite"])
    assert in_tflm < float(Y[TRAINED:].var())
    assert bundle.metrics["test"]["qat_int8"]["mse"] == pytest.approx(in_tflm, rel=1e-5)


@pytest.mark.tflm
def test_the_float_and_post_training_figures_are_their_networks() -> None:
    run = calibrated_run(Alias, PlainData())
    figures = make_bundle(subject_of(run), "plain", ExportOptions()).metrics["test"]
    with torch.no_grad():
        error = float(mse_loss(run.qat.original.eval()(X[TRAINED:]), Y[TRAINED:]))
    assert figures["float"]["mse"] == pytest.approx(error, rel=1e-5)
    bundle = make_bundle(subject_of(run), "plain", ExportOptions(post_training=True))
    in_tflm = mse_in_tflm(bundle.files["plain.tflite"])
    assert bundle.metrics["test"]["post_training_int8"]["mse"] == pytest.approx(in_tflm, rel=1e-5)
    assert figures["ptq_int8"]["mse"] == pytest.approx(in_tflm, rel=1e-5)


def test_every_test_loader_has_its_figures() -> None:
    figures = make_bundle(subject_of(calibrated_run(TwoLoaders, TwoParts())), "plain", ExportOptions()).metrics["test"]
    assert set(figures["qat_int8"]) == {"mse/dataloader_idx_0", "mse/dataloader_idx_1"}


class Copied(Plain):
    """Tests what it was before."""

    def __init__(self) -> None:
        super().__init__()
        self.before = copy.deepcopy(self.net)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self.before(batch[0]), batch[1]))


class Parts(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = self.net[:3], self.net[3]

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self.head(self.backbone(batch[0])), batch[1]))


class Layers(Plain):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        net: Any = self.net
        self.log("mse", mse_loss(net[3](net[2](net[1](net[0](batch[0])))), batch[1]))


class Names(Plain):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        net: Any = self.net
        self.log("mse", mse_loss(net(batch[0]), batch[1]) + 0 * net.get_submodule("3").weight.sum())


class Bound(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.call = self.net.forward

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self.call(batch[0]), batch[1]))


class Nothing(Plain):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", batch[1].square().mean())


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (Copied, "calls of self.net, got none in 2 batches"),
        (Parts, "calls of self.net, got none in 2 batches"),
        (Layers, "calls of self.net, got none: layer '2'"),
        (Bound, "calls of self.net, got none in 2 batches"),
        (Nothing, "calls of self.net, got none in 2 batches"),
        (Names, "any network in the place of self.net, got AttributeError"),
    ],
)
@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_figures_of_another_network_are_refused(module: type[Plain], got: str, kind: Any) -> None:
    run = calibrated_run(module, PlainData())
    with pytest.raises(
        BadConfiguration, match=rf"test_step of {module.__name__}: .*{got}.* Remedy: call self.net\(x\)"
    ):
        make_bundle(subject_of(run), "plain", ExportOptions(format=kind))


def test_a_module_is_as_before_its_figures() -> None:
    run = calibrated_run(Alias, PlainData())
    module: Any = run.module
    before, state = module.net, {n: t.clone() for n, t in module.state_dict().items() if isinstance(t, Tensor)}
    module.train()
    next(module.net.children()).eval()
    flags = {name: each.training for name, each in module.named_modules()}
    make_bundle(subject_of(run), "plain", ExportOptions())
    assert module.net is module.model is before
    assert {name: each.training for name, each in module.named_modules()} == flags
    assert all(torch.equal(t, state[n]) for n, t in module.state_dict().items() if isinstance(t, Tensor))


# A float network that is none ----------------------------------------------------------------------------------------


class Prepared(Plain):
    """Prepares its network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net: Any = qtorch.prepare(self.net, torch.zeros(1, 4))


@pytest.mark.parametrize("options", [{"post_training": True}, {"format": "float32"}, {}], ids=str)
def test_an_unknown_float_network_is_refused(options: Any) -> None:
    module = Prepared()
    qtorch.calibrate(module.net, [X])
    run = Run("plain", module, PlainData(), QuantizationAwareTraining())
    with pytest.raises(BadConfiguration, match=r"float network of Prepared: .*got Identity with no weights"):
        make_bundle(subject_of(run), "plain", ExportOptions(**options))
    run.qat.original = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(BadConfiguration, match=r"float network of Prepared: .*size mismatch"):
        make_bundle(subject_of(run), "plain", ExportOptions(**options))


class OneLayer(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 1)  # type: ignore[assignment]


@pytest.mark.parametrize("scales", ["measured", "lsq"])
def test_a_lone_layers_float_weights_are_the_trained_ones(scales: str) -> None:
    run = calibrated_run(OneLayer, PlainData(), scales=scales)
    expected = run.qat.float_parameters["0.weight"]
    with torch.no_grad():
        run.qat.original.weight.zero_()  # type: ignore[union-attr, operator]
    assert torch.equal(subject_of(run).networks.float_network().weight, expected)  # type: ignore[arg-type]


# Looking -------------------------------------------------------------------------------------------------------------


def state(network: fx.GraphModule) -> list[Any]:
    """Modes, training flags and tensors."""
    modes = [(n, getattr(m, "mode", None), m.training) for n, m in network.named_modules()]
    return [*modes, *((n, t.tolist()) for n, t in network.state_dict().items() if isinstance(t, Tensor))]


LOOKS: dict[str, Any] = {
    "parity": lambda q, g: parity(g, write_tflite(g), corner_codes(g, random=10), q),
    "network_codes": lambda q, g: network_codes(q, g, corner_codes(g, random=10)),
    "layer_costs": lambda q, g: layer_costs(q, torch.rand(8, 3)),
    "agreement": lambda q, g: agreement(q, torch.rand(8, 3)),
    "integer_graph": lambda q, g: integer_graph(q),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("mode", [qtorch.Mode.FLOAT, qtorch.Mode.QUANTIZED])
def test_a_look_changes_nothing(network: fx.GraphModule, look: str, mode: qtorch.Mode) -> None:
    graph = integer_graph(network)
    qtorch.set_mode(network.train(), mode)
    network.get_submodule("2").eval()
    before = state(network)
    LOOKS[look](network, graph)
    assert state(network) == before


@pytest.mark.parametrize("look", ["network_codes", "layer_costs", "agreement"])
def test_a_look_that_fails_changes_nothing(network: fx.GraphModule, look: str, monkeypatch: Any) -> None:
    graph = integer_graph(network)
    qtorch.set_mode(network.train(), qtorch.Mode.QUANTIZED)
    before = state(network)
    monkeypatch.setattr(type(network), "forward", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        LOOKS[look](network, graph)
    assert state(network) == before


@pytest.mark.parametrize("steps", [(), ("equalize",), ("correct_biases",), ("round_adaptively", "correct_biases")])
def test_quantizing_after_training_leaves_the_network_as_it_was(steps: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    before = copy.deepcopy(net.state_dict())
    chosen = PostTraining(**dict.fromkeys(steps, True))
    network = quantize_after_training(net, X, qtorch.QuantizationConfig(weight_bits=4), chosen)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not {id(p) for p in network.parameters()} & {id(p) for p in net.parameters()}
    assert np.isfinite(network(X).detach().numpy()).all()
