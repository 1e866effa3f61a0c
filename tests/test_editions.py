"""Editions of TFLite Micro: the table, looking one up, those of one's own, and what boards and networks take of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

import qtorch
from docs.editions import PAGE, editions_table
from export.arena.figures import arena_figures
from export.boards import BOARDS, HOST
from export.boards.registration import require_board
from export.faults.found import all_faults, faults_in
from export.faults.tflm_forms import BY_CHANCE
from export.rows.samples import sample_graph
from export.tflite.writer import write_tflite
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS, NEWEST, edition, register_edition, require_edition, takes_one_scale
from qtorch.errors import BadConfiguration
from qtorch.network.quantized_op import QuantizedOp
from qtorch.ops import ROWS
from tests.test_streams_in_files import there_and_back


def test_each_edition_says_where_it_was_read_and_has_days_that_can_be() -> None:
    for each in EDITIONS.values():
        assert require_edition(each, {}, {}) is each
        assert each.facts, each.name
        assert date(2020, 1, 1) < each.source <= NEWEST.source, each.name
        if each.library_source is not None:
            assert date(2020, 1, 1) < each.library_source <= NEWEST.source, each.name


def test_the_newest_is_the_package_that_judges_here_and_has_two_faults() -> None:
    assert metadata.version("tflite-micro") == NEWEST.version
    # In operators of other writers' files alone.
    assert {fault.name for fault in all_faults() if fault.is_in(NEWEST, "host")} == BY_CHANCE
    assert f'"tflite-micro=={NEWEST.version}' in Path("pyproject.toml").read_text()


def test_python_packages_are_of_the_day_in_their_version() -> None:
    packages = [each for each in EDITIONS.values() if each.name.startswith("python-")]
    assert len(packages) > 10
    for each in packages:
        assert each.version.startswith(f"0.dev{each.source:%Y%m%d}")
        assert each.name == f"python-{each.source:%Y-%m}"
    assert all(a.source < b.source for a, b in pairwise(packages))


def test_a_name_that_is_none_is_refused_with_those_that_are_called_alike() -> None:
    assert edition("chirale").package == "Chirale_TensorFLowLite"
    for wrong, meant in (("zephyr-4.3", "zephyr-4"), ("esp_tflite_micro-1.3.4", "esp-tflite-micro-1.3.4")):
        with pytest.raises(BadConfiguration, match="one of newest") as raised:
            edition(wrong)
        assert meant in raised.value.remedy
    with pytest.raises(BadConfiguration, match="tflm: expected one of newest"):
        qtorch.QuantizationConfig(tflm="arduno")


def test_an_edition_of_ones_own_joins_the_others_and_no_other_takes_its_name() -> None:
    mine = Edition("mine", "a fork", date(2024, 3, 1))
    try:
        assert register_edition(mine) is mine
        assert edition("mine") is mine
        with pytest.raises(BadConfiguration, match="a name that no other edition has"):
            require_edition(replace(mine, name="chirale"), EDITIONS, EDITIONS.owners)
        with pytest.raises(BadConfiguration, match="library_source"):
            register_edition(replace(mine, name="other", library="cmsis_nn"))
        with pytest.raises(BadConfiguration, match="an Edition"):
            register_edition("mine")  # type: ignore[arg-type]
    finally:
        del EDITIONS["mine"]


def test_every_board_has_an_edition_and_a_board_of_ones_own_may_name_another() -> None:
    assert HOST.edition == "newest"
    for each in BOARDS.values():
        edition(each.edition)
    assert BOARDS["nano33ble"].edition == "chirale"
    mine = replace(BOARDS["nano33ble"], name="mine", edition="tflm-cmsis-nn")
    assert require_board(mine, {}, {}).edition == "tflm-cmsis-nn"
    with pytest.raises(BadConfiguration, match="board 'mine': edition"):
        require_board(replace(mine, edition="none"), {}, {})


def test_processors_that_get_no_library_are_without_its_faults() -> None:
    zephyr = edition("zephyr-4.4")
    state = next(fault for fault in all_faults() if fault.name == "lstm_state")
    assert [state.is_in(zephyr, cpu) for cpu in ("cortex-m33", "host", "riscv32")] == [True, True, False]
    assert state.is_in(edition("pico-tflmicro"), "riscv32")


def test_kernels_that_a_build_leaves_out_are_told_as_such_and_not_twice() -> None:
    """Zephyr's list of sources has two of the signal kernels, Himax's none, and all others what their source has."""
    file = there_and_back()
    told = {
        name: [(each.operator, each.fault.effect) for each in faults_in(file, edition(name), "host")]
        for name in ("zephyr-4.4", "himax-sdk", "pico-tflmicro", "esp-tflite-micro-1.4.0", "zephyr-3.6")
    }
    gone = "not linked"
    assert told["zephyr-4.4"] == [(0, gone), (2, gone), (3, gone)]
    assert told["himax-sdk"] == [(0, gone), (1, gone), (2, gone), (3, gone)]
    assert told["pico-tflmicro"] == told["esp-tflite-micro-1.4.0"] == []
    # In 2023-06 there were two of the operators: of the others it is said that they came later, and no more.
    assert told["zephyr-3.6"] == [(0, "refused"), (2, "refused"), (3, "refused")]
    assert {name for each in EDITIONS.values() for name in each.absent} == {
        f.operators[0] for f in all_faults() if f.left_out
    }


def test_zephyr_takes_tflite_micros_own_transposed_convolution_beside_cmsis_nn() -> None:
    zephyr, upstream = edition("zephyr-4.4"), edition("tflm-cmsis-nn")
    of_it = [fault for fault in all_faults() if fault.operators == ("TRANSPOSE_CONV",) and fault.where == "cmsis_nn"]
    assert any(fault.is_in(replace(zephyr, reference=()), "host") for fault in of_it)
    assert not any(fault.is_in(zephyr, "host") for fault in of_it)
    row = ROWS["transpose_conv"]
    sample = next(each for each in row.samples() if each.arrays["input"].dtype == "int8")
    model = write_tflite(sample_graph(row, sample))
    arenas = {
        name: {each.library: each.arena_bytes for each in arena_figures(model, of) if not each.condition}
        for name, of in (("zephyr", zephyr), ("upstream", upstream), ("any", None))
    }
    assert arenas["zephyr"]["CMSIS_NN"] == arenas["zephyr"][""]
    assert arenas["upstream"]["CMSIS_NN"] != arenas["upstream"][""]
    assert arenas["any"]["CMSIS_NN"] == max(arenas["zephyr"]["CMSIS_NN"], arenas["upstream"]["CMSIS_NN"])


@pytest.mark.parametrize(
    ("name", "activations", "one"),
    [
        ("chirale", "int8", True),
        ("zephyr-4.0", "int8", True),
        ("zephyr-4.1", "int8", False),
        ("zephyr-4.1", "int16", True),
        ("esp-tflite-micro-1.3.3", "int8", True),
        ("esp-tflite-micro-1.3.4", "int8", False),
        ("esp-tflite-micro-1.4.0", "int16", True),
        ("zephyr-4.4", "int16", True),
        ("newest", "int16", False),
    ],
)
def test_a_network_for_an_edition_has_one_scale_where_that_takes_one(name: str, activations: str, one: bool) -> None:
    assert takes_one_scale(edition(name), [activations]) is one
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    config = qtorch.QuantizationConfig(tflm=name, activations=activations)  # type: ignore[arg-type]
    network = qtorch.prepare(net, torch.randn(1, 2, 5, 5), config)
    axes = {
        op.row.name: op.constants.weight_grid.axis
        for op in network.modules()
        if isinstance(op, QuantizedOp) and op.constants.weight_grid is not None
    }
    assert axes == {"conv_2d": 0, "fully_connected": None if one else 0}
    assert (name in network.extra_repr()) is one


def test_the_page_has_the_table_of_all_editions() -> None:
    page = PAGE.read_text()
    assert editions_table() in page
    for name in EDITIONS:
        assert f"`{name}`" in page


def test_faults_of_one_effect_are_those_among_all() -> None:
    """What is not said as another says the same stays unsaid, whichever effect is asked for."""
    file = there_and_back()
    for each in EDITIONS.values():
        found = faults_in(file, each, "host")
        for effect in ("refused", "not linked", "other codes"):
            assert faults_in(file, each, "host", effect=effect) == tuple(f for f in found if f.fault.effect == effect)
