"""From what was counted to milliseconds and microjoules: the arithmetic, the bounds, the reasons."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from torch import fx

from export.boards import BOARDS, Board, Supply, Zephyr
from export.cost.board_cost import board_cost, counted_in_words
from export.cost.board_estimate import Estimate, estimates, machine_of
from export.cost.machines import MachineProfile
from export.graph.build import integer_graph
from firmware.emulation import MACHINES, Cycles, available
from firmware.emulation.counter import counter_absent
from firmware.emulation.timings import TIMINGS
from qtorch.errors import BadConfiguration


def counted(cpu: str, unit: str, median: float, **more: object) -> MachineProfile:
    return replace(MachineProfile("machine", cpu, unit, median=median), **more)  # type: ignore[arg-type]


def supply_of(board: str) -> Supply:
    supply = BOARDS[board].supply
    assert isinstance(supply, Supply)
    return supply


def only(board: str, *machines: MachineProfile, **options: object) -> Estimate:
    (found,) = estimates(machines, [BOARDS[board]], **options)  # type: ignore[arg-type]
    return found


def test_time_and_energy_are_the_products_that_they_say() -> None:
    machines = [counted("avr", "cycles", 160_000), counted("cortex-m4", "instructions", 64_000)]
    uno, nano, esp = estimates(machines, [BOARDS[name] for name in ("uno", "nano33ble", "esp32")])
    assert uno.milliseconds == pytest.approx(10)
    # 5.2 mA at 8 MHz are 10.4 mA at 16 MHz; 10.4 mA * 5 V * 10 ms.
    assert uno.microjoules == pytest.approx(520)
    assert uno.time_is == "counted"
    assert "proportional to the clock" in uno.assumptions
    assert supply_of("uno").source in uno.assumptions
    assert nano.milliseconds == pytest.approx(1)
    assert nano.microjoules == pytest.approx(supply_of("nano33ble").milliamps * supply_of("nano33ble").volts)
    assert nano.time_is == "lower bound"
    assert "1 cycle per instruction, a lower bound" in nano.assumptions
    assert (esp.milliseconds, esp.time_is) == (None, "unknown")
    assert "xtensa" in esp.assumptions
    given = Supply(3.0, 3.0, None, "as given")
    uno, nano = estimates(machines, [BOARDS["uno"], BOARDS["nano33ble"]], given, 32_000_000, 1.5)
    assert uno.milliseconds == pytest.approx(5)  # cycles are cycles
    assert nano.milliseconds == pytest.approx(3)
    assert nano.microjoules == pytest.approx(27)
    assert nano.time_is == "assumed"
    assert "proportional" not in nano.assumptions


def cycled(core: str, least: float, most: float | None, jumps: float = 0, source: str = "a manual") -> Cycles:
    return Cycles(core, least, most, jumps, (), source, "no wait states")


def test_cycles_stand_in_the_place_of_one_for_each_instruction() -> None:
    machine = counted("cortex-m4", "instructions", 64_000, cycles=(cycled("cortex-m4", 96_000, 128_000),))
    found = only("nano33ble", machine)
    assert (found.milliseconds, found.most, found.time_is) == (1.5, 2.0, "without waits")
    supply = supply_of("nano33ble")
    assert found.microjoules == pytest.approx(1.5 * supply.milliamps * supply.volts)
    assert "by kind with the Cortex-M4's cycles (a manual): no wait states" in found.assumptions
    assert "1 cycle per instruction" not in found.assumptions
    assert only("nano33ble", machine, cycles_per_instruction=2.0).milliseconds == 2.0  # what a person says is taken


def test_jumps_wait_for_flash_at_most_where_its_wait_states_are_known() -> None:
    machine = counted("cortex-m3", "instructions", 1, cycles=(cycled("cortex-m3", 72_000, 144_000, 36_000),))
    found = only("bluepill", machine)
    assert (found.milliseconds, found.most) == (1.0, (144_000 + 2 * 36_000) / 72_000)
    assert found.time_is == "published"
    assert "2 wait states of flash at most behind each of 36,000 jumps, 8 bytes a read" in found.assumptions
    assert "PM0075" in found.assumptions
    # At another clock, other wait states hold.
    slower = only("bluepill", machine, clock_hz=8_000_000)
    assert (slower.most, slower.time_is) == (18.0, "without waits")
    assert "jumps" not in slower.assumptions


def test_a_board_takes_the_cycles_of_its_own_core() -> None:
    both = (cycled("cortex-m0plus", 125_000, 125_000), cycled("cortex-m0", 160_000, 160_000))
    machine = counted("cortex-m0", "instructions", 100_000, cycles=both)
    assert only("pico", machine).milliseconds == 1.0
    assert "Cortex-M0+'s cycles" in only("pico", machine).assumptions
    assert only("microbit", machine).milliseconds == 10.0
    both = (cycled("riscv32", 150_000, None), cycled("hazard3", 300_000, 450_000))
    machine = counted("riscv32", "instructions", 150_000, cycles=both)
    assert (only("pico2_riscv", machine).milliseconds, only("pico2_riscv", machine).most) == (2.0, 3.0)
    assert (only("esp32c3", machine).time_is, only("esp32c3", machine).most) == ("lower bound", None)
    for board in BOARDS.values():  # what a record names is there
        assert board.core in ("", *TIMINGS)


def test_what_is_assumed_in_a_maker_s_place_is_no_published_time() -> None:
    cycles = cycled("cortex-m7", 500, 1500, source="Arm publishes no table of cycles")
    found = only("mps2_an500", counted("cortex-m7", "instructions", 1000, cycles=(cycles,)))
    assert (found.milliseconds, found.most, found.time_is) == (0.02, 0.06, "lower bound")


def test_cycles_and_times_are_said_as_what_they_are() -> None:
    cycles = {"core": "cortex-m4", "least": 96_000.0, "most": 128_000.0}
    counted_ = {
        **{"board": "nano33ble", "machine": "cortex_m4", "unit": "instructions", "median": 64_000.0},
        **{"clock_hz": 64_000_000, "cycles": cycles, "milliseconds": 1.5, "most_milliseconds": 2.0},
    }
    published = counted_in_words({**counted_, "time_is": "published"})
    assert published == (
        "One inference of the plain C: 64,000 instructions of cortex_m4, 96,000 to 128,000 cycles of a cortex-m4, "
        "1.5 to 2 ms at 64 MHz"
    )
    waits = counted_in_words({**counted_, "time_is": "without waits"})
    assert "without waiting for flash 1.5 to 2 ms" in waits
    bound = counted_in_words({**counted_, "time_is": "lower bound"})
    assert "at least 1.5 ms, 2 with one instruction at a time at 64 MHz" in bound
    least = {**cycles, "most": None}
    none = counted_in_words({**counted_, "cycles": least, "most_milliseconds": None, "time_is": "lower bound"})
    assert "at least 96,000 cycles of a cortex-m4, at least 1.5 ms at 64 MHz" in none


@pytest.mark.qemu
def test_what_a_board_is_made_for_is_counted_in_cycles(network: fx.GraphModule) -> None:
    machine = MACHINES["cortex_m4"]
    if why := available(machine) or counter_absent(machine):
        pytest.skip(why)
    found = board_cost(integer_graph(network), BOARDS["nano33ble"])
    assert found["time_is"] == "without waits"
    assert found["median"] < found["cycles"]["least"] <= found["cycles"]["most"]
    assert found["milliseconds"] == pytest.approx(found["cycles"]["least"] / 64_000)
    assert "100166" in found["assumptions"]


def test_a_board_without_a_published_current_says_why() -> None:
    pico = only("pico", counted("cortex-m0", "instructions", 125_000))
    assert pico.milliseconds == pytest.approx(1)
    assert pico.microjoules is None
    assert "the RP2040 data sheet has the core's current" in str(BOARDS["pico"].supply)
    assert str(BOARDS["pico"].supply) in pico.assumptions
    assert "--milliamps" in pico.assumptions
    assert only("pico", counted("cortex-m0", "instructions", 1), supply=Supply(1, 1, None, "s")).microjoules is not None


def test_a_processor_that_was_left_out_is_named_with_the_remedy() -> None:
    assert "--machine cortex_m3" in only("bluepill", counted("cortex-m4", "instructions", 1)).assumptions


def test_a_processor_of_two_instructions_a_cycle_has_no_bound() -> None:
    for board, cpu in (
        *(("mps2_an500", "cortex-m7"), ("mps3_an547", "cortex-m55")),
        *(("pico2", "cortex-m33"), ("ek_ra8m1", "cortex-m55")),
    ):
        found = only(board, counted(cpu, "instructions", 1000))
        assert found.time_is == "no bound"
        assert re.search("two instructions (of 16 bits )?in a cycle", found.assumptions)


def test_a_processor_that_no_machine_is_has_one_that_executes_its_instructions_named() -> None:
    for board, cpu in (("ek_ra8m1", "cortex-m55"), ("esp32p4", "riscv32")):
        stood = BOARDS[board].cpu
        assert f", which stands for a {stood}," in only(board, counted(cpu, "instructions", 1000)).assumptions
        assert machine_of(BOARDS[board]) == MACHINES[cpu.replace("-", "_")]
    assert "stands for" not in only("mps3_an547", counted("cortex-m55", "instructions", 1000)).assumptions


def test_a_program_that_is_larger_than_the_board_has_no_time() -> None:
    for size, said in ({"flash": 65_537}, "65,537 bytes of flash of 65,536"), (
        {"ram": 20_000, "stack": 481}, "20,481 bytes of RAM with the stack of 20,480"
    ):  # fmt: skip
        found = only("bluepill", counted("cortex-m3", "instructions", 1000, **size))
        assert (found.milliseconds, found.microjoules) == (None, None)
        assert said in found.assumptions
    assert only("bluepill", counted("cortex-m3", "instructions", 1, flash=65_536, ram=20_000, stack=480)).milliseconds


def test_a_board_is_estimated_from_its_own_microcontroller() -> None:
    machines = [counted("avr", "cycles", 16_000, machine=name) for name in ("atmega328p", "atmega32u4")]
    assert "atmega32u4" in only("leonardo", *machines).assumptions
    assert "atmega328p" in only("uno", *machines).assumptions
    absent = replace(machines[1], absent="no compiler")
    assert "atmega328p" in only("leonardo", machines[0], absent).assumptions
    mega = only("mega2560", *machines)
    assert (mega.milliseconds, mega.time_is) == (1.0, "lower bound")
    assert "a cycle more" in mega.assumptions


def test_every_board_has_a_clock_and_a_current_or_a_reason() -> None:
    assert {name for name, board in BOARDS.items() if board.clock_hz is None} == {"host"}
    for board in BOARDS.values():
        if isinstance(board.supply, Supply):  # a source names a document and its conditions
            assert "data sheet" in board.supply.source or "product specification" in board.supply.source
            assert 1 < board.supply.milliamps < 100
            assert 1.8 <= board.supply.volts <= 5
        else:
            assert board.supply or board.name == "host"


def test_a_board_names_the_machine_that_counts_for_it() -> None:
    found = {name: machine.name for name, board in BOARDS.items() if (machine := machine_of(board)) is not None}
    assert (found["uno"], found["leonardo"], found["mega2560"]) == ("atmega328p", "atmega32u4", "atmega328p")
    assert found["bluepill"] == "cortex_m3"
    assert found["esp32c3"] == "riscv32"
    assert found["pico2"] == "cortex_m33"
    without = {name for name, each in BOARDS.items() if each.cpu in ("xtensa", "xtensa-s3")}
    assert BOARDS.keys() - found.keys() == {"host", *without}
    # What is written for people decides nothing.
    told = replace(BOARDS["leonardo"], description="not the ATmega328P")
    assert getattr(machine_of(told), "name", "") == "atmega32u4"
    machines = [counted("avr", "cycles", 16_000, machine=name) for name in ("atmega328p", "atmega32u4")]
    (estimate,) = estimates(machines, [told])
    assert "atmega32u4" in estimate.assumptions


@pytest.mark.parametrize("machine", ["atmega644", "cortex_m3"])
def test_a_machine_that_cannot_count_for_the_board_is_refused(machine: str) -> None:
    wrong = replace(BOARDS["uno"], machine=machine)
    with pytest.raises(BadConfiguration, match=f"board 'uno': machine: .*atmega328p, atmega32u4, got '{machine}'"):
        machine_of(wrong)
    with pytest.raises(BadConfiguration, match="board 'uno': machine"):
        estimates([counted("avr", "cycles", 1, machine="atmega328p")], [wrong])


def test_a_board_that_stands_in_the_list_alone_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    supply = Supply(8.0, 3.0, None, "a data sheet")
    new = Board("new", "of no maker", "cortex-m0", 131_072, 36_864, Zephyr("new_there"), 64_000_000, supply)
    monkeypatch.setitem(BOARDS, "new", new)
    estimate = only("new", counted("cortex-m0", "instructions", 64_000))
    assert estimate.milliseconds == pytest.approx(1)
    assert estimate.microjoules == pytest.approx(24)
    assert "64 MHz" in estimate.assumptions
    assert "no current: none is in export/boards" in (
        estimates([counted("cortex-m0", "instructions", 1)], [replace(new, supply="")])[0].assumptions
    )
