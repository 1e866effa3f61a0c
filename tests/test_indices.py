"""Indices at a network's ends: places of extrema that go out, rows of tables by what comes in. Judged by the user's own
module, TFLite Micro, LiteRT, ONNX Runtime and compiled C."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import export
import qtorch
from export.c.compiled import run_c
from export.c.model import c_model
from export.engines import LITERT_REFERENCE
from export.forms.onnx.parity import onnx_parity
from export.forms.onnx.writer import write_onnx
from export.graph.build import build, integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.outputs import corner_codes, parity
from export.tflite.reader import read_tflite
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.capture.call_form import tensors_in
from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration, BadData, BadInput, UnsupportedLayer
from qtorch.network.known_answer import known_answer, require_known_answer
from qtorch.numbers.qparams import INDICES
from tests.remedy_judge import Called

pytestmark = pytest.mark.usefixtures("one_thread")


class Layers(nn.Module):
    """A function of a few layers and of what comes in."""

    def __init__(self, call: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.call = call
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs: Tensor) -> Any:
        return self.call(self, *inputs)


def words(count: int, rows: int, *shape: int) -> Tensor:
    return torch.randint(0, rows, (count, *shape))


def scored(call: Callable[[Tensor], Any]) -> nn.Module:
    return Layers(lambda net, x: call(net.layer(x)), layer=nn.Conv2d(3, 5, 3, padding=1))


def attending(net: Any, tokens: Tensor) -> Tensor:
    x = net.token(tokens) + net.place(torch.arange(6))
    scores = torch.softmax(net.query(x) @ net.key(x).transpose(1, 2) / 8**0.5, -1)
    x = net.norm(x + net.out(scores @ net.value(x)))
    return net.head(x.mean(1))


def transformer() -> nn.Module:
    square = {name: nn.Linear(8, 8) for name in ("query", "key", "value", "out")}
    tables = {"token": nn.Embedding(30, 8), "place": nn.Embedding(6, 8)}
    return Layers(attending, **tables, **square, norm=nn.LayerNorm(8), head=nn.Linear(8, 4))


def convolving(net: Any, tokens: Tensor) -> Tensor:
    return net.head(F.relu(net.conv(net.table(tokens).transpose(1, 2))).mean(2))


CASES: dict[str, Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]] = {
    "label": lambda: (nn.Sequential(nn.Linear(6, 5), Called(lambda y: y.argmax(1))), (torch.randn(60, 6),)),
    "scores and label": lambda: (
        Layers(lambda net, x: {"scores": (y := net.layer(x)), "label": y.argmax(-1)}, layer=nn.Linear(6, 5)),
        (torch.randn(60, 6),),
    ),
    "segments": lambda: (scored(lambda y: y.argmax(1)), (torch.randn(20, 3, 6, 4),)),
    "segments, axis kept": lambda: (scored(lambda y: y.argmax(1, keepdim=True)), (torch.randn(20, 3, 6, 4),)),
    "rows": lambda: (scored(lambda y: torch.argmin(y, -2)), (torch.randn(20, 3, 6, 4),)),
    "columns": lambda: (scored(lambda y: y.argmin(-1)), (torch.randn(20, 3, 6, 4),)),
    "place of all": lambda: (scored(lambda y: y.flatten(1).argmax(1)), (torch.randn(20, 3, 6, 4),)),
    "extrema and places": lambda: (scored(lambda y: (*y.max(1), *y.min(2, keepdim=True))), (torch.randn(20, 3, 6, 4),)),
    "best": lambda: (scored(lambda y: y.topk(1, 1)), (torch.randn(20, 3, 6, 4),)),
    "behind a softmax": lambda: (scored(lambda y: y.softmax(1).argmax(1)), (torch.randn(20, 3, 6, 4),)),
    "mean of words": lambda: (
        Layers(lambda net, t: net.head(net.table(t).mean(1)), table=nn.Embedding(50, 8), head=nn.Linear(8, 4)),
        (words(60, 50, 7),),
    ),
    "windows of words": lambda: (
        Layers(
            convolving, table=nn.Embedding(50, 8, padding_idx=0), conv=nn.Conv1d(8, 6, 3), head=nn.Linear(6, 4)
        ),
        (words(60, 50, 7),),
    ),
    "transformer": lambda: (transformer(), (words(60, 30, 6),)),
    "kind and numbers": lambda: (
        Layers(
            lambda net, k, x: net.head(torch.cat([net.table(k), x], 1)), table=nn.Embedding(9, 4), head=nn.Linear(10, 3)
        ),
        (words(60, 9), torch.randn(60, 6)),
    ),
    "kinds in one input": lambda: (
        Layers(
            lambda net, k: net.head(net.first(k[:, 0]) + net.second(k[:, 1])).argmax(1),
            first=nn.Embedding(9, 4), second=nn.Embedding(7, 4), head=nn.Linear(4, 3),
        ),
        (words(60, 7, 2),),
    ),
    "words but the first": lambda: (
        Layers(lambda net, t: net.head(net.table(t[:, 1:])), table=nn.Embedding(12, 8), head=nn.Linear(8, 4)),
        (words(40, 12, 5),),
    ),
    "grid of words": lambda: (
        Layers(lambda net, t: net.head(net.table(t.flatten(1))), table=nn.Embedding(12, 8), head=nn.Linear(8, 4)),
        (words(40, 12, 2, 3),),
    ),
    "tied": lambda: (
        Layers(
            lambda net, t: F.linear(F.relu(net.layer(net.table(t))), net.table.weight),
            table=nn.Embedding(12, 8), layer=nn.Linear(8, 8),
        ),
        (words(40, 12, 5),),
    ),
    "tagger": lambda: (
        Layers(lambda net, t: net.head(net.rnn(net.table(t))[0]).argmax(-1),
               table=nn.Embedding(12, 8), rnn=nn.GRU(8, 6, batch_first=True), head=nn.Linear(6, 4)),
        (words(40, 12, 5),),
    ),
    "bags": lambda: (
        Layers(
            lambda net, t, p: net.head(net.mean(t) + net.largest(t) + net.sum(t, per_sample_weights=p)),
            mean=nn.EmbeddingBag(12, 4), largest=nn.EmbeddingBag(12, 4, mode="max"),
            sum=nn.EmbeddingBag(12, 4, mode="sum", padding_idx=3), head=nn.Linear(4, 3),
        ),
        (words(40, 12, 5), torch.rand(40, 5)),
    ),
    "bags one behind the other": lambda: (
        Layers(
            lambda net, t: net.head(net.sum(t.flatten(), torch.arange(t.shape[0]) * 5)),
            sum=nn.EmbeddingBag(12, 4, mode="sum"), head=nn.Linear(4, 3),
        ),
        (words(40, 12, 5).int(),),
    ),
    "vectors with a one": lambda: (
        Layers(lambda net, t: net.conv(F.one_hot(t.long(), 5).permute(0, 3, 1, 2).float()), conv=nn.Conv2d(5, 2, 3)),
        (words(40, 5, 4, 4).int(),),
    ),
    "places that come in": lambda: (
        Layers(
            lambda net, x, t, n: net.head(
                (y := net.layer(x)).gather(2, t[:, None].expand(-1, 3, -1))
                + y[torch.arange(x.shape[0]), n][:, None, :2]
            ),
            layer=nn.Linear(5, 4), head=nn.Linear(2, 3),
        ),
        (torch.randn(40, 3, 5), words(40, 4, 2), words(40, 3)),
    ),
    "rows without a layer": lambda: (
        Layers(
            lambda net, t: net.head(torch.cat([net.table.weight[t], net.table.weight.index_select(0, t)], 1)),
            table=nn.Linear(4, 9), head=nn.Linear(8, 3),
        ),
        (words(40, 9),),
    ),
    "what was found": lambda: (
        Layers(lambda net, x: net.table(net.layer(x).argmax(1)), layer=nn.Linear(6, 5), table=nn.Embedding(5, 4)),
        (torch.randn(60, 6),),
    ),
}  # fmt: skip


def trained(net: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """Prepared, calibrated, in QUANTIZED mode; with a step of training where anything has a gradient."""
    qat = qtorch.prepare(net, tuple(each[:2] for each in inputs))
    qtorch.calibrate(qat, [inputs])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    loss = sum(y.square().mean() for y in tensors_in(qat.train()(*inputs)) if y.requires_grad)
    if isinstance(loss, Tensor):
        optimizer = torch.optim.SGD([each for each in qat.parameters() if each.requires_grad], 0.01)
        loss.backward()
        optimizer.step()
    return qat


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_training_are_those_of_the_device(name: str) -> None:
    torch.manual_seed(0)
    net, inputs = CASES[name]()
    expected = tensors_in(deepcopy(net)(*inputs))
    qat = trained(net, inputs)
    qtorch.set_mode(qat, qtorch.Mode.FLOAT)
    with torch.no_grad():
        after, got = tensors_in(net.eval()(*inputs)), tensors_in(qat.eval()(*inputs))
    for theirs, now, mine in zip(expected, after, got, strict=True):
        assert mine.dtype is theirs.dtype
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, now)
    graph = integer_graph(qat)
    codes = corner_codes(graph, random=200)
    report = parity(graph, write_tflite(graph), codes, qat)
    assert report.judges == ("tflm", "qat_network")
    wanted = interpret(graph, codes)
    of_c = run_c("net", c_model("net", graph).files, graph, codes)
    for output, theirs, mine in zip(graph.outputs, expected, of_c, strict=True):
        np.testing.assert_array_equal(mine, wanted[output])
        assert mine.dtype.name == ("int8" if theirs.is_floating_point() else "int32")
        assert len(np.unique(mine)) > 1
    onnx_parity(graph, write_onnx(graph), codes)


@pytest.mark.parametrize("name", ["segments", "kinds in one input", "scores and label", "transformer"])
@pytest.mark.parametrize("form", ["float32", "float16"])
def test_float_files_say_what_the_float_network_says(name: str, form: Any) -> None:
    torch.manual_seed(0)
    net, inputs = CASES[name]()
    graph = build(qtorch.prepare(net, inputs), form)
    fed = tuple(graph.encode(each, x.numpy()) for each, x in zip(graph.inputs, inputs, strict=True))
    got = LITERT_REFERENCE.run(write_tflite(graph), fed)
    with torch.no_grad():
        expected = tensors_in(net.eval()(*inputs))
    for output, mine, theirs in zip(graph.outputs, got, expected, strict=True):
        held = graph.decode(output, mine)
        assert held.dtype == theirs.numpy().dtype
        if theirs.is_floating_point():
            np.testing.assert_allclose(held, theirs, atol=1e-2 if form == "float16" else 1e-5)
        else:
            # Weights of 16 bits decide otherwise between what is nearly alike.
            assert (held != theirs.numpy()).mean() <= (0.02 if form == "float16" else 0)


def graph_of(name: str) -> Graph:
    torch.manual_seed(0)
    net, inputs = CASES[name]()
    return integer_graph(trained(net, inputs))


def test_a_file_has_int32_without_a_scale() -> None:
    model = write_tflite(graph_of("kinds in one input"))
    (subgraph,) = summarize(model).subgraphs
    ends = [each for each in subgraph.tensors if each.index in (*subgraph.inputs, *subgraph.outputs)]
    assert [(each.dtype, each.scale) for each in ends] == [("int32", ()), ("int32", ())]
    read = read_tflite(model)
    assert [read.values[name].qparams for name in (*read.inputs, *read.outputs)] == [INDICES, INDICES]


def test_images_are_looked_through_as_they_lie() -> None:
    """No axis is moved for it: channels lie last on the device."""
    assert [node.op for node in graph_of("segments").nodes] == ["conv_2d", "arg_max"]
    assert [node.op for node in graph_of("columns").nodes] == ["conv_2d", "arg_min"]


def test_of_equal_ones_the_first() -> None:
    qat = trained(nn.Sequential(nn.Linear(3, 4), Called(lambda y: y.argmax(1))), (torch.randn(20, 3),))
    with torch.no_grad():
        qat.get_submodule("0").weight.zero_()
        qat.get_submodule("0").bias.copy_(torch.tensor([-1.0, 1.0, 1.0, 0.0]))
    assert qat(torch.randn(5, 3)).tolist() == [1] * 5


def test_an_index_of_no_row() -> None:
    torch.manual_seed(0)
    net, inputs = CASES["mean of words"]()
    qat = trained(net, inputs)
    for wrong in (50, -1):
        with pytest.raises(BadData, match=f"indices from 0 to 49, of the rows that there are, got {wrong}"):
            qat(torch.full((1, 7), wrong))
    with pytest.raises(BadData, match="pass integers"):
        qat(torch.rand(1, 7))
    with pytest.raises(BadConfiguration, match="of rows that its tables have"):
        qtorch.prepare(net, torch.full((1, 7), 50))
    # Plain C reads no memory that is not the table's.
    graph = integer_graph(qat)
    codes = np.array([[-1] * 7, [0] * 7, [49] * 7, [2**31 - 1] * 7], np.int32)
    first, zero, last, beyond = run_c("net", c_model("net", graph).files, graph, (codes,))[0]
    assert first.tolist() == zero.tolist()
    assert last.tolist() == beyond.tolist()


def test_rows_that_calibration_never_saw_do_not_saturate() -> None:
    net = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2))
    with torch.no_grad():
        net[0].weight[4] = 50.0
    qat = qtorch.prepare(net, torch.zeros(2, 2, dtype=torch.long))
    qtorch.calibrate(qat, [words(40, 4, 2)])
    found = qtorch.saturation(qat, [torch.full((3, 2), 4)])
    assert [each.name for each in found if "embedding" in each.name] == []


def test_training_moves_the_rows_that_were_asked_for() -> None:
    torch.manual_seed(0)
    net, inputs = CASES["windows of words"]()
    before = net.table.weight.detach().clone()  # type: ignore[union-attr, operator]
    trained(net, (inputs[0] // 2,))
    moved = (net.table.weight != before).any(1)  # type: ignore[union-attr]
    assert not moved[0], "the padding's row has no gradient"
    assert bool(moved[1:25].all())
    assert not moved[25:].any()


def test_a_state_is_loaded_and_answers_as_before() -> None:
    torch.manual_seed(0)
    net, inputs = CASES["kind and numbers"]()
    qat = trained(net, inputs).eval()
    again = qtorch.prepare(CASES["kind and numbers"]()[0], inputs)
    again.load_state_dict(qat.state_dict())
    assert torch.equal(again.eval()(*inputs), qat(*inputs))
    answer = known_answer(qat, qat.origin.samples)
    assert answer is not None
    assert answer["inputs"][0].dtype is torch.int64
    require_known_answer(again, answer, "here")


REFUSED: dict[str, tuple[Callable[[], nn.Module], Tensor, str]] = {
    "arithmetic with an index": (
        lambda: Layers(lambda net, x: net.layer(x).argmax(1) * 2, layer=nn.Linear(4, 3)), torch.randn(2, 4), "int64",
    ),
    "an index as a number": (
        lambda: Layers(lambda net, x: net.layer(x).argmax(1) * 0.5, layer=nn.Linear(4, 3)), torch.randn(2, 4), "mul",
    ),
    "all samples": (
        lambda: Layers(lambda net, x: net.layer(x).argmax(), layer=nn.Linear(4, 3)), torch.randn(2, 4), "flatten",
    ),
    "several places": (
        lambda: Layers(lambda net, x: net.layer(x).topk(2)[1], layer=nn.Linear(4, 3)), torch.randn(2, 4), "topk",
    ),
    "computed rows": (
        lambda: Layers(lambda net, t: net.table(t + 1), table=nn.Embedding(9, 3)), words(2, 8, 4), "int64",
    ),
    "max_norm": (
        lambda: Layers(lambda net, t: net.table(t), table=nn.Embedding(9, 3, max_norm=0.1)), words(2, 9, 4), "renorm",
    ),
    "row left out of a mean": (
        lambda: nn.EmbeddingBag(9, 3, padding_idx=0), words(2, 9, 4), "hangs on what comes in",
    ),
    "sparse": (
        lambda: Layers(lambda net, t: net.table(t), table=nn.Embedding(9, 3, sparse=True)), words(2, 9, 4), "sparse",
    ),
    "by frequency": (
        lambda: Layers(lambda net, t: net.table(t), table=nn.Embedding(9, 3, scale_grad_by_freq=True)), words(2, 9, 4),
        "scale_grad_by_freq",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_in_words(name: str) -> None:
    make, example, word = REFUSED[name]
    with pytest.raises(UnsupportedLayer, match=word):
        qtorch.prepare(make(), example)


@pytest.mark.parametrize("name", ["segments", "mean of words"])
def test_sixteen_bits_have_no_kernel(name: str) -> None:
    net, inputs = CASES[name]()
    with pytest.raises(UnsupportedLayer, match="activations int8 for"):
        qtorch.prepare(net, inputs, QuantizationConfig(activations="int16"))


def test_integers_that_nothing_is_looked_up_by_are_numbers() -> None:
    net = nn.Sequential(nn.Linear(4, 3))
    numbers = torch.randint(0, 200, (40, 4))
    qat = qtorch.prepare(Layers(lambda net, x: net.layer(x.float()), layer=net), numbers)
    qtorch.calibrate(qat, [numbers])
    graph = integer_graph(qat)
    assert [graph.values[name].dtype for name in graph.inputs] == ["int8"]
    assert [each.of_indices for each in qat.modules() if hasattr(each, "of_indices")] == [False, False]


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_a_whole_export(io: str) -> None:
    torch.manual_seed(0)
    net, (kinds, numbers) = CASES["kind and numbers"]()
    labelled = Layers(lambda outer, k, x: outer.net(k, x).argmax(1), net=net)
    test = (kinds, numbers), net(kinds, numbers).argmax(1)

    def accuracy(inputs: Any, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"accuracy": float((outputs == targets).double().mean())}

    bundle = export.export_network(
        labelled, name="kinds", calibration=(kinds, numbers), test=test, figures=accuracy,
        better={"accuracy": "higher"}, io=io,
    )  # fmt: skip
    assert bundle.metrics["test"]["post_training_int8"]["accuracy"] > 0.9
    assert bundle.metrics["tensors"][0]["dtype"] == bundle.metrics["tensors"][2]["dtype"] == "int32"
    assert "int32_t out" in bundle.files["kinds_model.h"].decode()
    assert "const int32_t *in_0" in bundle.files["kinds_model.h"].decode()


def test_firmware_projects_say_that_they_have_none() -> None:
    net, inputs = CASES["label"]()
    with pytest.raises(BadInput, match="indices at"):
        export.export_network(net, name="label", calibration=inputs[0], firmware="build/firmware")
