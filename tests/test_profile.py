"""What an inference takes: closed forms, emulated machines, and the arithmetic from counts to boards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import fx, nn

import qtorch
from export.__main__ import main as export_main
from export.boards import BOARDS
from export.commands.profile import profile_page
from export.console.page import plain_text
from export.cost import machines as machine_profile
from export.cost import profile as profiling
from export.cost.board_estimate import estimates
from export.cost.machines import all_machines, on_machine
from export.cost.macs import multiply_accumulates
from export.cost.profile import file_profile, profile
from export.graph.build import float_graph, integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.passes.float_interface import float_interface
from export.tflite.reader import read_tflite
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from firmware.emulation import MACHINES, EmulationFailure, available
from firmware.emulation.machines import Need
from qtorch.errors import BadModelFile, ParityError
from tests.foreign_models import FOREIGN, foreign_model


def graph_of(net: nn.Module, *shape: int) -> Graph:
    torch.manual_seed(0)
    x = torch.rand(20, *shape)
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)


def macs(net: nn.Module, *shape: int) -> list[int]:
    graph = graph_of(net, *shape)
    return [n for n in (multiply_accumulates(graph, node) for node in graph.nodes) if n]


def test_multiply_accumulates_are_those_of_the_formulas() -> None:
    assert macs(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)), 7) == [35, 10]
    assert macs(nn.Conv2d(3, 8, (3, 5), stride=2), 3, 11, 13) == [8 * 3 * 3 * 5 * 5 * 5]
    assert macs(nn.Conv2d(6, 12, 3, padding=1, groups=6), 6, 4, 5) == [12 * 9 * 20]
    assert macs(nn.ConvTranspose2d(3, 4, 3, stride=2), 3, 5, 6) == [5 * 6 * 3 * 4 * 9]
    assert macs(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)), 2, 4, 4) == [24]


@pytest.mark.tflm
def test_layers_and_bytes(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    model = write_tflite(graph)
    found = profile(model, graph, [])
    assert [layer.macs for layer in found.layers] == [18, 24, 4]
    assert [layer.parameters for layer in found.layers] == [24, 28, 5]
    assert [layer.constant_bytes for layer in found.layers] == [18 + 24, 24 + 16, 4 + 4]
    assert [layer.activation_bytes for layer in found.layers] == [9, 10, 5]
    assert (found.macs, found.model_bytes) == (46, len(model))
    assert found.arena_bytes is not None
    assert 500 < found.arena_bytes < 5000
    assert found.arena_absent == ""


@pytest.mark.tflm
def test_a_model_that_tflite_micro_does_not_run_is_profiled_without_an_arena() -> None:
    """Float activations with int8 weights: LiteRT's alone."""
    torch.manual_seed(0)
    graph = float_graph(nn.Sequential(nn.Linear(4, 3)), torch.rand(1, 4), "dynamic_range", "nhwc")
    found = profile(write_tflite(graph), graph, [])
    assert found.arena_bytes is None
    assert "TFLite Micro refuses this file: Input type: FLOAT32" in plain_text(profile_page(found))
    assert found.macs == 12


def test_where_tflite_micro_is_absent_the_arena_is_too(
    network: fx.GraphModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "tflm_absent", lambda: "TFLite Micro has wheels for Linux x86-64 only")
    graph = integer_graph(network)
    assert "Linux x86-64" in plain_text(profile_page(profile(write_tflite(graph), graph, [])))


def test_the_host_computes_and_a_wrong_machine_is_found_out(
    network: fx.GraphModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next((m.name for m in all_machines() if available(m) is None), None)
    if name is None:
        pytest.skip(str(available(MACHINES["cortex_m4"])))
    graph = integer_graph(network)
    found = on_machine(graph, MACHINES[name], 4, "size")
    assert found.absent == ""
    assert found.median > 46
    assert found.per_mac == pytest.approx(found.median / 46)
    assert 0 < found.flash < 20_000
    real = machine_profile.interpret_sequence

    def off(*arguments: object, **options: object) -> dict[str, np.ndarray]:
        return {name: array ^ 1 for name, array in real(*arguments, **options).items()}  # type: ignore[arg-type]

    monkeypatch.setattr(machine_profile, "interpret_sequence", off)
    with pytest.raises(ParityError, match="differs from the reference"):
        on_machine(graph, MACHINES[name], 4, "size")


def test_a_float_interface_costs_nothing_in_c(network: fx.GraphModule) -> None:
    machine = MACHINES["cortex_m4"]
    if available(machine):
        pytest.skip(str(available(machine)))
    graph = integer_graph(network)
    model = write_tflite(float_interface(graph))
    found = profile(model, read_tflite(model), [machine], [])
    assert [layer.op for layer in found.layers] == ["quantize", *["fully_connected"] * 3, "dequantize"]
    assert found.machines[0].median == on_machine(graph, machine, 8, "balanced").median > 0


def test_what_is_absent_is_named_with_the_remedy(network: fx.GraphModule) -> None:
    machine = replace(MACHINES["cortex_m4"], needs=(Need("no-such-compiler", "gcc-arm-none-eabi"),))
    found = on_machine(integer_graph(network), machine, 4, "size")
    assert "no-such-compiler" in found.absent
    assert "apt-get install gcc-arm-none-eabi" in found.absent
    (board,) = estimates([found], [BOARDS["nano33ble"]])
    assert board.milliseconds is None
    assert "apt-get install" in board.assumptions


def test_a_network_of_any_ends_is_counted() -> None:
    """Two inputs of int16 and two outputs; the layers add up there too."""

    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + y, torch.relu(x)

    machine = MACHINES["cortex_m4"]
    if available(machine):
        pytest.skip(str(available(machine)))
    torch.manual_seed(0)
    x, y = torch.randn(8, 50), torch.randn(8, 50)
    qat = qtorch.prepare(Two().eval(), (x[:1], y[:1]), qtorch.QuantizationConfig(activations="int16"))
    qtorch.calibrate(qat, [(x, y)])
    found = on_machine(integer_graph(qat), machine, 4, "size", by_layer=True)
    assert found.absent == ""
    assert found.median > 2 * 50
    assert sum(found.layers.values()) == pytest.approx(found.median, rel=0.01)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("ld: region `rom' overflowed by 9528 bytes\nld: region `ram' overflowed by 6 bytes",
         "does not fit: 9,528 bytes too many for rom, 6 bytes too many for ram"),
        ("ld: address 0x802232 of a.elf section `.bss' is not within region `data'\n" * 2,
         "does not fit: .bss reaches beyond data"),
        ("cc1: error", "m: expected gcc to succeed, got exit code 1."),
    ],
)  # fmt: skip
def test_a_failed_link_says_what_does_not_fit(output: str, said: str) -> None:
    assert EmulationFailure(where="m", expected="gcc to succeed", got="exit code 1", output=output).reason == said


def test_a_network_too_large_for_a_machine_says_so() -> None:
    machine = MACHINES["atmega328p"]
    if available(machine):
        pytest.skip(str(available(machine)))
    found = on_machine(graph_of(nn.Linear(4000, 2), 4000), machine, 1, "size")
    assert found.absent.startswith("does not fit: ")


@pytest.mark.tflm
def test_the_command(network: fx.GraphModule, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(integer_graph(network)))
    machine = ["--machine", "atmega328p", "--board", "uno"]
    assert export_main(["profile", str(path), *machine, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["macs"] == 46
    assert [board["board"] for board in found["boards"]] == ["uno"]
    assert (found["boards"][0]["milliseconds"] is None) == (available(MACHINES["atmega328p"]) is not None)
    assert export_main(["profile", str(path), *machine]) == 0
    text = capsys.readouterr().out
    assert "uno" in text
    assert "atmega328p" in text
    for alike in (["--target", "uno"], ["--target=uno"]):
        assert export_main(["profile", str(path), *machine[:2], *alike]) == 0
        assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--machine", "pdp11"], "--machine: expected one of cortex_m0"),
        (["--machine", "host"], "--machine: expected one of cortex_m0"),  # counts nothing
        (["--board", "umo"], "--board: expected one of uno"),
        (["--board", "host"], "--board: expected one of uno"),
        (["--volts", "3"], "both or neither"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture, options: list[str], said: str) -> None:
    assert export_main(["profile", str(tmp_path / "never_read.tflite"), *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--samples", "many", "expected a whole number of at least 1, got 'many'"),
        ("--samples", "0", "expected a whole number of at least 1, got '0'"),
        ("--mhz", "fast", "expected a positive number, got 'fast'"),
        ("--volts", "nan", "expected a positive number, got 'nan'"),
    ],
)
def test_values_that_are_no_numbers_are_named(
    capsys: pytest.CaptureFixture, option: str, value: str, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        export_main(["profile", "m.tflite", option, value])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def profiled(path: Path, capsys: pytest.CaptureFixture, *options: str) -> str:
    assert export_main(["profile", str(path), "--machine", "cortex_m4", "--board", "nano33ble", *options]) == 0
    return str(capsys.readouterr().out)


@pytest.mark.tflm
def test_another_converters_file_is_profiled_layer_by_layer(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(foreign_model(FOREIGN["int8_layers"]()))
    found = json.loads(profiled(path, capsys, "--json"))
    # 12 pixels of 5 channels by 3x3x3; the same by 3x3; 12 pixels of 5 channels, each by 2 channels of 2x2; 96 by 4.
    assert [layer["macs"] for layer in found["layers"]] == [1620, 540, 480, 384]
    assert found["macs"] == 3024
    assert [layer["parameters"] for layer in found["layers"]] == [140, 50, 44, 384]
    assert [layer["constant_bytes"] for layer in found["layers"]] == [155, 65, 56, 384]
    assert [layer["activation_bytes"] for layer in found["layers"]] == [204, 120, 156, 100]
    assert found["layers"][2]["output"] == [1, 6, 8, 2]
    assert "no C of this file" in found["machines"][0]["absent"]
    assert found["boards"][0]["milliseconds"] is None
    text = profiled(path, capsys)
    assert "transpose_conv" in text
    assert "cortex_m4: not run: no C of this file" in text


@pytest.mark.tflm
def test_what_has_no_formula_is_not_counted_as_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(foreign_model(FOREIGN["custom_and_unknown_ops"]()))
    text = profiled(path, capsys)
    assert ">= 0" in text
    assert "no formula for the MACs of CUSTOM:Audio\\tFrontend, UNKNOWN:9999" in text
    assert [layer["macs"] for layer in json.loads(profiled(path, capsys, "--json"))["layers"]] == [None, None]


@pytest.mark.tflm
def test_constants_need_not_lie_where_this_project_puts_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """TensorFlow's files have some that are not at multiples of 16; a comparison still refuses them."""
    model = foreign_model(FOREIGN["float_with_dynamic_shapes"]())
    path = tmp_path / "foreign.tflite"
    path.write_bytes(model)
    assert json.loads(profiled(path, capsys, "--json"))["macs"] == 8
    assert read_tflite(model, aligned=False).nodes[0].op == "fully_connected"
    with pytest.raises(BadModelFile, match="not aligned"):
        read_tflite(model)


def test_a_reason_that_all_machines_share_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "tflm_absent", lambda: "TFLite Micro has wheels for Linux x86-64 only")
    path = tmp_path / "foreign.tflite"
    path.write_bytes(foreign_model(FOREIGN["custom_and_unknown_ops"]()))
    assert export_main(["profile", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.count("operators of somebody's own") == 1
    assert "cortex_m0, cortex_m3" in text
    assert "nano33ble" not in text


def test_damaged_files_are_refused_or_profiled_but_never_crash(
    network: fx.GraphModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes changed at random, and every index and enumeration of an own file set to what it can't be."""
    monkeypatch.setattr(profiling, "tflm_absent", lambda: "TFLite Micro has wheels for Linux x86-64 only")
    rng, said = np.random.default_rng(0), set[str]()
    own = write_tflite(integer_graph(network))
    damaged = [own[:at] + bytes([255]) + own[at + 1 :] for at in range(8, len(own), 3)]
    for model in (own, *(foreign_model(make()) for make in FOREIGN.values())):
        for _ in range(200):
            changed = np.frombuffer(model, np.uint8).copy()
            changed[rng.integers(8, len(changed), rng.integers(1, 12))] = rng.integers(0, 256)
            damaged.append(changed.tobytes())
    for model in damaged:
        try:
            summary = summarize(model)
        except BadModelFile:
            continue
        try:
            found = profile(model, read_tflite(model, aligned=False), [])
        except BadModelFile as unknown:
            found = file_profile(model, summary, unknown.got, [], [])
            said.add(unknown.got)
        plain_text(profile_page(found))
    assert len(said) > 20


def test_a_bias_may_be_left_out() -> None:
    model = FOREIGN["float_with_dynamic_shapes"]()
    (operator,) = model.subgraphs[0].operators
    operator.inputs = [0, 1, -1]
    graph = read_tflite(foreign_model(model), aligned=False)
    assert graph.nodes[0].input_roles() == {"input": "t0", "weight": "t1"}
    x = np.array([[1, 2, 3, 4]], np.float32)
    assert interpret(graph, (x,))["t3"].tolist() == [[10, 10]]  # all weights are 1
    operator.inputs = [0, -1, 2]
    with pytest.raises(BadModelFile, match="leaves out an input before another"):
        read_tflite(foreign_model(model), aligned=False)


def test_an_operator_must_have_its_weights_and_known_options(network: fx.GraphModule) -> None:
    model = bytearray(write_tflite(integer_graph(network)))
    operator = schema.Model.GetRootAs(model).Subgraphs(0).Operators(0)
    table = operator._tab
    inputs = table.Vector(table.Offset(6)) - 4  # the length of the vector of inputs
    assert model[inputs] == 3
    model[inputs] = 1
    with pytest.raises(BadModelFile, match="FULLY_CONNECTED without its weight"):
        read_tflite(bytes(model))
    model[inputs] = 3
    options = schema.FullyConnectedOptions()
    options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
    model[options._tab.Pos + options._tab.Offset(4)] = 99  # the activation
    with pytest.raises(BadModelFile, match="FULLY_CONNECTED with FusedActivationFunction 99"):
        read_tflite(bytes(model))


def test_damaged_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    whole = foreign_model(FOREIGN["int8_layers"]())
    for content, said in ((whole[:-200], "a complete .tflite file"), (b"just text, no model", "TFL3"), (b"", "TFL3")):
        (tmp_path / "bad.tflite").write_bytes(content)
        assert export_main(["profile", str(tmp_path / "bad.tflite")]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "Remedy: " in error
    assert export_main(["profile", str(tmp_path / "absent.tflite")]) == 2
    assert "check the path" in capsys.readouterr().err
