"""A firmware project asks for the TFLite Micro that its model was made for, or for one that computes it alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import export
from export.boards import BOARDS, board
from export.device.firmware_project import firmware_project
from export.device.pins import PINS, pin_words, project_edition
from export.faults.found import faults_in
from qtorch.editions.known import EDITIONS, edition
from qtorch.errors import BadConfiguration
from tests.tflm_projects import bundle_files


def text(board_name: str, edition_name: str) -> Mapping[str, str]:
    files = firmware_project("m", bundle_files(), BOARDS[board_name], edition=edition(edition_name))
    return {path: content.decode() for path, content in files.items()}


def test_what_the_ecosystem_distributes_is_asked_for() -> None:
    manifest = yaml.safe_load(text("esp32s3", "esp-tflite-micro-1.3.4")["main/idf_component.yml"])["dependencies"]
    assert manifest["espressif/esp-tflite-micro"]["version"] == "==1.3.4"
    assert manifest["espressif/esp-nn"]["version"] == "==1.1.2"
    project = text("nucleo_f446re", "zephyr-4.1")
    revisions = {each["name"]: each["revision"] for each in yaml.safe_load(project["west.yml"])["manifest"]["projects"]}
    assert revisions == {"tflite-micro": "8d404de73acf7687831e16d88e86e4f73cfddf8e", "zephyr": "v4.1.0"}
    assert "8d404de73acf" in project["README.md"]
    assert (
        "make -f tensorflow/lite/micro/tools/make/Makefile TARGET=cortex_m_generic TARGET_ARCH=cortex-m4 "
        + ("OPTIMIZED_KERNEL_DIR=cmsis_nn microlite")
        in text("mps2_an386", "tflm-cmsis-nn")["README.md"]
    )
    assert "OPTIMIZED_KERNEL_DIR" not in text("mps2_an386", "tflm")["README.md"]


def test_the_self_test_says_for_which_tflite_micro_the_model_is() -> None:
    assert (
        "edition esp-tflite-micro-1.3.4: Espressif's component"
        in text("esp32", "esp-tflite-micro-1.3.4")["main/tflm_self_test.cpp"]
    )
    mine = replace(edition("chirale"), name="mine", description='a "fork", of München')
    board_of_mine = replace(BOARDS["grove_vision_ai_v2"], name="b", edition="mine")
    said = firmware_project("m", bundle_files(), board_of_mine, edition=mine)["src/tflm_self_test.cpp"].decode()
    assert r"edition mine: a \"fork\", of M\u00fcnchen\n" in said


@pytest.mark.parametrize("name", BOARDS)
def test_the_usual_edition_is_what_projects_ask_for_anyway(name: str) -> None:
    each = BOARDS[name]
    assert pin_words(each, EDITIONS[each.edition]) == pin_words(each)
    if each.cpu != "host" and each.tflm:
        assert project_edition(each, EDITIONS[each.edition]).name == each.edition


def test_the_pins_are_the_usual_editions() -> None:
    for each in (edition("esp-tflite-micro-1.4.0"), edition("zephyr-4.4")):
        (pins,) = (pins for pins in PINS.values() if pins[0].version == each.version)
        assert (pins[0].package, pins[1].version) == (each.package, each.beside)


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def test_a_project_for_another_tflite_micro_than_the_models_is_refused(tmp_path: Path) -> None:
    """Chirale's is of before May 2024, and computes what the newest does otherwise: the weights have many scales."""
    data = torch.randn(64, 6)
    with pytest.raises(BadConfiguration, match=r"asks for chirale.*one for newest, and there operator 0") as raised:
        export.export_network(
            perceptron(), calibration=data, out=tmp_path / "out", target="nano33ble", tflm="newest", c=False,
            firmware=tmp_path / "project",
        )  # fmt: skip
    assert not (tmp_path / "project").exists()
    (named,) = re.findall(r"Remedy: name that one with (?:export\.)?tflm[ =]'?(\w+)", str(raised.value))
    bundle = export.export_network(
        perceptron(), calibration=data, out=tmp_path / "out", target="nano33ble", tflm=named, c=False,
        firmware=tmp_path / "project",
    )  # fmt: skip
    assert (tmp_path / "project" / "library.properties").exists()
    assert not faults_in(bundle.model, edition("chirale"), "cortex-m4")


def test_unasked_such_a_project_is_left_out() -> None:
    bundle = export.export_network(
        perceptron(), calibration=torch.randn(64, 6), target="nano33ble", tflm="newest", c=False
    )
    assert not bundle.firmware
    assert "asks for chirale" in str(bundle)


def test_a_project_whose_tflite_micro_computes_the_model_alike_is_written() -> None:
    """A file for the oldest is right on the newest too, of which Zephyr 4.4 has a part."""
    bundle = export.export_network(
        perceptron(), calibration=torch.randn(64, 6), target="pico2", tflm="pico-tflmicro", c=False
    )
    assert project_edition(board("pico2"), edition("pico-tflmicro")).name == "zephyr-4.4"
    assert "fcc760af130f3a595b5802cdebcc77461e54f382" in bundle.firmware["west.yml"].decode()
