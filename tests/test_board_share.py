"""The share of a board's flash and RAM, from an export's own figures and the data sheets' sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.boards import BOARDS
from export.bundle.make import make_bundle
from export.bundle.outcome_page import outcome_page
from export.console.page import plain_text
from export.cost.board_share import board_shares, in_a_line
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from tests.plain_lightning import Plain, PlainData, calibrated_run

_METRICS: dict[str, Any] = {"tflite_bytes": 32_768, "arena_bytes": 2_621}
_C = {"constant_bytes": 512, "scratch_bytes": 100}


def test_plain_c_on_the_board_it_was_compiled_for() -> None:
    compiled = {**_C, "board": "uno", "program_flash_bytes": 3_225}
    (share,) = board_shares({**_METRICS, "c": compiled}, BOARDS["uno"])
    assert (share.flash_bytes, share.flash_is) == (3_225, "program and constants")
    assert share.flash_share == pytest.approx(3_225 / (32 * 1024 - 512))
    # Of 2 KiB.
    assert (share.ram_bytes, share.ram_share) == (100, 100 / 2048)
    assert in_a_line([share]).startswith("uno, plain C: 10.0 % of flash (3,225 bytes: program and constants), 4.9 % of")
    (other,) = board_shares({**_METRICS, "c": compiled}, BOARDS["pico"])
    assert (other.flash_bytes, other.flash_is) == (512, "constants")


def test_the_file_in_tflite_micro() -> None:
    (share,) = board_shares(_METRICS, BOARDS["nano33ble"])
    assert (share.form, share.flash_share, share.ram_share) == ("TFLite Micro", 32_768 / 983_040, 2_621 / 262_144)
    assert board_shares(_METRICS, BOARDS["uno"]) == ()
    (unknown,) = board_shares({**_METRICS, "arena_bytes": 0}, BOARDS["nano33ble"])
    assert (unknown.ram_bytes, unknown.ram_share) == (None, None)
    assert "RAM" not in in_a_line([unknown])
    assert not replace(share, ram_share=1.2).fits


def test_without_a_board_some_known_ones() -> None:
    assert [share.board for share in board_shares({**_METRICS, "c": _C})][:2] == ["uno", "bluepill"]
    # An AVR has no TFLite Micro.
    shares = board_shares(_METRICS)
    assert [share.board for share in shares] == ["bluepill", "nano33ble", "pico", "esp32"]
    line = in_a_line(shares)
    assert line.startswith(
        "TFLite Micro, share of flash (model file; interpreter and kernels come on top) and of RAM (tensor arena): "
        "bluepill 50.0 % and 12.8"
    )
    assert in_a_line(()) == ""


@pytest.mark.parametrize("board", ["nano33ble", "pico"])
def test_a_project_in_tflite_micro_beside_plain_c_has_both_shares(tmp_path: Path, board: str) -> None:
    options = ExportOptions(c=True, target=board, firmware=tmp_path / "firmware")
    bundle = make_bundle(subject_of(calibrated_run(Plain, PlainData())), "it", options)
    assert any(path.endswith("_model_data.cpp") for path in bundle.firmware)
    file, arena = bundle.metrics["tflite_bytes"], bundle.arena_bytes
    for text in (plain_text(outcome_page(bundle)), bundle.files["report.html"].decode()):
        assert (
            f"{board}, TFLite Micro: {100 * file / (BOARDS[board].flash or 1):.2g} % of flash ({file:,} bytes" in text
        )
        assert f"RAM ({arena:,} bytes: tensor arena)" in text
        assert "interpreter and kernels come on top" in text
        assert f"{board}, plain C: " in text
    # Where the project itself is plain C there is one form.
    small = board_shares({**_METRICS, "c": _C}, BOARDS["uno"], project=True)
    assert [share.form for share in small] == ["plain C"]


def test_an_export_says_it() -> None:
    bundle = make_bundle(
        subject_of(calibrated_run(Plain, PlainData())), "it", ExportOptions(c=True, target="nano33ble")
    )
    (share,) = board_shares(bundle.metrics, BOARDS["nano33ble"])
    assert bundle.metrics["shares"] == [share.as_json()]
    assert share.ram_bytes == bundle.metrics["c"]["scratch_bytes"]
    for text in (plain_text(outcome_page(bundle)), bundle.files["report.html"].decode()):
        assert in_a_line([share]) in text
    float_bundle = make_bundle(subject_of(calibrated_run(Plain, PlainData())), "it", ExportOptions(format="float32"))
    assert in_a_line(board_shares(float_bundle.metrics)) in plain_text(outcome_page(float_bundle))


def test_states_take_ram_too() -> None:
    compiled = {"constant_bytes": 100, "scratch_bytes": 1000, "state_bytes": 2000}
    (share,) = board_shares({**_METRICS, "c": compiled}, BOARDS["uno"])
    assert share.ram_bytes == 3000
    assert share.ram_is == "working memory and states"
