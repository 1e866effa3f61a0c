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
from ai_edge_litert import schema_py_generated as schema

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
from export.tflite.reader import read_tflite
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.editions.known import EDITIONS, edition
from qtorch.errors import BadModelFile
from tests.random_drawing import draw
from tests.schema_file import SchemaFile
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
    made = chain()
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


def test_inputs_that_are_said_to_be_kept_give_the_same_outputs_again() -> None:
    kept = lost = changed = 0
    for seed in range(60, 100):
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


def chain() -> SchemaFile:
    """A file of four tensors: an input of 32 codes, two RELUs behind it, and a RESHAPE at the end."""
    made = SchemaFile()
    source = made.tensor((1, 32), scale=0.5, end="input")
    first, second = (made.tensor((1, 32), scale=0.5) for _ in range(2))
    sink = made.tensor((2, 16), scale=0.5, end="output")
    made.operator("RELU", [source], [first])
    made.operator("RELU", [first], [second])
    shape = made.constant(np.array([2, 16], np.int32))
    made.operator("RESHAPE", [second, shape], [sink])
    return made


def with_offsets(offsets: Sequence[int], count: int | None = None) -> bytes:
    data = np.array([1, 1, len(offsets) if count is None else count, *offsets], "<i4")
    return with_metadata(chain(), data.tobytes())


GOOD: dict[str, Sequence[int]] = {
    "all apart": (0, 32, 64, 96, ONLINE),
    "places that are used again": (0, 32, 0, 32, ONLINE),
    "a RESHAPE where it was": (0, 32, 64, 64, ONLINE),
    "some by TFLite Micro": (0, ONLINE, 0, ONLINE, ONLINE),
}
BAD: dict[str, tuple[Sequence[int], str, int | None]] = {
    "before the arena": ((-16, 32, 64, 96, ONLINE), "offset -16 for its 32 bytes", None),
    "behind all arenas": ((2**31 - 16, 32, 64, 96, ONLINE), "offset 2,147,483,632 for its 32 bytes", None),
    "over each other": ((0, 16, 64, 96, ONLINE), "at 0 to 32, tensor 1 'tensor_1' at 16 to 48", None),
    "in place": ((0, 0, 64, 96, ONLINE), "at 0 to 32, tensor 1 'tensor_1' at 0 to 32", None),
    "a RESHAPE half where it was": ((0, 32, 64, 80, ONLINE), "at 64 to 96, tensor 3 'tensor_3' at 80", None),
    "too few": ((0, 32, 64, 96), "28 bytes with 4 of them", None),
    "another count": ((0, 32, 64, 96, ONLINE), "32 bytes with 4 of them", 4),
    "fewer than it says": ((0, 32), "20 bytes with 5 of them", 5),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_plan_of_others_that_holds_is_taken_and_shown(case: str) -> None:
    model = with_offsets(GOOD[case])
    graph = read_tflite(model, aligned=False)
    found = summarize(model)
    assert not found.unsound
    assert found.planned_bytes == max(at + 32 for at in GOOD[case] if at >= 0)
    shown = [tensor.offset for tensor in found.subgraphs[0].tensors]
    assert shown == [None if at == ONLINE else at for at in GOOD[case]]
    codes = np.arange(-16, 16, dtype=np.int8)[None]
    np.testing.assert_array_equal(TFLM.run(model, (codes,))[0].ravel(), np.maximum(codes, 0).ravel())
    assert graph.nodes


@pytest.mark.parametrize("case", BAD)
def test_a_plan_of_others_that_does_not_hold_is_refused_by_name(case: str) -> None:
    offsets, got, count = BAD[case]
    model = with_offsets(offsets, count)
    with pytest.raises(BadModelFile) as refused:
        read_tflite(model, aligned=False)
    assert "plan of the arena" in str(refused.value)
    assert got in str(refused.value)
    assert NAME in str(refused.value)
    assert any("plan of the arena" in each for each in summarize(model).unsound)


def test_tflite_micro_computes_wrong_codes_by_such_a_plan_without_a_word() -> None:
    # Two inputs of an addition, one over the other.
    made = SchemaFile()
    one, other = (made.tensor((1, 32), scale=0.5, end="input") for _ in range(2))
    sink = made.tensor((1, 32), scale=0.5, end="output")
    made.operator("SUB", [one, other], [sink], "SubOptions")
    model = with_metadata(made, encoded_plan((0, 16, 64)))
    codes = tuple(np.full((1, 32), value, np.int8) for value in (3, 5))
    assert set(TFLM.run(model, codes)[0].ravel().tolist()) != {-2}
    assert set(TFLM.run(without_plan(model), codes)[0].ravel().tolist()) == {-2}


def with_metadata(made: SchemaFile, data: bytes) -> bytes:
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(data, np.uint8)
    made.model.buffers.append(buffer)
    entry.name, entry.buffer = NAME, len(made.model.buffers) - 1
    made.model.metadata = [entry]
    return made.written()


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
