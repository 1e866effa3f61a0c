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
from export.graph.build import integer_graph
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


def _cases() -> dict[str, tuple[nn.Module, Call]]:
    cases: dict[str, tuple[nn.Module, Call]] = {}
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        cases |= {
            f"{kind.__name__}, {name}": (kind(3, 4, **options), call)
            for name, options, call in (
                ("all steps", {"batch_first": True}, _states),
                ("last step, no bias", {"batch_first": True, "bias": False}, lambda l, x: l(x)[0][:, -1]),
                ("layers and directions", {"batch_first": True, "num_layers": 2, "bidirectional": True}, _states),
                ("time first", {}, lambda l, x: l(x.permute(1, 0, 2))[0][-1]),
                ("time first, all", {}, lambda l, x: l(x.transpose(0, 1))[0].permute(1, 2, 0)),
                ("last state", {"batch_first": True, "num_layers": 2}, lambda l, x: _hidden(l(x))[-1]),
                ("last state alone", {"batch_first": True}, lambda l, x: _hidden(l(x)).squeeze(0)),
                ("last states of both directions", {"batch_first": True, "bidirectional": True},
                 lambda l, x: torch.cat([_hidden(l(x))[0], _hidden(l(x))[1]], 1)),
                ("last states, samples first", {"batch_first": True, "num_layers": 2},
                 lambda l, x: _hidden(l(x)).permute(1, 0, 2)),
                ("states and last state", {"batch_first": True}, lambda l, x: (l(x)[0], _hidden(l(x))[0])),
                ("from a state", {"batch_first": True}, _of_state),
            )
        }  # fmt: skip
    cases["LSTM, last cell state"] = nn.LSTM(3, 4, batch_first=True), lambda l, x: l(x)[1][1][0]
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


@pytest.mark.tflm
@pytest.mark.parametrize("name", _cases())
def test_a_layer_is_exact(name: str) -> None:
    _, qat, _ = _calibrated(name)
    graph = integer_graph(qat)
    codes = corner_codes(graph, random=100)
    report = parity(graph, write_tflite(graph), codes, qat)
    assert {report.engines[each].exact_share for each in ("tflm", "qat_network")} == {1.0}


@pytest.mark.tflm
@pytest.mark.parametrize("name", ["LSTM, all steps", "LSTM, layers and directions", "GRU, all steps", "LSTMCell"])
def test_a_layer_of_16_bits_is_exact(name: str) -> None:
    _, qat, _ = _calibrated(name, qtorch.QuantizationConfig(activations="int16"))
    graph = integer_graph(qat)
    assert parity(graph, write_tflite(graph), corner_codes(graph, random=100), qat).engines["tflm"].exact_share == 1.0


@pytest.mark.parametrize("name", ["LSTM, layers and directions", "GRU, layers and directions", "RNNCelltanh"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_it_is_the_same_in_plain_c(name: str, activations: Any) -> None:
    graph = integer_graph(_calibrated(name, qtorch.QuantizationConfig(activations=activations))[1])
    codes = corner_codes(graph, random=50)
    outputs = run_c("recurrent", c_model("recurrent", graph).files, graph, codes)
    assert (outputs[0] == interpret(graph, codes)[graph.outputs[0]]).all()


@pytest.mark.parametrize("name", _cases())
def test_parameters_are_the_layers_own_and_get_gradients(name: str) -> None:
    net, qat, x = _calibrated(name)
    assert {each for each, _ in qat.named_parameters()} == {each for each, _ in net.named_parameters()}
    for each in (net, qat):
        found = each(x)
        sum(part.sum() for part in (found if isinstance(found, tuple) else (found,))).backward()
    for each, parameter in net.named_parameters():
        torch.testing.assert_close(qat.get_parameter(each).grad, parameter.grad)


def _far(one: Any, other: Any) -> float:
    pairs = zip(*((each if isinstance(each, tuple) else (each,)) for each in (one, other)), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize("name", _cases())
def test_integers_are_near_and_their_gradients_too(name: str) -> None:
    net, qat, x = _calibrated(name)
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    assert _far(qat(x), net(x)) < 0.05
    for each in (net, qat):
        found = each(x)
        sum(part.sin().sum() for part in (found if isinstance(found, tuple) else (found,))).backward()
    for each, parameter in net.named_parameters():
        assert parameter.grad is not None
        grad = qat.get_parameter(each).grad
        assert grad is not None
        assert float((grad - parameter.grad).norm()) < 0.2 * float(parameter.grad.norm()), each


def test_an_lstm_is_one_op_of_each_layer_and_direction() -> None:
    qat = _calibrated("LSTM, layers and directions")[1]
    ops = [node.op for node in integer_graph(qat).nodes]
    assert ops.count("unidirectional_sequence_lstm") == 4
    assert set(ops) == {"unidirectional_sequence_lstm", "reverse_v2", "concatenation"}


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


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("layer", "call", "words"), [
    (nn.LSTM(3, 4, proj_size=2, batch_first=True), _states, "proj_size"),
    (nn.LSTM(3, 4), _states, "batch_first"),
    (nn.GRU(3, 4), _states, "batch_first"),
    (nn.GRU(3, 4, batch_first=True), lambda l, x: l(x.repeat(1, 30, 1))[0], "64 steps"),
    (nn.LSTM(3, 4, batch_first=True), lambda l, x: l(x, (x[:1, :, :1].repeat(1, 1, 4),) * 2)[0], "unsqueeze"),
])  # fmt: skip
def test_what_is_refused_is_told_a_remedy(layer: nn.Module, call: Call, words: str) -> None:
    with pytest.raises(UnsupportedLayer) as refused:
        qtorch.prepare(Called(layer, call), torch.randn(4, 4, 3))
    assert words in str(refused.value)
    assert "test_recurrent_layers.py" in str(refused.value)
