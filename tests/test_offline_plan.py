"""Plans of TFLite Micro's arena in the file: as good as can be, right in TFLite Micro, and refused if they are not."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.arena.arena import arena_needed
from export.arena.figures import REFERENCE, builds_of
from export.arena.offline import offline_plan, own_build
from export.arena.placement import lower_bound, searched
from export.arena.plan import Buffer, peak, placed
from export.arena.survival import inputs_survive
from export.boards import board
from export.compiled_file.compiled import CompiledFile, compile_file
from export.compiled_file.request import Request
from export.engines import TFLM
from export.engines.unplanned import without_plan
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.tflite.arena import smallest_arena
from export.tflite.contents import read_contents
from export.tflite.model_file import model_file
from export.tflite.offline_plan import NAME, ONLINE, OfflinePlan, encoded_plan, stored_offsets
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.editions.known import EDITIONS, edition
from tests.random_drawing import draw
from tests.schema_file import SchemaFile, with_metadata
from tests.test_random_networks import a_dozen, configuration

pytestmark = pytest.mark.filterwarnings("ignore:layers.*has no effect")

#: Of those that are drawn at random, some whose arena gets smaller, the last by a RESHAPE alone.
GAIN = (94, 105, 108)


@cache
def graph_of(seed: int) -> Graph:
    program = draw(seed)
    data = program.data(8)
    qat = qtorch.prepare(program.build(), tuple(x[:1].clone() for x in data), configuration(seed))
    qtorch.calibrate(qat, [data])
    return integer_graph(qat)


def buffers_at_random(seed: int, count: int, steps: int = 20) -> list[Buffer]:
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, steps, count)
    sizes, lengths = rng.integers(1, 40, count), rng.integers(0, steps // 2, count)
    return [Buffer(16 * int(s), int(a), int(a + n)) for s, a, n in zip(sizes, starts, lengths, strict=True)]


def apart(buffers: Sequence[Buffer], offsets: Sequence[int]) -> bool:
    lying = list(zip(offsets, buffers, strict=True))
    return all(
        not one.meets(other) or a + one.size <= b or b + other.size <= a
        for (a, one), (b, other) in itertools.combinations(lying, 2)
    )


@pytest.mark.parametrize("seed", range(30))
def test_what_is_searched_lies_apart_and_is_the_least_that_there_is(seed: int) -> None:
    buffers = buffers_at_random(seed, 6, 8)
    found = searched(buffers)
    assert apart(buffers, found)
    # The least of all plans puts each buffer into the lowest gap, in one of all orders.
    least = min(peak(buffers, in_turn(buffers, order)) for order in itertools.permutations(range(6)))
    assert lower_bound(buffers) <= peak(buffers, found) == least


def in_turn(buffers: Sequence[Buffer], order: Sequence[int]) -> list[int]:
    """Each at the lowest multiple of 16 that is free."""
    offsets = dict[int, int]()
    for index in order:
        near = [(offsets[j], buffers[j].size) for j in offsets if buffers[j].meets(buffers[index])]
        size = buffers[index].size
        offsets[index] = next(
            at for at in itertools.count(0, 16) if all(at + size <= o or o + s <= at for o, s in near)
        )
    return [offsets[index] for index in range(len(buffers))]


def test_larger_searches_come_near_the_bound_and_find_the_same_again() -> None:
    ours = greedy = bound = 0
    for seed in range(20):
        buffers = buffers_at_random(seed, 40)
        found = searched(buffers)
        assert apart(buffers, found)
        assert searched(buffers) == found
        assert peak(buffers, found) <= peak(buffers, placed(buffers))
        ours, bound = ours + peak(buffers, found), bound + lower_bound(buffers)
        greedy += peak(buffers, placed(buffers))
    assert bound <= ours <= 1.01 * bound < 1.03 * bound < greedy


def test_room_is_left_above() -> None:
    # The second has 64 bytes of scratch above it, so it comes first.
    buffers = [Buffer(64, 0, 1), Buffer(32, 1, 2)]
    found = searched(buffers, [0, 64])
    assert max(found[0] + 64, found[1] + 32 + 64) == 96


@pytest.mark.parametrize("seed", range(40))
def test_online_buffers_go_around_those_that_are_placed(seed: int) -> None:
    buffers = buffers_at_random(seed, 12)
    some = [replace(each, offset=at) for each, at in zip(buffers[:6], searched(buffers[:6]), strict=True)]
    offsets = placed([*some, *buffers[6:]])
    assert [each.offset for each in some] == offsets[:6]
    assert apart([*some, *buffers[6:]], offsets)


@pytest.mark.parametrize("seed", GAIN)
def test_the_arena_gets_as_much_smaller_in_tflite_micro_as_was_computed(seed: int) -> None:
    graph = graph_of(seed)
    plain, planned = model_file(graph), model_file(graph, planner=offline_plan)
    assert planned.plan is not None
    saved = planned.plan.before - planned.plan.after
    assert planned.plan.after == planned.plan.bound
    assert plain.arena_bytes - planned.arena_bytes == saved > planned.plan.costs > 0
    assert len(planned.data) - len(plain.data) == planned.plan.costs
    assert planned.plan.after == arena_needed(planned.data, REFERENCE)
    assert planned.named == plain.named
    codes = a_dozen(graph)
    for ours, theirs in zip(TFLM.run(planned.data, codes), TFLM.run(plain.data, codes), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seed", GAIN)
@pytest.mark.parametrize(
    ("edition", "cpu"), [("newest", "host"), ("tflm-cmsis-nn", "cortex-m4"), ("esp-tflite-micro-1.4.0", "xtensa-s3")]
)
def test_no_build_of_the_header_takes_more(seed: int, edition: str, cpu: str) -> None:
    plain = write_tflite(graph_of(seed))
    plan = offline_plan(plain, EDITIONS[edition], cpu)
    assert plan is not None
    if not plan.data:
        pytest.skip("this board's own plan is as good")
    planned = write_tflite(graph_of(seed), metadata={NAME: plan.data})
    builds = builds_of(EDITIONS[edition])
    own = own_build(builds, EDITIONS[edition], cpu)
    for build in builds:
        before, after = (max(arena_needed(each, one) for one in build.kernels) for each in (plain, planned))
        assert after <= before, build.about
        if build is own:
            assert (before, after) == (plan.before, plan.after)
            assert after < before


@pytest.mark.parametrize(
    ("edition", "cpu", "library", "condition"),
    [
        ("newest", "host", "", ""),
        ("newest", "cortex-m4", "", ""),
        ("tflm-cmsis-nn", "cortex-m4", "CMSIS_NN", "defined(__ARM_FEATURE_DSP)"),
        ("tflm-cmsis-nn", "cortex-m55", "CMSIS_NN", "defined(__ARM_FEATURE_MVE)"),
        ("tflm-cmsis-nn", "cortex-m0", "CMSIS_NN", ""),
        ("esp-tflite-micro-1.4.0", "xtensa-s3", "ESP_NN", "defined(CONFIG_IDF_TARGET_ESP32S3)"),
        ("esp-tflite-micro-1.4.0", "riscv32-p4", "ESP_NN", "defined(CONFIG_IDF_TARGET_ESP32P4)"),
        ("esp-tflite-micro-1.4.0", "xtensa", "ESP_NN", ""),
    ],
)
def test_a_board_s_own_build(edition: str, cpu: str, library: str, condition: str) -> None:
    build = own_build(builds_of(EDITIONS[edition]), EDITIONS[edition], cpu)
    assert (build.library, build.condition) == (library, condition)


def test_older_editions_and_several_subgraphs_have_no_plan() -> None:
    model = write_tflite(graph_of(94))
    newest = EDITIONS["newest"]
    assert offline_plan(model, replace(newest, source=date(2022, 10, 17))) is None
    assert offline_plan(model, replace(newest, source=date(2022, 10, 18))) == offline_plan(model, newest)
    made = SchemaFile()
    made.operator(
        "RELU", [made.tensor((1, 32), scale=0.5, end="input")], [made.tensor((1, 32), scale=0.5, end="output")]
    )
    made.model.subgraphs = [made.graph, made.graph]
    assert offline_plan(made.written()) is None


def test_a_plan_that_costs_as_much_as_it_saves_is_left_out() -> None:
    def planner(saved: int, model: bytes) -> OfflinePlan:
        offsets = [ONLINE] * len(read_contents(model).subgraphs[0].tensors)
        return OfflinePlan(encoded_plan(offsets), 1000 + saved, 1000, 1000)

    graph = graph_of(94)
    costs = len(write_tflite(graph, metadata={NAME: planner(0, write_tflite(graph)).data})) - len(write_tflite(graph))
    kept, left = (model_file(graph, planner=partial(planner, saved)) for saved in (costs + 16, costs))
    assert kept.plan is not None
    assert left.plan is not None
    assert NAME.encode() in kept.data
    assert "1,000 bytes of arena instead of" in kept.plan.words
    assert left.data == write_tflite(graph)
    assert left.plan.after == left.plan.before
    assert f"less than the {costs} bytes" in left.plan.words


@pytest.mark.parametrize("seed", GAIN)
def test_all_tensors_of_a_file_with_a_plan_can_be_looked_into(seed: int) -> None:
    graph = graph_of(seed)
    planned = model_file(graph, planner=offline_plan).data
    codes = tuple(each[:1] for each in a_dozen(graph))
    count = len(read_contents(planned).subgraphs[0].tensors)
    assert stored_offsets(read_contents(without_plan(planned))) is None
    (ours,), (theirs,) = (list(TFLM.tensors(each, codes, count)) for each in (planned, write_tflite(graph)))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def outputs_twice(model: bytes, codes: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of one filling of the inputs, twice one after another in TFLite Micro."""
    runtime = pytest.importorskip("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=2**20)
    outputs = range(len(read_contents(model).subgraphs[0].outputs))
    for index, each in enumerate(codes):
        interpreter.set_input(each, index)
    runs = []
    for _ in range(2):
        interpreter.invoke()
        runs.append([np.array(interpreter.get_output(i)) for i in outputs])
    return runs[0], runs[1]


@pytest.mark.parametrize("least", [5, pytest.param(1000, id="all", marks=pytest.mark.sweep)])
def test_inputs_that_are_said_to_be_kept_give_the_same_outputs_again(least: int) -> None:
    """Of networks that are drawn until each kind has occurred that often."""
    kept = lost = changed = 0
    for seed in range(60, 100):
        if min(kept, lost, changed) >= least:
            break
        try:
            graph = graph_of(seed)
        except Exception:
            continue
        if graph.states:
            continue
        model = model_file(graph, planner=offline_plan).data
        keeps = inputs_survive(model, REFERENCE)
        for row in range(3):
            first, second = outputs_twice(model, [each[row : row + 1] for each in a_dozen(graph)])
            same = all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
            assert same or not keeps, seed
            changed += not same
        kept, lost = kept + keeps, lost + (not keeps)
    assert kept >= 5
    assert lost >= 5
    assert changed >= 5


def reshaped_early() -> bytes:
    """A file whose first RESHAPE's ends are both read later, the input longer."""
    made = SchemaFile()
    source = made.tensor((1, 1024), scale=0.5, end="input")
    square, positive, less = (made.tensor((32, 32), scale=0.5) for _ in range(3))
    flat = made.tensor((1, 1024), scale=0.5)
    sink = made.tensor((1, 1024), scale=0.5, end="output")
    shapes = [made.constant(np.array(shape, np.int32)) for shape in ((32, 32), (1, 1024))]
    made.operator("RESHAPE", [source, shapes[0]], [square])
    made.operator("RELU", [square], [positive])
    made.operator("SUB", [positive, square], [less], "SubOptions")
    made.operator("RESHAPE", [less, shapes[1]], [flat])
    made.operator("SUB", [flat, source], [sink], "SubOptions")
    return made.written()


def test_what_a_reshape_leaves_where_it_is_is_kept_as_long_as_either_is_read() -> None:
    model = reshaped_early()
    plan = offline_plan(model)
    assert plan is not None
    assert plan.after == plan.bound < plan.before
    planned = with_metadata(model, plan.data)
    assert not summarize(planned).unsound
    assert smallest_arena(model) - smallest_arena(planned) == plan.before - plan.after
    codes = (np.random.default_rng(0).integers(-64, 64, (1, 1024)).astype(np.int8),)
    np.testing.assert_array_equal(TFLM.run(planned, codes)[0], TFLM.run(model, codes)[0])


class Residual(nn.Module):
    """Separable convolutions with something added: to place them is not the same with scratch and without."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, channels, 3, 2, 1), nn.Conv2d(channels, 2 * channels, 3, 2, 1)
        self.blocks = nn.ModuleList(separable(channels) for _ in range(blocks))
        self.last = separable(2 * channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        for block in self.blocks:
            x = (x + block(x)).relu()
        x = self.down(x).relu()
        return (x + self.last(x)).relu()


def separable(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, groups=channels), nn.Conv2d(channels, channels, 1))


@pytest.mark.parametrize(("channels", "blocks", "found"), [(16, 1, False), (8, 1, False), (8, 2, True)])
def test_a_plan_that_is_better_here_and_worse_elsewhere_is_not_taken(channels: int, blocks: int, found: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 16, 16)
    qat = qtorch.prepare(Residual(channels, blocks).eval(), x[:1])
    qtorch.calibrate(qat, [x])
    model = write_tflite(integer_graph(qat))
    plan = offline_plan(model)
    assert plan is not None
    assert plan.before > plan.bound
    assert bool(plan.data) == found
    if not found:
        assert plan.words == "no plan in the file: a better one than TFLite Micro's was searched, and none was found"
        return
    planned = with_metadata(model, plan.data)
    for build in builds_of():
        for kernels in build.kernels:
            assert max(arena_needed(planned, each) for each in build.kernels) <= max(
                arena_needed(model, each) for each in build.kernels
            ), kernels.name


@pytest.fixture(scope="module")
def compiled() -> CompiledFile:
    target = board("mps2_an386")
    request = Request("m", "m.tflite", target, edition(target.edition), tflite=True, samples=20)
    return compile_file(write_tflite(graph_of(94)), request)


def test_a_compiled_file_has_a_plan_and_says_so_wherever_it_is_asked(compiled: CompiledFile) -> None:
    plan, file = compiled.metrics["arena_plan"], compiled.files["m.tflite"]
    assert plan["in_file"]
    assert stored_offsets(read_contents(file)) is not None
    assert plan["arena_bytes"] == arena_needed(file, REFERENCE) < plan["arena_bytes_before"]
    assert plan["words"] == json.loads(compiled.files["parity.json"])["arena_plan"]
    said = f"{plan['arena_bytes']:,} bytes of arena instead of {plan['arena_bytes_before']:,}"
    assert said in plan["words"]
    header = " ".join(compiled.files["m_arena.h"].decode().replace("//", " ").split())
    assert said in header
    assert f"#define M_ARENA_BYTES {plan['arena_bytes']}" in header
    assert said in compiled.files["report.html"].decode()
    assert compiled.metrics["arena_bytes"] == smallest_arena(file)


def test_an_export_whose_arena_is_the_least_says_that(fuel_out: Path) -> None:
    metrics = json.loads((fuel_out / "metrics.json").read_text())
    assert metrics["arena_plan"]["words"] == "TFLite Micro's own plan of its arena is the least there is"
    assert NAME.encode() not in (fuel_out / "fuel.tflite").read_bytes()
    assert "bytes of arena instead of" not in (fuel_out / "fuel_arena.h").read_text()
    (row,) = re.findall(r"#define FUEL_KEEPS_INPUTS (\d)\n", (fuel_out / "fuel_arena.h").read_text())[1:2]
    keeps = inputs_survive((fuel_out / "fuel.tflite").read_bytes(), REFERENCE)
    assert int(row) == keeps
