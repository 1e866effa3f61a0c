"""An export for an edition of TFLite Micro: other forms where it computes one otherwise, refused where none is left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import export
import qtorch
from export.arena.figures import arena_figures
from export.boards import BOARDS
from export.bundle.bundle import Bundle
from export.engines.tflm import TFLM
from export.faults.avoided import avoided, refusal
from export.faults.found import faults_in
from export.graph.ir import Graph
from export.options import ExportOptions
from export.rows.samples import reference_outputs, runtime_arrays, sample_graph
from export.tflite.contents import read_contents
from export.tflite.file_data import FileOperator
from export.tflite.writer import write_tflite
from qtorch.editions.known import EDITIONS, edition
from qtorch.errors import BadConfiguration, UnsupportedByEdition
from qtorch.network.quantized_op import QuantizedOp
from qtorch.ops import ROWS


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def exported(net: nn.Module, shape: tuple[int, ...], **choices: Any) -> Bundle:
    torch.manual_seed(1)
    return export.export_network(net, calibration=torch.randn(64, *shape), **choices)


def ops(model: bytes) -> list[FileOperator]:
    return list(read_contents(model).subgraphs[0].operators)


def parity(bundle: Bundle) -> Mapping[str, Any]:
    return json.loads(bundle.files["parity.json"])


def outputs(model: bytes, shape: tuple[int, ...]) -> np.ndarray:
    inputs = np.random.default_rng(0).integers(-128, 128, (50, *shape), dtype=np.int8)
    return TFLM.run(model, (inputs,))[0]


def test_layers_that_an_edition_computes_otherwise_have_another_form_and_the_same_integers() -> None:
    plain = exported(perceptron(), (6,))
    bundle = exported(perceptron(), (6,), tflm="python-2024-04")
    assert [op.name for op in ops(plain.model)] == ["FULLY_CONNECTED", "FULLY_CONNECTED"]
    assert "FULLY_CONNECTED" not in {op.name for op in ops(bundle.model)}
    assert np.array_equal(outputs(plain.model, (6,)), outputs(bundle.model, (6,)))
    figures = bundle.metrics["tflm"]
    assert figures["edition"] == "python-2024-04"
    assert [each["form"] for each in figures["rewritten"]] == ["convolution", "convolution"]
    assert figures["bytes"] == len(bundle.model) - len(plain.model) > 0
    assert figures["operators"] == len(ops(bundle.model)) - len(ops(plain.model))
    arenas = [arena_figures(each.model)[0].arena_bytes for each in (plain, bundle)]
    assert figures["arena_bytes"] == arenas[1] - arenas[0] > 0
    assert f"{figures['arena_bytes']:+,} bytes of arena" in figures["sentences"][0]
    assert "16 weight scales" in figures["sentences"][1]
    for said in (str(bundle), bundle.report):
        assert "TFLite Micro&#x27;s Python package of 2024-04" in said or "Python package of 2024-04" in said
        assert "16 weight scales" in said


def test_the_board_decides_where_nobody_names_an_edition() -> None:
    bundle = exported(perceptron(), (6,), target="nano33ble", c=False)
    assert bundle.metrics["tflm"]["edition"] == BOARDS["nano33ble"].edition == parity(bundle)["edition"]
    assert not faults_in(bundle.model, edition("chirale"), "cortex-m4")
    other = exported(perceptron(), (6,), target="nano33ble", tflm="newest", c=False)
    assert [op.name for op in ops(other.model)] == ["FULLY_CONNECTED", "FULLY_CONNECTED"]


def test_of_all_editions_it_is_said_whether_they_agree() -> None:
    said = parity(exported(perceptron(), (6,)))
    assert said["edition"] == "newest"
    assert set(said["editions"]) == set(EDITIONS)
    assert said["editions"]["newest"] == said["editions"]["python-2025-04"] == "agrees"
    (first, *_) = said["editions"]["python-2023-10"]
    assert first["fault"] == "fully_connected_first_scale"
    assert first["effect"] == "other codes"


@pytest.mark.parametrize(
    ("op", "label", "form"),
    [
        ("transpose_conv", "relu", "separate_activation"),
        ("resize_nearest_neighbor", "int8 (2, 3) False True", "copied_rows"),
        ("fully_connected", "per channel", "convolution"),
        ("fully_connected", "product in float32 or double", "convolution"),
        ("sum", "int16 (3, 7, 3, 5) over (1, 2, 3), kept False, TFLM alone", "joined_axes"),
        ("fully_connected", "int16, per channel True", "convolution"),
    ],
)
def test_each_form_is_without_the_fault_and_computes_the_same(op: str, label: str, form: str) -> None:
    row = ROWS[op]
    each = next(sample for sample in row.samples() if sample.label == label)
    graph = sample_graph(row, each)
    other = avoided(graph, edition("python-2024-04"), "host")
    assert [rewritten.form for rewritten in other.rewritten] == [form]
    assert not other.left
    model = write_tflite(other.graph)
    assert not faults_in(model, edition("python-2024-04"), "host")
    assert other.bytes == len(model) - len(write_tflite(graph))
    inputs = runtime_arrays(graph, each)
    for got, expected in zip(TFLM.run(model, inputs), reference_outputs(row, each), strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize(("name", "form"), [("python-2024-04", ["convolution"]), ("python-2025-02", [])])
def test_channels_of_one_scale_are_a_convolution_where_all_are_computed_with_it(name: str, form: list[str]) -> None:
    """Weights that begin alike: the product with a scale that is theirs by chance is one of float32 before 2024-09."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))
    # A scale whose product with the input's tells float32 from double.
    with torch.no_grad():
        net[0].bias.zero_()
        net[0].weight.copy_(torch.tensor([1.9, -1.9] * 8)[:, None])
    plain = exported(net, (1,), tflm="newest", c=False, onnx=False)
    weight = next(each for each in read_contents(plain.model).subgraphs[0].tensors if each.shape == (16, 1))
    assert len(weight.scale) == 16
    assert len(set(weight.scale)) == 1
    bundle = exported(net, (1,), tflm=name, c=False, onnx=False)
    assert [each["form"] for each in bundle.metrics["tflm"]["rewritten"]] == form
    codes = np.arange(-128, 128, dtype=np.int8)[:, None]
    assert np.array_equal(TFLM.run(bundle.model, (codes,))[0], TFLM.run(plain.model, (codes,))[0])


def test_a_form_that_does_not_help_is_tried_once_and_the_finding_stays() -> None:
    row = ROWS["transpose_conv"]
    graph = sample_graph(row, next(sample for sample in row.samples() if sample.label == "relu"))
    tried = []

    def same(graph: Graph, outputs: frozenset[str]) -> Graph:
        tried.append(outputs)
        return graph

    other = avoided(graph, edition("chirale"), "cortex-m4", {"separate_activation": same})
    assert tried == [frozenset({graph.nodes[0].output})]
    assert other.graph is graph
    assert not other.rewritten
    assert [each.fault.name for each in other.left] == ["transpose_conv_activation_left_out"]
    assert "relu, which holds codes" in str(refusal(other.left, edition("chirale")))


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) * self.second(x)


INT16 = qtorch.QuantizationConfig(activations="int16")


def test_what_no_form_avoids_is_refused_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedByEdition) as raised:
        exported(Product(), (6,), config=INT16, out=tmp_path / "out", target="nano33ble", c=False, firmware=None)
    said = str(raised.value)
    for part in ("chirale", "Chirale_TensorFLowLite 2.0.0", "2023-01-11", "(MUL)", "int16", "35899fbaf"):
        assert part in said
    assert "Remedy: multiply in int8" in said
    assert not (tmp_path / "out").exists()
    exported(Product(), (6,), config=INT16, out=tmp_path / "out", target="nano33ble", tflm="newest", c=False)
    assert (tmp_path / "out").exists()


def test_plain_c_stays_where_nobody_asked_for_the_boards_tflite_micro(tmp_path: Path) -> None:
    bundle = exported(Product(), (6,), config=INT16, out=tmp_path / "out", target="nano33ble", onnx=False)
    assert bundle.left_out["tflm"] == bundle.left_out["firmware"]
    assert "whose TFLite Micro is chirale" in bundle.left_out["tflm"]
    assert "left out: headers for TFLite Micro, the firmware project (target nano33ble" in str(bundle)
    assert bundle.metrics["tflm"]["edition"] == "newest"
    assert not bundle.firmware
    written = {each.name.removeprefix("out_") for each in (tmp_path / "out").iterdir()}
    assert written >= {"model.c", "model.h", "quantization.h", "test_vectors.h", "out.tflite"}
    assert not written & {"model_data.cc", "op_resolver.h", "arena.h", "layer_checks.h", "project"}
    for asked in (
        {"firmware": tmp_path / "project"},
        {"tflm": "chirale"},
        {"options": ExportOptions(c=True, post_training=True)},
    ):
        with pytest.raises(UnsupportedByEdition):
            exported(Product(), (6,), config=INT16, target="nano33ble", **asked)


def test_a_table_needs_no_sum_of_int32() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 2))
    old = exported(net, (6,), target="nano33ble", c=False, onnx=False, firmware=None)
    assert [each["form"] for each in old.metrics["tflm"]["rewritten"]].count("quantized_index") == 1
    assert [op.name for op in ops(old.model) if op.name in ("CAST", "ADD", "QUANTIZE", "GATHER")] == [
        "QUANTIZE", "GATHER"
    ]  # fmt: skip
    new = exported(net, (6,), target="nano33ble", tflm="newest", c=False, onnx=False, firmware=None)
    assert np.array_equal(outputs(old.model, (6,)), outputs(new.model, (6,)))
    resolver = next(data for name, data in old.files.items() if name.endswith("_op_resolver.h")).decode()
    assert "AddQuantize" in resolver
    assert "AddCast" not in resolver


def test_training_per_tensor_spares_the_other_form() -> None:
    config = qtorch.QuantizationConfig(tflm="chirale")
    bundle = exported(perceptron(), (6,), config=config, tflm="python-2024-04")
    assert [op.name for op in ops(bundle.model)] == ["FULLY_CONNECTED", "FULLY_CONNECTED"]
    assert not bundle.metrics["tflm"]["rewritten"]


def test_where_no_tflite_micro_runs_no_edition_counts() -> None:
    assert not ExportOptions(target="uno").runs_tflm
    assert not ExportOptions().runs_tflm
    assert ExportOptions(tflm="chirale").runs_tflm
    assert ExportOptions(target="esp32").edition.name == BOARDS["esp32"].edition


@pytest.mark.parametrize(
    ("target", "tflm", "file", "asked"),
    [
        ("esp32s3", "", "main/idf_component.yml", ("==1.4.0", "==1.2.3")),
        ("esp32s3", "esp-tflite-micro-1.3.5", "main/idf_component.yml", ("==1.3.5", "==1.1.2")),
        ("nucleo_f446re", "zephyr-4.1", "west.yml", (EDITIONS["zephyr-4.1"].version, "revision: v4.1.0")),
        ("mps3_an547", "tflm-cmsis-nn", "README.md", ("90b983c2b", "OPTIMIZED_KERNEL_DIR=cmsis_nn microlite")),
        ("mps3_an547", "tflm", "README.md", ("90b983c2b", "TARGET_ARCH=cortex-m55 microlite")),
        ("grove_vision_ai_v2", "", "README.md", ("tflmtag2412_u55tag2411", "the reference kernels")),
        ("grove_vision_ai_v2", "himax-sdk-cmsis-nn", "README.md", ("tflmtag2412_u55tag2411", "CMSIS-NN")),
    ],
)
def test_a_project_asks_for_the_edition_that_the_model_is_exact_on(
    target: str, tflm: str, file: str, asked: tuple[str, str], tmp_path: Path
) -> None:
    bundle = exported(perceptron(), (6,), target=target, tflm=tflm, c=False, onnx=False, firmware=tmp_path / "project")
    said = bundle.firmware[file].decode()
    for part in asked:
        assert part in said


def test_a_project_for_the_machine_that_compiles_is_held_against_the_tree_that_it_is_built_with(tmp_path: Path) -> None:
    x = torch.linspace(-4, 4, 64)[:, None]
    network = qtorch.quantize(nn.Sequential(nn.ReLU()), x)
    assert exported_again(network, x).firmware
    (op,) = (each for each in network.modules() if isinstance(each, QuantizedOp))
    # A scale that somebody else put there: no search for one on which both arithmetics agree.
    op.sources["input"].scale.fill_(0.011638940957447788)
    op.output.scale.fill_(0.0033254117021279395)
    said = exported_again(network, x)
    assert not said.firmware
    assert "quotient of scales in float32" in said.metrics["left_out"]["firmware"]
    with pytest.raises(BadConfiguration, match=r"firmware: .* of host .*asks for tflm"):
        exported_again(network, x, firmware=tmp_path / "project")
    assert exported_again(network, x, firmware=tmp_path / "project", tflm="tflm").firmware


def exported_again(network: nn.Module, x: torch.Tensor, **choices: Any) -> Bundle:
    return export.export_network(network, calibration=x, c=False, onnx=False, **choices)


def test_an_edition_without_a_board_counts_for_every_processor() -> None:
    row = nn.Sequential(nn.Conv2d(4, 4, (1, 3), stride=(1, 2)))
    on_m4 = exported(row, (4, 1, 16), tflm="tflm-cmsis-nn", target="mps2_an386", c=False, onnx=False, firmware=None)
    anywhere = exported(row, (4, 1, 16), tflm="tflm-cmsis-nn", c=False, onnx=False, firmware=None)
    assert not on_m4.metrics["tflm"]["rewritten"]
    assert [each["form"] for each in anywhere.metrics["tflm"]["rewritten"]] == ["time_on_height"]
    assert [each["processors"] for each in anywhere.metrics["tflm"]["rewritten"]] == [["cortex-m55", "cortex-m85"]]
    for cpu in ("cortex-m0", "cortex-m4", "cortex-m55", "host"):
        assert not faults_in(anywhere.model, edition("tflm-cmsis-nn"), cpu)


def test_a_float_network_is_held_against_the_edition_too() -> None:
    flipped = nn.Sequential(nn.Linear(6, 4), Flipped())
    assert exported(flipped, (6,), format="float32", tflm="python-2025-10").model
    assert exported(flipped, (6,), format="float32").model
    for choices in ({"tflm": "python-2025-02"}, {"target": "nano33ble"}):
        with pytest.raises(UnsupportedByEdition, match="REVERSE_V2"):
            exported(flipped, (6,), format="float32", **choices)
    for narrow in ("float16", "dynamic_range"):
        with pytest.raises(BadConfiguration, match="tflm: expected format int8 or float32"):
            exported(flipped, (6,), format=narrow, tflm="newest")
        assert exported(nn.Linear(6, 4), (6,), format=narrow, target="nano33ble").model


class Flipped(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(1)


def test_four_bits_that_a_library_computes_otherwise_are_eight_in_the_file() -> None:
    net = nn.Conv2d(3, 6, 3, groups=3)
    four = qtorch.QuantizationConfig(weight_bits=4)
    plain = exported(net, (3, 5, 5), config=four, target="mps3_an547", tflm="tflm", c=False, onnx=False)
    bundle = exported(net, (3, 5, 5), config=four, target="mps3_an547", tflm="tflm-cmsis-nn", c=False, onnx=False)
    assert [each["form"] for each in bundle.metrics["tflm"]["rewritten"]] == ["eight_bits"]
    weights = [read_contents(each.model).subgraphs[0].tensors[ops(each.model)[0].inputs[1]] for each in (plain, bundle)]
    assert [each.dtype for each in weights] == ["int4", "int8"]
    assert weights[0].scale == weights[1].scale
    assert np.array_equal(outputs(plain.model, (5, 5, 3)), outputs(bundle.model, (5, 5, 3)))


def test_a_refusal_names_alike_operators_once_and_the_next_edition_that_computes_them() -> None:
    net = nn.Sequential(nn.Conv2d(2, 8, 4), nn.PReLU(), nn.Conv2d(8, 4, 4), nn.PReLU())
    on_s3 = {"target": "esp32s3", "config": INT16}
    with pytest.raises(UnsupportedByEdition) as raised:
        exported(net, (2, 12, 12), tflm="esp-tflite-micro-1.3.3", c=False, **on_s3)
    said = str(raised.value)
    assert "operators 1 and 3 (PRELU): int16" in said
    assert said.count("aa6e62517") == 1
    assert "install espressif/esp-tflite-micro 1.3.5, and export for it with tflm esp-tflite-micro-1.3.5" in said
    assert "plain C with c, tflm newest and no firmware" in said
    assert exported(net, (2, 12, 12), tflm="esp-tflite-micro-1.3.5", c=False, **on_s3).model
    alone = exported(net, (2, 12, 12), tflm="newest", c=True, firmware=None, **on_s3)
    assert any(name.endswith("_model.c") for name in alone.files)


def test_kernels_that_a_library_has_only_without_dilation_are_kept_clear_of_by_one() -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 8, 4, groups=2), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 3, 3)
    )
    bundle = exported(net, (2, 12, 12), target="esp32s3", tflm="esp-tflite-micro-1.3.1", c=False, onnx=False)
    forms = {each["layer"]: each["form"] for each in bundle.metrics["tflm"]["rewritten"]}
    assert list(forms.values()).count("room_between_taps") == 2
    plain = exported(net, (2, 12, 12), c=False, onnx=False, firmware=None)
    assert np.array_equal(outputs(plain.model, (12, 12, 2)), outputs(bundle.model, (12, 12, 2)))
    row = exported(nn.Conv1d(20, 4, 5, 2), (20, 32), target="esp32s3", tflm="esp-tflite-micro-1.3.1", c=False)
    (only,) = (op for op in ops(row.model) if op.name == "CONV_2D")
    # One row of taps is told another dilation, and nothing is copied.
    assert only.options["DilationHFactor"] == 2
    assert "CONCATENATION" not in {op.name for op in ops(row.model)}


def test_a_convolution_whose_record_would_be_the_first_has_one_in_front() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
    bundle = exported(net, (1, 8, 8), target="esp32s3", tflm="esp-tflite-micro-1.3.3", c=False, onnx=False)
    assert [each["form"] for each in bundle.metrics["tflm"]["rewritten"]] == ["behind_quantize"]
    assert [op.name for op in ops(bundle.model)] == ["QUANTIZE", "CONV_2D", "CONV_2D"]


def test_where_no_edition_of_the_package_computes_it_none_is_named() -> None:
    with pytest.raises(UnsupportedByEdition) as raised:
        exported(Product(), (6,), config=INT16, target="nano33ble", c=False)
    assert "install" not in str(raised.value)


@pytest.mark.parametrize(
    ("target", "turned"), [("mps3_an547", True), ("grove_vision_ai_v2", True), ("mps2_an386", False)]
)
def test_rows_that_helium_leaves_a_column_of_are_turned_for_its_boards_in_reference_kernels_too(
    target: str, turned: bool
) -> None:
    net = nn.Conv1d(4, 3, 5, stride=2)
    plain = exported(net, (4, 74), c=False, onnx=False)
    bundle = exported(net, (4, 74), target=target, c=False, onnx=False, firmware=None)
    board = BOARDS[target]
    assert edition(board.edition).library == "reference"
    figures = bundle.metrics["tflm"]
    assert [each["form"] for each in figures["rewritten"]] == ["time_on_height"] * turned
    if turned:
        assert "of the kernels that its build has a switch for" in figures["sentences"][1]
        assert np.array_equal(outputs(plain.model, (1, 74, 4)), outputs(bundle.model, (1, 74, 4)))
        assert not faults_in(bundle.model, edition("tflm-cmsis-nn"), board.cpu)
    # Lint says of the plain file what there is in these kernels alone.
    assert not faults_in(plain.model, edition(board.edition), board.cpu)


def test_an_arenas_header_says_where_no_arena_is_large_enough() -> None:
    wide = {"config": INT16, "firmware": None, "onnx": False, "c": False}
    said = {
        tflm: next(
            data.decode()
            for name, data in exported(perceptron(), (6,), tflm=tflm, **wide).files.items()
            if name.endswith("_arena.h")
        )
        for tflm in ("newest", "tflm-cmsis-nn")
    }
    branch = said["newest"].split("#elif defined(CMSIS_NN)")[1].split("#elif")[0]
    words = " ".join(branch.replace("//", "").split())
    assert "No arena is large enough in TFLite Micro's repository of 2026-08-20 with OPTIMIZED_KERNEL_DIR" in words
    assert "(FULLY_CONNECTED): 16 scales" in words
    assert "export.tflm tflm-cmsis-nn" in words
    assert "No arena is large enough" not in said["tflm-cmsis-nn"]
    assert "No arena is large enough" not in said["newest"].replace(branch, "")
