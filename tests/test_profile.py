"""What an inference takes: closed forms, emulated machines, and the arithmetic from counts to boards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx, nn

import qtorch
from export import profile as profiling
from export.__main__ import main as export_main
from export.boards import BOARDS, CLOCKS, SUPPLIES, Supply
from export.integers import integer_graph
from export.ir import Graph
from export.page import plain_text
from export.passes.float_interface import float_interface
from export.profile import MachineProfile, estimates, multiply_accumulates, profile
from export.profile_command import profile_page
from export.real_bundle import real_graph
from export.tflite import write_tflite
from export.tflite_reader import read_tflite
from firmware.emulation import MACHINES, available
from firmware.emulation.machines import Need
from qtorch.errors import ParityError
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
    graph = real_graph(nn.Sequential(nn.Linear(4, 3)), torch.rand(1, 4), "dynamic_range", "nhwc")
    found = profile(write_tflite(graph), graph, [])
    assert found.arena_bytes is None
    assert "no arena up to" in plain_text(profile_page(found))
    assert found.macs == 12


def test_where_tflite_micro_is_absent_the_arena_is_too(
    network: fx.GraphModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "tflm_available", lambda: False)
    graph = integer_graph(network)
    assert "Linux x86-64" in plain_text(profile_page(profile(write_tflite(graph), graph, [])))


def test_the_host_computes_and_a_wrong_machine_is_found_out(
    network: fx.GraphModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next((m.name for m in profiling.all_machines() if available(m) is None), None)
    if name is None:
        pytest.skip(str(available(MACHINES["cortex_m4"])))
    graph = integer_graph(network)
    found = profiling._on_machine(graph, MACHINES[name], 4, False)
    assert found.absent == ""
    assert found.median > 46
    assert found.per_mac == pytest.approx(found.median / 46)
    assert 0 < found.flash < 20_000
    real = profiling.interpret

    def off(*arguments: object, **options: object) -> dict[str, np.ndarray]:
        return {name: array ^ 1 for name, array in real(*arguments, **options).items()}  # type: ignore[arg-type]

    monkeypatch.setattr(profiling, "interpret", off)
    with pytest.raises(ParityError, match="differs from the reference"):
        profiling._on_machine(graph, MACHINES[name], 4, False)


def test_layers_are_counted_by_themselves() -> None:
    machine = MACHINES["cortex_m4"]
    if available(machine):
        pytest.skip(str(available(machine)))
    graph = graph_of(nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 2), nn.Softmax(-1)), 40)
    whole = profiling._on_machine(graph, machine, 4, False)
    parts = [profiling._layer(graph, i, node, [machine], 4, False) for i, node in enumerate(graph.nodes)]
    counted = [part.counted["cortex_m4"] for part in parts]
    assert counted[0] > counted[1]
    assert 0.8 < sum(counted) / whole.median < 1.2


def test_a_float_interface_costs_nothing_in_c(network: fx.GraphModule) -> None:
    machine = MACHINES["cortex_m4"]
    if available(machine):
        pytest.skip(str(available(machine)))
    graph = integer_graph(network)
    model = write_tflite(float_interface(graph))
    found = profile(model, read_tflite(model), [machine], [])
    assert [layer.op for layer in found.layers] == ["quantize", *["fully_connected"] * 3, "dequantize"]
    assert found.machines[0].median == profiling._on_machine(graph, machine, 8, False).median > 0


def test_what_is_absent_is_named_with_the_remedy(network: fx.GraphModule) -> None:
    machine = replace(MACHINES["cortex_m4"], needs=(Need("no-such-compiler", "gcc-arm-none-eabi"),))
    found = profiling._on_machine(integer_graph(network), machine, 4, False)
    assert "no-such-compiler" in found.absent
    assert "apt-get install gcc-arm-none-eabi" in found.absent
    (board,) = estimates([found], [BOARDS["nano33ble"]])
    assert board.milliseconds is None
    assert "apt-get install" in board.assumptions


def test_a_network_that_the_replay_cannot_take_says_why() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.relu(), x * 2

    machine = replace(MACHINES["cortex_m4"], needs=())
    found = profiling._on_machine(graph_of(Two(), 4), machine, 4, False)
    assert "one int8 input and one int8 output" in found.absent


def counted(cpu: str, unit: str, median: float) -> MachineProfile:
    return MachineProfile("machine", cpu, unit, median=median)


def test_time_and_energy_are_the_products_that_they_say() -> None:
    machines = [counted("avr", "cycles", 160_000), counted("cortex-m4", "instructions", 64_000)]
    uno, nano, esp = estimates(machines, [BOARDS[name] for name in ("uno", "nano33ble", "esp32")])
    assert uno.milliseconds == pytest.approx(10)
    # 5.2 mA at 8 MHz are 10.4 mA at 16 MHz; 10.4 mA * 5 V * 10 ms.
    assert uno.microjoules == pytest.approx(520)
    assert "proportional to the clock" in uno.assumptions
    assert SUPPLIES["uno"].source in uno.assumptions
    assert nano.milliseconds == pytest.approx(1)
    assert nano.microjoules is None
    assert "--milliamps" in nano.assumptions
    assert "1 cycle(s) per instruction" in nano.assumptions
    assert esp.milliseconds is None
    assert "xtensa" in esp.assumptions
    given = Supply(3.0, 3.0, None, "as given")
    uno, nano = estimates(machines, [BOARDS["uno"], BOARDS["nano33ble"]], given, 32_000_000, 1.5)
    assert uno.milliseconds == pytest.approx(5)  # cycles are cycles
    assert nano.milliseconds == pytest.approx(3)
    assert nano.microjoules == pytest.approx(27)
    assert "proportional" not in nano.assumptions


def test_every_board_has_a_clock() -> None:
    assert set(CLOCKS) == set(BOARDS) - {"host"}
    assert set(SUPPLIES) <= set(BOARDS)


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


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--machine", "pdp11"], "cortex_m4"), (["--board", "umo"], "uno"), (["--volts", "3"], "both or neither")],
)
def test_bad_options_are_refused(
    network: fx.GraphModule, tmp_path: Path, capsys: pytest.CaptureFixture, options: list[str], said: str
) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(integer_graph(network)))
    assert export_main(["profile", str(path), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_foreign_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(foreign_model(FOREIGN["custom_and_unknown_ops"]()))
    assert export_main(["profile", str(path)]) == 2
    assert "Remedy" in capsys.readouterr().err
