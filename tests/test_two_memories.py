"""Working memory in two memories: the same integers whatever the split, and the fast one for what is used most."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from itertools import count, islice

import numpy as np
import pytest
from torch import nn

from export.boards import HOST, Board, Memory, Zephyr, board
from export.c.canaries import disjoint, require_sound_plan
from export.c.compiled import c_compiler
from export.c.division import Room, accesses, divided, share_of_fast
from export.c.memory_plan import Buffer, plan
from export.c.model import c_model
from export.c.network import CNetwork, c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.figures.working_memory import working_memory
from export.graph.interpret import interpret
from export.graph.ir import Graph
from firmware.emulation import MACHINES, available, replay
from qtorch.errors import BadConfiguration, ParityError
from tests.random_drawing import FURTHER, draw
from tests.test_profile import graph_of
from tests.test_random_c import integers
from tests.test_random_machines import drawn
from tests.test_random_networks import a_dozen
from tests.test_row_by_row import Residual

pytestmark = [
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
    pytest.mark.filterwarnings("ignore:layers.* has no effect"),
    pytest.mark.usefixtures("one_thread"),
]
needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)")

#: Networks that are drawn.
COUNT = int(os.environ.get("QTORCH_DIVIDED_NETWORKS", "12"))
BUILDS: tuple[Optimize, ...] = ("balanced", "size", "speed", "ram")


def _residual() -> Graph:
    return graph_of(Residual(), 3, 21, 18)


def _require_exact(graph: Graph, network: CNetwork) -> None:
    """With canaries in both arrays, and each buffer inside one of them."""
    assert disjoint(network) == []
    plan = network.plan
    assert plan.fast is not None
    for buffer in network.placement.lifetimes.buffers:
        first = plan.offsets[buffer.name]
        assert first >= plan.fast or first + buffer.size <= plan.fast
    require_sound_plan("net", network, tuple(array[:3] for array in a_dozen(graph)))


def _splits(network: CNetwork) -> list[int]:
    """Nothing, a little, some, nearly all, all."""
    peak = network.plan.peak
    return [0, peak // 10, peak // 3, peak * 9 // 10, peak]


@needs_compiler
@pytest.mark.parametrize("optimize", BUILDS)
def test_the_same_integers_whatever_the_split(optimize: Optimize) -> None:
    graph = _residual()
    one, shares = c_network(graph, optimize=optimize), []
    for fast in _splits(one):
        found = c_network(graph, optimize=optimize, room=Room(fast))
        assert found.plan.fast is not None
        assert found.plan.fast <= fast + 3
        _require_exact(graph, found)
        shares.append(found.in_fast())
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)


@needs_compiler
def test_random_networks_are_exact_in_two_memories() -> None:
    tried, both = 0, 0
    for seed in count(FURTHER):
        program = draw(seed)
        graph = integers(program)
        if isinstance(graph, str):
            continue
        optimize = BUILDS[tried % len(BUILDS)]
        one = c_network(graph, "cortex-m0" if tried % 2 else "host", optimize)
        fast = _splits(one)[tried % 5]
        try:
            found = c_network(graph, one.cpu, optimize, Room(fast))
            _require_exact(graph, found)
        except (ParityError, RuntimeError, AssertionError) as error:
            raise AssertionError(f"seed {seed}, {optimize}, {fast} bytes\n{program.code()}") from error
        assert found.plan.fast is not None
        both += 0 < found.plan.fast < found.plan.peak
        tried += 1
        if tried == COUNT:
            break
    assert both > COUNT // 4


@pytest.mark.qemu
@pytest.mark.parametrize("optimize", BUILDS)
def test_a_divided_network_is_exact_on_a_machine(optimize: Optimize) -> None:
    """And some that are drawn, in the build that their turn has."""
    machine = MACHINES["cortex_m4"]
    if absent := available(machine):
        pytest.skip(absent)
    found = (drawn(draw(seed)) for seed in count(FURTHER + BUILDS.index(optimize) * 50))
    large = (each.graph for each in found if each is not None and c_network(each.graph).plan.peak > 200)
    graphs = [_residual(), *islice(large, 2)]
    for graph in graphs:
        whole = c_network(graph, machine.cpu, optimize).plan.peak
        network = c_network(graph, machine.cpu, optimize, Room(whole // 2))
        assert network.plan.fast
        codes = a_dozen(graph)
        expected = interpret(graph, codes)[graph.outputs[0]]
        flat = [a.reshape(len(codes[0]), -1) for a in (codes[0], expected)]
        assert replay(machine, c_source("net", network).files, "net", flat[0], flat[1]).first is None


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(s, marks=pytest.mark.sweep) for s in range(12, 30))])
def test_random_divisions_are_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    firsts = rng.integers(0, 12, 15)
    buffers = [
        Buffer(str(i), int(rng.integers(1, 200)), int(first), int(first + rng.integers(0, 5)))
        for i, first in enumerate(firsts)
    ]
    counts = {buffer.name: int(rng.integers(1, 10_000)) for buffer in buffers}
    shares = []
    for fast in (0, 50, 200, 400, 10_000):
        found = divided(buffers, counts, Room(fast))
        assert found == divided(buffers, counts, Room(fast))
        assert found.fast is not None
        assert found.fast <= fast
        for buffer in buffers:
            first = found.offsets[buffer.name]
            behind = first + buffer.size
            assert first >= found.fast or behind <= found.fast
            assert behind <= found.peak
            for other in buffers:
                apart = other is buffer or not buffer.overlaps(other)
                there = found.offsets[other.name]
                assert apart or behind <= there or there + other.size <= first
        shares.append(share_of_fast(found, counts))
    assert shares[0] == 0
    assert shares[-1] == 1


def test_what_is_read_most_lies_in_the_fast_memory() -> None:
    buffers = [Buffer("often", 100, 0, 1), Buffer("seldom", 100, 0, 1), Buffer("later", 60, 2, 2)]
    found = divided(buffers, {"often": 1000, "seldom": 100, "later": 10}, Room(100))
    assert found.offsets == {"often": 0, "later": 0, "seldom": 100}
    # Where the slow memory has no room for the rest, the large one goes into the fast one.
    buffers = [Buffer("hot", 40, 0, 1), Buffer("large", 100, 0, 1)]
    counts = {"hot": 1000, "large": 10}
    assert divided(buffers, counts, Room(100, 100)).offsets == {"hot": 0, "large": 40}
    assert divided(buffers, counts, Room(100, 40)).offsets == {"large": 0, "hot": 100}


def test_accesses_are_counted_from_shapes_and_products() -> None:
    """A window of 3 x 3 over 6 x 5 pixels of 2 channels, 4 filters, no padding; then a mean."""
    graph = graph_of(nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1)), 2, 6, 5)
    network = c_network(graph)
    counts = accesses(graph, network.placement.lifetimes)
    pixels, window = 4 * 3, 3 * 3 * 2
    assert counts[graph.inputs[0]] == 6 * 5 * 2 + pixels * window
    assert counts["scratch of 0"] == pixels * window * 4
    assert counts[graph.nodes[0].output] == pixels * 4 + pixels * 4


_SMALL = Board(
    "small", "a board", "cortex-m4", 2**20, 2000, Zephyr("small"), 64_000_000, "not measured",
    second=Memory("DTCM", 1000, True, "its data sheet", "__ZEPHYR__", "zephyr/linker/section_tags.h", "in_dtcm"),
)  # fmt: skip


def test_a_board_with_two_memories_takes_both() -> None:
    graph = _residual()
    roomy = replace(_SMALL, ram=8000)
    made = c_model("net", graph, roomy)
    memories = made.figures["memories"]
    assert memories["fast"]["name"] == "DTCM"
    assert memories["slow"]["name"] == "RAM"
    assert 0 < memories["fast"]["bytes"] <= 1000
    assert made.figures["scratch_bytes"] == memories["fast"]["bytes"] + memories["slow"]["bytes"]
    assert 0 < memories["fast"]["accesses"] < 1
    assert re.search(
        r": \d+ in DTCM, which has \d\d % of the accesses, and [\d,]+ in RAM$", working_memory(made.figures)
    )
    text, header = made.files["net_model.c"], made.files["net_model.h"]
    assert "#include <zephyr/linker/section_tags.h>\n#define NET_FAST_MEMORY in_dtcm\n" in text
    assert f"static NET_FAST_MEMORY uint32_t scratch[{memories['fast']['bytes'] // 4}];" in text
    assert f"static NET_SLOW_MEMORY uint32_t scratch_slow[{memories['slow']['bytes'] // 4}];" in text
    assert f"#define NET_SCRATCH_BYTES {memories['fast']['bytes']}\n" in header
    assert f"#define NET_SCRATCH_SLOW_BYTES {memories['slow']['bytes']}\n" in header
    # A wish for less, and one that is too small for anything.
    assert c_model("net", graph, roomy, fast=500).figures["memories"]["fast"]["bytes"] <= 500
    nothing = c_model("net", graph, roomy, fast=3)
    assert nothing.figures["memories"]["fast"]["bytes"] == 0
    assert working_memory(nothing.figures).endswith("all in RAM: none of it fits in the 3 bytes of DTCM")
    assert "scratch[" not in nothing.files["net_model.c"]
    # What the fast memory has room for lies there as a whole.
    all_fast = c_model("net", graph, replace(_SMALL, second=replace(_SMALL.second, bytes=8000)))  # type: ignore[type-var]
    assert all_fast.figures["memories"]["slow"]["bytes"] == 0
    assert "scratch_slow" not in all_fast.files["net_model.c"] + all_fast.files["net_model.h"]


def test_a_slower_memory_takes_what_the_ram_has_no_room_for() -> None:
    slower = replace(_SMALL, second=Memory("PSRAM", 2**23, False, "its data sheet"))
    memories = c_model("net", _residual(), slower).figures["memories"]
    assert memories["fast"]["name"] == "RAM"
    assert 1000 < memories["fast"]["bytes"] <= 2000
    assert memories["slow"]["name"] == "PSRAM"


def test_where_both_are_too_small_the_smallest_that_would_do_is_named() -> None:
    graph = _residual()
    with pytest.raises(BadConfiguration, match=r"of them at (conv_2d|pad|concatenation|max_pool_2d) ") as refused:
        c_model("net", graph, _SMALL)
    assert "at most 2,000 bytes of working memory in RAM, beside 1,000 in DTCM" in refused.value.expected
    needed = re.search(r"a board that has ([\d,]+) bytes of RAM", refused.value.remedy)
    assert needed
    # Rows are named where they suffice; else what they take.
    less = c_model("net", graph, _SMALL, "ram").figures["memories"]["slow"]["bytes"]
    assert refused.value.remedy.startswith(f"set export.optimize to ram, which takes {less:,} bytes in RAM; or make")
    with pytest.raises(BadConfiguration, match=r"; export.optimize ram takes [\d,]+ bytes in RAM, too many as well"):
        c_model("net", graph, replace(_SMALL, ram=less // 2))
    with pytest.raises(BadConfiguration, match=r"; export.optimize ram takes no less: it has no rows"):
        c_model("net", graph_of(nn.Sequential(nn.Linear(3000, 9)), 3000), replace(_SMALL, ram=0))
    ram = int(needed[1].replace(",", ""))
    assert c_model("net", graph, replace(_SMALL, ram=ram)).figures["memories"]["slow"]["bytes"] <= ram
    with pytest.raises(BadConfiguration):
        c_model("net", graph, replace(_SMALL, ram=ram - 4))


@pytest.mark.parametrize(("fast", "said"), [(1001, "at most 1,000 bytes, which DTCM of small has"), (-1, "from 0 on")])
def test_a_wish_that_no_memory_has_is_refused(fast: int, said: str) -> None:
    with pytest.raises(BadConfiguration, match=said):
        c_model("net", _residual(), _SMALL, fast=fast)


def test_without_a_wish_the_host_has_one_memory() -> None:
    made = c_model("net", _residual())
    assert "memories" not in made.figures
    assert "NET_FAST_MEMORY" not in made.files["net_model.c"]
    divided_there = c_model("net", _residual(), HOST, fast=1000).figures["memories"]
    assert 0 < divided_there["fast"]["bytes"] <= 1000


@pytest.mark.parametrize(("name", "kind"), [("nucleo_h743zi", "DTCM"), ("teensy41", "RAM2"), ("xiao_esp32s3", "PSRAM")])
def test_boards_say_whose_figures_their_second_memory_has(name: str, kind: str) -> None:
    second = board(name).second
    assert second is not None
    assert second.name == kind
    assert second.source
    made = c_source("net", c_network(graph_of(nn.Linear(4, 2), 4), room=Room(4)), second=second)
    assert f"#define NET_{'FAST' if second.faster else 'SLOW'}_MEMORY {second.attribute}" in made.files["net_model.c"]


def test_a_memory_without_bytes_or_guard_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="a whole number above 0"):
        Memory("DTCM", 0, True, "nobody")
    with pytest.raises(BadConfiguration, match="both, or neither"):
        Memory("DTCM", 100, True, "nobody", attribute="in_dtcm")


@pytest.mark.parametrize("seed", range(8))
def test_a_division_is_as_good_as_the_best_of_all(seed: int) -> None:
    """Within a hundredth of the accesses that the best of all subsets has in the fast memory."""
    rng = np.random.default_rng(seed)
    firsts = rng.integers(0, 8, 9)
    buffers = [
        Buffer(str(i), 4 * int(rng.integers(1, 50)), int(first), int(first + rng.integers(0, 4)))
        for i, first in enumerate(firsts)
    ]
    counts = {buffer.name: buffer.size * int(rng.choice([2, 4, 9, 18, 64, 200])) for buffer in buffers}
    fast = int(plan(buffers).peak * rng.choice([0.2, 0.4, 0.7])) // 4 * 4
    subsets = ([b for i, b in enumerate(buffers) if bits >> i & 1] for bits in range(2**9))
    best = max(sum(counts[b.name] for b in subset) for subset in subsets if plan(subset).peak <= fast)
    found = divided(buffers, counts, Room(fast))
    assert share_of_fast(found, counts) * sum(counts.values()) >= 0.99 * best
