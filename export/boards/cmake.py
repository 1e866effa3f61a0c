"""The machine that compiles, and Arm's MPS boards, which QEMU emulates: their projects are plain CMake."""

from __future__ import annotations

from export.boards.ecosystem import CMake, CortexM
from export.boards.record import KIB, MIB, Board

__all__ = ["BOARDS", "HOST"]

HOST = Board(name="host", description="this machine", cpu="host", flash=None, ram=None, ecosystem=CMake())

_FPGA = "an FPGA image: its current says nothing of a microcontroller's"

#: From Arm's application notes of the FPGA images.
BOARDS = (
    Board(
        name="mps2_an385",
        description="Arm MPS2 with Cortex-M3",
        cpu="cortex-m3",
        flash=4 * MIB,
        ram=4 * MIB,
        ecosystem=CMake(CortexM("mps2-an385", "-mcpu=cortex-m3 -mfloat-abi=soft")),
        clock_hz=25_000_000,
        supply=_FPGA,
    ),
    Board(
        name="mps2_an386",
        description="Arm MPS2 with Cortex-M4",
        cpu="cortex-m4",
        flash=4 * MIB,
        ram=4 * MIB,
        ecosystem=CMake(CortexM("mps2-an386", "-mcpu=cortex-m4+nofp -mfloat-abi=soft")),
        clock_hz=25_000_000,
        supply=_FPGA,
    ),
    Board(
        name="mps2_an500",
        description="Arm MPS2 with Cortex-M7",
        cpu="cortex-m7",
        flash=4 * MIB,
        ram=4 * MIB,
        ecosystem=CMake(CortexM("mps2-an500", "-mcpu=cortex-m7+nofp -mfloat-abi=soft")),
        clock_hz=25_000_000,
        supply=_FPGA,
    ),
    Board(
        name="mps2_an505",
        description="Arm MPS2 with Cortex-M33",
        cpu="cortex-m33",
        flash=4 * MIB,
        ram=4 * MIB,
        # Addresses of the secure state, in which the processor begins.
        ecosystem=CMake(
            CortexM("mps2-an505", "-mcpu=cortex-m33 -mfloat-abi=hard", flash_origin=0x1000_0000, ram_origin=0x3800_0000)
        ),
        clock_hz=20_000_000,
        supply=_FPGA,
    ),
    Board(
        name="mps3_an547",
        description="Arm MPS3 with Cortex-M55",
        cpu="cortex-m55",
        flash=512 * KIB,
        ram=4 * MIB,
        ecosystem=CMake(CortexM("mps3-an547", "-mcpu=cortex-m55 -mfloat-abi=hard", ram_origin=0x2100_0000)),
        clock_hz=32_000_000,
        supply=_FPGA,
    ),
)
