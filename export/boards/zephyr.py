"""Boards whose project is Zephyr's; sizes from data sheets of the microcontrollers, or from Zephyr's files of a board.

The latter say what is left beside boot loaders and other processors.
"""

from __future__ import annotations

from export.boards.ecosystem import Zephyr
from export.boards.memory import Memory
from export.boards.record import KIB, MIB, Board, FlashWaits, Supply

__all__ = ["BOARDS"]

_RP2350 = "the RP2350's data sheet was not at hand"

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
        flash_waits=FlashWaits(
            3,
            "16 bytes a read, 64 of them cached for instructions and 8 for data",
            "STM32F446 reference manual (RM0390), flash memory interface: 90 to 120 MHz at 2.7 to 3.6 V",
        ),
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
        core="cortex-m0",
    ),
    Board(
        name="xiao_nrf52840",
        description="Seeed Studio XIAO nRF52840 Sense",
        cpu="cortex-m4",
        flash=788 * KIB,  # Zephyr's nrf52840_partition_uf2_sdv7.dtsi: boot loader and SoftDevice take the rest
        ram=256 * KIB,
        ecosystem=Zephyr(board="xiao_ble/nrf52840/sense"),
        clock_hz=64_000_000,  # the nRF52840's only one
        supply=Supply(
            3.3,
            3.3,
            64_000_000,
            "nRF52840 product specification as its users quote it, CPU running: CoreMark from flash, DC/DC converter "
            "on, typical; the board's 3.3 V",
        ),
    ),
    Board(
        name="nrf5340dk",
        description="nRF5340 DK, the application core",
        cpu="cortex-m33",
        # Zephyr's nrf5340dk_nrf5340_cpuapp.yaml: 64 KiB of the RAM are shared with the network core.
        flash=1024 * KIB,
        ram=448 * KIB,
        ecosystem=Zephyr(board="nrf5340dk/nrf5340/cpuapp"),
        clock_hz=64_000_000,  # after reset; 128 MHz if a program sets HFCLKCTRL, which Zephyr leaves alone
        supply=Supply(
            2.7,
            3.0,
            64_000_000,
            "nRF5340 product specification, application CPU running: CoreMark from flash, HFINT, cache enabled, DC/DC, "
            "3 V, typical",
        ),
    ),
    Board(
        name="nrf54l15dk",
        description="nRF54L15 DK, the application core",
        cpu="cortex-m33",
        # Zephyr's nrf54l15.dtsi: the other core has 96 KiB and 68 KiB.
        flash=1428 * KIB,
        ram=188 * KIB,
        ecosystem=Zephyr(board="nrf54l15dk/nrf54l15/cpuapp"),
        clock_hz=128_000_000,  # the data sheet's common conditions
        supply=Supply(
            2.6,
            3.0,
            128_000_000,
            "nRF54L15 data sheet, CPU running: CoreMark from NVM, cache enabled, DC/DC, 3 V, typical",
        ),
    ),
    Board(
        name="xg24_dk2601b",
        description="Silicon Labs xG24 Dev Kit, EFR32MG24",
        cpu="cortex-m33",
        flash=1536 * KIB,  # Zephyr's xg24_dk2601b.yaml and .dts, as all of this board
        ram=256 * KIB,
        ecosystem=Zephyr(board="xg24_dk2601b"),
        clock_hz=78_000_000,
        supply="the EFR32MG24's data sheet (current consumption in EM0) was not at hand",
    ),
    Board(
        name="pico2",
        description="Raspberry Pi Pico 2, RP2350 with its Cortex-M33",
        cpu="cortex-m33",
        flash=4 * MIB - 256,  # Zephyr's rpi_pico2.dtsi: without the image definition
        ram=520 * KIB,
        ecosystem=Zephyr(board="rpi_pico2/rp2350a/m33"),
        clock_hz=150_000_000,  # pico-sdk's clocks, which Zephyr and Arduino's cores keep
        supply=_RP2350,
    ),
    Board(
        name="pico2_riscv",
        description="Raspberry Pi Pico 2, RP2350 with its RISC-V Hazard3",
        cpu="riscv32",
        flash=4 * MIB - 256,
        ram=520 * KIB,
        ecosystem=Zephyr(board="rpi_pico2/rp2350a/hazard3"),
        clock_hz=150_000_000,
        supply=_RP2350,
        core="hazard3",
    ),
    Board(
        name="nucleo_u575zi_q",
        description="STM32U575ZI",
        cpu="cortex-m33",
        flash=2 * MIB,
        ram=768 * KIB,  # SRAM1, 2 and 3, which lie side by side
        ecosystem=Zephyr(board="nucleo_u575zi_q"),
        clock_hz=160_000_000,  # Zephyr's nucleo_u575zi_q-common.dtsi
        supply="the STM32U575's data sheet (DS13737, current consumption in run mode) was not at hand; the 19.5 uA/MHz "
        "of its first page name no clock",
    ),
    Board(
        name="nucleo_h743zi",
        description="STM32H743ZI",
        cpu="cortex-m7",
        flash=2 * MIB,
        ram=512 * KIB,  # AXI SRAM, which Zephyr's nucleo_h743zi.dts chooses
        ecosystem=Zephyr(board="nucleo_h743zi"),
        clock_hz=480_000_000,  # Zephyr's nucleo_h743zi.dts: 8 MHz / 2 * 240 / 2
        supply="the STM32H743's data sheet (DS12110, current consumption in run mode) was not at hand",
        second=Memory(
            "DTCM",
            128 * KIB,
            faster=True,
            source="Zephyr's stm32h743.dtsi: dtcm at 0x20000000, which nucleo_h743zi.dts chooses as zephyr,dtcm",
            guard="__ZEPHYR__",
            header="zephyr/linker/section_tags.h",
            attribute="__dtcm_bss_section",
        ),
    ),
    Board(
        name="nucleo_n657x0_q",
        description="STM32N657X0, which has no flash of its own",
        cpu="cortex-m55",
        # Zephyr's twister.yaml of the board: the image is loaded into RAM, and its data lie in AXISRAM2.
        flash=1024 * KIB,
        ram=1024 * KIB,
        ecosystem=Zephyr(board="nucleo_n657x0_q/stm32n657xx/sb"),
        clock_hz=800_000_000,  # Zephyr's nucleo_n657x0_q_common.dtsi: cpusw
        supply="the STM32N657's data sheet (current consumption in run mode) was not at hand",
    ),
    Board(
        name="ek_ra8m1",
        description="Renesas EK-RA8M1",
        cpu="cortex-m85",
        # What NuttX' page of the board has of the R7FA8M1AHECBD; 128 KiB of tightly coupled memories are not counted.
        flash=2016 * KIB,
        ram=896 * KIB,
        ecosystem=Zephyr(board="ek_ra8m1"),
        clock_hz=480_000_000,  # Zephyr's r7fa8m1xh.dtsi: 20 MHz / 2 * 96 / 2
        supply="the RA8M1's data sheet (supply current) was not at hand",
    ),
    Board(
        name="ensemble_e7",
        description="Alif Ensemble E7 DevKit, the high-performance Cortex-M55",
        cpu="cortex-m55",
        # Its MRAM of 5.5 MiB from 0x80200000 on, and the DTCM that Alif's alif_e7_dk_rtss_hp.dts chooses; 6.5 MiB of
        # SRAM lie elsewhere.
        flash=3584 * KIB,
        ram=1024 * KIB,
        ecosystem=Zephyr(board="alif_e7_dk_rtss_hp", sdk="https://github.com/alifsemi/sdk-alif"),
        clock_hz=400_000_000,  # Alif's ensemble_rtss_hp.dtsi: rtss_hp_clk
        supply="the Ensemble E7's data sheet was not at hand",
    ),
)
