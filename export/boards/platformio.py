"""Boards whose project is PlatformIO's; sizes from the data sheets of the microcontrollers."""

from __future__ import annotations

from export.boards.ecosystem import PlatformIO
from export.boards.memory import Memory
from export.boards.record import KIB, MIB, Board, FlashWaits, Supply

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        name="pico",
        description="Raspberry Pi Pico, RP2040",
        cpu="cortex-m0",
        flash=2 * MIB,
        ram=264 * KIB,
        ecosystem=PlatformIO(platform="raspberrypi", board="pico"),
        clock_hz=125_000_000,  # pico-sdk's clocks, which Arduino's core keeps: 12 MHz * 125 / 6 / 2
        supply="the RP2040 data sheet has the core's current over its clock as a curve alone, of both cores at once "
        "(5.7.2.1); its table is of a video player",
        well_known=True,
    ),
    Board(
        name="bluepill",
        description="STM32F103C8",
        cpu="cortex-m3",
        flash=64 * KIB,
        ram=20 * KIB,
        ecosystem=PlatformIO(platform="ststm32", board="bluepill_f103c8"),
        clock_hz=72_000_000,  # Arduino_Core_STM32's SystemClock_Config: 8 MHz * 9
        supply=Supply(
            27.0,
            3.3,
            72_000_000,
            "STM32F103x8/xB data sheet, table 17: run mode from flash, external clock, prefetch, peripherals off, "
            "3.3 V, typical",
        ),
        well_known=True,
        flash_waits=FlashWaits(
            2,
            "8 bytes a read, two of them kept and read in advance",
            "STM32F10xxx flash manual (PM0075): FLASH_ACR, LATENCY",
        ),
    ),
    Board(
        name="teensy41",
        description="Teensy 4.1, i.MX RT1062",
        cpu="cortex-m7",
        # PlatformIO's teensy41.json, as the clock: of two memories of 512 KiB, the one that program and data share.
        flash=8_126_464,
        ram=512 * KIB,
        ecosystem=PlatformIO(platform="teensy", board="teensy41"),
        clock_hz=600_000_000,
        supply="the i.MX RT1060's data sheet (IMXRT1060CEC, run mode) was not at hand",
        second=Memory(
            "RAM2",
            512 * KIB,
            faster=False,
            source="Teensy's imxrt1062_t41.ld: RAM at 0x20200000, which the heap shares; what ram counts is DTCM",
            guard="__IMXRT1062__",
            header="avr/pgmspace.h",
            attribute="DMAMEM",
        ),
    ),
    Board(
        name="xiao_esp32s3",
        description="Seeed Studio XIAO ESP32S3 (Sense)",
        cpu="xtensa-s3",
        flash=0x33_0000,  # the application's partition in arduino-esp32's default_8MB.csv
        # PlatformIO's seeed_xiao_esp32s3.json, as the clock.
        ram=320 * KIB,
        ecosystem=PlatformIO(platform="espressif32", board="seeed_xiao_esp32s3"),
        clock_hz=240_000_000,
        supply="the ESP32-S3's data sheet (current consumption in modem-sleep mode) was not at hand",
        second=Memory(
            "PSRAM",
            8 * MIB,
            faster=False,
            source="Seeed Studio's page of the board",
            guard="ESP_PLATFORM",
            header="esp_attr.h",
            attribute="EXT_RAM_BSS_ATTR",
            needs="CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY, which ESP-IDF's menuconfig sets; without it, as in "
            "Arduino's precompiled core, the array lies in internal RAM",
        ),
    ),
)
