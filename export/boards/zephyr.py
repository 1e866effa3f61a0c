"""Boards whose project is Zephyr's; sizes from the data sheets of the microcontrollers."""

from __future__ import annotations

from export.boards.ecosystem import Zephyr
from export.boards.record import KIB, Board, Supply

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        name="nucleo_f446re",
        description="STM32F446RE",
        cpu="cortex-m4",
        flash=512 * KIB,
        ram=128 * KIB,
        ecosystem=Zephyr(board="nucleo_f446re"),
        clock_hz=96_000_000,  # Zephyr's nucleo_f446re.dts: 8 MHz / 8 * 384 / 4; the processor allows 180 MHz
        supply="the STM32F446's data sheet (DS10693, current consumption in run mode) was not at hand",
    ),
    Board(
        name="microbit",
        description="BBC micro:bit, nRF51822",
        cpu="cortex-m0",
        flash=256 * KIB,
        ram=16 * KIB,
        ecosystem=Zephyr(board="bbc_microbit"),
        clock_hz=16_000_000,  # the nRF51822's only one
        supply=Supply(
            5.15,
            3.3,
            16_000_000,
            "nRF51822 product specification as its users quote it: run current from flash 4.4 mA and 16 MHz RC "
            "oscillator 0.75 mA; the board's 3.3 V",
        ),
    ),
)
