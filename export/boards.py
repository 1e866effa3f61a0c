"""Boards that an export can be made for: what they compute with, what they hold, and whose build system they use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qtorch.errors import BadConfiguration

__all__ = ["BOARDS", "CLOCKS", "SUPPLIES", "WITHOUT_SUPPLY", "Board", "Supply", "board"]


@dataclass(frozen=True)
class Board:
    """A target of an export.

    Attributes:
        name: what ``--export.target`` takes.
        description: for people.
        cpu: decides in which order weights are stored, and how a project is compiled.
        flash: bytes for program and constants, what a boot loader takes subtracted; ``None``: no limit worth checking.
        ram: bytes in all, the stack among them; ``None`` as above.
        ecosystem: whose project layout ``--export.firmware`` writes.
        tflm: whether TFLite Micro runs there.
    """

    name: str
    description: str
    cpu: Literal["host", "avr", "cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55", "riscv32", "xtensa"]
    flash: int | None
    ram: int | None
    ecosystem: Literal["cmake", "arduino", "esp_idf", "platformio", "zephyr"]
    tflm: bool = True


_KIB, _MIB = 1024, 1024 * 1024

#: Sizes from the data sheets of the microcontrollers.
BOARDS = {
    each.name: each
    for each in (
        Board("host", "this machine", "host", None, None, "cmake"),
        Board("uno", "Arduino Uno, ATmega328P at 16 MHz", "avr", 32 * _KIB - 512, 2 * _KIB, "arduino", tflm=False),
        Board("leonardo", "Arduino Leonardo, ATmega32U4", "avr", 28 * _KIB, 2560, "arduino", tflm=False),
        Board("mega2560", "Arduino Mega, ATmega2560", "avr", 248 * _KIB, 8 * _KIB, "arduino", tflm=False),
        Board("nano33ble", "Arduino Nano 33 BLE, nRF52840", "cortex-m4", 960 * _KIB, 256 * _KIB, "arduino"),
        Board("pico", "Raspberry Pi Pico, RP2040", "cortex-m0", 2 * _MIB, 264 * _KIB, "platformio"),
        Board("bluepill", "STM32F103C8", "cortex-m3", 64 * _KIB, 20 * _KIB, "platformio"),
        Board("nucleo_f446re", "STM32F446RE", "cortex-m4", 512 * _KIB, 128 * _KIB, "zephyr"),
        Board("microbit", "BBC micro:bit, nRF51822", "cortex-m0", 256 * _KIB, 16 * _KIB, "zephyr"),
        Board("esp32", "ESP32, 1 MiB application partition", "xtensa", _MIB, 320 * _KIB, "esp_idf"),
        Board("esp32c3", "ESP32-C3, 1 MiB application partition", "riscv32", _MIB, 320 * _KIB, "esp_idf"),
        Board("mps2_an385", "Arm MPS2 with Cortex-M3", "cortex-m3", 4 * _MIB, 4 * _MIB, "cmake"),
        Board("mps2_an386", "Arm MPS2 with Cortex-M4", "cortex-m4", 4 * _MIB, 4 * _MIB, "cmake"),
        Board("mps2_an500", "Arm MPS2 with Cortex-M7", "cortex-m7", 4 * _MIB, 4 * _MIB, "cmake"),
        Board("mps3_an547", "Arm MPS3 with Cortex-M55", "cortex-m55", 512 * _KIB, 4 * _MIB, "cmake"),
    )
}

#: Hz of the processor as the start-up code of the board's ecosystem sets it; not of ``host``.
CLOCKS = {
    "uno": 16_000_000,  # Arduino's boards.txt: build.f_cpu, as of the two below
    "leonardo": 16_000_000,
    "mega2560": 16_000_000,
    "nano33ble": 64_000_000,  # the nRF52840's only one
    "pico": 125_000_000,  # pico-sdk's clocks, which Arduino's core keeps: 12 MHz * 125 / 6 / 2
    "bluepill": 72_000_000,  # Arduino_Core_STM32's SystemClock_Config: 8 MHz * 9
    "nucleo_f446re": 96_000_000,  # Zephyr's nucleo_f446re.dts: 8 MHz / 8 * 384 / 4; the processor allows 180 MHz
    "microbit": 16_000_000,  # the nRF51822's only one
    "esp32": 160_000_000,  # ESP-IDF's default of ESP_DEFAULT_CPU_FREQ_MHZ, as of the next
    "esp32c3": 160_000_000,
    "mps2_an385": 25_000_000,
    "mps2_an386": 25_000_000,
    "mps2_an500": 25_000_000,
    "mps3_an547": 32_000_000,
}


@dataclass(frozen=True)
class Supply:
    """What a processor takes while it computes; the board's regulator, LEDs and radio come on top.

    Attributes:
        milliamps: typical, at ``clock_hz``; taken to be proportional to the clock.
        volts: of the supply.
        clock_hz: at which the current was published; the board's own if ``None``.
        source: who says so.
    """

    milliamps: float
    volts: float
    clock_hz: int | None
    source: str


#: Published typical currents at room temperature; a board that is not here stands in :data:`WITHOUT_SUPPLY`.
SUPPLIES = {
    "uno": Supply(5.2, 5.0, 8_000_000, "ATmega328P data sheet (8271), DC characteristics: active, 8 MHz, 5 V, typical"),
    "leonardo": Supply(
        10.0, 5.0, 8_000_000, "ATmega32U4 data sheet (7766), DC characteristics: active, 8 MHz, 5 V, typical"
    ),
    "mega2560": Supply(
        10.0, 5.0, 8_000_000, "ATmega2560 data sheet (2549), DC characteristics: active, 8 MHz, 5 V, typical"
    ),
    "nano33ble": Supply(
        3.3, 3.3, 64_000_000,
        "nRF52840 product specification as its users quote it, CPU running: CoreMark from flash, DC/DC converter on, "
        "typical; the board's 3.3 V",
    ),
    "bluepill": Supply(
        27.0, 3.3, 72_000_000,
        "STM32F103x8/xB data sheet, table 17: run mode from flash, external clock, prefetch, peripherals off, 3.3 V, "
        "typical",
    ),
    "microbit": Supply(
        5.15, 3.3, 16_000_000,
        "nRF51822 product specification as its users quote it: run current from flash 4.4 mA and 16 MHz RC oscillator "
        "0.75 mA; the board's 3.3 V",
    ),
    "esp32c3": Supply(
        23.0, 3.3, 160_000_000,
        "ESP32-C3 data sheet v2.4, table 5-8: CPU running, radio off, clocks of peripherals off, typical; "
        "reading flash past the cache comes on top",
    ),
}  # fmt: skip

_FPGA = "an FPGA image: its current says nothing of a microcontroller's"

#: Why a board has no published current.
WITHOUT_SUPPLY = {
    "pico": "the RP2040 data sheet has the core's current over its clock as a curve alone, of both cores at once "
    "(5.7.2.1); its table is of a video player",
    "nucleo_f446re": "the STM32F446's data sheet (DS10693, current consumption in run mode) was not at hand",
    "esp32": "the ESP32 data sheet (v3.5, table 6) has a range, of both cores: 27 to 44 mA at 160 MHz",
    "mps2_an385": _FPGA,
    "mps2_an386": _FPGA,
    "mps2_an500": _FPGA,
    "mps3_an547": _FPGA,
}


def board(name: str) -> Board:
    """The board of that name.

    Raises:
        BadConfiguration: there is none.
    """
    if name not in BOARDS:
        raise BadConfiguration(
            where="export.target",
            expected=f"one of {', '.join(BOARDS)}",
            got=repr(name),
            remedy="choose the board with the same microcontroller, or leave the option out",
        )
    return BOARDS[name]
