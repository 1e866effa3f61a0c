"""Attention from the module to the device: the oracle is torch's module in float, TFLite Micro and C in integers."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.c.compiled import run_c
from export.c.model import c_model
from export.graph.build import float_graph, integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import AccumulatorOverflow, UnsupportedLayer

LENGTH, WIDTH = 7, 16
LOWER = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
MINUS_INFINITY = torch.zeros(LENGTH, LENGTH).masked_fill(~LOWER, -torch.inf)

Function = Callable[[Any, Tensor], Any]


class Heads(nn.Module):
    """Queries, keys and values of a sequence in heads, and a function of the module and of the sequence."""

    def __init__(self, function: Function, heads: int = 4, **options: Any) -> None:
        super().__init__()
        self.function, self.heads = function, heads
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.layer = nn.MultiheadAttention(WIDTH, heads, **{"batch_first": True, **options})
        self.register_buffer("lower", LOWER)
        self.register_buffer("minus_infinity", MINUS_INFINITY)
        self.register_buffer("padding", torch.arange(LENGTH)[None] > 4)
        self.bias = nn.Parameter(torch.randn(heads, LENGTH, LENGTH))

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        batch, length, width = x.shape
        layers = (self.query, self.key, self.value)
        shape = (batch, length, self.heads, width // self.heads)
        return tuple(layer(x).view(shape).transpose(1, 2) for layer in layers)

    def joined(self, heads: Tensor) -> Tensor:
        y: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return y

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def own(s: Heads, x: Tensor) -> Tensor:
    q, k, v = s.split(x)
    return s.joined((q @ k.transpose(-2, -1) * 4**-0.5).softmax(-1) @ v)


def attended(**more: Any) -> Function:
    def function(s: Heads, x: Tensor) -> Tensor:
        q, k, v = s.split(x)
        given = {name: value(s) if callable(value) else value for name, value in more.items()}
        return s.joined(F.scaled_dot_product_attention(q, k, v, **given))

    return function


def grouped(s: Heads, x: Tensor) -> Tensor:
    q, k, v = s.split(x)
    return s.joined(F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], is_causal=True, enable_gqa=True))


def padded(s: Heads, x: Tensor) -> Tensor:
    padding = s.padding.expand(x.shape[0], LENGTH)
    y: Tensor = s.layer(x, x, x, key_padding_mask=padding, attn_mask=~s.lower, need_weights=False)[0]
    return y


#: By name: the function, and how many additions and masks the device computes.
ATTENTION: dict[str, tuple[Function, dict[str, int]]] = {
    "own code": (own, {}),
    "divided before": (lambda s, x: s.joined(((s.split(x)[0] / 2) @ s.split(x)[1].mT).softmax(-1) @ s.split(x)[2]), {}),
    "dot product": (attended(), {}),
    "scale": (attended(scale=0.3), {}),
    "causal": (attended(is_causal=True), {"minimum": 1}),
    "boolean mask": (attended(attn_mask=lambda s: s.lower), {"minimum": 1}),
    "minus infinity": (attended(attn_mask=lambda s: s.minus_infinity), {"minimum": 1}),
    "bias": (attended(attn_mask=lambda s: s.bias), {"add": 1}),
    "bias and mask": (attended(attn_mask=lambda s: s.minus_infinity + s.bias.detach()), {"add": 1, "minimum": 1}),
    "grouped": (grouped, {"minimum": 1, "strided_slice": 2}),
    "layer": (lambda s, x: s.layer(x, x, x, need_weights=False)[0], {}),
    "layer with weights": (lambda s, x: s.layer(x, x, x), {"mean": 1}),
    "layer with weights of each head": (lambda s, x: s.layer(x, x, x, average_attn_weights=False), {}),
    "layer with a mask": (lambda s, x: s.layer(x, x, x, attn_mask=~s.lower)[0], {"minimum": 1}),
    "layer with minus infinity": (
        lambda s, x: s.layer(x, x, x, attn_mask=s.minus_infinity, is_causal=True, need_weights=False)[0],
        {"minimum": 1},
    ),
    "layer with padding": (padded, {"minimum": 1}),
    "layer to another": (lambda s, x: s.layer(x, s.key(x)[:, :4], s.key(x)[:, :4])[0], {"strided_slice": 2}),
}


def prepared(net: nn.Module, *data: Tensor, **settings: Any) -> Any:
    """Calibrated, in QUANTIZED mode. That it is the module in float, ``prepare`` has seen."""
    config = qtorch.QuantizationConfig(**settings) if settings else None
    qat = qtorch.prepare(net.eval(), tuple(x[:1] for x in data), config)
    qtorch.calibrate(qat, [data])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    return qat.eval()


def exact(qat: Any, *, c: bool = False) -> Graph:
    """The graph, which network, file, TFLite Micro and C agree on."""
    graph = integer_graph(qat)
    codes = corner_codes(graph, random=60)
    report = parity(graph, write_tflite(graph), codes, qat, reported=())
    assert report.engines["tflm"].exact_share == 1
    if c:
        outputs, expected = run_c("attention", c_model("attention", graph).files, graph, codes), interpret(graph, codes)
        assert all(np.array_equal(got, expected[name]) for got, name in zip(outputs, graph.outputs, strict=True))
    return graph


@pytest.mark.tflm
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_exact_and_costs_no_more_than_it_says(name: str) -> None:
    function, more = ATTENTION[name]
    torch.manual_seed(0)
    graph = exact(prepared(Heads(function), torch.randn(32, LENGTH, WIDTH)), c=name in ("own code", "causal"))
    ops = Counter(node.op for node in graph.nodes)
    # A transpose for each that the network has but that of the keys; no product with a factor.
    assert ops.pop("transpose") == 4
    assert ops.pop("reshape") <= 6
    assert ops.pop("fully_connected") in (4, 5, 6)
    assert dict(ops) == {"batch_matmul": 2, "softmax": 1, **more}
    assert all(node.attrs == {"adj_x": False, "adj_y": True} for node in graph.nodes if node.op == "batch_matmul")


class Fused(nn.Module):
    """Queries, keys and values of one layer, as vision transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        samples, length, width = x.shape
        q, k, v = self.qkv(x).reshape(samples, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        attended: Tensor = ((q * 4**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return attended.transpose(1, 2).reshape(samples, length, width)


@pytest.mark.tflm
def test_what_is_cut_in_three_is_transposed_once_and_not_piece_by_piece() -> None:
    graph = exact(prepared(nn.Sequential(Fused(), Fused()), torch.randn(32, LENGTH, WIDTH)))
    assert [node.op for node in graph.nodes if node.op in ("transpose", "slice", "batch_matmul")] == [
        *("transpose", *["slice"] * 3, *["batch_matmul"] * 2, "transpose") * 2
    ]


@pytest.mark.tflm
@pytest.mark.parametrize("name", ["own code", "causal", "bias", "layer with padding"])
def test_attention_of_16_bits_is_exact(name: str) -> None:
    torch.manual_seed(0)
    exact(prepared(Heads(ATTENTION[name][0]), torch.randn(32, LENGTH, WIDTH), activations="int16"), c=name == "causal")


class Transformers(nn.Module):
    """A decoder over an encoder, with a mask that torch's code wants to look into."""

    def __init__(self, norm_first: bool, dropout: float = 0.1) -> None:
        super().__init__()
        options: dict[str, Any] = {"batch_first": True, "norm_first": norm_first, "dropout": dropout}
        encoder, decoder = (
            each(WIDTH, 4, 24, **options) for each in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
        )
        self.encoder = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, 1)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = self.decoder(y, self.encoder(x, mask=self.mask), tgt_mask=self.mask)
        return found


@pytest.mark.tflm
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformers_are_exact_and_train_as_torch_has_them(norm_first: bool) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(16, LENGTH, WIDTH), torch.randn(16, LENGTH, WIDTH)
    with warnings.catch_warnings():
        # Of a network that draws otherwise in training than the one that was captured, `prepare` says so.
        warnings.simplefilter("error")
        qat = prepared(Transformers(norm_first), x, y)
    ops = Counter(node.op for node in exact(qat).nodes)
    assert (ops["batch_matmul"], ops["softmax"], ops["minimum"], ops["transpose"]) == (8, 4, 3, 16)


@pytest.mark.parametrize("name", ["causal", "boolean mask", "minus infinity", "layer with padding"])
def test_masked_places_get_exactly_nothing(name: str) -> None:
    """And the others what the float function gives them, as nearly as without a mask."""
    torch.manual_seed(2)
    x = 2 * torch.randn(64, LENGTH, WIDTH)

    def weights(s: Heads, x: Tensor) -> Tensor:
        if name == "layer with padding":
            padding = s.padding.expand(x.shape[0], LENGTH)
            found: Tensor = s.layer(x, x, x, key_padding_mask=padding, attn_mask=~s.lower)[1]
            return found
        q, k, _ = s.split(x)
        one = torch.eye(LENGTH).expand(x.shape[0], 4, LENGTH, LENGTH)
        more = {"causal": {"is_causal": True}, "boolean mask": {"attn_mask": s.lower}}
        given = more.get(name, {"attn_mask": s.minus_infinity})
        return F.scaled_dot_product_attention(q, k, one, **given)

    net = Heads(weights)
    with torch.no_grad():
        wanted, got = net(x), prepared(net, x)(x)
    assert bool((wanted == 0).any())
    assert bool((got[wanted == 0] == 0).all())
    assert float((got - wanted).abs().max()) < 0.05
    assert bool(((got > 0) == (wanted > 1.5 / 256))[wanted > 1.5 / 256].all())


def test_training_on_steps_has_the_gradients_of_the_float_network() -> None:
    torch.manual_seed(3)
    net = Heads(attended(is_causal=True))
    x = torch.randn(64, LENGTH, WIDTH)
    target = torch.randn(64, LENGTH, WIDTH)
    wanted = torch.autograd.grad(((net(x) - target) ** 2).mean(), [p for n, p in net.named_parameters() if "weight" in n
                                 and "layer" not in n])  # fmt: skip
    qat = prepared(net, x).train()
    named = [p for n, p in qat.named_parameters() if "weight" in n]
    got = torch.autograd.grad(((qat(x) - target) ** 2).mean(), named)
    assert len(wanted) == len(got) == 4
    for a, b in zip(wanted, got, strict=True):
        assert float(F.cosine_similarity(a.flatten(), b.flatten(), 0)) > 0.98


@pytest.mark.tflm
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_block_that_was_trained_on_steps_is_exact(norm_first: bool) -> None:
    """Of two tokens of a sequence, which one is like the last one: nothing without attention tells."""
    torch.manual_seed(4)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 24, 0.0, batch_first=True, norm_first=norm_first)
            self.head = nn.Linear(WIDTH, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(self.layer(x)[:, -1])
            return y

    marks = F.normalize(torch.randn(512, 2, WIDTH), dim=-1) * 3
    labels = torch.randint(0, 2, (512,))
    last = marks[torch.arange(512), labels]
    x = torch.cat([marks, last[:, None]], 1)
    x[:, 0, 0], x[:, 1, 0], x[:, 2, 0] = 2.0, -2.0, 0.0
    net = Block()
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()
    qat = prepared(net, x).train()
    optimizer, losses = torch.optim.Adam(qat.parameters(), 1e-3), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(qat(x), labels)
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step()
    assert losses[-1] < losses[0]
    exact(qat.eval(), c=True)


class Scores(nn.Module):
    """A function of two layers of a sequence, and a mask."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function, self.query, self.key = function, nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.register_buffer("kept", LOWER)
        self.register_buffer("table", torch.randn(LENGTH, LENGTH))
        self.factor = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.query(x), self.key(x))


#: Factors in front of a softmax: those that it takes in, by what it has then, and how many stay products.
FACTORS: dict[str, tuple[Callable[..., Tensor], float, int]] = {
    "behind": (lambda s, q, k: (q @ k.mT * 0.25).softmax(-1), 0.25, 0),
    "divided": (lambda s, q, k: (q @ k.mT / 8).softmax(-1), 0.125, 0),
    "before": (lambda s, q, k: ((0.5 * q) @ (k / 4).mT).softmax(-1), 0.125, 0),
    "several, a mask between": (
        lambda s, q, k: ((q * 0.5) @ k.mT).masked_fill(~s.kept, -torch.inf).mul(0.5).softmax(-1),
        0.25,
        0,
    ),
    "a sum between": (lambda s, q, k: ((q @ k.mT * 0.25 + s.table) * 0.5).softmax(-1), 0.125, 0),
    "of another axis": (lambda s, q, k: (q @ k.mT * 0.25).softmax(1), 0.25, 0),
    "too small": (lambda s, q, k: (q @ k.mT * 1e-4).softmax(-1), 1.0, 1),
    "too large": (lambda s, q, k: (q @ k.mT * 100).softmax(-1), 1.0, 1),
    "negative": (lambda s, q, k: (q @ k.mT * -0.5).softmax(-1), 1.0, 1),
    "trained": (lambda s, q, k: (q @ k.mT * s.factor).softmax(-1), 1.0, 1),
    "read twice": (lambda s, q, k: (q @ k.mT * 0.5).softmax(-1) + q @ k.mT * 0.5, 0.5, 1),
    "of more than scores": (lambda s, q, k: (lambda t: t.softmax(-1) + t)(q @ k.mT * 0.5), 1.0, 1),
}


@pytest.mark.tflm
@pytest.mark.parametrize("name", FACTORS)
def test_a_softmax_takes_in_the_factors_of_what_it_reads_alone(name: str) -> None:
    function, beta, products = FACTORS[name]
    torch.manual_seed(5)
    graph = exact(prepared(Scores(function), torch.randn(32, LENGTH, WIDTH)))
    assert [node.attrs["beta"] for node in graph.nodes if node.op == "softmax"] == [beta]
    assert [node.op for node in graph.nodes].count("mul") == products


@pytest.mark.tflm
def test_matrices_are_read_as_they_lie_and_constants_stand_turned() -> None:
    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(3, 6, 4))

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            return x @ y, x.mT @ y.mT, torch.einsum("bhij,bhkj->bhik", x, x), x.mT @ x, x @ self.table

    torch.manual_seed(6)
    graph = exact(prepared(Products(), torch.randn(32, 3, 5, 6), torch.randn(32, 3, 6, 5)), c=True)
    assert {node.op for node in graph.nodes} == {"batch_matmul"}
    turns = [(node.attrs["adj_x"], node.attrs["adj_y"]) for node in graph.nodes if node.op == "batch_matmul"]
    assert turns == [(False, False), (True, True), (False, True), (True, False), (False, True)]
    constant = next(value for value in graph.values.values() if value.data is not None)
    assert constant.shape == (1, 3, 4, 6)


@pytest.mark.tflm
def test_float_graphs_have_the_same_attention() -> None:
    torch.manual_seed(7)
    net = Heads(attended(is_causal=True)).eval()
    x = torch.randn(4, LENGTH, WIDTH)
    graph = float_graph(net, x, "float32")
    with torch.no_grad():
        found = interpret(graph, (x.numpy(),))[graph.outputs[0]]
        np.testing.assert_allclose(found, net(x).numpy(), rtol=1e-4, atol=1e-5)


def test_sums_that_leave_their_integers_are_refused() -> None:
    class Long(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ x.mT

    with pytest.raises(AccumulatorOverflow, match="batch_matmul"):
        qtorch.prepare(Long(), torch.randn(1, 2, 1024), qtorch.QuantizationConfig(activations="int16"))
    qtorch.prepare(Long(), torch.randn(1, 2, 1023), qtorch.QuantizationConfig(activations="int16"))
    with pytest.raises(AccumulatorOverflow, match="batch_matmul"):
        qtorch.prepare(Long(), torch.randn(1, 2, 70_000))


@pytest.mark.parametrize(("length", "columns"), [(1100, 2), (4, 1100)])
def test_of_a_constant_first_matrix_its_own_length_counts(length: int, columns: int) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(2, 3, length))

        def forward(self, x: Tensor) -> Tensor:
            return self.table @ x

    x = torch.randn(4, 2, length, columns)
    qat = qtorch.prepare(First(), x, qtorch.QuantizationConfig(activations="int16"))
    qtorch.calibrate(qat, [x])
    if length > 1023:
        with pytest.raises(AccumulatorOverflow, match="batch_matmul"):
            integer_graph(qat)
    else:
        assert [node.op for node in integer_graph(qat).nodes] == ["batch_matmul"]


def test_a_product_of_samples_is_refused() -> None:
    class Mixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ x.t() @ x

    with pytest.raises(UnsupportedLayer, match="batch"):
        qtorch.prepare(Mixed(), torch.randn(2, 4))
