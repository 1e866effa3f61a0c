"""Boards whose project is sources for the SDK of their maker; sizes from its linker scripts."""

from __future__ import annotations

from export.boards.ecosystem import MakersSdk
from export.boards.record import KIB, Board

__all__ = ["BOARDS"]

BOARDS = (
    Board(
        name="grove_vision_ai_v2",
        description="Seeed Studio Grove Vision AI Module V2, Himax WiseEye2 (HX6538) without its NPU",
        cpu="cortex-m55",
        # TrustZone_S_ONLY.ld of the SDK: program and constants in 256 KiB, data in 256 KiB; both are RAM, into which an
        # image is loaded. Beside them are 2 MiB less 124 KiB of SRAM, where the SDK's own models have their arenas.
        flash=256 * KIB,
        ram=256 * KIB,
        ecosystem=MakersSdk(
            address="https://github.com/HimaxWiseEyePlus/Seeed_Grove_Vision_AI_Module_V2",
            folder="EPII_CM55M_APP_S/app/scenario_app",
            tflm="tflmtag2412_u55tag2411",
        ),
        clock_hz=400_000_000,  # as its users state it (ThreadX' port for the board)
        supply="the HX6538's data sheet was not at hand",
    ),
)
