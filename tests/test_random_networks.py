"""Networks drawn at random, each compared with its module, exported and compared with TFLite Micro: no mismatch, ever.

The first 100 always, 1,200 with ``-m sweep``; ``QTORCH_NETWORKS`` says how many are drawn instead, and
``QTORCH_FURTHER_NETWORKS`` how many of those that write into their inputs and have windows that are no squares. A
failing one is shrunk and printed as code.
``python -m tests.module_oracle`` compares any number of them with their modules alone.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import qtorch
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.capture.capture import Capture
from qtorch.errors import BadConfiguration, BadInput, ParityError
from qtorch.network import routes
from qtorch.ops import ROWS
from tests import module_oracle
from tests.module_oracle import difference, outputs, verdict
from tests.random_drawing import ATTENTION, FUNCTIONS, FURTHER, LIFTED, RARER, RECURRENT, REDUCTIONS, draw
from tests.random_networks import Program, shrink

#: Some write behind dropout, which is another tensor in training; some add what is small to what is large.
pytestmark = [
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
    pytest.mark.filterwarnings("ignore:calibrate. layer"),
]

COUNT = int(os.environ.get("QTORCH_NETWORKS", "1200"))
#: Those beyond are no other kind of network: a sweep draws them, and whoever says how many.
ALWAYS = COUNT if "QTORCH_NETWORKS" in os.environ else 100
FURTHER_COUNT = int(os.environ.get("QTORCH_FURTHER_NETWORKS", "200"))
CHUNK = 25


def chunks(count: int, further: int, size: int, always: int) -> list[Any]:
    """Parameters: first seeds of so many networks and further ones; a sweep's beyond those that are always drawn.

    Of the further ones the same share is always drawn.
    """
    return [
        pytest.param(begin + first, id=f"from {begin + first}", marks=[] if first < drawn else [pytest.mark.sweep])
        for begin, number, drawn in ((0, count, always), (FURTHER, further, always / count * further))
        for first in range(0, number, size)
    ]


#: Mostly the default; every tenth network of a kind has another.
CONFIGURATIONS = {
    1: qtorch.QuantizationConfig(weights="per_tensor"),
    2: qtorch.QuantizationConfig(activations="int16"),
    3: qtorch.QuantizationConfig(weight_bits=4),
    4: qtorch.QuantizationConfig(layers={"layer*": {"activations": "int16"}}),
    5: qtorch.QuantizationConfig(margin=0.3, layers={"layer1*": {"weight_bits": 4}}),
}


def configuration(seed: int) -> qtorch.QuantizationConfig | None:
    """Of the network of that seed; a third of the further ones are of 16 bits, which tables are refused in."""
    if seed >= REDUCTIONS and seed % 5 == 0:
        return CONFIGURATIONS[2]
    if FUNCTIONS <= seed < ATTENTION or seed >= REDUCTIONS:
        return CONFIGURATIONS[1] if seed % 10 == 1 else None
    return CONFIGURATIONS[2] if seed >= FURTHER and seed % 3 == 0 else CONFIGURATIONS.get(seed % 10)


#: Graphs of networks that this process found exact: others compile and rewrite the same ones.
EXACT: dict[Program, Graph] = {}


def outcome(program: Program, found: dict[Program, Graph] | None = None) -> str:
    """``"exact"``, ``"refused"`` by prepare, or what went wrong; the graph of an exact one is put into ``found``."""
    net, data = program.build(), program.data(8)
    right = outputs(net, data)
    try:
        qat = qtorch.prepare(net, tuple(x[:1].clone() for x in data), configuration(program.seed))
    except BadInput as error:
        return f"{'FLOAT' if 'fault of qtorch' in str(error) else 'refused'}: {error}"
    differs = difference(net, right, outputs(qat, data), data)
    if differs and not differs.startswith("unjudged"):
        return f"FLOAT: {differs}"
    try:
        qtorch.calibrate(qat, [data])
        graph = integer_graph(qat)
        parity(graph, write_tflite(graph), a_dozen(graph), qat, reported=())
    except (OverflowError, BadConfiguration) as error:
        return f"refused: {error}"
    except (ParityError, AssertionError, RuntimeError, IndexError, KeyError, ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    if found is not None:
        found[program] = graph
    return "exact"


def a_dozen(graph: Graph) -> tuple[np.ndarray, ...]:
    """Random inputs, without the corners."""
    return tuple(array[-12:] for array in corner_codes(graph, 12))


def wrong(program: Program) -> bool:
    return not outcome(program).startswith(("exact", "refused"))


#: How many of each kind a sweep compares with their modules; the command takes any number.
_JUDGED = {FURTHER: 1_000, FUNCTIONS: 150, ATTENTION: 150, RECURRENT: 150, REDUCTIONS: 150, LIFTED: 150, RARER: 150}


@pytest.mark.sweep
@pytest.mark.parametrize("first", _JUDGED)
def test_networks_of_every_kind_are_their_modules(first: int) -> None:
    # Not those that are compared with TFLite Micro as well.
    beyond = first + FURTHER_COUNT
    assert module_oracle.main(["--count", str(_JUDGED[first]), "--first", str(beyond)]) == 0


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:layers.* has no effect")
@pytest.mark.parametrize("first", chunks(COUNT, FURTHER_COUNT, CHUNK, ALWAYS))
def test_random_networks_are_exact(first: int) -> None:
    torch.set_num_threads(1)
    refused = 0
    for seed in range(first, first + CHUNK):
        program = draw(seed)
        found = outcome(program, EXACT)
        refused += found.startswith("refused")
        if not found.startswith(("exact", "refused")):
            small = shrink(program, wrong)
            pytest.fail(f"seed {seed}: {outcome(small)}\ninputs {small.inputs}\n{small.code()}")
    # Some calls that write into what is read again are refused.
    assert refused <= (CHUNK // 3 if first < FURTHER else CHUNK // 2), "most networks drawn should be exported"


@pytest.mark.tflm
def test_random_networks_of_reductions_are_exact() -> None:
    torch.set_num_threads(1)
    found = {seed: outcome(draw(seed)) for seed in range(REDUCTIONS, REDUCTIONS + CHUNK)}
    # Roots are tables, which codes of 16 bits have none of.
    narrow = {seed: said for seed, said in found.items() if seed % 5}
    assert {seed: said for seed, said in narrow.items() if said != "exact"} == {}
    assert {said.split(":")[0] for said in found.values()} <= {"exact", "refused"}
    assert "exact" in [said for seed, said in found.items() if not seed % 5]


@pytest.mark.tflm
def test_random_networks_of_functions_are_exact() -> None:
    torch.set_num_threads(1)
    found = {seed: outcome(draw(seed)) for seed in range(FUNCTIONS, FUNCTIONS + CHUNK)}
    assert {seed: said for seed, said in found.items() if said != "exact"} == {}


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:layers.* has no effect")
@pytest.mark.parametrize("first", [RECURRENT, pytest.param(RECURRENT + CHUNK, marks=pytest.mark.sweep)])
def test_random_networks_with_recurrent_layers_are_exact(first: int) -> None:
    torch.set_num_threads(1)
    drawn = {seed: draw(seed) for seed in range(first, first + CHUNK)}
    found = {seed: outcome(program) for seed, program in drawn.items()}
    # In 4 bits there are no weights of an LSTM, and not every op has 16.
    assert {s: said for s, said in found.items() if said != "exact" and "which TFLite Micro has, got" not in said} == {}
    assert sum("nn.LSTM(" in program.code() for program in drawn.values()) > 5


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:layers.* has no effect")
@pytest.mark.parametrize("first", [ATTENTION, pytest.param(ATTENTION + CHUNK, marks=pytest.mark.sweep)])
def test_random_networks_with_attention_are_exact(first: int) -> None:
    torch.set_num_threads(1)
    found = [outcome(draw(seed), EXACT) for seed in range(first, first + CHUNK)]
    assert [said for said in found if not said.startswith(("exact", "refused"))] == []
    assert found.count("exact") > CHUNK // 2


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:layers.* has no effect")
@pytest.mark.parametrize("first", [LIFTED, pytest.param(RARER, marks=pytest.mark.sweep)])
def test_random_networks_of_lifted_forms_are_exact(first: int) -> None:
    torch.set_num_threads(1)
    found = {seed: outcome(draw(seed), EXACT) for seed in range(first, first + CHUNK)}
    assert {seed: said for seed, said in found.items() if not said.startswith(("exact", "refused"))} == {}
    assert sum(said == "exact" for said in found.values()) >= 0.8 * CHUNK


def test_a_failing_network_is_shrunk_to_what_fails() -> None:
    program = next(p for p in map(draw, range(100)) if "PReLU" in p.code() and len(p.steps) > 4)
    small = shrink(program, lambda p: "PReLU" in p.code())
    assert "PReLU" in small.code()
    assert len(small.steps) < len(program.steps)
    # What is printed is what was built, and whoever pastes it can run it.
    scope: dict[str, object] = {"nn": torch.nn, "torch": torch, "F": torch.nn.functional}
    exec(small.code(), scope)
    assert "class Network(nn.Module)" in small.code()
    assert outcome(small) == "exact"


@pytest.mark.tflm
def test_a_wrong_reference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's networks would show a fault: here every pooling rounds ties the other way."""
    row = ROWS["average_pool_2d"]

    def wrong(*arguments: Any) -> torch.Tensor:
        codes: torch.Tensor = row.reference(*arguments)
        return codes.sub_((codes > 0).long()).clamp_(-128, 127)

    monkeypatch.setitem(ROWS, "average_pool_2d", replace(row, reference=wrong))
    programs = [p for p in map(draw, range(300)) if "AvgPool" in p.code()]
    assert any("tflm" in outcome(p) or "the network as it is trained" in outcome(p) for p in programs[:10])


@pytest.mark.filterwarnings("ignore:layers.* has no effect")
def test_a_computation_that_is_not_the_modules_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What training, graph, file and device alike compute wrongly: here poolings of mirrored images."""
    original = routes.float_op

    def mirrored(layer: routes.Layer, attrs: Any, tensors: Any) -> Any:
        found = original(layer, attrs, tensors)
        return found.flip(-1) if layer.row.name == "max_pool_2d" else found

    programs = [p for p in map(draw, range(50)) if "MaxPool2d" in p.code() and verdict(p) == "same"]
    monkeypatch.setattr(routes, "float_op", mirrored)
    assert any("fault of qtorch" in verdict(p) for p in programs)
    # By this comparison too, if `prepare` made none.
    monkeypatch.setattr(Capture, "require_same", lambda *arguments: None)
    found = [p for p in programs if verdict(p).startswith("output")]
    assert found
    assert outcome(found[0]).startswith("FLOAT: output")
