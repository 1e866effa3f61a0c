"""Boards whose project is an Arduino library; sizes from the data sheets of the microcontrollers."""

from __future__ import annotations

from export.boards.ecosystem import Arduino
from export.boards.record import KIB, MIB, Board, Supply

__all__ = ["BOARDS"]

_STM32H747 = "the STM32H747's data sheet (DS12930, current consumption in run mode) was not at hand"

BOARDS = (
    Board(
        name="uno",
        description="Arduino Uno or Nano, ATmega328P at 16 MHz",
        cpu="avr",
        flash=32 * KIB - 512,
        ram=2 * KIB,
        ecosystem=Arduino("Arduino AVR Boards"),
        clock_hz=16_000_000,  # Arduino's boards.txt: build.f_cpu, as of the two below
        supply=Supply(
            5.2, 5.0, 8_000_000, "ATmega328P data sheet (8271), DC characteristics: active, 8 MHz, 5 V, typical"
        ),
        machine="atmega328p",
        tflm=False,
        well_known=True,
    ),
    Board(
        name="leonardo",
        description="Arduino Leonardo, ATmega32U4",
        cpu="avr",
        flash=28 * KIB,
        ram=2560,
        ecosystem=Arduino("Arduino AVR Boards"),
        clock_hz=16_000_000,
        supply=Supply(
            10.0, 5.0, 8_000_000, "ATmega32U4 data sheet (7766), DC characteristics: active, 8 MHz, 5 V, typical"
        ),
        machine="atmega32u4",
        tflm=False,
    ),
    Board(
        name="mega2560",
        description="Arduino Mega, ATmega2560",
        cpu="avr",
        flash=248 * KIB,
        ram=8 * KIB,
        ecosystem=Arduino("Arduino AVR Boards"),
        clock_hz=16_000_000,
        supply=Supply(
            10.0, 5.0, 8_000_000, "ATmega2560 data sheet (2549), DC characteristics: active, 8 MHz, 5 V, typical"
        ),
        tflm=False,
    ),
    Board(
        name="nano33ble",
        description="Arduino Nano 33 BLE, nRF52840",
        cpu="cortex-m4",
        flash=960 * KIB,
        ram=256 * KIB,
        ecosystem=Arduino("Arduino Mbed OS Nano Boards"),
        clock_hz=64_000_000,  # the nRF52840's only one
        supply=Supply(
            3.3,
            3.3,
            64_000_000,
            "nRF52840 product specification as its users quote it, CPU running: CoreMark from flash, DC/DC converter "
            "on, typical; the board's 3.3 V",
        ),
        well_known=True,
    ),
    Board(
        name="nano_rp2040",
        description="Arduino Nano RP2040 Connect",
        cpu="cortex-m0",
        # ArduinoCore-mbed's boards.txt: upload.maximum_size and upload.maximum_data_size, as of the two below.
        flash=16 * MIB,
        ram=264 * KIB,
        ecosystem=Arduino("Arduino Mbed OS Nano Boards"),
        clock_hz=125_000_000,  # pico-sdk's clocks, which Arduino's core keeps, as of the Pico
        supply="the RP2040 data sheet has the core's current over its clock as a curve alone, of both cores at once "
        "(5.7.2.1); its table is of a video player",
    ),
    Board(
        name="portenta_h7",
        description="Arduino Portenta H7, the STM32H747's Cortex-M7",
        cpu="cortex-m7",
        flash=768 * KIB,  # with the flash split in halves between both processors, as the IDE's menu has it first
        ram=523_624,
        ecosystem=Arduino("Arduino Mbed OS Portenta Boards"),
        clock_hz=480_000_000,  # PlatformIO's portenta_h7_m7.json: build.f_cpu
        supply=_STM32H747,
    ),
    Board(
        name="giga_r1",
        description="Arduino Giga R1 WiFi, the STM32H747's Cortex-M7",
        cpu="cortex-m7",
        # PlatformIO's giga_r1_m7.json: upload.maximum_size, upload.maximum_ram_size and build.f_cpu.
        flash=768 * KIB,
        ram=523_624,
        ecosystem=Arduino("Arduino Mbed OS Giga Boards"),
        clock_hz=480_000_000,
        supply=_STM32H747,
    ),
)
