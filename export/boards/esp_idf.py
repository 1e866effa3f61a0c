"""Boards whose project is ESP-IDF's; sizes from the data sheets of the microcontrollers."""

from __future__ import annotations

from export.boards.ecosystem import EspIdf
from export.boards.record import KIB, MIB, Board, Supply

__all__ = ["BOARDS"]

#: ESP-IDF's default of ESP_DEFAULT_CPU_FREQ_MHZ (components/esp_system/port/soc/*/Kconfig.cpu).
_CLOCK_HZ = 160_000_000

BOARDS = (
    Board(
        name="esp32",
        description="ESP32, 1 MiB application partition",
        cpu="xtensa",
        flash=MIB,
        ram=320 * KIB,
        ecosystem=EspIdf(target="esp32"),
        clock_hz=_CLOCK_HZ,
        supply="the ESP32 data sheet (v3.5, table 6) has a range, of both cores: 27 to 44 mA at 160 MHz",
        well_known=True,
    ),
    Board(
        name="esp32c3",
        description="ESP32-C3, 1 MiB application partition",
        cpu="riscv32",
        flash=MIB,
        ram=320 * KIB,
        ecosystem=EspIdf(target="esp32c3"),
        clock_hz=_CLOCK_HZ,
        supply=Supply(
            23.0,
            3.3,
            160_000_000,
            "ESP32-C3 data sheet v2.4, table 5-8: CPU running, radio off, clocks of peripherals off, typical; reading "
            "flash past the cache comes on top",
        ),
    ),
    Board(
        name="esp32c6",
        description="ESP32-C6, 1 MiB application partition",
        cpu="riscv32",
        flash=MIB,
        ram=320 * KIB,  # PlatformIO's esp32-c6-devkitc-1.json; of 512 KiB
        ecosystem=EspIdf(target="esp32c6"),
        clock_hz=_CLOCK_HZ,
        supply="the ESP32-C6's data sheet (current consumption in modem-sleep mode) was not at hand",
    ),
    Board(
        name="esp32s3",
        description="ESP32-S3 (ESP32-S3-DevKitC-1), 1 MiB application partition",
        cpu="xtensa-s3",
        flash=MIB,
        ram=320 * KIB,  # PlatformIO's seeed_xiao_esp32s3.json, of 512 KiB
        ecosystem=EspIdf(target="esp32s3"),
        clock_hz=_CLOCK_HZ,
        supply="the ESP32-S3's data sheet (current consumption in modem-sleep mode) was not at hand",
    ),
    Board(
        name="esp32p4",
        description="ESP32-P4, 1 MiB application partition",
        cpu="riscv32-p4",
        flash=MIB,
        ram=320 * KIB,  # pioarduino's esp32-p4.json, as the clock, which chips from revision 3 on may raise to 400 MHz
        ecosystem=EspIdf(target="esp32p4"),
        clock_hz=360_000_000,
        supply="the ESP32-P4's data sheet was not at hand",
    ),
)
