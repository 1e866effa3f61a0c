"""Functions of one number as tables of codes: every spelling, chains of them, the three operators of the file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor, nn
from torch.nn import functional as F

import export
import qtorch
from export.c.compiled import run_c
from export.c.model import c_model
from export.graph.build import build, integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.outputs import compare_file, corner_codes, parity
from export.tflite.reader import read_tflite
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.errors import BadInput, BadModelFile, ParityError
from qtorch.families.functions_of_one_number import FUNCTIONS
from qtorch.ops import ROWS
from qtorch.ops.table import table_codes

pytestmark = pytest.mark.usefixtures("one_thread")


class Called(nn.Module):
    """A function behind a layer of the network."""

    def __init__(self, call: Callable[..., Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.call = nn.Linear(4, 6), call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.layer(x))


INPUTS = torch.linspace(-2, 2, 256).reshape(64, 4)


def prepared(call: Callable[..., Tensor], config: qtorch.QuantizationConfig | None = None) -> Any:
    qat = qtorch.prepare(Called(call), INPUTS[:1], config)
    qtorch.calibrate(qat, [INPUTS])
    return qat.eval()


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def steps_of(qat: nn.Module) -> list[Any]:
    """Of every table: its chain."""
    found = [each for each in qat.modules() if isinstance(each, qtorch.QuantizedOp)]
    return [each.attrs["steps"] for each in found if each.row.name == "table"]


# Spellings ---------------------------------------------------------------------------------------------------------

#: Of every function that is matched: calls, and what it computes of numbers of which it has a result.
SPELLED: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "gelu": (nn.GELU(), F.gelu, nn.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "silu": (nn.SiLU(), F.silu, lambda x: F.silu(x, inplace=True)),
    "mish": (nn.Mish(), F.mish),
    "elu": (nn.ELU(0.3), F.elu, lambda x: F.elu(x, 0.5), lambda x: F.elu_(x, alpha=0.5)),
    "selu": (nn.SELU(), F.selu, torch.selu, F.selu_),
    "celu": (nn.CELU(0.6), lambda x: F.celu(x, 0.6), torch.celu),
    "softplus": (nn.Softplus(2, 5), F.softplus, lambda x: F.softplus(x, threshold=1)),
    "softsign": (nn.Softsign(), F.softsign),
    "log_sigmoid": (nn.LogSigmoid(), F.logsigmoid),
    "hardsigmoid": (nn.Hardsigmoid(), F.hardsigmoid),
    "hardtanh": (nn.Hardtanh(-0.5, 2), F.hardtanh, lambda x: F.hardtanh(x, 0.25, math.inf)),
    "clamp": (lambda x: x.clamp(-1, 0.5), lambda x: torch.clamp(x, max=0.5), lambda x: x.clip_(0.1)),
    "clamp_min": (lambda x: x.clamp_min(-0.25), lambda x: torch.clamp_min(x, 0.5)),
    "clamp_max": (lambda x: x.clamp_max(0.25), lambda x: x.clamp_max_(0.75)),
    "threshold": (nn.Threshold(0.1, -1), lambda x: F.threshold(x, 0.2, 3)),
    "hardshrink": (nn.Hardshrink(), lambda x: x.hardshrink(0.3), lambda x: F.hardshrink(x, 0.3)),
    "softshrink": (nn.Softshrink(), lambda x: F.softshrink(x, 0.3)),
    "tanhshrink": (nn.Tanhshrink(), F.tanhshrink),
    "exp": (torch.exp, lambda x: x.exp(), torch.exp_),
    "square": (torch.square, lambda x: x.square()),
    "pow": (lambda x: x**2, lambda x: x.pow(3), lambda x: torch.pow(x, exponent=4)),
    "abs": (abs, torch.absolute, lambda x: x.abs_()),
    "neg": (lambda x: -x, torch.neg, torch.negative, lambda x: x.negative_()),
    "sign": (torch.sign, lambda x: x.sign_()),
    "reciprocal": (torch.reciprocal, lambda x: x.reciprocal()),
    **{
        name: (getattr(torch, name), lambda x, name=name: getattr(x, name)())
        for name in (
            "exp2", "expm1", "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "erf", "erfc", "floor", "ceil",
            "trunc", "frac", "round", "nan_to_num", "i0", "sinc",
        )
    },
    # Of positive numbers, or of small ones.
    **{
        name: (lambda x, name=name: getattr(torch, name)(torch.sigmoid(x)),)
        for name in ("log", "log2", "log10", "log1p", "sqrt", "asin", "acos", "atanh", "erfinv", "lgamma", "digamma")
    },
    **{
        f"special_{name}": (lambda x, name=name: getattr(torch.special, name)(torch.sigmoid(x)),)
        for name in ("erfcx", "log_ndtr", "ndtri", "entr", "i0e", "i1", "i1e")
    },
    "logit": (lambda x: torch.sigmoid(x).logit(), lambda x: torch.logit(x, 0.1)),
    "remainder": (lambda x: x % 0.7, lambda x: torch.remainder(x, -0.4)),
    "fmod": (lambda x: torch.fmod(x, 0.7),),
    "acosh": (lambda x: torch.acosh(torch.sigmoid(x) + 1.5),),
}  # fmt: skip


def test_every_function_is_tried() -> None:
    assert set(SPELLED) == set(FUNCTIONS)


@pytest.mark.parametrize("name", SPELLED)
def test_each_spelling_is_a_table(name: str) -> None:
    """The module's own result in float; in integers the table of it, at most half a step from it where it is inside."""
    for call in SPELLED[name]:
        net = Called(call)
        qat = qtorch.prepare(net, INPUTS[:1])
        with torch.no_grad():
            torch.testing.assert_close(qat(INPUTS), net(INPUTS), rtol=1e-6, atol=1e-6)
        assert [steps[-1][0] for steps in steps_of(qat)] == [name]


@pytest.mark.parametrize("name", sorted(name for name, each in FUNCTIONS.items() if each.written is None))
def test_arguments_are_called_as_aten_calls_them(name: str) -> None:
    """So that a call of the operator itself is read by these names."""
    packet = getattr(torch.ops.aten, name)
    schemas = [getattr(packet, overload)._schema for overload in packet.overloads()]
    assert any({each.name for each in schema.arguments} >= set(FUNCTIONS[name].arguments) for schema in schemas)


# Numbers -----------------------------------------------------------------------------------------------------------


def test_a_table_is_the_function_in_double_rounded_once() -> None:
    """Python's own arithmetic, code by code."""
    source, output = qtorch.QParams((0.03125,), (-7,)).grid, qtorch.QParams((0.0078125,), (-90,)).grid
    for steps, function in (
        ((("gelu", "none"),), lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
        ((("mul", -0.5), ("exp",), ("add", -0.75)), lambda x: math.exp(-0.5 * x) - 0.75),
    ):
        codes = table_codes(steps, source, output).tolist()
        for code, got in zip(range(-128, 128), codes, strict=True):
            y = function((code + 7) * 0.03125) / 0.0078125
            assert got == max(-128, min(127, int(math.copysign(math.floor(abs(y) + 0.5), y)) - 90))


def test_ties_go_away_from_zero_and_what_has_no_number_is_zero() -> None:
    source, output = qtorch.QParams((0.5,), (0,)).grid, qtorch.QParams((1.0,), (3,)).grid
    codes = table_codes((("neg",),), source, output)
    assert codes[128 + torch.tensor([-3, -1, 1, 3, 5])].tolist() == [5, 4, 2, 1, 0]
    codes = table_codes((("log",),), source, output)
    assert codes[128 + torch.tensor([-9, 0, 2])].tolist() == [3, -128, 3]


@pytest.mark.tflm
def test_a_network_of_tables_is_exact_everywhere() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Conv2d(4, 6, 3, padding=1), nn.Mish(), nn.Flatten(),
        nn.ELU(0.4), nn.Linear(6 * 16, 3), nn.Softplus(),
    ).eval()  # fmt: skip
    x = torch.randn(32, 2, 6, 6)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    codes = corner_codes(graph, 200)
    report = parity(graph, write_tflite(graph), codes, qat.eval())
    assert {"tflm", "qat_network"} <= set(report.judges)
    # Behind one another, the flattening between them included.
    assert ops(graph) == ["conv_2d", "table", "conv_2d", "table", "table", "fully_connected", "table"]
    (got,) = run_c("tables", c_model("tables", graph).files, graph, codes)
    np.testing.assert_array_equal(got, interpret(graph, codes)[graph.outputs[0]])


def test_slopes_are_those_of_the_function() -> None:
    qat = prepared(F.gelu)
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    x = INPUTS.clone().requires_grad_()
    qat(x).sum().backward()
    y = INPUTS.clone().requires_grad_()
    Called(F.gelu)(y).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.grad, atol=0.03, rtol=0.05)


# Chains ------------------------------------------------------------------------------------------------------------


def test_calls_one_behind_the_other_are_one_table() -> None:
    qat = prepared(lambda x: torch.log(F.softplus(x * 0.5 + 1)) * 2 - 1)
    assert ops(integer_graph(qat)) == ["fully_connected", "table"]
    assert steps_of(qat) == [
        (("mul", 0.5), ("add", 1.0), ("softplus", 1.0, 20.0), ("log",), ("mul", 2.0), ("sub", 1.0))
    ]


@pytest.mark.parametrize(
    ("call", "steps"),
    [
        (lambda x: (3 - x).exp(), (("rsub", 3.0), ("exp",))),
        (lambda x: torch.sigmoid(x).exp(), (("sigmoid",), ("exp",))),
        (lambda x: torch.tanh(x.exp()), (("exp",), ("tanh",))),
        (lambda x: F.leaky_relu(-x, 0.25), (("neg",), ("leaky_relu", 0.25))),
        (lambda x: F.hardswish(-x), (("neg",), ("hardswish",))),
        (lambda x: F.relu(x.sin()), (("sin",), ("relu",))),
        (lambda x: F.relu6(x.exp()), (("exp",), ("relu6",))),
    ],
)
def test_an_op_with_its_own_kernel_is_a_step_beside_a_table(call: Callable[..., Tensor], steps: Any) -> None:
    net, qat = Called(call), prepared(call)
    assert steps_of(qat) == [steps]
    assert ops(integer_graph(qat)) == ["fully_connected", "table"]
    qtorch.set_mode(qat, qtorch.Mode.FLOAT)
    with torch.no_grad():
        torch.testing.assert_close(qat(INPUTS), net.eval()(INPUTS), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "count"),
    [
        # Somebody else reads what lies between.
        (lambda x: (y := x.exp()) + y.sin(), 2),
        (lambda x: torch.cat([y := x.exp(), y.sin()], 1), 2),
        # Two tensors.
        (lambda x: (x.exp() * x).sin(), 2),
        # No table at all.
        (lambda x: torch.sigmoid(x * 2) + 1, 0),
    ],
)
def test_what_is_no_chain_stays_apart(call: Callable[..., Tensor], count: int) -> None:
    assert ops(integer_graph(prepared(call))).count("table") == count


class Trained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.5))
        self.first, self.last = nn.ELU(), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) * self.factor)


def test_a_factor_that_is_trained_stays_a_factor() -> None:
    qat = qtorch.prepare(Trained(), INPUTS[:1])
    assert [len(steps) for steps in steps_of(qat)] == [1, 1]
    assert [name for name, _ in qat.named_parameters()] != []


def test_layers_of_which_different_things_are_asked_stay_apart() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ELU(), nn.GELU())
    alike = qtorch.prepare(net, INPUTS[:1])
    asked = qtorch.prepare(net, INPUTS[:1], qtorch.QuantizationConfig(layers={"2": {"margin": 0.5}}))
    assert [len(steps) for steps in steps_of(alike)] == [2]
    assert [len(steps) for steps in steps_of(asked)] == [1, 1]


# The file ----------------------------------------------------------------------------------------------------------


def operators(model: bytes) -> list[str]:
    return [op.op for op in summarize(model).subgraphs[0].ops]


def test_a_file_has_three_operators_which_are_read_as_one() -> None:
    graph = integer_graph(prepared(lambda x: F.gelu(x) + F.silu(x)))
    model = write_tflite(graph)
    assert operators(model) == ["FULLY_CONNECTED", *["CAST", "ADD", "GATHER"] * 2, "ADD"]
    assert ops(read_tflite(model)) == ["fully_connected", "table", "table", "add"]
    assert compare_file(graph, model).value_mismatches == 0
    assert ROWS["table"].tflite.resolvers == ("AddCast", "AddAdd", "AddGather")  # type: ignore[union-attr]


def test_a_table_that_differs_by_one_code_is_found() -> None:
    graph = integer_graph(prepared(F.gelu))
    (name,) = (name for name in graph.values if name.endswith(".codes"))
    data = graph.values[name].contents.copy()
    data[77] ^= 1
    other = replace(graph, values={**graph.values, name: replace(graph.values[name], data=data)})
    with pytest.raises(ParityError, match=r"codes\[77\]: expected"):
        compare_file(graph, write_tflite(other))


def altered(model: bytes, change: Callable[[Any], None]) -> bytes:
    import flatbuffers

    held = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    change(held)
    builder = flatbuffers.Builder(1024)
    builder.Finish(held.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _axis(model: Any) -> None:
    model.subgraphs[0].operators[-1].builtinOptions.axis = 1


def _addend(model: Any) -> None:
    (buffer,) = (each for each in model.buffers if each.data is not None and len(each.data) == 4)
    buffer.data = np.array([127], "<i4").view(np.uint8)


def _read_twice(model: Any) -> None:
    model.subgraphs[0].outputs = [*model.subgraphs[0].outputs, model.subgraphs[0].operators[-2].outputs[0]]


def _activation(model: Any) -> None:
    model.subgraphs[0].operators[-2].builtinOptions.fusedActivationFunction = 1


@pytest.mark.parametrize("change", [_axis, _addend, _read_twice, _activation])
def test_other_operators_of_these_names_are_no_table(change: Callable[[Any], None]) -> None:
    model = write_tflite(integer_graph(prepared(F.gelu)))
    assert ops(read_tflite(altered(model, lambda held: None), aligned=False)) == ["fully_connected", "table"]
    with pytest.raises(
        BadModelFile, match=r"GATHER with Axis 1: expected 0|expected table of 2 axes, got shape \(256,\)"
    ):
        read_tflite(altered(model, change), aligned=False)


def test_a_file_of_functions_says_what_a_sketch_has_to_register() -> None:
    bundle = export.export_network(Called(F.mish), name="mish", calibration=INPUTS)
    text = str(bundle.files["mish_op_resolver.h"], "utf-8")
    assert all(f"Add{name}(" in text for name in ("Cast", "Add", "Gather", "FullyConnected"))


# Refusals ----------------------------------------------------------------------------------------------------------


def test_sixteen_bits_are_refused() -> None:
    with pytest.raises(BadInput, match="int16"):
        qtorch.prepare(Called(F.gelu), INPUTS[:1], qtorch.QuantizationConfig(activations="int16"))


def test_what_has_no_float_kernel_is_not_left_in_float() -> None:
    with pytest.raises(BadInput, match=r"'gelu'.*float kernel"):
        qtorch.prepare(Called(F.gelu), INPUTS[:1], qtorch.QuantizationConfig(layers={"gelu": {"skip": True}}))
    with pytest.raises(BadInput, match=r"'gelu'.*kernel in float32.*got log of gelu"):
        write_tflite(build(qtorch.prepare(Called(lambda x: F.gelu(x).log()), INPUTS[:1]), "float32"))


@pytest.mark.parametrize("call", [lambda x: x ** torch.ones(6), lambda x: x.clamp(math.nan)])
def test_arguments_that_are_no_numbers_are_refused(call: Callable[..., Tensor]) -> None:
    with pytest.raises(BadInput, match="a number for"):
        qtorch.prepare(Called(call), INPUTS[:1])
