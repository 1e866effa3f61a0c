"""Recurrent layers and cells: PyTorch's own numbers, TFLite Micro's integers, plain C, and training on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.c.compiled import run_c
from export.c.model import c_model
from export.engines import TFLM
from export.graph.build import float_graph, integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.outputs import corner_codes, parity
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile, UnsupportedLayer
from qtorch.network.quantized_op import QuantizedOp

Call = Callable[[Any, Tensor], Any]


class Called(nn.Module):
    """A layer, and how it is called."""

    def __init__(self, layer: nn.Module, call: Call) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.layer, x)


def _loop(cell: Any, x: Tensor) -> Tensor:
    """A loop of the network's own."""
    state = cell(x[:, 0])
    for step in range(1, x.shape[1]):
        state = cell(x[:, step], state)
    found: Tensor = state[0] if isinstance(state, tuple) else state
    return found


def _states(layer: Any, x: Tensor) -> Tensor:
    found: Tensor = layer(x)[0]
    return found


def _hidden(result: Any) -> Tensor:
    found: Tensor = result[1][0] if isinstance(result[1], tuple) else result[1]
    return found


def _of_state(layer: Any, x: Tensor) -> Tensor:
    """From a state that is computed."""
    first = torch.tanh(torch.cat([x[:, 0], x[:, 0, :1]], 1)).unsqueeze(0)
    found: Tensor = layer(x[:, 1:], (first, first) if isinstance(layer, nn.LSTM) else first)[0]
    return found


def _of_states(layer: Any, x: Tensor) -> Tensor:
    """From states of two layers, put together."""
    first = torch.cat([x[:, 0], x[:, 0, :1]], 1)
    apart = torch.cat([first.sigmoid().unsqueeze(0), first.tanh().unsqueeze(0)])
    alike = first.unsqueeze(0).expand(2, -1, -1), first.unsqueeze(0).repeat(2, 1, 1)
    states = (apart, alike[0]) if isinstance(layer, nn.LSTM) else alike[1]
    found: Tensor = layer(x[:, 1:], states)[0]
    return found


def _cases() -> dict[str, tuple[nn.Module, Call]]:
    cases: dict[str, tuple[nn.Module, Call]] = {}
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        cases |= {
            f"{kind.__name__}, {name}": (kind(3, 4, **options), call)
            for name, options, call in (
                ("all steps", {"batch_first": True}, _states),
                ("last step, no bias", {"batch_first": True, "bias": False}, lambda net, x: net(x)[0][:, -1]),
                ("layers and directions", {"batch_first": True, "num_layers": 2, "bidirectional": True}, _states),
                ("time first", {}, lambda net, x: net(x.permute(1, 0, 2))[0][-1]),
                ("time first, all", {}, lambda net, x: net(x.transpose(0, 1))[0].permute(1, 2, 0)),
                ("last state", {"batch_first": True, "num_layers": 2}, lambda net, x: _hidden(net(x))[-1]),
                ("last state alone", {"batch_first": True}, lambda net, x: _hidden(net(x)).squeeze(0)),
                ("last states of both directions", {"batch_first": True, "bidirectional": True},
                 lambda net, x: torch.cat([_hidden(net(x))[0], _hidden(net(x))[1]], 1)),
                ("last states, samples first", {"batch_first": True, "num_layers": 2},
                 lambda net, x: _hidden(net(x)).permute(1, 0, 2)),
                ("sequences of a sample", {"batch_first": True, "num_layers": 2, "bidirectional": True},
                 lambda net, x: torch.cat([net(x.reshape(-1, 2, 3))[0][:, 1].view(-1, 16),
                                           _hidden(net(x.reshape(-1, 2, 3)))[-1].view(-1, 8)], 1)),
                ("sequences of a sample, time first", {},
                 lambda net, x: net(x.reshape(-1, 2, 3).transpose(0, 1))[0].transpose(0, 1).reshape(-1, 16)),
                ("states and last state", {"batch_first": True}, lambda net, x: (net(x)[0], _hidden(net(x))[0])),
                ("from a state", {"batch_first": True}, _of_state),
            )
        }  # fmt: skip
    cases["LSTM, last cell state"] = nn.LSTM(3, 4, batch_first=True), lambda net, x: net(x)[1][1][0]
    cases["LSTM, from states"] = nn.LSTM(3, 4, 2, batch_first=True), _of_states
    cases["GRU, from states"] = nn.GRU(3, 4, 2, batch_first=True), _of_states
    cases["LSTM, projected"] = nn.LSTM(3, 4, 2, batch_first=True, proj_size=2, bidirectional=True), _states
    cases["RNN, relu"] = nn.RNN(3, 4, nonlinearity="relu", batch_first=True), _states
    for cell in (nn.LSTMCell(3, 4), nn.GRUCell(3, 4), nn.RNNCell(3, 4), nn.RNNCell(3, 4, nonlinearity="relu")):
        cases[f"{type(cell).__name__}{getattr(cell, 'nonlinearity', '')}"] = cell, _loop
    return cases


def _calibrated(name: str, config: qtorch.QuantizationConfig | None = None) -> tuple[Called, Any, Tensor]:
    torch.manual_seed(0)
    layer, call = _cases()[name]
    net, x = Called(layer, call).eval(), torch.randn(60, 4, 3)
    qat = qtorch.prepare(net, x[:1], config).eval()
    torch.testing.assert_close(qat(x), net(x))
    qtorch.calibrate(qat, [x])
    return net, qat, x


def _outputs(net: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    found = net(x)
    return tuple(each.detach() for each in (found if isinstance(found, tuple) else (found,)))


def _gradients(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    found = net(x)
    sum(part.sin().sum() for part in (found if isinstance(found, tuple) else (found,))).backward()
    return {name: each.grad for name, each in net.named_parameters() if each.grad is not None}


def _in_turn() -> list[Any]:
    """All cases with the sweeps; always each way to call an LSTM, and each to call a loop with one of the others."""
    names, ways = list(_cases()), [name.partition(", ")[2] for name in _cases() if name.startswith("LSTM, ")]
    left = {f"{kind}, {way}" for i, way in enumerate(ways) for kind in ("GRU", "RNN")[i % 2 :][:1]}
    return [pytest.param(name, marks=[pytest.mark.sweep] if name in left else []) for name in names]


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", _in_turn())
def test_a_layer_is_exact(name: str) -> None:
    """Of the module, in floats, gradients and parameters' names; of TFLite Micro, in integers; near, in training."""
    net, qat, x = _calibrated(name)
    assert {each for each, _ in qat.named_parameters()} == {each for each, _ in net.named_parameters()}
    wanted, found = _gradients(net, x), _gradients(qat, x)
    for each in wanted:
        torch.testing.assert_close(found[each], wanted[each], msg=each)
    graph = integer_graph(qat)
    codes = corner_codes(graph, random=100)
    report = parity(graph, write_tflite(graph), codes, qat, reported=())
    assert {report.engines[each].exact_share for each in ("tflm", "qat_network")} == {1.0}
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    assert max(float((a - b).abs().max()) for a, b in zip(_outputs(qat, x), _outputs(net, x), strict=True)) < 0.05
    found = _gradients(qat, x)
    for each in wanted:
        assert float((found[each] - wanted[each]).norm()) < 0.2 * float(wanted[each].norm()), each


@pytest.mark.tflm
@pytest.mark.parametrize(
    "name", ["LSTM, layers and directions", "LSTM, sequences of a sample", "GRU, all steps", "LSTMCell"]
)
def test_a_layer_of_16_bits_is_exact(name: str) -> None:
    _, qat, _ = _calibrated(name, qtorch.QuantizationConfig(activations="int16"))
    graph = integer_graph(qat)
    assert parity(graph, write_tflite(graph), corner_codes(graph, random=100), qat).engines["tflm"].exact_share == 1.0


@pytest.mark.parametrize(
    "name", ["LSTM, layers and directions", "LSTM, sequences of a sample", "GRU, layers and directions", "RNNCelltanh"]
)
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_it_is_the_same_in_plain_c(name: str, activations: Any) -> None:
    graph = integer_graph(_calibrated(name, qtorch.QuantizationConfig(activations=activations))[1])
    codes = corner_codes(graph, random=50)
    outputs = run_c("recurrent", c_model("recurrent", graph).files, graph, codes)
    assert (outputs[0] == interpret(graph, codes)[graph.outputs[0]]).all()


def test_an_lstm_is_one_op_of_each_layer_and_direction() -> None:
    qat = _calibrated("LSTM, layers and directions")[1]
    ops = [node.op for node in integer_graph(qat).nodes]
    assert ops.count("unidirectional_sequence_lstm") == 4
    assert set(ops) == {"unidirectional_sequence_lstm", "reverse_v2", "concatenation"}


class Given(nn.Module):
    """First states as inputs, as a person would hand them to a layer: layers first, or samples."""

    def __init__(self, samples_first: bool) -> None:
        super().__init__()
        self.layer, self.samples_first = nn.LSTM(3, 4, 2, batch_first=True), samples_first

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        if self.samples_first:
            h, c = h.transpose(0, 1).contiguous(), c.transpose(0, 1).contiguous()
        found: Tensor = self.layer(x, (h, c))[0]
        return found


def test_first_states_are_inputs_of_samples_first() -> None:
    torch.manual_seed(0)
    x, h, c = torch.randn(5, 3, 3), torch.randn(5, 2, 4), torch.randn(5, 2, 4)
    with pytest.raises(UnsupportedLayer, match=r"samples along the first axis.*h\.transpose\(0, 1\)"):
        qtorch.prepare(Given(False), (x, h.transpose(0, 1), c.transpose(0, 1)))
    net = Given(True).eval()
    torch.testing.assert_close(qtorch.prepare(net, (x, h, c)).eval()(x, h, c), net(x, h, c))


def test_weights_of_steps_stand_in_the_file_once() -> None:
    qat = _calibrated("GRU, all steps")[1]
    weights = [op for op in qat.modules() if isinstance(op, QuantizedOp) and op.row.name == "fully_connected"]
    graph = integer_graph(qat)
    model = write_tflite(graph)
    stored = {each.contents.tobytes() for each in graph.constants().values() if each.dtype in ("int8", "int32")}
    # Two of the input, two of the state: weights and, but for one, biases.
    assert len(weights) == 8
    assert len(stored) == 7 + 1
    assert all(model.count(each) == 1 for each in stored if len(each) > 16)


def _graph() -> Graph:
    return integer_graph(_calibrated("LSTM, all steps")[1])


@pytest.mark.tflm
def test_every_inference_begins_at_zeros() -> None:
    graph = _graph()
    (codes,) = corner_codes(graph, random=20)
    model = write_tflite(graph)
    (once,) = TFLM.run(model, (codes[:1],))
    (again,) = TFLM.run(model, (codes[[1, 0, 2, 0]],))
    assert (again[[1, 3]] == once).all()
    assert (again[0] != once[0]).any()


def test_a_file_whose_state_is_set_to_something_else_is_refused() -> None:
    graph = _graph()
    zero = graph.values[graph.outputs[0]].quantization.zero_point[0]
    model = write_tflite(graph)
    zeros = np.full(16, zero, np.int8)[:4].tobytes()
    places = [at for at in range(len(model)) if model.startswith((4).to_bytes(4, "little") + zeros, at)]
    assert len(places) == 1
    other = bytearray(model)
    other[places[0] + 5] ^= 1
    with pytest.raises(BadModelFile, match="set to something else"):
        read_tflite(bytes(other))


def test_a_cell_state_lies_on_the_least_power_of_two_that_holds_it() -> None:
    net, qat, x = _calibrated("LSTM, all steps")
    largest = 0.0
    with torch.no_grad():
        for count in range(1, 5):
            largest = max(largest, float(net.layer(x[:, :count])[1][1].abs().max()))
    (node,) = integer_graph(qat).nodes
    exponent = node.attrs["cell_exponent"]
    assert 2.0 ** (exponent - 1) * 2**15 <= largest * 1.001 <= 2.0**exponent * 2**15


def test_a_state_dict_brings_the_cell_states_range() -> None:
    _, qat, x = _calibrated("LSTM, all steps")
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    other = qtorch.prepare(Called(*_cases()["LSTM, all steps"]), x[:1])
    other.load_state_dict(qat.state_dict())
    assert torch.equal(other.eval()(x), qat(x))
    assert [dict(node.attrs) for node in integer_graph(other).nodes] == [
        dict(n.attrs) for n in integer_graph(qat).nodes
    ]


def _dropping(layer: Any, x: Tensor) -> Tensor:
    found: Tensor = layer(x)[0] if layer.batch_first else layer(x.permute(1, 0, 2))[0][-1]
    return found


_DROPPING = [nn.LSTM(3, 4, 2, dropout=0.3, batch_first=True), nn.GRU(3, 4, 2, dropout=0.3, bidirectional=True)]


@pytest.mark.parametrize("layer", _DROPPING)
def test_dropout_between_layers_draws_what_the_layer_draws(layer: nn.Module) -> None:
    net, x = Called(layer, _dropping), torch.randn(9, 4, 3)
    qat = qtorch.prepare(net, x[:1])
    for seed in range(3):
        torch.manual_seed(seed)
        wanted = net(x)
        torch.manual_seed(seed)
        torch.testing.assert_close(qat(x), wanted)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    assert not torch.equal(qat(x), qat(x))
    assert torch.equal(qat.eval()(x), qat(x))


class Dropping(nn.Module):
    """A layer that is told that it trains, beside dropout by function."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.layer(x)[0][:, -1], 0.5, self.training)


@pytest.mark.filterwarnings("error")
def test_dropout_beside_a_layer_is_captured() -> None:
    net, x = Dropping(), torch.randn(9, 4, 3)
    qat = qtorch.prepare(net, x[:1])
    torch.manual_seed(0)
    wanted = net(x)
    torch.manual_seed(0)
    torch.testing.assert_close(qat(x), wanted)


#: A few more steps than a loop may have.
_MANY = lambda net, x: net(x.repeat(1, 17, 1))[0]  # noqa: E731


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("layer", "call", "words"), [
    (nn.LSTM(3, 4, proj_size=2, batch_first=True), _MANY, "without proj_size"),
    (nn.LSTM(3, 4), _states, "by batch_first=True"),
    (nn.GRU(3, 4), _states, "by batch_first=True"),
    (nn.GRU(3, 4, batch_first=True), _MANY, "at most 64"),
])  # fmt: skip
def test_what_is_refused_is_told_a_remedy(layer: nn.Module, call: Call, words: str) -> None:
    with pytest.raises(UnsupportedLayer, match=words):
        qtorch.prepare(Called(layer, call), torch.randn(4, 4, 3))


def test_a_file_of_floats_is_refused() -> None:
    with pytest.raises(UnsupportedLayer, match="begin anew in every inference"):
        write_tflite(
            float_graph(Called(nn.LSTM(3, 4, batch_first=True), _states).eval(), torch.randn(1, 4, 3), "float32")
        )


@pytest.mark.tflm
def test_a_layer_left_in_floats() -> None:
    config = qtorch.QuantizationConfig(layers={"sequence_lstm": {"skip": True}})
    _, qat, _ = _calibrated("LSTM, last step, no bias", config)
    graph = integer_graph(qat)
    assert parity(graph, write_tflite(graph), corner_codes(graph, random=20), qat).engines["tflm"].exact_share > 0.9


def test_an_lstm_of_many_steps_is_one_op() -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 4, 3)
    qat = qtorch.prepare(Called(nn.LSTM(3, 4, batch_first=True), _MANY), x[:1])
    qtorch.calibrate(qat, [x])
    assert [node.op for node in integer_graph(qat).nodes].count("unidirectional_sequence_lstm") == 1
