"""Networks are called as they are written: keywords, defaults, dicts and lists, in and out."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.engines import TFLM
from export.graph.build import integer_graph
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration, BadData, UnsupportedLayer
from qtorch.post_training import equalize, fold_batch_norms

X = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 2)


class Gain(Layer):
    def forward(self, x: Tensor, gain: float = 2.0, mask: Tensor | None = None) -> Tensor:
        y: Tensor = self.layer(x) * gain
        return y if mask is None else y * mask


class Many(Layer):
    def forward(self, *inputs: Tensor) -> Tensor:
        y: Tensor = self.layer(inputs[0])
        return y + self.layer(inputs[1]) if len(inputs) > 1 else y


class Batch(Layer):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        y: Tensor = self.layer(batch["x"]) + 2 * self.layer(batch["y"])
        return y


class Listed(Layer):
    def forward(self, parts: list[Tensor], scale: Any = None) -> Tensor:
        y: Tensor = self.layer(parts[0]) + 2 * self.layer(parts[1])
        return y


class Structured(Layer):
    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.layer(x)
        return {"logits": y, "both": [y * 2, (y.relu(), None)]}


class SameNames(nn.Module):
    """Inputs that are called like layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.h, self.add = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, h: Tensor, add: Tensor) -> Tensor:
        y: Tensor = self.add(self.h(h) + add)
        return y


@pytest.mark.parametrize(
    ("net", "example", "args", "kwargs"),
    [
        (Gain(), X[:1], (X,), {}),
        (Gain(), X[:1], (), {"x": X}),
        (Gain(), X[:1], (X, 2.0, None), {}),
        (Gain(), {"x": X[:1], "gain": 3.0}, (X,), {"gain": 3.0}),
        (Gain(), (X[:1], 1.0, X[:1, :2]), (X, 1.0, X[:, :2]), {}),
        (Many(), X[:1], (X,), {}),
        (Many(), (X[:1], X[:1]), (X, X + 1), {}),
        (Batch(), {"x": X[:1], "y": X[:1]}, ({"y": X + 1, "x": X},), {}),
        (Batch(), ({"x": X[:1], "y": X[:1]},), ({"x": X, "y": X + 1},), {}),
        (Listed(), ([X[:1], X[:1]],), ([X, X + 1],), {}),
        (nn.Linear(4, 2), [X[:1]], (X,), {}),
        (nn.Linear(4, 2), X[:1].numpy(), (X,), {}),
        (SameNames(), (X[:1], X[:1]), (X, X + 1), {}),
    ],
)
def test_a_prepared_network_is_called_as_the_network(net: nn.Module, example: Any, args: Any, kwargs: Any) -> None:
    qat = qtorch.prepare(net, example)
    assert torch.allclose(qat(*args, **kwargs), net(*args, **kwargs), atol=1e-6)
    flat = [leaf for leaf in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not isinstance(net, Batch):
        assert torch.allclose(qat(*flat), net(*args, **kwargs), atol=1e-6)
    qtorch.calibrate(qat, [example])
    qtorch.calibrate(qat, [args if args else kwargs])
    qtorch.set_mode(qat.eval(), qtorch.Mode.QUANTIZED)
    graph = integer_graph(qat)
    model = write_tflite(graph)
    inputs = qat.inputs_of(args if args else kwargs)
    grids = [q for name, q in qtorch.quantizers(qat).items() if name.endswith("_quantizer")]
    codes = tuple(q.qparams().quantize(x.numpy()) for q, x in zip(grids, inputs, strict=True))
    found = TFLM.run(model, codes)[0]
    output = graph.values[graph.outputs[0]].qparams
    assert output is not None
    assert np.array_equal(output.dequantize(found), qat(*args, **kwargs).detach().numpy())


def test_outputs_come_as_the_network_returns_them() -> None:
    net = Structured()
    qat = qtorch.prepare(net, X[:1])
    for network in (qat, copy.deepcopy(qat), qtorch.prepare(equalize(net, X[:1]), X[:1])):
        found, wanted = network(X), net(X)
        assert list(found) == ["logits", "both"]
        assert type(found["both"]) is list
        assert found["both"][1][1] is None
        assert torch.allclose(found["logits"], wanted["logits"], atol=1e-6)
        assert torch.allclose(found["both"][1][0], wanted["both"][1][0], atol=1e-6)
    qtorch.calibrate(qat, [X])
    qtorch.set_mode(qat.eval(), qtorch.Mode.QUANTIZED)
    codes = qtorch.quantizers(qat)["x_quantizer"].qparams().quantize(X.numpy())
    assert len(TFLM.run(write_tflite(integer_graph(qat)), (codes,))) == 3


@pytest.mark.filterwarnings("ignore:.*weights_only.*")
def test_the_form_is_kept_in_a_file() -> None:
    qat = qtorch.prepare(Batch(), {"x": X[:1], "y": X[:1]})
    file = io.BytesIO()
    torch.save(qat, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(again({"x": X, "y": X}), qat({"y": X, "x": X}))


def test_steps_after_training_keep_the_form() -> None:
    net = Batch()
    folded = fold_batch_norms(net, {"x": X[:1], "y": X[:1]})
    qat = qtorch.prepare(folded, {"x": X[:1], "y": X[:1]})
    assert torch.allclose(qat({"x": X, "y": X + 1}), net({"x": X, "y": X + 1}), atol=1e-6)


@pytest.mark.parametrize(
    ("net", "inputs"), [(nn.Linear(4, 2), (X,)), (SameNames(), (X, X + 1)), (nn.Sequential(nn.Linear(4, 2)), (X,))]
)
def test_targets_of_a_loader_are_left_out_where_ranges_are_measured(net: nn.Module, inputs: Any) -> None:
    ranges = []
    for batch in (inputs, (*inputs, torch.full((len(X),), 1e6)), [*inputs, torch.full((len(X),), 1e6)]):
        qat = qtorch.prepare(net, inputs)
        qtorch.calibrate(qat, [batch])
        assert not qtorch.saturation(qat, [batch])
        ranges.append({name: quantizer.qparams() for name, quantizer in qtorch.quantizers(qat).items()})
    assert ranges[0] == ranges[1] == ranges[2]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda q: q(X, 3.0), r"'gain'.*expected 2\.0.*got 3\.0"),
        (lambda q: q(X, mask=X), r"'mask'.*expected None.*got a tensor"),
        (lambda q: q(), r"1 tensor \(x\).*missing"),
        (lambda q: q([X]), r"1 tensor \(x\)"),
        (lambda q: q(X, nosuch=1), r"nosuch"),
        (lambda q: qtorch.calibrate(q, X), r"calibrate: expected batches.*got a single Tensor.*\[x\]"),
        (lambda q: qtorch.saturation(q, X.numpy()), r"saturation: expected batches.*\[x\]"),
        (lambda q: qtorch.calibrate(q, [(X, X, X, X)]), r"too many positional.*for x, \*_ in loader"),
        (lambda q: qtorch.calibrate(q, [{"a": X}]), r"1 tensor \(x\)"),
        (lambda q: qtorch.calibrate(q, ["text"]), r"1 tensor \(x\)"),
    ],
)
def test_another_call_is_refused_in_words(call: Any, words: str) -> None:
    with pytest.raises(BadData, match=words):
        call(qtorch.prepare(Gain(), X[:1]))


def test_examples_that_are_no_call_of_the_network_are_refused() -> None:
    for example in ((X, X, X, X), {}, "text", None, ()):
        with pytest.raises(BadConfiguration, match=r"example_input.*Remedy"):
            qtorch.prepare(Gain(), example)
    with pytest.raises(UnsupportedLayer, match=r"output.*got int"):
        qtorch.prepare(type("Sized", (Layer,), {"forward": lambda self, x: len(x.shape)})(), X[:1])
