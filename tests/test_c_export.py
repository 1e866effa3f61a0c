"""The option for plain C: files, figures, judges, and what is refused before anything is written."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

import qtorch
from export.boards import BOARDS, board
from export.bundle import int8_files as bundle
from export.c import model as c_bundle
from export.c.compiled import c_compiler
from export.c.kernels import kernel_text
from export.c.model import c_model
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.options import ExportOptions
from firmware.emulation import build_sketch, run_sketch, sketch_available
from qtorch.errors import BadConfiguration, UnsupportedLayer
from qtorch.ops import ROWS
from qtorch.row.row import Unsupported
from tests.conftest import run_fuel

needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc")


def graph_of(net: nn.Module, *shape: int) -> Graph:
    torch.manual_seed(0)
    x = torch.randn(16, *shape)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)


@needs_compiler
@pytest.mark.usefixtures("all_drawn_inputs")
def test_the_files_and_figures_of_an_export(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_fuel("--out", out, "--export.c", "true", "--export.target", "uno", "--name", "B0") == 0
    names = {path.name for path in out.iterdir()}
    assert {"b0_model_model.h", "b0_model_model.c"} <= names
    parity = json.loads((out / "parity.json").read_text())
    assert "compiled_c" in parity["judges"]
    assert parity["engines"]["compiled_c"]["inputs"] >= 10_000
    assert parity["engines"]["compiled_c"]["mismatches"] == 0
    figures = json.loads((out / "metrics.json").read_text())["c"]
    assert figures["scratch_lower_bound"] <= figures["scratch_bytes"] <= 48
    assert "#include" not in (out / "b0_model_model.c").read_text().split("<string.h>")[1]


@needs_compiler
def test_c_that_computes_something_else_is_no_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: object) -> c_bundle.CModel:
        model = c_model(*arguments)  # type: ignore[arg-type]
        off = ("(int8_t)q_clamp(code, low", "(int8_t)q_clamp(code + 1, low")
        files = {file: text.replace(*off) for file, text in model.files.items()}
        assert files != model.files
        return replace(model, files=files)

    monkeypatch.setattr(bundle, "c_model", wrong)
    out = tmp_path / "out"
    assert run_fuel("--out", out, "--export.c", "true") == 1
    # What was trained stays, and nothing that was exported.
    assert [path.name for path in out.iterdir()] == ["fuel.ckpt"]


def test_an_op_without_a_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), 4)
    monkeypatch.setitem(ROWS, "tanh", replace(ROWS["tanh"], c=Unsupported("not written")))
    with pytest.raises(UnsupportedLayer, match=r"tanh \(node 1: not written\)"):
        c_model("x", graph)


def test_a_board_without_the_memory_is_refused() -> None:
    wide = graph_of(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), 1, 16, 16)
    with pytest.raises(
        BadConfiguration, match=r"at most 1,000 bytes of RAM.*1,292 bytes of working memory, .*1,289 at conv_2d"
    ) as refused:
        c_model("x", wide, replace(board("uno"), ram=1000))
    assert "set export.optimize to ram, which takes 409 bytes" in str(refused.value)
    assert c_model("x", wide, replace(board("uno"), ram=1000), "ram").figures["scratch_bytes"] <= 1000
    with pytest.raises(
        BadConfiguration, match=r"larger board; export.optimize ram takes 409 bytes of working memory, too"
    ):
        c_model("x", wide, replace(board("uno"), ram=400))
    with pytest.raises(BadConfiguration, match=r"at most 400 bytes of RAM.*got 412 bytes.*Remedy: make that layer's"):
        c_model("x", wide, replace(board("uno"), ram=400), "ram")
    deep = graph_of(nn.Sequential(nn.Linear(200, 180), nn.ReLU(), nn.Linear(180, 2)), 200)
    with pytest.raises(BadConfiguration, match=r"32,256 bytes of flash.*3\d,\d{3} bytes of constants.*fully_connected"):
        c_model("x", deep, board("uno"))
    assert c_model("x", deep, board("nano33ble")).figures["constant_bytes"] > 32_256


def test_too_little_flash_names_the_layers_that_decide_and_the_smallest_board_with_room() -> None:
    """As few layers as have what is too much; of all others their sum."""
    sizes = (100, 200, 180, 20, 4)
    graph = graph_of(nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(sizes))), sizes[0])
    uno = BOARDS["uno"]
    one, other = r"3\d,\d{3} for fully_connected '[^']*'", r"2\d,\d{3} for fully_connected '[^']*'"
    with pytest.raises(BadConfiguration, match=rf"bytes of constants, {one}, 2\d,\d{{3}} for 3 more"):
        c_model("x", graph, uno)
    with pytest.raises(BadConfiguration, match=rf"constants, {one}, {other}, \d,\d{{3}} for 2 more") as refused:
        c_model("x", graph, replace(uno, flash=20_000))
    room = re.search(r"known here (\w+) is the smallest with room, ([\d,]+) bytes", refused.value.remedy)
    assert room is not None
    smallest = BOARDS[room[1]]
    assert c_model("x", graph, smallest).figures["constant_bytes"] < (smallest.flash or 0)


def test_what_addresses_of_16_bits_do_not_reach_is_refused() -> None:
    """The Mega's flash has room for these networks; avr-gcc takes neither."""
    wide = graph_of(nn.Linear(200, 165), 200)
    with pytest.raises(
        BadConfiguration, match=r"at most 32,767 bytes .* in one array.* got 33,000 bytes for fully_conn"
    ):
        c_model("x", wide, board("mega2560"))
    deep = graph_of(nn.Sequential(*[nn.Linear(150, 150) for _ in range(3)]), 150)
    with pytest.raises(BadConfiguration, match=r"less than 64,512 bytes of constants.* got 74,400 bytes"):
        c_model("x", deep, board("mega2560"))
    most = graph_of(nn.Sequential(nn.Linear(200, 150), nn.Linear(150, 180)), 200)
    assert c_model("x", most, board("mega2560")).figures["constant_bytes"] > 57_000


def test_an_unknown_board_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadConfiguration, match="uno") as refused:
        board("umo")
    assert all(name in str(refused.value) for name in BOARDS)


def test_contradictions_are_refused() -> None:
    with pytest.raises(BadConfiguration, match="no float"):
        ExportOptions(format="float32", c=True)
    with pytest.raises(BadConfiguration, match="one of host"):
        ExportOptions(c=True, target="nowhere")


def test_kernels_come_once_and_in_order() -> None:
    text = kernel_text({"fully_connected_s8": "", "conv_2d_s8": ""})
    assert text.count("Q_KERNEL void q_dense(") == 1
    assert text.index("q_requantize(int32_t x") < text.index("Q_KERNEL void q_dense(") < text.index("conv_2d_s8(")
    assert "#include" not in text


@pytest.mark.avr
def test_a_board_too_small_for_tflm_gets_an_arduino_library(tmp_path: Path) -> None:
    """Asking for its project is asking for plain C; the sketch in it runs, in simavr, and finds every vector right."""
    project = tmp_path / "project"
    options = ("--export.firmware", project, "--export.target", "uno", "--name", "my model")
    assert run_fuel("--out", tmp_path / "out", *options) == 0
    found = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    sources = {f"src/my_model_{file}" for file in ("model.c", "model.h", "quantization.h", "test_vectors.h")}
    described = {"README.md", "library.properties", "my_model_manifest.json"}
    assert found == sources | described | {"examples/MyModel/MyModel.ino"}
    assert "name=qtorch_my_model\n" in (project / "library.properties").read_text()
    readme, c = (project / "README.md").read_text(), json.loads((tmp_path / "out" / "metrics.json").read_text())["c"]
    assert "@" not in readme
    assert f"({c['program_flash_bytes']:,} bytes: program and constants)" in readme
    assert f": {round(c['inference']['median']):,} cycles of " in readme
    absent = sketch_available()
    if absent:
        pytest.skip(absent)
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in found:
        (flat / Path(file).name).write_bytes((project / file).read_bytes())
    for layout in (project, flat):
        assert "32 of 32 vectors agree" in run_sketch(build_sketch(layout))


def test_sizes_are_handed_over_by_name() -> None:
    """In the order of the kernel's parameters; what an int of 16 bits does not hold is written out."""
    convolution = c_model("net", graph_of(nn.Conv2d(2, 3, 3, stride=2), 2, 9, 7), BOARDS["host"], "size")
    text = convolution.files["net_model.c"]
    body = text[text.index("Q_LAYER void conv_2d_1(") :].partition("\n}")[0]
    assert "in_h = 9, in_w = 7, in_c = 2," in body
    assert "in_h, in_w, in_c, out_h," in body
    dense = c_model("net", graph_of(nn.Linear(40_000, 2), 40_000), BOARDS["host"], "size").files["net_model.c"]
    assert ", out, 1, 40000, out_size" in dense or "rows, 40000, out_size" in dense
