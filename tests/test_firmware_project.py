"""Firmware projects: manifests of every ecosystem, refusals, and folders that are written whole or not at all."""

from __future__ import annotations

import configparser
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from export.boards import BOARDS, Arduino, Board, CMake, CortexM, Ecosystem, EspIdf, PlatformIO, Zephyr
from export.bundle.bundle import Bundle
from export.bundle.folder import probe_export, write_bundle
from export.c_language.names import c_identifier
from export.device.c_project import C_MODEL_FILES
from export.device.firmware_project import firmware_project
from export.options import ExportOptions
from qtorch.errors import BadConfiguration, Unwritable
from tests.tflm_projects import TFLM_BOARDS, bundle_files, properties


def text_project(board: str, name: str = "m") -> dict[str, str]:
    return {path: text.decode() for path, text in firmware_project(name, bundle_files(name), BOARDS[board]).items()}


@pytest.mark.parametrize("name", ["m", "B0", "größe 2"])
@pytest.mark.parametrize("board", TFLM_BOARDS)
def test_every_project_is_whole(board: str, name: str) -> None:
    require_whole(text_project(board, name), name)


def require_whole(project: dict[str, str], name: str) -> None:
    assert list(project) == sorted(project)
    readme = project.pop("README.md")
    assert not re.search(r"@\w+@", readme + "".join(project.values()))
    symbol = c_identifier(name)
    for suffix in ("_arena.h", "_model_data.cpp", "_model_data.h", "_op_resolver.h", "_quantization.h"):
        assert sum(path.endswith(f"/{symbol}{suffix}") for path in project) == 1
    assert sum("/board_" in path for path in project) == 1
    # Every header that a source asks for in quotes is there, but TFLite Micro's and the frameworks'.
    present = {path.rsplit("/", 1)[-1] for path in project}
    for text in project.values():
        asked = re.findall(r'#include "([^/"]+)"', text)
        assert set(asked) <= present | {"esp_timer.h", "sdkconfig.h"}
    # A source that CMake is not told of would be left out in silence.
    listed = "".join(text for path, text in project.items() if path.endswith(("CMakeLists.txt", ".cmake")))
    if listed:
        assert all(path.rsplit("/", 1)[-1] in listed for path in project if path.endswith(".cpp"))


#: By ecosystem: what a board is called there, and what must stand in which file of its project.
_NEW = (
    (
        *("cortex-m3", CMake(CortexM("mps2-an511", "-mcpu=cortex-m3 -mfloat-abi=soft", 0x40_0000, 0x2040_0000))),
        {
            "cmake/cortex_m.cmake": ("-M mps2-an511 ", "-mcpu=cortex-m3 -mfloat-abi=soft ", "CLOCK_HZ=77000000u"),
            "cortex_m/link.ld": ("0x400000", "0x20400000", "77824", "22528"),
            "src/board_cortex_m.cpp": ("SysTick",),
        },
    ),
    ("cortex-m4", Arduino(), {"src/board_arduino.cpp": ("Serial",)}),
    (
        *("riscv32", EspIdf("esp32c6")),
        {
            "README.md": ("idf.py set-target esp32c6\n",),
            "sdkconfig.defaults": ('"esp32c6"',),
            "main/idf_component.yml": ("- esp32c6\n",),
        },
    ),
    (
        *("cortex-m7", PlatformIO("teensy", "teensy41")),
        {"platformio.ini": ("[env:teensy41]", "platform = teensy\n", "board = teensy41\n")},
    ),
    ("cortex-m0", Zephyr("nucleo_g071rb"), {"README.md": ("west build -b nucleo_g071rb ",)}),
)


@pytest.mark.parametrize(("cpu", "ecosystem", "expected"), _NEW, ids=[type(row[1]).__name__ for row in _NEW])
def test_a_record_is_all_that_a_new_board_needs(
    monkeypatch: pytest.MonkeyPatch, cpu: Any, ecosystem: Ecosystem, expected: dict[str, tuple[str, ...]]
) -> None:
    monkeypatch.setitem(BOARDS, "new", Board("new", "A board of tests", cpu, 77_824, 22_528, ecosystem, 77_000_000))
    project = text_project("new")
    for path, words in expected.items():
        for word in words:
            assert word in project[path]
    assert "A board of tests" in project["README.md"]
    require_whole(project, "m")


_M3 = CortexM("mps2-an385", "-mcpu=cortex-m3 -mfloat-abi=soft")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (
            {"ecosystem": "zephyr"},
            "ecosystem: expected one of CMake, Arduino, EspIdf, MakersSdk, PlatformIO, Zephyr, got 'zephyr'",
        ),
        (
            {"ecosystem": CMake()},
            r"ecosystem\.cortex_m: expected the machine that a program for cortex-m3 is linked for",
        ),
        ({"flash": None}, "flash: expected bytes"),
        ({"ram": None}, "ram: expected bytes"),
        ({"clock_hz": None}, "clock_hz: expected Hz"),
        ({"cpu": "riscv32"}, "cpu: expected a Cortex-M"),
        ({"cpu": "host"}, "cpu: expected the processor of"),
    ],
)
def test_a_record_without_what_its_ecosystem_needs_cannot_be_made(changes: dict[str, Any], field: str) -> None:
    whole: dict[str, Any] = {
        **{"name": "new", "description": "", "cpu": "cortex-m3", "flash": 1, "ram": 1},
        **{"ecosystem": CMake(_M3), "clock_hz": 1},
    }
    assert Board(**whole).cpu == "cortex-m3"
    with pytest.raises(BadConfiguration, match=f"board 'new': {field}"):
        Board(**whole | changes)


@pytest.mark.parametrize(
    ("kind", "names", "field"),
    [
        (EspIdf, ("",), "EspIdf.target"),
        (PlatformIO, ("", "pico"), "PlatformIO.platform"),
        (PlatformIO, ("raspberrypi", None), "PlatformIO.board"),
        (Zephyr, ("two words",), "Zephyr.board"),
        (CortexM, ("", "-mcpu=cortex-m3"), "CortexM.qemu"),
        (CortexM, ("mps2-an385", " "), "CortexM.flags"),
    ],
)
def test_an_ecosystem_without_a_name_cannot_be_made(kind: Any, names: tuple[Any, ...], field: str) -> None:
    with pytest.raises(BadConfiguration, match=re.escape(field)):
        kind(*names)


def test_a_readme_says_which_board_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Install the board package *Arduino Mbed OS Nano Boards* with" in text_project("nano33ble")["README.md"]
    monkeypatch.setitem(BOARDS, "new", replace(BOARDS["nano33ble"], ecosystem=Arduino()))
    assert "Install the board package that knows your board with" in text_project("new")["README.md"]


@pytest.mark.parametrize(("cpu", "architectures"), [("avr", "avr"), ("cortex-m0", "*")])
def test_a_library_in_plain_c_says_for_which_processors(cpu: Any, architectures: str) -> None:
    files = {f"m{suffix}": b"" for suffix in C_MODEL_FILES}
    library = firmware_project("m", files, replace(BOARDS["uno"], cpu=cpu))["library.properties"].decode()
    assert properties(library)["architectures"] == architectures


def test_arduino_library() -> None:
    project = firmware_project("größe 2", bundle_files("größe 2"), BOARDS["nano33ble"])
    manifest = properties(project["library.properties"].decode())
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= manifest.keys()
    # Names: letters, digits, blanks, _ . -; "Arduino" in front is reserved. See Arduino's library specification.
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.\-]{0,62}", manifest["name"])
    assert not manifest["name"].lower().startswith("arduino")
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    assert manifest["category"] == "Data Processing"
    assert f"src/{manifest['includes']}" in project
    # Feature b: 10 + (code + 4) / 4.
    assert b"from -21 to 42.75: what lies beyond saturates" in project[f"src/{c_identifier('größe 2')}_quantization.h"]
    (sketch,) = [path for path in project if path.endswith(".ino")]
    folder, file = sketch.split("/")[1:]
    # Arduino opens a sketch only if it is named for its folder.
    assert file == f"{folder}.ino"
    assert sketch.startswith("examples/")


@pytest.mark.parametrize("board", ["esp32", "esp32c3"])
def test_esp_idf_project(board: str) -> None:
    project = firmware_project("m", bundle_files(), BOARDS[board])
    manifest = yaml.safe_load(project["main/idf_component.yml"])
    assert "espressif/esp-tflite-micro" in manifest["dependencies"]
    assert manifest["targets"] == [board]
    assert f'CONFIG_IDF_TARGET="{board}"' in project["sdkconfig.defaults"].decode()
    top = project["CMakeLists.txt"].decode()
    # In this order, ESP-IDF's build system asks for them.
    assert top.index("cmake_minimum_required") < top.index("project.cmake") < top.index("project(m)")
    assert "idf_component_register(" in project["main/CMakeLists.txt"].decode()


@pytest.mark.parametrize(("board", "expected"), [("pico", "pico"), ("bluepill", "bluepill_f103c8")])
def test_platformio_project(board: str, expected: str) -> None:
    project = firmware_project("m", bundle_files(), BOARDS[board])
    parsed = configparser.ConfigParser()
    parsed.read_string(project["platformio.ini"].decode())
    environment = parsed[f"env:{expected}"]
    assert environment["board"] == expected
    assert environment["framework"] == "arduino"
    assert environment["platform"]
    assert environment["lib_deps"]
    manifest = json.loads(project["lib/qtorch_m/library.json"])
    assert {"name", "version", "description", "frameworks", "platforms"} <= manifest.keys()
    assert f"lib/qtorch_m/src/{manifest['headers']}" in project


@pytest.mark.parametrize(("board", "expected"), [("nucleo_f446re", "nucleo_f446re"), ("microbit", "bbc_microbit")])
def test_zephyr_project(board: str, expected: str) -> None:
    project = firmware_project("m", bundle_files(), BOARDS[board])
    configuration = properties(project["prj.conf"].decode())
    assert configuration["CONFIG_TENSORFLOW_LITE_MICRO"] == "y"
    assert configuration["CONFIG_CPP"] == "y"
    assert configuration["CONFIG_CONSOLE_GETCHAR"] == "y"
    assert "find_package(Zephyr REQUIRED" in project["CMakeLists.txt"].decode()
    assert f"west build -b {expected}" in project["README.md"].decode()


def test_refusals() -> None:
    with pytest.raises(BadConfiguration, match=r"its plain C.*got one without m_model.c, m_model.h"):
        firmware_project("m", bundle_files(), BOARDS["uno"])
    with pytest.raises(BadConfiguration, match="'uno2'"):
        ExportOptions(target="uno2")
    for wrong in ({"io": "float32"}, {"format": "float32"}):
        with pytest.raises(BadConfiguration, match="format int8 and io int8"):
            ExportOptions(firmware=Path("x"), **wrong)
    files = bundle_files()
    del files["m_arena.h"]
    with pytest.raises(BadConfiguration, match=r"got one without m_arena\.h"):
        firmware_project("m", files, BOARDS["host"])


def test_the_same_files_give_the_same_project() -> None:
    made = [firmware_project("m", bundle_files(), BOARDS["mps2_an385"]) for _ in range(2)]
    assert made[0] == made[1]


def test_projects_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = firmware_project("m", bundle_files(), BOARDS["host"])
    bundle = Bundle("m", bundle_files(), {}, None, 48, project)
    out, firmware = tmp_path / "out", tmp_path / "fw"
    written = 0
    write_bytes = Path.write_bytes

    def full_disk(path: Path, content: bytes) -> int:
        nonlocal written
        written += 1
        if written > len(bundle.files) + 3:
            raise OSError("No space left on device")
        return write_bytes(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(Unwritable, match=r"--export\.firmware.*No space left"):
            write_bundle(bundle, out, firmware)
    assert list(tmp_path.iterdir()) == []
    write_bundle(bundle, out, firmware)
    found = {path.relative_to(firmware).as_posix(): path.read_bytes() for path in firmware.rglob("*") if path.is_file()}
    assert found.pop("m_manifest.json")
    assert found == project
    assert {path.name for path in out.iterdir()} == {*bundle.files, "m_manifest.json"}
    write_bundle(replace(bundle, firmware={}), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fw", "out"]


def test_unwritable_project_is_known_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable, match=r"--export\.firmware"):
        probe_export(tmp_path / "out", ExportOptions(firmware=tmp_path / "file" / "fw"))


def test_without_tflm_no_project_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.bundle.folder.tflm_absent", lambda: "TFLite Micro is absent")
    probe_export(tmp_path / "out", ExportOptions())
    with pytest.raises(BadConfiguration, match="tflite-micro Python package"):
        probe_export(tmp_path / "out", ExportOptions(firmware=tmp_path / "fw"))
