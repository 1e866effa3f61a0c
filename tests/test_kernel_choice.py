"""Which kernel is chosen for a layer: held against every other choice there is, and against counted instructions."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.kernels.shapes import Shape
from export.boards import BOARDS
from export.c.balance import Slot, chosen_kernels
from export.c.model import c_model
from export.c.network import c_network
from export.c.optimize import Limits, Optimize
from export.c.source import c_source
from export.c.targets import Candidate, rows_for
from export.c.targets.counted import fits, instructions, kernel_name
from export.c.targets.kernel_row import anywhere
from export.c.targets.table import KERNELS
from export.cost.kernel_counts import call_count, layer_candidates
from export.cost.machines import replayed
from export.figures.kernel_choice import kernels_in_words
from export.graph.ir import Graph
from firmware.emulation import MACHINES, Options, available
from firmware.emulation.build import compile_model, weigh
from firmware.emulation.failure import DidNotBuild
from qtorch.errors import BadConfiguration
from qtorch.row.kernel_call import ConstantTable, KernelCall
from recipes.mlperf_tiny import DSCNN, MobileNetV1, ResNet8
from tests.conftest import in_turn
from tests.test_cortex_m_kernels import _quantized


def _call(kernel: str, size: int, constants: int, weights: int, scratch: int = 0) -> KernelCall:
    return KernelCall(kernel, {"size": size, "table": ConstantTable(np.full(constants, weights, np.int8))}, scratch)


def _slot(index: int, sizes: tuple[int, int], costs: tuple[int, int], code: tuple[int, int], scratch: int = 0) -> Slot:
    """Two kernels; those of slots with constants of the same sizes share their code; each has its own weights."""
    row = replace(KERNELS[-1], kernel="fast")
    portable = _call("pointwise_s8", sizes[0], sizes[0], index)
    options = (
        Candidate(portable, portable, None),
        Candidate(portable, _call("fast", sizes[0], sizes[1], index, scratch), row),
    )
    return Slot(index, 0, options, costs, code, (), {})


def _saved(slots: list[Slot], taken: tuple[int, ...]) -> float:
    return sum(slot.costs[0] - slot.costs[option] for slot, option in zip(slots, taken, strict=True))


def _flash(slots: list[Slot], taken: tuple[int, ...]) -> float:
    """As the compiler has it: each function once, and each array."""
    functions = {
        (option, slot.options[0].call.arguments["size"]): slot.code[option]
        for slot, option in zip(slots, taken, strict=True)
    }
    arrays = {
        argument.data.tobytes()
        for slot, option in zip(slots, taken, strict=True)
        for argument in slot.options[option].call.arguments.values()
        if isinstance(argument, ConstantTable)
    }
    return sum(map(len, arrays)) + sum(functions.values())


def _drawn(seed: int, shared: bool = False) -> list[Slot]:
    rng = np.random.default_rng(seed)
    kinds = []
    for _ in range(3):
        size, before = int(rng.integers(10, 200)), int(rng.integers(100, 1000))
        after = int(before * rng.uniform(0.2, 1.3))
        kinds.append(
            ((size, int(size * rng.uniform(0.5, 2.5))), (before, after), tuple(rng.integers(10, 300, 2).tolist()))
        )
    drawn = [_slot(index, *kinds[int(rng.integers(3))]) for index in range(int(rng.integers(1, 8)))]
    if not shared:
        return drawn
    return [_with(slot, int(rng.integers(2))) for slot in drawn]


def _with(slot: Slot, weights: int) -> Slot:
    """The same with weights that other slots have too."""

    def call(of: KernelCall) -> KernelCall:
        table = of.arguments["table"]
        assert isinstance(table, ConstantTable)
        return replace(of, arguments={**of.arguments, "table": ConstantTable(np.full_like(table.data, weights))})

    return replace(slot, options=tuple(replace(each, call=call(each.call)) for each in slot.options))


@pytest.mark.parametrize("shared", [False, True], ids=["own weights", "shared weights"])
@pytest.mark.parametrize("seed", range(60))
def test_the_choice_beside_every_other(seed: int, shared: bool) -> None:
    slots = _drawn(seed, shared)
    calls = [(slot.options[0].call,) for slot in slots]
    # What saves less than a tenth is not taken to save anything.
    every = list(itertools.product(*((0, 1) if slot.costs[1] < 0.9 * slot.costs[0] else (0,) for slot in slots)))
    least = _flash(slots, (0,) * len(slots))
    for more in (0.0, 0.1, 0.4, 1.0):
        limits = Limits(int(least * (1 + more)), asked=True)
        found = chosen_kernels(calls, slots, "balanced", limits)
        taken = tuple(int(layer.kernel == "fast") for layer in found.layers)
        assert found.flash == round(_flash(slots, taken))
        assert found.flash <= max(limits.flash or 0, round(least))
        assert sum(layer.flash for layer in found.layers) == pytest.approx(found.flash - found.least, abs=len(slots))
        best = max(_saved(slots, other) for other in every if _flash(slots, other) <= int(least * (1 + more)))
        assert _saved(slots, taken) >= 0.75 * best
        worse = [slot for slot, option in zip(slots, taken, strict=True) if slot.costs[option] > slot.costs[0]]
        assert not worse
    fastest = chosen_kernels(calls, slots, "speed", Limits(1))
    for slot, layer in zip(slots, fastest.layers, strict=True):
        assert layer.instructions <= min(slot.costs) / 0.9


def test_layers_alike_move_together() -> None:
    """None of three is worth its code alone."""
    slots = [_slot(index, (50, 60), (1000, 400), (100, 100)) for index in range(3)]
    slots.append(_slot(3, (70, 80), (1000, 700), (100, 90)))
    calls = [(slot.options[0].call,) for slot in slots]
    least = _flash(slots, (0, 0, 0, 0))
    found = chosen_kernels(calls, slots, "balanced", Limits(int(least) + 30, asked=True))
    assert [layer.kernel for layer in found.layers] == [
        "fast",
        "fast",
        "fast",
        "pointwise_s8",
    ] or found.flash <= least + 30
    assert sum(layer.saved for layer in found.layers) >= 1800


def test_layers_of_the_same_weights_move_together() -> None:
    """One alone would leave the smaller table where the other reads it; two of each take turns."""
    slots = [_with(_slot(index, (100, 140), (1000, 400), (10, 10)), index % 2) for index in range(4)]
    calls = [(slot.options[0].call,) for slot in slots]
    least = _flash(slots, (0, 0, 0, 0))
    assert least == 210
    found = chosen_kernels(calls, slots, "balanced", Limits(int(least) + 50, asked=True))
    assert [layer.kernel for layer in found.layers] == ["fast", "pointwise_s8", "fast", "pointwise_s8"]
    assert found.flash == _flash(slots, (1, 0, 1, 0)) == 260
    assert [layer.flash for layer in found.layers] == [25, 0, 25, 0]


def test_working_memory_decides_too() -> None:
    slots = [_slot(index, (50, 60), (1000, 400), (100, 100), scratch=1000 * index) for index in range(3)]
    calls = [(slot.options[0].call,) for slot in slots]
    found = chosen_kernels(calls, slots, "speed", Limits(), lambda index, scratch: scratch <= 1000)
    assert [layer.kernel for layer in found.layers] == ["fast", "fast", "pointwise_s8"]
    assert found.layers[2].others["fast"] == "its 2,000 bytes of working memory do not fit"


def test_every_kernel_of_the_table_is_counted() -> None:
    stands_for = {"cortex-m85": "cortex-m55", "riscv32-p4": "riscv32"}
    for row in KERNELS:
        for cpu in row.cpus if row.work is not None else ():
            known = fits()[stands_for.get(cpu, cpu)]
            for name in (row.kernel, *(() if row.always is anywhere else [n for n in row.replaces if n in known])):
                assert known[name].instructions.shapes >= 7, f"{cpu}: {name}; run python -m benchmarks kernels"
                assert known[name].instructions.median_error < 0.1, f"{cpu}: {name}"


#: None of them among those that the costs were fitted to.
UNSEEN = [
    Shape("conv_2d", (7, 6, 20), 12), Shape("conv_2d", (8, 8, 40), 24, relu=False),
    Shape("conv_2d", (9, 5, 4), 8, (3, 3)),
    Shape("conv_2d", (11, 11, 6), 12, (3, 3), 2), Shape("depthwise_conv_2d", (10, 8, 12), 12, (3, 3)),
    Shape("depthwise_conv_2d", (11, 7, 10), 10, (3, 3), 2), Shape("fully_connected", (60,), 20),
    Shape("fully_connected", (37,), 9, relu=False),
]  # fmt: skip
COUNTING = ("cortex_m3", "cortex_m4", "cortex_m7", "cortex_m33", "cortex_m55", "atmega328p")


@pytest.mark.qemu
@pytest.mark.parametrize(("shape", "machine"), in_turn(map(str, UNSEEN), COUNTING))
def test_counts_beside_what_was_estimated(shape: str, machine: str) -> None:
    """At most a quarter off."""
    on = MACHINES[machine]
    if (absent := available(on)) is not None:
        pytest.skip(absent)
    graph = next(each for each in UNSEEN if str(each) == shape).graph()
    for candidate in layer_candidates(graph, on.cpu):
        expected = instructions(candidate, on.cpu)
        try:
            counted = call_count(graph, candidate, on).instructions
        except DidNotBuild:
            assert on.cpu == "avr"  # which has 2 KiB of RAM
            continue
        assert expected == pytest.approx(counted, rel=0.25), kernel_name(candidate)


def _one_channel_and_strided() -> list[Shape]:
    convolutions = [
        Shape("conv_2d", (*image, 1), outputs, window, stride)
        for image in ((4, 4), (7, 5), (10, 10), (16, 16))
        for outputs, window in ((1, (3, 3)), (4, (3, 3)), (8, (3, 3)), (3, (5, 5)))
        for stride in (1, 2)
    ]
    depthwise = [
        Shape("depthwise_conv_2d", (*image, channels), channels, (3, 3), 2)
        for image in ((4, 4), (5, 9), (8, 8), (11, 6))
        for channels in (2, 3, 5, 8, 16)
    ]
    # What a batch normalization alone or a scale of each channel becomes, and windows of two.
    small = [Shape("depthwise_conv_2d", (7, 7, channels), channels, window)
             for channels in (3, 16) for window in ((1, 1), (1, 2), (2, 1))]  # fmt: skip
    two_by_two = [
        Shape("depthwise_conv_2d", (9, 9, 3), 3, (2, 2)),
        Shape("depthwise_conv_2d", (6, 6, 12), 12, (2, 2), 2),
    ]
    return [*convolutions, *depthwise, *small, *two_by_two]


@pytest.mark.qemu
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, id=str(shape), marks=[pytest.mark.sweep] if index % 3 and shape.window != (2, 2) else [])
        for index, shape in enumerate(_one_channel_and_strided())
    ],
)
def test_speed_never_takes_more_instructions(shape: Shape) -> None:
    on = MACHINES["cortex_m4"]
    if (absent := available(on)) is not None:
        pytest.skip(absent)
    graph = shape.graph()
    found = {of: c_network(graph, on.cpu, of).steps[0].call.kernel for of in ("size", "balanced", "speed")}  # type: ignore[arg-type]
    counted = {each.call.kernel: call_count(graph, each, on).instructions for each in layer_candidates(graph, on.cpu)
               if each.call.kernel in found.values() and len(set(found.values())) > 1}  # fmt: skip
    for optimize in ("balanced", "speed"):
        assert counted.get(found[optimize], 0) <= counted.get(found["size"], 0)


@pytest.mark.qemu
def test_a_layer_takes_the_same_beside_any_others() -> None:
    """Its kernel is a function of its own: another kernel for its neighbours does not cost it instructions."""
    on = MACHINES["cortex_m4"]
    if (absent := available(on)) is not None:
        pytest.skip(absent)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(4, 60, 1), torch.nn.Conv2d(60, 60, 3, padding=1, groups=60), torch.nn.ReLU(),
        torch.nn.Conv2d(60, 3, 1),
    )  # fmt: skip
    graph, _ = _quantized(net, (4, 3, 4))
    kernels, counts = [], []
    for optimize in ("size", "balanced"):
        kernels.append({step.index: step.call.kernel for step in c_network(graph, on.cpu, optimize).steps})  # type: ignore[arg-type]
        counts.append(replayed(graph, on, 1, optimize, by_layer=True).layers)  # type: ignore[arg-type]
    kept = [index for index, kernel in kernels[0].items() if kernels[1][index] == kernel]
    assert kept
    assert len(kept) < len(kernels[0])
    for index in kept:
        assert counts[1][index] == counts[0][index]


@pytest.mark.parametrize("network", [DSCNN, ResNet8, MobileNetV1])
@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m33"])
def test_balanced_takes_a_tenth_more_flash(network: type[torch.nn.Module], cpu: str, tmp_path: Path) -> None:
    """Of the program as compiled, start-up code and all else apart."""
    machine = MACHINES[cpu.replace("-", "_")]
    if (absent := available(machine)) is not None:
        pytest.skip(absent)
    shape = {DSCNN: (1, 49, 10), ResNet8: (3, 32, 32), MobileNetV1: (3, 96, 96)}[network]
    torch.manual_seed(0)
    graph, _ = _quantized(network(), shape)
    flash, work = {}, {}
    for optimize in ("size", "balanced"):
        found = c_network(graph, cpu, optimize)  # type: ignore[arg-type]
        assert found.choice is not None
        work[optimize] = sum(layer.instructions for layer in found.choice.layers)
        files = c_source("net", found).files
        flash[optimize] = weigh(machine, compile_model(machine, files, "net", tmp_path, Options()).objects).flash
        assert found.choice.flash == pytest.approx(flash[optimize], rel=0.05)
    assert flash["balanced"] <= 1.1 * flash["size"]
    assert work["balanced"] < 0.9 * work["size"]


def _small() -> Graph:
    return Shape("conv_2d", (6, 6, 16), 32, (3, 3)).graph()


def test_too_little_flash_is_refused() -> None:
    with pytest.raises(BadConfiguration) as refused:
        c_model("net", _small(), BOARDS["nano33ble"], flash=1000)
    said = str(refused.value)
    assert "export.flash" in said
    assert "at most 1,000 bytes of flash" in said
    assert "for conv_2d 'output'" in said
    machine = MACHINES["cortex_m4"]
    if available(machine) is None:
        with pytest.raises(BadConfiguration) as compiled:
            c_model("net", _small(), BOARDS["nano33ble"], flash=5200)
        least = int(compiled.value.remedy.split("set it to ")[1].split(" ")[0].replace(",", ""))
        assert c_model("net", _small(), BOARDS["nano33ble"], flash=least).figures["program_flash_bytes"] == least
        with pytest.raises(BadConfiguration):
            c_model("net", _small(), BOARDS["nano33ble"], flash=least - 1)


@pytest.mark.parametrize("flash", [0, -5])
def test_no_flash_at_all_is_refused(flash: int) -> None:
    with pytest.raises(BadConfiguration, match=rf"a whole number from 1 on, got {flash}\."):
        c_model("net", _small(), BOARDS["nano33ble"], flash=flash)


def test_flash_that_is_asked_for_is_spent() -> None:
    board, counted = BOARDS["nano33ble"], {}
    for flash in (None, 16_000):
        figures = c_model("net", _small(), board, flash=flash).figures
        counted[flash] = figures["kernels"]["layers"][0]
        assert kernels_in_words(figures)
    assert counted[None]["kernel"] == "conv_2d_joined_s8"
    assert "bytes of flash of which" in counted[None]["others"]["conv_2d_pairs_s8"]
    assert counted[16_000]["kernel"] == "conv_2d_pairs_s8"
    assert counted[16_000]["saved"] > 0


@pytest.mark.parametrize("optimize", ["balanced", "size", "speed", "ram"])
def test_the_choice_is_the_same_every_time(optimize: Optimize) -> None:
    torch.manual_seed(0)
    graph, _ = _quantized(DSCNN(classes=5, channels=22), (1, 49, 10))
    kernels = [[step.call.kernel for step in c_network(graph, "cortex-m4", optimize).steps] for _ in range(2)]
    assert kernels[0] == kernels[1]
    assert rows_for("host") == ()


def test_ram_takes_kernels_but_no_working_memory() -> None:
    torch.manual_seed(0)
    graph, _ = _quantized(DSCNN(classes=5, channels=22), (1, 49, 10))
    whole, found = (
        c_network(graph, "host", "ram"),
        c_network(graph, "cortex-m4", "ram", limits=Limits(10**6, asked=True)),
    )
    assert found.plan.peak <= whole.plan.peak
