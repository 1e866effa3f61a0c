"""Cycles of counted instructions: hand-written code, counted by hand from the manuals."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from firmware.emulation import MACHINES, Machine, available, counter, replay
from firmware.emulation.counter import Executed, counter_absent
from firmware.emulation.disassembly import Instruction
from firmware.emulation.machines import Need
from firmware.emulation.replay import Counted
from firmware.emulation.timing import cycles
from firmware.emulation.timings import TIMINGS, timings_of
from tests.c_models import copying, dense, dense_samples
from tests.conftest import in_turn

pytestmark = pytest.mark.qemu
ONE = np.arange(5, dtype=np.int8)[:, None]
_QEMU = [name for name, machine in MACHINES.items() if machine.kind == "qemu"]


def _machine(name: str) -> Machine:
    reason = available(MACHINES[name]) or counter_absent(MACHINES[name])
    if reason is not None:
        pytest.skip(reason)
    return MACHINES[name]


@functools.cache
def _counted(name: str, body: str) -> Counted:
    found = replay(_machine(name), copying(body), "copy", ONE, ONE)
    assert found.mismatches == 0
    assert found.counted is not None
    assert found.cost is not None
    assert found.counted.count == found.cost.min == found.cost.max
    return found.counted


def _asm(text: str) -> str:
    """What uses r4 to r7 and memory at r4 and r5, with the registers saved around it alike whatever it is."""
    lines = "\\n\\t".join(line.strip() for line in text.split(";"))
    clobbered = '"r4", "r5", "r6", "r7", "cc", "memory"'
    return (
        "static int32_t words[8];\n"
        '__asm__ volatile(".syntax unified\\n\\tmov r4, %0\\n\\tmov r5, %0\\n\\t'
        f'{lines}" : : "r"(words) : {clobbered});'
    )


def _more(name: str, text: str, core: str = "") -> tuple[float, float | None]:
    """Least and most cycles that some instructions take more than none."""
    none, some = (_counted(name, _asm(each)) for each in ("nop; nop", f"nop; {text}; nop"))
    base, found = (next(each for each in counted.cycles if core in ("", each.core)) for counted in (none, some))
    return found.least - base.least, None if found.most is None or base.most is None else found.most - base.most


@pytest.mark.parametrize("name", _QEMU)
def test_instructions_by_address_are_those_that_the_counter_counts(name: str) -> None:
    """The oracle is the machine's own counter, which knows nothing of the plugin."""
    inputs, expected = dense_samples(50)
    machine = _machine(name)
    found = replay(machine, dense(), "dense", inputs, expected)
    assert found.counted is not None
    assert found.cost is not None
    assert found.cost.min < found.counted.count < found.cost.max
    single = [replay(machine, dense(), "dense", inputs[i : i + 1], expected[i : i + 1]) for i in range(3)]
    for one in single:
        assert one.counted is not None
        assert one.cost is not None
        assert one.counted.count == one.cost.median


def test_turns_of_the_counter_are_no_instructions_of_the_model() -> None:
    loop = "ldr r6, =3000001; 1: subs r6, #1; bne 1b; b 2f; .ltorg; 2: nop"
    assert _counted("cortex_m4", _asm(loop)).count > 6_000_000


#: What a loop of one subtraction takes for each time round: SUBS 1, and BNE that is taken.
_LOOPS = [
    ("cortex_m0", "cortex-m0plus", 3, 3),  # 2
    ("cortex_m0", "cortex-m0", 4, 4),  # 3
    ("cortex_m3", "cortex-m3", 3, 5),  # 1 + P, P from 1 to 3
    ("cortex_m4", "cortex-m4", 3, 5),
]


@pytest.mark.parametrize(("name", "core", "least", "most"), _LOOPS)
def test_a_loop_takes_what_the_manual_says(name: str, core: str, least: int, most: int) -> None:
    loop = "movs r6, #{}; 1: subs r6, #1; bne 1b"
    once, often = (_more(name, loop.format(times), core) for times in (1, 101))
    assert (often[0] - once[0], (often[1] or 0) - (once[1] or 0)) == (100 * least, 100 * most)
    assert once == (3, 3)  # MOVS, SUBS, and BNE that is not taken: one each


@pytest.mark.parametrize(
    ("instructions", "name"),
    in_turn(
        [
            # The manuals' own examples, and what their rules say of others.
            ("ldr r6, [r4]; ldr r7, [r5]", 3),
            ("ldr r6, [r4]; str r6, [r5, #20]", 3),
            ("ldr r6, [r4]; ldr r7, [r5]; ldr r6, [r4, #4]", 4),
            ("ldr r6, [r4]; nop; ldr r7, [r5]", 5),
            ("str r6, [r4]; str r7, [r5]", 2),
            ("ldr r4, [r5]; ldr r6, [r4, #0]", 4),  # the first gives the second's address
            ("ldm r4, {r6, r7}", 3),
            ("stm r4, {r4, r5, r6, r7}", 5),
            ("push {r4, r5, r6}; pop {r4, r5, r6}", 8),
            ("ldrd r6, r7, [r4]", 3),
            ("mul r6, r4, r5", 1),
            ("add r4, r4, #0; ldr r6, [r4]", 4),  # an address that was computed just before
            ("add r7, r4, #0; ldr r6, [r4]", 3),
            ("movw r6, #1; movt r6, #2; ubfx r7, r6, #1, #3; sxth r7, r7; clz r7, r7; ssat r7, #8, r7", 6),
        ],
        ["cortex_m3", "cortex_m4"],
    ),
)
def test_loads_and_stores_take_what_the_manual_says(instructions: tuple[str, int], name: str) -> None:
    text, taken = instructions
    # NOPs before and behind keep what the compiler put there from being a neighbour.
    assert _more(name, text) == (taken, taken)


@pytest.mark.parametrize(
    ("text", "on_m3", "on_m4"),
    [
        ("mla r6, r4, r5, r7", (2, 2), (1, 1)),
        ("smull r6, r7, r4, r5", (3, 5), (1, 1)),
        ("smlal r6, r7, r4, r5", (4, 7), (1, 1)),
        ("umull r6, r7, r4, r5", (3, 5), (1, 1)),
        ("movs r6, #9; sdiv r7, r6, r6", (3, 13), (3, 13)),
    ],
)
def test_multiplications_differ(text: str, on_m3: tuple[int, int], on_m4: tuple[int, int]) -> None:
    assert _more("cortex_m3", text) == on_m3
    assert _more("cortex_m4", text) == on_m4


def test_parallel_products_take_one_cycle_on_a_cortex_m4() -> None:
    assert _more("cortex_m4", "smlad r6, r4, r5, r6; sxtb16 r7, r6; smuad r7, r7, r6; pkhbt r6, r6, r7") == (4, 4)
    assert _more("cortex_m4", "smlald r6, r7, r4, r5; sxtb16 r7, r6, ror #8; smlabb r6, r4, r5, r6") == (3, 3)


@pytest.mark.parametrize(
    ("text", "plus", "first"),
    [
        ("ldr r6, [r4]; ldr r7, [r5]", 4, 4),  # nothing is pipelined
        ("ldrb r6, [r4]; strb r6, [r5]", 4, 4),
        ("muls r6, r7, r6", 1, 1),
        ("ldm r4!, {r6, r7}", 3, 3),
        ("push {r4, r5, r6}; pop {r4, r5, r6}", 8, 8),
        ("b 1f; nop; 1: nop", 3, 4),  # 2 or 3, and a NOP
        ("sxtb r6, r6; lsls r6, r6, #3; adds r6, r6, r7; rev r6, r6", 4, 4),
    ],
)
def test_a_cortex_m0_and_its_successor_differ_in_jumps(text: str, plus: int, first: int) -> None:
    assert _more("cortex_m0", text, "cortex-m0plus") == (plus, plus)
    assert _more("cortex_m0", text, "cortex-m0") == (first, first)


def test_a_call_and_its_return() -> None:
    """BL and BX: 3 and 2 on a Cortex-M0+, 4 and 3 on a Cortex-M0, twice 1 + P on a Cortex-M4."""
    text = "mov r7, lr; b 2f; nop; 1: bx lr; 2: bl 1b; mov lr, r7"
    assert _more("cortex_m0", text, "cortex-m0plus") == (1 + 2 + 3 + 2 + 1, 9)
    assert _more("cortex_m0", text, "cortex-m0") == (1 + 3 + 4 + 3 + 1, 12)
    assert _more("cortex_m4", text) == (1 + 2 + 2 + 2 + 1, 1 + 4 + 4 + 4 + 1)


def test_where_nothing_is_published_there_is_no_most_or_it_is_said() -> None:
    (esp, hazard) = _counted("riscv32", "").cycles
    assert esp.most is None
    assert "no" in esp.source
    assert hazard.most is not None
    for name in ("cortex_m7", "cortex_m33", "cortex_m55"):
        (found,) = _counted(name, _asm("mul r6, r4, r5; smull r6, r7, r4, r5")).cycles
        assert found.least < 20
        assert "no table" in found.source


def test_what_no_table_has_is_unknown_and_counts_at_least_one() -> None:
    program = {0: Instruction(0, 2, "adds", "r0, r0, r1"), 2: Instruction(2, 4, "frobnicate", "r0")}
    found = cycles(Executed({0: 3, 2: 5}, {0: 0, 2: 0}), program, TIMINGS["cortex-m4"])
    assert (found.least, found.most, found.unknown) == (8, None, ("frobnicate",))


def test_every_machine_s_processor_has_a_table_or_says_what_is_not_published() -> None:
    # An ESP8266's core stands for no board, and nobody publishes its cycles.
    for name in (each for each in _QEMU if MACHINES[each].cpu != "lx106"):
        assert timings_of(MACHINES[name].cpu)
    for timing in TIMINGS.values():
        assert timing.source
        assert timing.assumption


def test_without_a_compiler_or_plugins_instructions_alone_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = _machine("cortex_m4")
    monkeypatch.setattr(counter, "plugin_needs", lambda _: (Need("no-such-compiler", "gcc"),))
    found = replay(machine, copying(""), "copy", ONE, ONE)
    assert found.counted is None
    assert "no-such-compiler: apt-get install gcc" in found.uncounted
    assert found.cost is not None
    monkeypatch.undo()
    monkeypatch.setattr(counter, "_takes_plugins", lambda _: False)
    assert "without plugins" in replay(machine, copying(""), "copy", ONE, ONE).uncounted
    assert "none of QEMU's" in (counter_absent(MACHINES["host"]) or "")


@pytest.mark.parametrize("name", ["cortex_m0", "cortex_m4", "riscv32"])
def test_steps_divide_the_whole(name: str) -> None:
    """Loops of known length in steps of their own, the first of them twice, and once in a function that is called."""
    if name == "riscv32":
        loop = '__asm__ volatile("li t0, {}\\n\\t1: addi t0, t0, -1\\n\\tbnez t0, 1b" ::: "t0");'
    else:
        loop = '__asm__ volatile(".syntax unified\\n\\tmovs r3, #{}\\n\\t1: subs r3, #1\\n\\tbne 1b" ::: "r3", "cc");'
    called = f"__attribute__((noinline)) static void called(void) {{ {loop.format(70)} }}"
    inlined = f"static inline void inlined(void) {{ {loop.format(50)} }}"
    body = f"/* step 0 */ {loop.format(100)}\n/* step 1 */ inlined(); called();\n/* step 0 */ {loop.format(20)}"
    found = replay(_machine(name), copying(body, f"{called}\n{inlined}"), "copy", ONE, ONE)
    plain = replay(_machine(name), copying(body.replace("step", "part"), f"{called}\n{inlined}"), "copy", ONE, ONE)
    assert found.counted is not None
    assert plain.cost is not None
    assert found.counted.count == plain.cost.min  # marks change nothing
    steps = found.counted.steps
    assert sum(each.count for each in steps.values()) == found.counted.count
    # The copy at the end, and what saves registers, stand in the last step's lines or in none's.
    assert 1 + 200 + 1 + 40 <= steps[0].count <= 1 + 200 + 1 + 40 + 8
    assert 1 + 100 + 1 + 140 + 2 <= steps[1].count <= 1 + 100 + 1 + 140 + 4
    assert sum(each.cycles[0].least for each in steps.values()) == pytest.approx(found.counted.cycles[0].least)


def test_the_plugin_is_kept_by_its_content() -> None:
    _machine("cortex_m4")
    first = counter._plugin()
    assert first == counter._plugin()
    assert first.exists()
    assert isinstance(first, Path)
