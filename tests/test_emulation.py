"""Generated C on emulated machines: what the rigs find, count and weigh, each against what is known."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from firmware.emulation import (
    MACHINES,
    DidNotBuild,
    DidNotEnd,
    EmulationFailure,
    Machine,
    Mismatch,
    Options,
    available,
    footprints,
    replay,
)
from firmware.emulation.build import STRICT, TARGETS, compile_model, link, names_of
from firmware.emulation.machines import Need
from firmware.emulation.replay import _compared, run_program
from tests.c_models import WEIGHTS, copying, dense, dense_samples, header

_MARKS = {"host": [], "qemu": [pytest.mark.qemu], "simavr": [pytest.mark.avr]}
INPUTS, EXPECTED = dense_samples(300)
ONE = np.arange(5, dtype=np.int8)[:, None]


def _params(*names: str, swept: tuple[str, ...] = ()) -> list[object]:
    marks = {name: [*_MARKS[MACHINES[name].kind], *[pytest.mark.sweep][: name in swept]] for name in names}
    return [pytest.param(name, marks=marks[name]) for name in names]


def _of(kind: str) -> tuple[str, ...]:
    return tuple(name for name, machine in MACHINES.items() if machine.kind == kind)


def _machine(name: str) -> Machine:
    reason = available(MACHINES[name])
    if reason is not None:
        pytest.skip(reason)
    return MACHINES[name]


#: Their rig is that of Cortex-M3 and M4, by other flags alone: what the rig finds out there is asked by the sweeps.
_ALIKE = ("cortex_m7", "cortex_m33")
every_rig = pytest.mark.parametrize("name", _params(*MACHINES, swept=_ALIKE))
qemu_rigs = pytest.mark.parametrize("name", _params(*_of("qemu"), swept=_ALIKE))
every_machine = pytest.mark.parametrize("name", _params(*MACHINES))
counting_machines = pytest.mark.parametrize("name", _params(*_of("qemu"), *_of("simavr")))
qemu_machines = pytest.mark.parametrize("name", _params(*_of("qemu")))
avr_machines = pytest.mark.parametrize("name", _params(*_of("simavr")))


@every_machine
def test_right_outputs_agree(name: str) -> None:
    found = replay(_machine(name), dense(), "dense", INPUTS, EXPECTED)
    assert (found.machine, found.samples, found.mismatches, found.first) == (name, 300, 0, None)
    assert np.array_equal(found.outputs, EXPECTED)
    assert found.model.flash > WEIGHTS.size
    if name.startswith("host"):
        assert (found.cost, found.overhead, found.stack, found.firmware) == (None, None, None, None)
    else:
        assert found.cost is not None
        assert 12 * 3 < found.cost.min <= found.cost.median <= found.cost.max < 3000
        assert found.cost.min < found.cost.max  # saturated outputs take another way
        assert found.firmware is not None
        assert found.model.flash < found.firmware.flash < found.model.flash + 600
        assert found.firmware.ram >= 4 + 3


@every_rig
def test_one_wrong_output_is_found(name: str) -> None:
    wrong = EXPECTED.copy()
    wrong[123, 2] ^= 1
    found = replay(_machine(name), dense(), "dense", INPUTS, wrong)
    assert (found.samples, found.mismatches) == (300, 1)
    assert found.first == Mismatch(123, 2, int(wrong[123, 2]), int(EXPECTED[123, 2]))


@every_rig
def test_one_flipped_weight_is_found(name: str) -> None:
    flipped = WEIGHTS.copy()
    flipped[1, 2] ^= 1
    found = replay(_machine(name), dense(flipped), "dense", INPUTS, EXPECTED)
    assert 0 < found.mismatches < 300
    assert np.array_equal(found.outputs[:, [0, 2]], EXPECTED[:, [0, 2]])


@pytest.mark.parametrize("name", _params("host", "cortex_m0", "riscv32", "lx106", "atmega328p"))
def test_thousands_of_samples(name: str) -> None:
    inputs, expected = dense_samples(5000)
    assert replay(_machine(name), dense(), "dense", inputs, expected).mismatches == 0


@pytest.mark.parametrize("name", _params("host", "cortex_m3", "riscv32", "lx106", "atmega328p"))
@pytest.mark.parametrize(("change", "code"), [(0, 0), (1, 65)])
def test_exit_code_says_whether_outputs_agree(name: str, change: int, code: int, tmp_path: Path) -> None:
    machine = _machine(name)
    model = compile_model(machine, dense(), "dense", tmp_path, Options())
    elf = link(machine, model, (*machine.start, *machine.rig), "replay.elf")
    expected = EXPECTED.copy()
    expected[-1, 0] += change
    (tmp_path / "samples.bin").write_bytes(np.concatenate([INPUTS, expected], axis=1).tobytes())
    assert run_program(machine, elf, tmp_path, Options(), ("4", "3"))[0] == code


@pytest.mark.parametrize("name", _params("host", "cortex_m3", "riscv32", "lx106", "atmega328p"))
def test_samples_that_end_within_one_are_no_agreement(name: str, tmp_path: Path) -> None:
    machine = _machine(name)
    model = compile_model(machine, dense(), "dense", tmp_path, Options())
    elf = link(machine, model, (*machine.start, *machine.rig), "replay.elf")
    (tmp_path / "samples.bin").write_bytes(np.concatenate([INPUTS, EXPECTED], axis=1).tobytes()[:-1])
    assert run_program(machine, elf, tmp_path, Options(), ("4", "3"))[0] == 66


@pytest.mark.parametrize(("figures", "code"), [((300, 1, 0, 0), 0), ((299, 0, 0, 0), 0), ((300, 0, 0, 0), 65)])
def test_verdict_that_contradicts_the_outputs_is_refused(figures: tuple[int, ...], code: int) -> None:
    with pytest.raises(EmulationFailure, match=r"expected 300 samples, 0 of which differ, exit code 0"):
        _compared(MACHINES["host"], "dense", EXPECTED, EXPECTED, figures, code)


@pytest.mark.parametrize("machine", _params("host", "cortex_m3", "atmega328p"))
def test_a_model_may_be_called_as_anything_in_a_rig_is(machine: str, tmp_path: Path) -> None:
    """``AVR`` is a macro of the compiler's; the others are names, or parts of names, of the rigs' sources."""
    one = np.concatenate([INPUTS[:1], EXPECTED[:1]], axis=1)
    for name in ("model", "model_upper", "avr", "arm", "rig", "rig_names", "targets", "interpreted", "smallest", "out"):
        sources = {
            file.replace("dense", name): text.replace("dense", name).replace("DENSE", name.upper())
            for file, text in dense().items()
        }
        made = replay(_machine(machine), sources, name, one[:, :4], one[:, 4:])
        assert made.mismatches == 0, name


# Instructions that are known to be so many --------------------------------------------------------------------------


def _least(machine: Machine, body: str) -> int:
    """Cost of a body, the same for each sample."""
    found = replay(machine, copying(body), "copy", ONE, ONE)
    assert found.mismatches == 0
    assert found.cost is not None
    assert found.cost.min == found.cost.max
    return found.cost.min


def _asm(instruction: str, times: int) -> str:
    return f'__asm__ volatile(".rept {times}\\n\\t{instruction}\\n\\t.endr" ::: "memory");'


@counting_machines
def test_each_instruction_counts_once(name: str) -> None:
    machine = _machine(name)
    none = _least(machine, "")
    # Load and store, by ARMv6-M with a zero index first, by AVR with a MOVW before each and two cycles for each access.
    assert none == {"cortex_m0": 3, "atmega328p": 6, "atmega32u4": 6}.get(name, 2)
    assert [_least(machine, _asm("nop", times)) - none for times in (1, 2, 1000)] == [1, 2, 1000]


@qemu_rigs
def test_a_counter_that_turns_is_still_exact(name: str) -> None:
    """SysTick has 24 bits, some 2.6 million instructions."""
    machine = _machine(name)
    if machine.prefix.startswith(("riscv", "xtensa")):
        step = '"1: addi %0, %0, -1\\n\\tbnez %0, 1b" : "+r"(i)'
    else:
        step = '".syntax unified\\n\\t1: subs %0, %0, #1\\n\\tbne 1b" : "+l"(i) : : "cc"'
    # The start is a variable's, so that loading it takes the same instructions for any number.
    costs = [
        _least(machine, f"static volatile const uint32_t n = {n};\nuint32_t i = n;\n__asm__ volatile({step});")
        for n in (1, 1_300_001, 5_000_001)
    ]
    assert [cost - costs[0] for cost in costs] == [0, 2_600_000, 10_000_000]


#: Clock cycles by the data sheet's instruction set summary.
_DATA_SHEET = {
    "nop": 1,
    "add r18, r18": 1,
    "movw r18, r18": 1,
    "mul r18, r18\n\tclr r1": 3,
    "muls r18, r18\n\tclr r1": 3,
    "lpm r18, Z": 3,
    "ld r18, X": 2,
    "lds r18, 0x100": 2,
    "rjmp .+0": 2,
    "push r18\n\tpop r18": 4,
}


@avr_machines
@pytest.mark.parametrize("instruction", _DATA_SHEET)
def test_avr_cycles_are_the_data_sheets(name: str, instruction: str) -> None:
    machine = _machine(name)
    # The registers are saved around the asm alike with one and with eleven of the instructions.
    body = '__asm__ volatile(".rept {}\\n\\t{}\\n\\t.endr" ::: "r18", "r19", "r0", "memory");'
    escaped = instruction.replace("\n\t", "\\n\\t")
    ones, elevens = (_least(machine, body.format(times, escaped)) for times in (1, 11))
    assert elevens - ones == 10 * _DATA_SHEET[instruction]


@counting_machines
def test_what_a_call_and_the_marks_take_is_subtracted(name: str) -> None:
    found = replay(_machine(name), copying(""), "copy", ONE, ONE)
    assert found.overhead is not None
    assert 5 <= found.overhead <= 20


@counting_machines
def test_stack_is_what_the_frame_takes(name: str) -> None:
    machine = _machine(name)

    def stack(size: int) -> int:
        loop = f"for (uint16_t i = 0; i < {size}; ++i) {{ frame[i] = 7; }}"
        body = f"volatile uint8_t frame[{size}];\n{loop}\n(void)frame[0];"
        found = replay(machine, copying(body), "copy", ONE, ONE).stack
        assert found is not None
        return found

    least = stack(16)
    assert [stack(size) - least for size in (64, 208)] == [48, 192]
    assert 16 <= least <= 40


# What does not go well ------------------------------------------------------------------------------------------------

ENDLESS = "while (*(const volatile int8_t *)in != 77) {\n}"


@pytest.mark.parametrize("name", _params("host", "cortex_m0", "cortex_m55", "riscv32", "lx106"))
def test_an_endless_loop_runs_into_the_time_limit(name: str) -> None:
    with pytest.raises(DidNotEnd, match=r"expected the program to end, got none after 1 s"):
        replay(_machine(name), copying(ENDLESS), "copy", ONE, ONE, Options(seconds=1))


@avr_machines
def test_an_endless_loop_runs_into_the_cycle_limit(name: str) -> None:
    with pytest.raises(DidNotEnd, match=r"more than 50,000 cycles[\s\S]*not done after 5000\d cycles"):
        replay(_machine(name), copying(ENDLESS), "copy", ONE, ONE, Options(cycles=50_000))


@qemu_rigs
def test_a_trap_is_reported(name: str) -> None:
    undefined = {"riscv32": "unimp", "lx106": "ill"}.get(name, "udf #0")
    with pytest.raises(EmulationFailure, match=r"got 67: a trap of the processor"):
        replay(_machine(name), copying(_asm(undefined, 1)), "copy", ONE, ONE)


@pytest.mark.qemu
def test_a_trap_without_a_stack_is_reported() -> None:
    """The board's boot ROM lies there, in which nothing can be stored."""
    body = '__asm__ volatile("li sp, 0x8000\\n\\tunimp");'
    with pytest.raises(EmulationFailure, match=r"got 67: a trap of the processor"):
        replay(_machine("riscv32"), copying(body), "copy", ONE, ONE)


@avr_machines
def test_a_processor_that_sleeps_for_good_is_reported(name: str) -> None:
    body = '__asm__ volatile("cli\\n\\tldi r18, 1\\n\\tout 0x33, r18\\n\\tsleep" ::: "r18");'
    with pytest.raises(EmulationFailure, match=r"got 72: a processor that stopped"):
        replay(_machine(name), copying(body), "copy", ONE, ONE)


@pytest.mark.parametrize("name", _params("cortex_m4", "cortex_m7", "cortex_m33", "cortex_m55"))
def test_floating_point_is_switched_on(name: str) -> None:
    body = '__asm__ volatile("vadd.f32 s0, s0, s0" ::: "s0");'
    assert replay(_machine(name), copying(body), "copy", ONE, ONE).mismatches == 0


@pytest.mark.qemu
def test_vectors_are_switched_on() -> None:
    body = '__asm__ volatile("vadd.i8 q0, q0, q0" ::: "q0");'
    assert replay(_machine("cortex_m55"), copying(body), "copy", ONE, ONE).mismatches == 0


def test_undefined_behaviour_is_reported() -> None:
    """The sanitizer's own text stands in the error."""
    body = "int32_t big = 0x7fffffff - 2;\nbig += *in;\n(void)*(volatile int32_t *)&big;"
    with pytest.raises(EmulationFailure, match=r"signed integer overflow"):
        replay(_machine("host_sanitized"), copying(body), "copy", ONE, ONE)


def test_a_warning_is_an_error() -> None:
    with pytest.raises(DidNotBuild, match=r"host: copy_model.c: expected gcc to succeed[\s\S]*unused"):
        replay(_machine("host"), copying("int unused;"), "copy", ONE, ONE)


@avr_machines
def test_more_flash_than_there_is(name: str) -> None:
    tables = "\n".join(
        f"const int8_t copy_{half}[17000] __attribute__((progmem)) = {{1}};" for half in ("first", "second")
    )
    uses = "(void)*(const volatile int8_t *)copy_first;\n(void)*(const volatile int8_t *)copy_second;"
    with pytest.raises(DidNotBuild, match=r"will not fit in region .text"):
        footprints(_machine(name), copying(uses, tables), "copy")


@avr_machines
def test_more_ram_than_there_is(name: str) -> None:
    with pytest.raises(DidNotBuild, match=r"is not within region .data"):
        footprints(_machine(name), copying("copy_table[*in] = 1;", "volatile int8_t copy_table[2600];"), "copy")


@avr_machines
def test_a_stack_that_overwrites_data(name: str) -> None:
    # The larger controller has 512 bytes more.
    body = "volatile int8_t frame[700];\nframe[0] = 1;\n(void)frame[0];\ncopy_table[*in] = 1;"
    with pytest.raises(DidNotBuild, match=r"got 19\d\d of data and 7\d\d of stack: the stack overwrites data"):
        replay(_machine(name), copying(body, "volatile int8_t copy_table[1900];"), "copy", ONE, ONE)


@pytest.mark.qemu
def test_less_memory_than_the_stack_needs() -> None:
    sources = copying("copy_table[*in] = 1;", "volatile int8_t copy_table[15900];")
    with pytest.raises(DidNotBuild, match=r"left for the stack"):
        footprints(_machine("cortex_m0"), sources, "copy")


@qemu_rigs
def test_a_stack_that_reaches_down_to_data_is_reported(name: str) -> None:
    """Five million bytes where no machine has more than four MiB; where nothing lies below, the processor traps."""
    fill = "for (int32_t i = 4999999; i >= 0; i -= 4) {\nframe[i] = 1;\n}"
    body = f"volatile int8_t frame[5000000];\n{fill}\n(void)frame[0];"
    with pytest.raises(EmulationFailure, match=r"got (68: a stack that reached what lies below it|67: a trap)"):
        replay(_machine(name), copying(body), "copy", ONE, ONE, Options(seconds=10))


@pytest.mark.parametrize(
    ("inputs", "expected", "said"),
    [
        (INPUTS.astype(np.int16), EXPECTED, r"replay.inputs: expected int8 \[300, >= 1\], got int16 \[300, 4\]"),
        (INPUTS, EXPECTED[1:], r"replay.expected: expected int8 \[300, >= 1\], got int8 \[299, 3\]"),
        (INPUTS[:0], EXPECTED[:0], r"got int8 \[0, 4\]"),
    ],
)
def test_arrays_of_another_form(inputs: np.ndarray, expected: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replay(MACHINES["host"], dense(), "dense", inputs, expected)


def test_absent_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    arm = available(MACHINES["cortex_m3"]) or ""
    assert arm.startswith("cortex_m3 needs arm-none-eabi-gcc, qemu-system-arm")
    assert "apt-get install gcc-arm-none-eabi qemu-system-arm" in arm
    assert "apt-get install" in (available(MACHINES["riscv32"]) or "")
    assert "gcc-avr" in (available(MACHINES["atmega328p"]) or "")
    absent = dataclasses.replace(MACHINES["host"], needs=(Need(str(tmp_path / "no.h"), "no-dev"),))
    assert available(absent) == f"host needs {tmp_path / 'no.h'}: apt-get install no-dev"


# Sizes and sources ----------------------------------------------------------------------------------------------------


@counting_machines
def test_footprints_grow_with_what_the_model_holds(name: str) -> None:
    machine = _machine(name)
    keep = "(void)*(const volatile int8_t *)copy_table;"
    small = footprints(machine, copying(""), "copy")
    where = "__attribute__((progmem)) " if machine.kind == "simavr" else ""
    flash = footprints(machine, copying(keep, f"const int8_t copy_table[100] {where}= {{1}};"), "copy")
    ram = footprints(machine, copying(keep, "int8_t copy_table[100];"), "copy")
    for before, more_flash, more_ram in zip(small, flash, ram, strict=True):
        assert before is not None
        assert more_flash is not None
        assert more_ram is not None
        assert 100 <= more_flash.flash - before.flash <= 124
        assert more_flash.ram == before.ram
        assert 96 <= more_ram.ram - before.ram <= 112  # in multiples of what the linker script aligns to


@pytest.mark.parametrize(
    ("target", "files"),
    [
        ((), ["replay.c", "smallest.c", "host/host.c", "memory.c"]),
        (
            ("--target=arm-none-eabi", "-mcpu=cortex-m3", "-ffreestanding"),
            ["replay.c", "memory.c", "painted_stack.c", "semihosting.c", "cortex_m/start.c", "cortex_m/count.c"],
        ),
        (
            ("--target=riscv32-unknown-elf", "-march=rv32imac", "-ffreestanding"),
            ["replay.c", "memory.c", "painted_stack.c", "semihosting.c", "riscv/start.c", "riscv/count.c"],
        ),
    ],
)
def test_clang_finds_nothing_either(target: tuple[str, ...], files: list[str], tmp_path: Path) -> None:
    if shutil.which("clang") is None:
        pytest.skip("a second compiler needs clang: apt-get install clang")
    (tmp_path / "dense_model.h").write_text(header("dense", 4, 3))
    for file in files:
        flags = ("-std=c99", *STRICT, *target, *names_of("dense"), f"-I{tmp_path}", f"-I{TARGETS}")
        done = subprocess.run(["clang", *flags, "-fsyntax-only", str(TARGETS / file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
