"""Boards of other packages: registered, or named by their module, they are what a record of this project is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import export
from export.__main__ import main as export_main
from export.boards import BOARDS, Arduino, Board, CMake, CortexM, Ecosystem, EspIdf, PlatformIO, Supply, Zephyr, board
from export.c import model
from export.c.source import CSource
from export.cost.board_share import board_shares
from export.device.firmware_project import firmware_project
from export.options import ExportOptions
from export.rows import sample_graph
from export.tflite.writer import write_tflite
from firmware.emulation import Machine
from qtorch.errors import BadConfiguration
from qtorch.ops import ROWS
from tests.tflm_projects import bundle_files

MINE = Board(
    name="mine",
    description="A board of mine",
    cpu="cortex-m4",
    flash=2**18,
    ram=2**15,
    ecosystem=Zephyr("mine_there"),
    clock_hz=64_000_000,
    supply=Supply(4.0, 3.0, None, "a data sheet"),
)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before, path = set(BOARDS), list(sys.path)
    yield
    for name in set(BOARDS) - before:
        del BOARDS[name]
    assert sys.path == path


def test_a_registered_board_is_a_target() -> None:
    assert export.register_board(MINE) is MINE
    assert export.register_board(MINE) is MINE
    assert ExportOptions(target="mine").target == "mine"
    assert board("mine") is MINE
    (share,) = board_shares({"tflite_bytes": 2**17, "arena_bytes": 2**14}, MINE)
    assert (share.board, share.flash_share, share.ram_share) == ("mine", 0.5, 0.5)
    newer = replace(MINE, description="Another")
    export.register_board(newer)
    assert board("mine") is newer


_ECOSYSTEMS: tuple[tuple[str, Ecosystem, str, str], ...] = (
    ("cortex-m4", Arduino(), "library.properties", "name=qtorch_m\n"),
    ("riscv32", EspIdf("esp32c6"), "README.md", "idf.py set-target esp32c6\n"),
    ("cortex-m7", PlatformIO("teensy", "teensy41"), "platformio.ini", "board = teensy41\n"),
    ("cortex-m0", Zephyr("nucleo_g071rb"), "README.md", "west build -b nucleo_g071rb "),
    ("cortex-m3", CMake(CortexM("mps2-an385", "-mcpu=cortex-m3")), "cortex_m/link.ld", "32768"),
)


@pytest.mark.parametrize(("cpu", "ecosystem", "file", "words"), _ECOSYSTEMS, ids=[e[3] for e in _ECOSYSTEMS])
def test_a_project_of_each_ecosystem(cpu: Any, ecosystem: Ecosystem, file: str, words: str) -> None:
    export.register_board(replace(MINE, cpu=cpu, ecosystem=ecosystem))
    project = firmware_project("m", bundle_files(), board("mine"))
    assert words in project[file].decode()
    assert "A board of mine" in project["README.md"].decode()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("mine", "export.register_board: expected a Board of export.boards, got 'mine'"),
        (
            replace(MINE, name="uno"),
            "board 'uno': expected a name that no other board has, got that of a board of",
        ),
        (replace(MINE, name="my board"), "board 'my board': expected a name of letters"),
        (replace(MINE, name="a:b"), "board 'a:b': expected a name of letters"),
        (replace(MINE, supply=""), "board 'mine': supply: expected a Supply, or in words why there is none, got ''"),
        (replace(MINE, second="DTCM"), "board 'mine': second: expected a Memory of export.boards, or None, got 'DTCM'"),
        (replace(MINE, machine="atmega328p"), "board 'mine': machine: expected an emulated machine with its processor"),
    ],
)
def test_what_can_not_be_a_board_is_refused_in_words(wrong: Any, words: str) -> None:
    with pytest.raises(BadConfiguration, match="Remedy") as error:
        export.register_board(wrong)
    assert words in str(error.value)
    assert "mine" not in BOARDS


def test_the_nearest_name_is_told() -> None:
    with pytest.raises(BadConfiguration, match=r"got 'Nano33BLE'\. Remedy: export\.target nano33ble\."):
        board("Nano33BLE")
    with pytest.raises(BadConfiguration, match="choose the board with the same microcontroller"):
        board("zzz")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("nano", "export.target uno (Arduino Uno or Nano, ATmega328P at 16 MHz) or nano33ble (Arduino Nano 33 BLE, "),
        ("Arduino Uno", "export.target uno (Arduino Uno or Nano, ATmega328P at 16 MHz)."),
        ("ATmega2560", "export.target mega2560 ("),
        ("esp32-c3", "export.target esp32c3 ("),
        ("nano33", "export.target nano33ble ("),
        ("stm32f4", "export.target nucleo_f446re (STM32F446RE)."),
        ("nrf52", "export.target nano33ble (Arduino Nano 33 BLE, nRF52840) or xiao_nrf52840 ("),
        ("cortex-m33", "export.target nrf5340dk ("),
        ("stm32g431", "choose the board with the same microcontroller, maybe portenta_h7 ("),
        (
            "STM32F746 Discovery",
            "choose the board with the same microcontroller, maybe bluepill (STM32F103C8) or nucleo",
        ),
        ("bluepil", "export.target bluepill ("),
        ("Nano V3 clone", "choose the board with the same microcontroller, maybe uno (Arduino Uno or Nano, "),
    ],
)
def test_boards_are_told_by_what_is_printed_on_them(name: str, remedy: str) -> None:
    with pytest.raises(BadConfiguration) as error:
        board(name)
    assert f"Remedy: {remedy}" in str(error.value)


def test_all_of_a_family_are_told_the_first_with_what_they_are() -> None:
    with pytest.raises(BadConfiguration) as error:
        board("stm32", "--target")
    kin = {name for name, each in BOARDS.items() if "stm32" in each.description.lower()}
    remedy = str(error.value).partition("Remedy: ")[2]
    assert {word.strip(",.") for word in remedy.split()} & set(BOARDS) == kin
    assert len(kin) > 4
    assert remedy.count("(") == 4


def test_only_boards_that_serve_there_are_told() -> None:
    with pytest.raises(BadConfiguration, match=r"Remedy: --board nano33ble \(Arduino Nano 33 BLE, nRF52840\)\."):
        board("nano", "--board", ["nano33ble", "pico"])


TEXT = """
from export.boards import Board, Zephyr

BOARD = Board("of_a_module", "A board", "cortex-m4", 2**18, 2**15, Zephyr("there"), 64_000_000, "not measured")
OTHER = 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One in the working folder, which is not on the path, as under a console script."""
    (tmp_path / "my_boards_of_tests.py").write_text(TEXT)
    (tmp_path / "my_broken_boards.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield "my_boards_of_tests"
    sys.modules.pop("my_boards_of_tests", None)


def test_a_board_by_its_module(module: str) -> None:
    assert ExportOptions(target=f"{module}:BOARD").target == f"{module}:BOARD"
    assert board(f"{module}:BOARD") is board("of_a_module")
    for wrong, words in (
        (f"{module}:OTHER", "which is 1"),
        (f"{module}:BORED", "which is None"),
        ("my_absent_boards:BOARD", "ModuleNotFoundError: No module named 'my_absent_boards'"),
        ("my_broken_boards:BOARD", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        (":BOARD", "ValueError"),
        (f"{module}:", "which is None"),
    ):
        with pytest.raises(BadConfiguration, match=r"expected a Board .*module:NAME") as error:
            board(wrong)
        assert words in str(error.value)


def test_profile_takes_it(module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = ROWS["fully_connected"]
    (tmp_path / "m.tflite").write_bytes(write_tflite(sample_graph(row, next(iter(row.samples())))))
    options = ("--board", f"{module}:BOARD", "--machine", "cortex_m4", "--samples", "1", "--json")
    assert export_main(["profile", str(tmp_path / "m.tflite"), *options]) == 0
    assert [each["board"] for each in json.loads(capsys.readouterr().out)["boards"]] == ["of_a_module"]


def test_a_board_without_an_interpreter_has_a_project_of_arduino_alone() -> None:
    zephyr = replace(MINE, tflm=False)
    export.register_board(zephyr)
    assert ExportOptions(target="mine", c=True).target == "mine"
    with pytest.raises(BadConfiguration, match=r"Arduino's.* got mine, with tflm=False and a project of Zephyr"):
        ExportOptions(target="mine", firmware=Path("x"))
    with pytest.raises(BadConfiguration, match="project of Zephyr"):
        firmware_project("m", bundle_files(), zephyr)


def test_a_board_is_weighed_as_its_own_microcontroller(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def compiled(machine: Machine, *rest: Any) -> SimpleNamespace:
        asked.append(machine.name)
        return SimpleNamespace(objects=())

    monkeypatch.setattr(model, "compile_model", compiled)
    monkeypatch.setattr(model, "weigh", lambda machine, objects: None)
    monkeypatch.setattr(model.shutil, "which", lambda name: name)
    for name in ("leonardo", "uno", "mega2560", "host"):
        model._compiled(BOARDS[name], "m", CSource({}, {}, 0, 0, {}, {}))
    assert asked == ["atmega32u4", "atmega328p", "atmega328p"]


def test_the_command_takes_it(module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The board is looked up before the checkpoint, which there is none of."""
    absent = str(tmp_path / "none.ckpt")
    for target, said in ((f"{module}:BOARD", "none.ckpt"), (f"{module}:OTHER", "which is 1")):
        assert export_main([absent, "--out", str(tmp_path / "out"), "--export.target", target]) == 2
        assert said in capsys.readouterr().err
