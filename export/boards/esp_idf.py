"""Boards whose project is ESP-IDF's; sizes from the data sheets of the microcontrollers."""

from __future__ import annotations

from export.boards.ecosystem import EspIdf
from export.boards.record import KIB, MIB, Board, Supply

__all__ = ["BOARDS"]

#: ESP-IDF's default of ESP_DEFAULT_CPU_FREQ_MHZ.
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
)
