"""The batch wherever a network moves it: in the captured graph it is in front, and the graph is the network."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.capture.batch.in_front import put_batch_in_front
from qtorch.capture.capture import CapturedNetwork, capture_of
from qtorch.capture.nodes import Recorder
from qtorch.errors import UnsupportedLayer
from qtorch.surroundings import evaluating

pytestmark = pytest.mark.usefixtures("one_thread")


class Form(nn.Module):
    """A function of a network with some layers, and an input."""

    def __init__(self, form: Callable[[Any, Tensor], Tensor], size: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.linear, self.wide, self.norm = nn.Linear(size, size), nn.Linear(size, 3 * size), nn.LayerNorm(size)
        self.table, self.conv = nn.Parameter(torch.randn(6, 1, size)), nn.Conv2d(3, 4, 3, padding=1)
        self.batch_norm, self.act = nn.BatchNorm2d(4), nn.PReLU(4)
        self.signal, self.softmax = nn.Conv1d(4, 4, 3), nn.Softmax(-1)
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.gru, self.lstm = nn.GRUCell(size, size), nn.LSTMCell(size, size)
        self.order: Tensor
        self.register_buffer("order", torch.tensor([[0, 2], [1, 1]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.form(self, x)


def captured(net: nn.Module, example: Tensor) -> CapturedNetwork:
    """The graph of a network."""
    graph, odd = capture_of(net.eval(), example).traced(CapturedNetwork)
    assert not odd
    return graph


def require_in_front(graph: fx.GraphModule, example: Tensor) -> None:
    """Every tensor that depends on the input has the batch in front, and nowhere else."""
    for count in (13, 17):
        x = torch.randn(count, *example.shape[1:])
        with torch.no_grad(), evaluating(graph):
            Recorder(graph).run(x)
        depends: set[fx.Node] = set()
        for node in graph.graph.nodes:
            if node.op == "placeholder" or depends.intersection(node.all_input_nodes):
                shape = node.meta.get("shape")
                if shape and node.op != "output":
                    assert [axis for axis, size in enumerate(shape) if size % count == 0] == [0], (node, shape)
                depends.add(node)


def require_same(net: nn.Module, example: Tensor) -> CapturedNetwork:
    """The graph computes what the network does, on batches of several sizes."""
    graph = captured(net, example)
    require_in_front(graph, example)
    for count in (1, 2, 5):
        x = torch.randn(count, *example.shape[1:])
        with torch.no_grad(), evaluating(graph):
            torch.testing.assert_close(graph(x), net(x), atol=1e-5, rtol=1e-5)
    return graph


def calls(graph: fx.GraphModule) -> Counter[str]:
    return Counter(str(getattr(n.target, "__name__", n.target)) for n in graph.graph.nodes if n.op.startswith("call"))


SEQUENCE, IMAGE, FRAMES = torch.randn(2, 6, 8), torch.randn(2, 4, 6, 8), torch.randn(2, 3, 3, 6, 6)


def heads(net: Form, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    b, n, c = x.shape
    q, k, v = net.wide(x).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v


def attention(net: Form, x: Tensor) -> Tensor:
    q, k, v = heads(net, x)
    weights = net.softmax((q * 0.5) @ k.transpose(-2, -1))
    return net.linear((weights @ v).transpose(1, 2).reshape(x.shape))


def windows(net: Form, x: Tensor) -> Tensor:
    b, h, w, c = x.shape
    y = x.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
    y = net.linear(y).relu() + net.table[:4, 0]
    y = y.view(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(b, h, w, c)


def masked_windows(net: Form, x: Tensor) -> Tensor:
    """Scores of windows with a mask each, as of shifted windows."""
    y = x.flatten(0, 1)
    scores = torch.baddbmm(net.table[:, :, :6].transpose(0, 1), y, y.mT, alpha=0.1)
    mask = net.table[:4, :, :6]
    scores = scores.view(scores.shape[0] // 4, 4, 6, 6) + mask.unsqueeze(0)
    return (scores.view(-1, 6, 6).softmax(-1) @ y).view(x.shape)


def as_torch_does(net: Form, x: Tensor) -> Tensor:
    """Heads merged with the batch, behind places of a sequence."""
    length, count, size = (y := x.transpose(0, 1)).shape
    q, k, v = net.wide(y).unflatten(-1, (3, size)).unsqueeze(0).transpose(0, -2).squeeze(-2).contiguous()
    q, k, v = (each.view(length, count * 2, size // 2).transpose(0, 1) for each in (q, k, v))
    weights = torch.bmm(q / 2, k.transpose(1, 2)).softmax(-1)
    y = torch.bmm(weights, v).transpose(0, 1).contiguous().view(length * count, size)
    return F.linear(y, net.linear.weight, net.linear.bias).view(length, count, size).transpose(0, 1)


def frames(net: Form, x: Tensor) -> Tensor:
    b, t = x.shape[:2]
    y = net.act(net.batch_norm(net.conv(x.view(b * t, *x.shape[2:])))) + 1
    y = F.max_pool2d(y, 2).mean((2, 3))
    return y.view(b, t, -1)


def sequence_first(net: Form, x: Tensor) -> Tensor:
    y = net.norm(net.linear(x.permute(1, 0, 2)) + net.table)
    y = torch.cat([y, y.flip(0)], 2)[..., 3:11].roll(1, 0)
    return torch.stack([y, y * 2]).relu().sum(0).transpose(0, 1)


def cells(net: Form, x: Tensor) -> Tensor:
    """Steps of recurrent cells, one for each of a sample's rows."""
    rows = x.flatten(0, 1)
    state = net.gru(rows, rows.tanh())
    hidden, cell = net.lstm(state, (rows, torch.zeros_like(rows)))
    return (hidden + cell).view(x.shape)


def both_ways(net: Form, x: Tensor) -> Tensor:
    """A recurrent layer's two directions as one batch, from a state that is the same for all."""
    y = net.linear(torch.cat([x, x.flip(1)], 0))
    state = net.table[:1, 0].broadcast_to(y.shape[0], 8)
    for step in range(2):
        state = y[:, step] + F.linear(state, net.linear.weight)
    return torch.cat(state.chunk(2, 0), 1)


FORMS: dict[str, tuple[Callable[[Any, Tensor], Tensor], Tensor]] = {
    "attention": (attention, SEQUENCE),
    "unpacked": (lambda net, x: operator.mul(*heads(net, x)[:2]).flatten(1), SEQUENCE),
    "torch": (as_torch_does, SEQUENCE),
    "windows": (windows, IMAGE),
    "masked windows": (masked_windows, IMAGE),
    "frames": (frames, FRAMES),
    "sequence first": (sequence_first, SEQUENCE),
    "merged windows": (lambda net, x: x.flatten(0, 1).unfold(1, 3, 1).movedim(-1, 1).sum(1).view(-1, 4, 4, 8), IMAGE),
    "merged layer": (lambda net, x: net.linear(x.flatten(0, 1)).view(x.shape[0], 6, 8), SEQUENCE),
    "both ways from one state": (both_ways, SEQUENCE),
    "cells of every row": (cells, SEQUENCE),
    "overlapping signals": (
        lambda net, x: F.fold(x.reshape(-1, 6, 4), (1, 9), (1, 3), stride=(1, 2)).view(-1, 2, 2, 9), SEQUENCE,
    ),
    "by a size that is asked for": (lambda net, x: net.norm(x.reshape(x.size(0) * 6, 8)).view(-1, 6, 8), SEQUENCE),
    "heads in front": (
        lambda net, x: (
            x.view(x.shape[0], 6, 2, 4).permute(2, 0, 1, 3).reshape(-1, 6, 4).softmax(1)
            .view(2, x.shape[0], 6, 4).permute(1, 2, 0, 3).reshape(-1, 6, 8)
        ),
        SEQUENCE,
    ),
    "a new axis": (lambda net, x: (x.unsqueeze(0) * net.table.unsqueeze(1).view(6, 1, 1, 8)).mean(0), SEQUENCE),
    "one behind the other": (
        lambda net, x: torch.cat([x, net.linear(x)], 0).view(2, -1, 6, 8).amax(0), SEQUENCE,
    ),
    "and apart again": (lambda net, x: operator.sub(*net.linear(torch.cat([x, x * 2], 0)).chunk(2, 0)), SEQUENCE),
    "a half by its size": (lambda net, x: torch.cat([x, x * 2], 0)[x.shape[0] :] + x, SEQUENCE),
    "repeated": (lambda net, x: x.repeat(3, 1, 1).view(3, -1, 6, 8).sum(0), SEQUENCE),
    "repeated in a row": (lambda net, x: x.repeat_interleave(3, 0).view(-1, 3, 6, 8).sum(1), SEQUENCE),
    "table for each": (
        lambda net, x: (x.transpose(0, 1) + net.table.expand(-1, x.shape[0], -1)).transpose(0, 1), SEQUENCE,
    ),
    "mask for each": (
        lambda net, x: (x.flatten(0, 1) + net.table[:4, :].repeat(x.shape[0], 6, 1)).view(-1, 4, 6, 8), IMAGE,
    ),
    "zeros for each": (
        lambda net, x: torch.cat([torch.zeros(1, x.shape[0], 8), x.transpose(0, 1)])[1:].transpose(0, 1), SEQUENCE,
    ),
    "samples behind": (lambda net, x: (x.permute(1, 2, 0).softmax(1) * 2).permute(2, 0, 1), SEQUENCE),
    "ranks that differ": (lambda net, x: (x.transpose(0, 1) + x[:, 0]).transpose(0, 1), SEQUENCE),
    "rows of a matrix": (lambda net, x: (x.transpose(0, 1) @ net.wide.weight.t()).transpose(0, 1), SEQUENCE),
    "rows of several": (
        lambda net, x: torch.bmm(x.transpose(0, 1), net.wide.weight.view(6, 4, 8).mT).transpose(0, 1), SEQUENCE,
    ),
    "columns of a matrix": (lambda net, x: (net.wide.weight @ x.permute(1, 2, 0)).permute(2, 0, 1), SEQUENCE),
    "by a vector": (lambda net, x: (x.transpose(0, 1) @ net.linear.bias).t(), SEQUENCE),
    "added product": (
        lambda net, x: torch.addmm(net.wide.bias, x.reshape(-1, 8), net.wide.weight.t()).view(-1, 6, 24), SEQUENCE,
    ),
    "einstein": (
        lambda net, x: torch.einsum("tbc,sbc->tbs", x.transpose(0, 1), x.transpose(0, 1)).transpose(0, 1), SEQUENCE,
    ),
    "einstein, merged": (lambda net, x: torch.einsum("nqc,nkc->nqk", *[x.flatten(0, 1)] * 2).view(-1, 4, 6, 6), IMAGE),
    "attention by function": (
        lambda net, x: F.scaled_dot_product_attention(*[x.flatten(0, 1)] * 3, net.table[:, 0, :6]).view(x.shape), IMAGE,
    ),
    "padded": (lambda net, x: F.pad(x.transpose(0, 1), (1, 0, 0, 0, 2, 0)).transpose(0, 1), SEQUENCE),
    "padded by what is there": (lambda net, x: F.pad(x.view(1, -1, 8), (3, 3), "reflect").view(-1, 6, 14), SEQUENCE),
    "indexed": (lambda net, x: x.transpose(0, 1)[net.order].movedim(2, 0), SEQUENCE),
    "selected": (lambda net, x: x.transpose(0, 1)[-1], SEQUENCE),
    "largest": (lambda net, x: x.transpose(0, 1).max(0).values, SEQUENCE),
    "signals": (lambda net, x: net.signal(x.view(-1, 4, 4)).relu().view(x.shape[0], 3, 4, -1), torch.randn(2, 3, 4, 4)),
    "poolings": (
        lambda net, x: F.avg_pool2d(F.max_pool2d(x.flatten(0, 1), 2) - net.pool(x.flatten(0, 1)), 3)
        .view(x.shape[0], -1, 3),
        FRAMES,
    ),
    "beside the batch": (
        lambda net, x: torch.stack([y := x.transpose(0, 1), y * 2], 1).amax(1).transpose(0, 1), SEQUENCE,
    ),
    "dropped": (
        lambda net, x: F.dropout(net.linear(x.transpose(0, 1)), 0.2, net.training).transpose(0, 1), SEQUENCE,
    ),
    "of unit length": (lambda net, x: F.normalize(x.transpose(0, 1), dim=-1).transpose(0, 1), SEQUENCE),
    "largest by place": (
        lambda net, x: F.max_pool2d(x.flatten(0, 1), 2, return_indices=True)[0].view(-1, 3, 3, 9), FRAMES,
    ),
    "gated": (lambda net, x: F.glu(x.transpose(0, 1), -1).transpose(0, 1), SEQUENCE),
    "copied": (lambda net, x: x.transpose(0, 1).contiguous().clone().to(torch.float32).mT.permute(2, 0, 1), SEQUENCE),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_the_module(name: str) -> None:
    form, example = FORMS[name]
    require_same(Form(form), example)


#: Of these no product of two activations, and nothing without a kernel.
EXPORTED = {
    "both ways from one state": {"transpose": 0},
    "windows": {"transpose": 2, "fully_connected": 1},
    "frames": {"conv_2d": 3, "concatenation": 1},
    "sequence first": {"transpose": 0},
    "merged layer": {"transpose": 0, "fully_connected": 1},
    "unpacked": {"transpose": 1, "slice": 2},
    "one behind the other": {},
    "and apart again": {},
    "repeated in a row": {},
    "table for each": {"transpose": 0, "add": 1},
    "mask for each": {"transpose": 0, "add": 1},
    "padded": {"transpose": 0},
    "rows of a matrix": {"transpose": 0, "fully_connected": 1},
    "added product": {"transpose": 0, "fully_connected": 1},
    "signals": {"conv_2d": 3},
    "poolings": {"average_pool_2d": 2, "max_pool_2d": 1},
    "of unit length": {"transpose": 0},
}


@pytest.mark.parametrize("name", EXPORTED)
def test_files_are_the_network(name: str) -> None:
    """TFLite Micro computes the same codes, with no more transposes than the network's own meaning needs."""
    form, example = FORMS[name]
    net = Form(form).eval()
    with pytest.warns(UserWarning, match="'batch_norm' measures") if name == "frames" else nullcontext():
        qat = qtorch.prepare(net, example)
    qtorch.calibrate(qat, [torch.randn(32, *example.shape[1:])])
    graph = integer_graph(qat)
    report = parity(graph, write_tflite(graph), corner_codes(graph, random=8), qat.eval())
    assert report.engines["tflm"].exact_share == 1.0
    ops = Counter(node.op for node in graph.nodes)
    assert {op: ops[op] for op in EXPORTED[name]} == EXPORTED[name], ops


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], Tensor, str]] = {
    "samples added up": (
        lambda net, x: x.transpose(0, 1).sum(1), SEQUENCE, r"'sum' .*shape \(6, batch, 8\), whose axis 1",
    ),
    "attention over samples": (
        lambda net, x: (y := x.transpose(0, 1)) @ y.mT, SEQUENCE, r"'matmul' .*\(6, batch, 8\), whose axis 1",
    ),
    "a layer along samples": (lambda net, x: F.linear(x.permute(1, 2, 0), x[:, 0].t()), SEQUENCE, "'linear'"),
    "softmax over samples": (lambda net, x: x.flatten(0, 1).softmax(0), SEQUENCE, r"'softmax' .*\(batch \* 6, 8\)"),
    "two orders": (
        lambda net, x: x.flatten(0, 1) + x.transpose(0, 1).reshape(-1, 8), SEQUENCE, "'add' .*batch",
    ),
    "one sample": (lambda net, x: x.transpose(0, 1)[:, 0] + x[:, 0].sum(), SEQUENCE, "'select'"),
    "torn apart": (lambda net, x: x.transpose(0, 1).reshape(-1, 12, 4).sum(1), SEQUENCE, r"'reshape'.*\(6, batch, 8\)"),
    "torn unevenly": (lambda net, x: x.transpose(0, 1).reshape(4, -1, 12).sum(0), SEQUENCE, r"'reshape'"),
    "sorted through": (
        lambda net, x: x.transpose(0, 1).cummax(1).values.transpose(0, 1), SEQUENCE, "'cummax'.*axis 1",
    ),
    "windows of places": (lambda net, x: x.flatten(0, 1).unfold(0, 2, 2).sum(2), SEQUENCE, "'unfold'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_samples_that_meet_are_refused(name: str) -> None:
    """By the call, its line, and where the batch is in its tensor."""
    form, example, words = REFUSED[name]
    with pytest.raises(UnsupportedLayer, match=words) as refused:
        capture_of(Form(form).eval(), example).traced(CapturedNetwork)
    assert "test_batch_axis.py:" in str(refused.value)
    assert "movedim" in str(refused.value)


def test_what_is_returned_otherwise_is_refused_by_its_row() -> None:
    with pytest.raises(UnsupportedLayer, match="expected the batch axis to stay first"):
        qtorch.prepare(Form(lambda net, x: x.transpose(0, 1)).eval(), SEQUENCE)


def test_networks_that_leave_the_batch_are_not_touched() -> None:
    net = Form(lambda net, x: net.norm(net.linear(x)).view(x.shape[0], 6, 2, 4).transpose(1, 2).flatten(2))
    graph, _ = capture_of(net.eval(), SEQUENCE).traced(CapturedNetwork, decomposed=False)
    before = [(node, node.name, node.args) for node in graph.graph.nodes]
    assert put_batch_in_front(graph) == ""
    assert [(node, node.name, node.args) for node in graph.graph.nodes] == before


class Recurrent(nn.Module):
    """A layer of sequences, and what is read of its states."""

    def __init__(self, kind: Any, batch_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.first = kind(8, 5, num_layers=2, batch_first=batch_first), batch_first
        self.start = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.first else x.transpose(0, 1)
        start = self.start(x[:, :2]).transpose(0, 1)
        ys, last = self.layer(y, (start, start) if isinstance(self.layer, nn.LSTM) else start)
        last = last[0] if isinstance(last, tuple) else last
        other, _ = self.layer(y)
        ys = ys + other
        return (ys if self.first else ys.transpose(0, 1)).mean(1) + last[-1]


class RecurrentInBlocks(nn.Module):
    """A layer of each of several sequences that a sample has, begun with zeros and with states of their own."""

    def __init__(self, kind: Any, batch_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.first = kind(8, 5, batch_first=batch_first), batch_first

    def forward(self, x: Tensor) -> Tensor:
        y = x.reshape(-1, 3, 8) if self.first else x.view(-1, 2, 3, 8).permute(2, 1, 0, 3).flatten(1, 2)
        ys, last = self.layer(y)
        again, last = self.layer(y * 2, last)
        last = last[0] if isinstance(last, tuple) else last
        ys = ys + again if self.first else (ys + again).transpose(0, 1).unflatten(0, (2, -1)).transpose(0, 1)
        last = last[0].view(-1, 2, 5) if self.first else last[0].view(2, -1, 5).transpose(0, 1)
        return ys.reshape(x.shape[0], -1) + last.sum(1).repeat(1, 6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_sample_has_several_sequences(kind: Any, batch_first: bool) -> None:
    net, x = RecurrentInBlocks(kind, batch_first).eval(), torch.randn(5, 6, 8)
    torch.testing.assert_close(qtorch.prepare(net, x[:1]).eval()(x), net(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("batch_first", [True, False])
def test_layers_of_sequences_have_the_batch_in_front(kind: Any, batch_first: bool) -> None:
    net = Recurrent(kind, batch_first).eval()
    graph = captured(net, SEQUENCE)
    layers = [node for node in graph.graph.nodes if str(node.target).partition(".")[2][:3] in ("lst", "gru", "rnn")]
    assert all(node.args[-1] is True for node in layers)
    x = torch.randn(5, 6, 8)
    torch.testing.assert_close(graph.eval()(x), net(x), atol=1e-5, rtol=1e-5)
