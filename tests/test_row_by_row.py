"""Networks computed row by row: what a row is made of, that the integers stay, and that the plan holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.c.by_rows.section import row_node
from export.c.canaries import disjoint, require_sound_plan
from export.c.compiled import c_compiler, run_c
from export.c.memory_plan import MemoryPlan
from export.c.network import CNetwork, RowLoop, c_network, rows_that_do_not_help
from export.c.optimize import Optimize
from export.c.source import c_source
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.rows import runtime_arrays, sample_graph
from qtorch.errors import ParityError
from qtorch.ops import ROWS
from recipes.mlperf_tiny import DSCNN
from tests.random_drawing import FURTHER, draw
from tests.random_networks import Program
from tests.test_profile import graph_of
from tests.test_random_c import OPTIONS, integers
from tests.test_random_networks import a_dozen

pytestmark = [
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
    pytest.mark.filterwarnings("ignore:layers.* has no effect"),
    pytest.mark.usefixtures("one_thread"),
]
needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)")

#: Networks that are drawn, three times as many by the sweeps; those that are not computed row by row say nothing.
COUNT = int(os.environ.get("QTORCH_ROW_BY_ROW_NETWORKS", "10"))


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.rows is not None])
def test_a_row_hangs_on_no_other_rows_than_its_rule_says(name: str) -> None:
    """The integer reference is asked: all other rows of the inputs are changed, the one row of the outputs stays."""
    rng, asked = np.random.default_rng(0), 0
    for sample in ROWS[name].samples():
        graph, arrays = sample_graph(ROWS[name], sample), runtime_arrays(sample_graph(ROWS[name], sample), sample)
        if any(graph.values[each].dtype == "float32" for each in (*graph.inputs, *graph.outputs)):
            continue
        for axis in (1, 2):
            node = row_node(graph, 0, axis)
            if node is None or node.adds_up:
                continue
            expected = interpret(graph, arrays)
            for row in {0, node.rows // 2, node.rows - 1}:
                changed = [array.copy() for array in arrays]
                for tensor, window in node.reads.values():
                    if not window.stride:
                        continue
                    array = changed[graph.inputs.index(tensor)]
                    low, high = graph.code_range(tensor)
                    other = rng.integers(low, high + 1, array.shape).astype(array.dtype)
                    kept = range(max(window.first(row), 0), min(window.first(row) + window.window, array.shape[axis]))
                    index = (slice(None),) * axis + (list(kept),)
                    other[index] = array[index]
                    array[:] = other
                got = interpret(graph, tuple(changed))
                for output in graph.outputs:
                    assert (got[output].take(row, axis) == expected[output].take(row, axis)).all(), (sample.label, row)
                asked += 1


class Residual(nn.Module):
    """Strided, padded and dilated windows, a branch that waits, a gate that is read as a whole, a global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.deep = nn.Conv2d(8, 8, (3, 2), 1, (2, 0), (2, 1), groups=8)
        self.wide = nn.Conv2d(8, 12, 1)
        self.skip = nn.Conv2d(8, 12, 1)
        self.last = nn.Conv2d(24, 6, 3, 2)
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        y = self.wide(nn.functional.pad(self.deep(x), (0, 1)))
        x = torch.cat([self.skip(x) + y, nn.functional.max_pool2d(y, 3, 1, 1)], 1)
        return self.out(self.last(x).mean((2, 3)))


def _residual() -> Graph:
    return graph_of(Residual(), 3, 21, 18)


def _sound(graph: Graph, network: CNetwork) -> None:
    assert disjoint(network) == []
    require_sound_plan("net", network, tuple(array[:3] for array in a_dozen(graph)))


def _rows(network: CNetwork) -> list[tuple[int, int]]:
    return [(item.part.section.first, item.part.section.last) for item in network.run if isinstance(item, RowLoop)]


@needs_compiler
def test_rows_take_less_memory_and_compute_the_same() -> None:
    graph = _residual()
    whole, found = c_network(graph), c_network(graph, optimize="ram")
    assert _rows(found)
    assert found.whole == whole.plan.peak
    assert found.plan.peak < 0.6 * whole.plan.peak
    codes = a_dozen(graph)
    (got,) = run_c(
        "net", c_source("net", found).files, graph, codes, (*OPTIONS, "-Wall", "-Wextra", "-Wconversion", "-Werror")
    )
    assert (got == interpret(graph, codes)[graph.outputs[0]]).all()
    _sound(graph, found)
    _sound(graph, whole)


@needs_compiler
def test_a_sequence_is_computed_step_by_step() -> None:
    """nn.Conv1d is one on images of one row: its steps are the rows then."""
    net = nn.Sequential(
        nn.Conv1d(4, 12, 5, 2, 2), nn.ReLU(), nn.Conv1d(12, 12, 3, 1, 1, groups=12), nn.Conv1d(12, 16, 1), nn.ReLU(),
        nn.Conv1d(16, 16, 3, 2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    graph = graph_of(net, 4, 64)
    found = c_network(graph, optimize="ram")
    assert _rows(found)
    assert found.plan.peak < 0.6 * c_network(graph).plan.peak
    codes = a_dozen(graph)
    (got,) = run_c("net", c_source("net", found).files, graph, codes, OPTIONS)
    assert (got == interpret(graph, codes)[graph.outputs[0]]).all()
    _sound(graph, found)


@needs_compiler
def test_images_of_one_size_follow_each_other() -> None:
    """Each is made where the one before is given up, in sections that begin where others end."""
    layers = [layer for _ in range(4) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
    graph = graph_of(nn.Sequential(*layers), 8, 24, 24)
    found = c_network(graph, optimize="ram")
    assert found.plan.peak < 0.7 * found.whole
    _sound(graph, found)


def test_nothing_is_computed_by_rows_where_that_takes_no_less() -> None:
    graph = graph_of(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)), 6)
    found = c_network(graph, optimize="ram")
    assert _rows(found) == []
    assert found.plan == c_network(graph).plan
    assert found.by_rows is None


class Both(nn.Module):
    """Two outputs, both of which are there in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(x)
        return x, self.second(x)


def test_where_rows_do_not_help_it_is_said_by_how_little() -> None:
    found = c_network(graph_of(Both(), 1, 16, 16), optimize="ram")
    assert _rows(found) == []
    assert found.by_rows is not None
    assert found.whole <= found.by_rows < 1.2 * found.whole
    assert f"at least {found.by_rows:,} bytes" in rows_that_do_not_help(found.by_rows)


@needs_compiler
def test_a_plan_that_gives_away_what_is_needed_is_found() -> None:
    """Two tensors that are moved onto one another, in a network of either kind."""
    graph = _residual()
    for optimize in ("size", "ram"):
        network = c_network(graph, optimize=optimize)  # type: ignore[arg-type]
        buffers = network.placement.lifetimes.buffers
        one, other = next((a, b) for a in buffers for b in buffers if a != b and a.overlaps(b))
        offsets = {**network.plan.offsets, one.name: network.plan.offsets[other.name]}
        placement = replace(network.placement, plan=MemoryPlan(offsets, network.plan.peak))
        assert disjoint(replace(network, placement=placement))


@needs_compiler
@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        # A kernel that writes one byte too many, and one that reads a row that nobody keeps.
        (
            "out += filters;\n      }",
            "out += filters;\n      }\n      *out = 1;",
            "writes into working memory",
        ),
        ("q_make_room((char *)scratch + ", "q_make_room((char *)scratch + 4 + ", "hangs on bytes|beside its own"),
    ],
)
def test_a_kernel_that_does_otherwise_than_the_plan_is_found(
    monkeypatch: pytest.MonkeyPatch, wrong: str, right: str, said: str
) -> None:
    import export.c.canaries as canaries

    graph = _residual()
    network = c_network(graph, optimize="ram")
    own = canaries.c_source

    def faulty(*arguments: object, **options: object) -> object:
        source = own(*arguments, **options)  # type: ignore[arg-type]
        text = source.files["net_model.c"]
        assert wrong in text
        text = text.replace(wrong, right)
        return replace(source, files={**source.files, "net_model.c": text})

    monkeypatch.setattr(canaries, "c_source", faulty)
    with pytest.raises(ParityError, match=said):
        require_sound_plan("net", network, tuple(array[:3] for array in a_dozen(graph)))


def gives_away(network: CNetwork, name: str, early: int) -> CNetwork:
    """The network with a plan that says of so many bytes of a tensor that they are needed no more, while they are."""
    lives = network.placement.lifetimes
    there = next(each for each in lives.buffers if each.name == lives.names[name])
    held = there.bytes_held(there.first, there.last)
    held = np.minimum(held + (np.diff(held) > 0) * (early, 0), there.size)
    buffers = tuple(replace(there, held=held) if each is there else each for each in lives.buffers)
    return replace(network, placement=replace(network.placement, lifetimes=replace(lives, buffers=buffers)))


@needs_compiler
@pytest.mark.parametrize("optimize", ["ram", "size"])
def test_what_is_given_away_too_early_is_found_where_it_is_read(optimize: Optimize) -> None:
    """Any tensor's first bytes; of DS-CNN with random weights none of them reaches an output."""
    graph = graph_of(DSCNN(), 1, 49, 10)
    network, inputs = c_network(graph, optimize=optimize), tuple(array[:3] for array in a_dozen(graph))
    require_sound_plan("net", network, inputs)
    lives, found = network.placement.lifetimes, list[str]()
    for name in lives.names:
        reader = next((node for node in graph.nodes if name in node.inputs), None)
        if reader is None or lives.names[name] != name:
            continue
        with pytest.raises(ParityError, match=f"{reader.op} of '{reader.output}' hangs on bytes"):
            require_sound_plan("net", gives_away(network, name, 20), inputs)
        found.append(name)
    assert graph.inputs[0] in found
    assert len(found) >= 5


#: Seeds of networks that are computed row by row, tried first: of all others two thirds are prepared for nothing.
BY_ROWS = tuple(FURTHER + each for each in (1, 4, 15, 16, 18, 19, 21, 24, 26, 31, 36, 38))


def _programs() -> Iterator[Program]:
    return map(draw, chain(BY_ROWS, (seed for seed in count(FURTHER) if seed not in BY_ROWS)))


@needs_compiler
@pytest.mark.parametrize("wanted", [COUNT, pytest.param(3 * COUNT, marks=pytest.mark.sweep)])
def test_random_networks_are_exact_row_by_row(wanted: int) -> None:
    found, ratios = 0, []
    for program in _programs():
        graph = integers(program)
        if isinstance(graph, str):
            continue
        try:
            network = c_network(graph, optimize="ram")
        except Exception as error:
            raise AssertionError(program.code()) from error
        assert network.plan.peak <= network.whole
        if not _rows(network):
            continue
        try:
            _sound(graph, network)
        except (ParityError, RuntimeError, AssertionError) as error:
            raise AssertionError(f"seed {program.seed}\n{program.code()}") from error
        found, ratios = found + 1, [*ratios, network.plan.peak / network.whole]
        if found == wanted:
            break
    assert np.mean(ratios) < 0.95
