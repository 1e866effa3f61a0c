"""Networks drawn at random, exported to C, compiled and compared with the integer reference: no mismatch, ever.

The first 50 always, 300 with ``-m sweep``; ``QTORCH_C_NETWORKS`` says how many are drawn instead,
``QTORCH_FURTHER_C_NETWORKS`` how many of those with windows that are no squares, a third of them of 16 bits. A failing
one is shrunk and printed as code.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import qtorch
from export.c.compiled import build_c, c_compiler, run_built
from export.c.network import c_network
from export.c.source import c_source
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from qtorch.errors import BadInput, UnsupportedLayer
from qtorch.ops import ROWS
from tests.random_drawing import ATTENTION, FURTHER, draw
from tests.random_networks import Program, Step, shrink
from tests.test_random_networks import CONFIGURATIONS, EXACT, a_dozen, chunks, configuration

pytestmark = [
    # Some write behind dropout, which is another tensor in training.
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
    pytest.mark.filterwarnings("ignore:layers.* has no effect"),
    pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)"),
    pytest.mark.usefixtures("one_thread"),
]

COUNT = int(os.environ.get("QTORCH_C_NETWORKS", "300"))
ALWAYS = COUNT if "QTORCH_C_NETWORKS" in os.environ else 50
FURTHER_COUNT = int(os.environ.get("QTORCH_FURTHER_C_NETWORKS", "50"))
CHUNK = 25

#: Quick to compile; overflow, shifts and indices are watched as the code runs, and end the process.
OPTIONS = ("-std=c99", "-O0", "-fsanitize=undefined,bounds", "-fsanitize-undefined-trap-on-error")


@dataclass(frozen=True)
class Written:
    """A program as C that fills its working memory before it computes."""

    graph: Graph
    files: Mapping[str, str]


#: A linear congruential generator, other words in each inference.
NOISE = (
    "  static uint32_t noise = 1;\n"
    "  for (unsigned i = 0; i < sizeof scratch / 4; ++i) scratch[i] = noise = noise * 1664525u + 1013904223u;\n"
)


def poisoned(files: Mapping[str, str]) -> Mapping[str, str]:
    """Sources in which working memory, all zeros otherwise when a program starts, holds noise before each inference."""
    return {
        file: re.sub(r"^(void \w+_invoke\(.*\) {\n)", rf"\1{NOISE}", text, flags=re.MULTILINE)
        if "static uint32_t scratch[" in text
        else text
        for file, text in files.items()
    }


def integers(program: Program) -> Graph | str:
    """Of a program that has been prepared and calibrated, or ``"refused: ..."``."""
    if program in EXACT:
        return EXACT[program]
    net, data = program.build(), program.data(8)
    try:
        qat = qtorch.prepare(net, tuple(x[:1] for x in data), configuration(program.seed))
        qtorch.calibrate(qat, [data])
        return integer_graph(qat)
    except (BadInput, OverflowError) as error:
        return f"refused: {error}"


def written(program: Program, name: str) -> Written | str:
    """As C, or ``"refused: ..."`` by prepare, or ``"no kernel: ..."``."""
    graph = integers(program)
    if isinstance(graph, str):
        return graph
    try:
        return Written(graph, poisoned(c_source(name, c_network(graph)).files))
    except UnsupportedLayer as error:
        return f"no kernel: {error.got}"


def compared(library: Any, name: str, graph: Graph) -> str:
    """``"exact"``, or where C and the reference part."""
    codes = a_dozen(graph)
    try:
        expected = interpret(graph, codes)
    except OverflowError as error:
        return f"refused: {error}"
    for output, got in zip(graph.outputs, run_built(library, name, graph, codes), strict=True):
        if not np.array_equal(got, expected[output]):
            at = np.argwhere(got != expected[output])[0]
            return f"{output}{list(map(int, at))}: C {got[tuple(at)]}, reference {expected[output][tuple(at)]}"
    return "exact"


def outcome(program: Program) -> str:
    """Of one program by itself."""
    made = written(program, "one")
    if isinstance(made, str):
        return made
    try:
        return compared(build_c({"one": (made.files, made.graph)}, OPTIONS), "one", made.graph)
    except RuntimeError as error:
        return str(error)


def wrong(program: Program) -> bool:
    return not outcome(program).startswith(("exact", "refused", "no kernel"))


def outcomes(programs: list[Program]) -> list[str]:
    """Of many, compiled at once."""
    made = [written(program, f"net_{i}") for i, program in enumerate(programs)]
    models = {f"net_{i}": (m.files, m.graph) for i, m in enumerate(made) if isinstance(m, Written)}
    library = build_c(models, OPTIONS)
    return [m if isinstance(m, str) else compared(library, f"net_{i}", m.graph) for i, m in enumerate(made)]


@pytest.mark.parametrize("first", chunks(COUNT, FURTHER_COUNT, CHUNK, ALWAYS))
def test_random_networks_are_exact_in_c(first: int) -> None:
    programs = [draw(seed) for seed in range(first, first + CHUNK)]
    found = outcomes(programs)
    for program, result in zip(programs, found, strict=True):
        if not result.startswith(("exact", "refused", "no kernel")):
            small = shrink(program, wrong)
            pytest.fail(f"seed {program.seed}: {outcome(small)}\ninputs {small.inputs}\n{small.code()}")
    kinds = Counter(result.split(":")[0] for result in found)
    # Some of the further ones write into what is read again, and are refused.
    assert kinds["exact"] >= (0.6 if first < FURTHER else 0.5) * CHUNK, kinds
    assert kinds["no kernel"] <= 1, [result for result in found if result.startswith("no kernel")]


@pytest.mark.parametrize("first", [ATTENTION, pytest.param(ATTENTION + CHUNK, marks=pytest.mark.sweep)])
def test_random_networks_with_attention_are_exact_in_c(first: int) -> None:
    found = outcomes([draw(seed) for seed in range(first, first + CHUNK)])
    assert [result for result in found if not result.startswith(("exact", "refused"))] == []
    assert found.count("exact") >= 0.5 * CHUNK


def test_a_wrong_kernel_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's networks would show a fault: here concatenations put their last input one byte too early."""
    row = ROWS["concatenation"]

    def early(operands: Any) -> Any:
        calls = row.c(operands)  # type: ignore[operator]
        *first, last = calls if isinstance(calls, tuple) else (calls,)
        if last.kernel != "strided_copy":
            return calls
        moved = {"out_first": max(last.arguments["out_first"] - 1, 0)}
        return (*first, replace(last, arguments={**last.arguments, **moved}))

    monkeypatch.setitem(ROWS, "concatenation", replace(row, c=early))
    programs = [p for p in map(draw, range(50)) if "torch.cat" in p.code() and p.seed % 10 not in CONFIGURATIONS]
    found = [p for p, result in zip(programs, outcomes(programs), strict=True) if ": C " in result]
    assert found
    small = shrink(found[0], wrong)
    assert "torch.cat" in small.code()
    assert len(small.steps) <= len(found[0].steps)


def test_memory_that_nothing_has_written_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here paddings of zeros are left as they are, which is right as long as the memory is."""
    row = ROWS["pad"]

    def unfilled(operands: Any) -> Any:
        calls = row.c(operands)  # type: ignore[operator]
        return tuple(call for call in calls if call.kernel != "fill")

    # An int16 grid, whose zero point is 0.
    steps = (Step("F.pad({0}, (1, 1, 2, 1))", (0,), (2, 7, 6)), Step("{0} + {0}", (1,), (2, 7, 6)))
    program = Program(((2, 4, 4),), steps, (2,), seed=2)
    assert outcome(program) == "exact"
    monkeypatch.setitem(ROWS, "pad", replace(row, c=unfilled))
    assert ": C " in outcome(program)
    monkeypatch.setattr("tests.test_random_c.poisoned", lambda files: files)
    assert outcome(program) == "exact"
