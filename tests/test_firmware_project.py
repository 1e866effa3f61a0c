"""Firmware projects: manifests of every ecosystem, refusals, and folders that are written whole or not at all."""

from __future__ import annotations

import configparser
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from export.boards import BOARDS
from export.bundle.bundle import Bundle
from export.bundle.folder import probe_export, write_bundle
from export.c_language.names import c_identifier
from export.device.firmware_project import firmware_project
from export.options import ExportOptions
from qtorch.errors import BadConfiguration, Unwritable
from tests.tflm_projects import TFLM_BOARDS, bundle_files, properties


@pytest.mark.parametrize("name", ["m", "B0", "größe 2"])
@pytest.mark.parametrize("board", TFLM_BOARDS)
def test_every_project_is_whole(board: str, name: str) -> None:
    project = {path: text.decode() for path, text in firmware_project(name, bundle_files(name), BOARDS[board]).items()}
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
        assert set(asked) <= present | {"esp_timer.h"}
    # A source that CMake is not told of would be left out in silence.
    listed = "".join(text for path, text in project.items() if path.endswith(("CMakeLists.txt", ".cmake")))
    if listed:
        assert all(path.rsplit("/", 1)[-1] in listed for path in project if path.endswith(".cpp"))


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
