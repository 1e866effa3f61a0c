"""From what was counted to milliseconds and microjoules: the arithmetic, the bounds, the reasons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from export.boards import BOARDS, CLOCKS, SUPPLIES, WITHOUT_SUPPLY, Supply
from export.cost.board_estimate import Estimate, estimates
from export.cost.machines import MachineProfile


def counted(cpu: str, unit: str, median: float, **more: object) -> MachineProfile:
    return replace(MachineProfile("machine", cpu, unit, median=median), **more)  # type: ignore[arg-type]


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
    assert SUPPLIES["uno"].source in uno.assumptions
    assert nano.milliseconds == pytest.approx(1)
    assert nano.microjoules == pytest.approx(SUPPLIES["nano33ble"].milliamps * SUPPLIES["nano33ble"].volts)
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


def test_a_board_without_a_published_current_says_why() -> None:
    pico = only("pico", counted("cortex-m0", "instructions", 125_000))
    assert pico.milliseconds == pytest.approx(1)
    assert pico.microjoules is None
    assert WITHOUT_SUPPLY["pico"] in pico.assumptions
    assert "--milliamps" in pico.assumptions
    assert only("pico", counted("cortex-m0", "instructions", 1), supply=Supply(1, 1, None, "s")).microjoules is not None


def test_a_processor_that_was_left_out_is_named_with_the_remedy() -> None:
    assert "--machine cortex_m3" in only("bluepill", counted("cortex-m4", "instructions", 1)).assumptions


def test_a_processor_of_two_instructions_a_cycle_has_no_bound() -> None:
    for board, cpu in (("mps2_an500", "cortex-m7"), ("mps3_an547", "cortex-m55")):
        found = only(board, counted(cpu, "instructions", 1000))
        assert found.time_is == "no bound"
        assert "two instructions in a cycle" in found.assumptions


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
    assert set(CLOCKS) == set(BOARDS) - {"host"}
    assert set(SUPPLIES) | set(WITHOUT_SUPPLY) == set(CLOCKS)
    assert not set(SUPPLIES) & set(WITHOUT_SUPPLY)
    for supply in SUPPLIES.values():  # a source names a document and its conditions
        assert "data sheet" in supply.source or "product specification" in supply.source
        assert 1 < supply.milliamps < 100
        assert 1.8 <= supply.volts <= 5
