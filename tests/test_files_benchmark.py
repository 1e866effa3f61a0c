"""The benchmark of files: what the rigs run, what is read from measurements, and that every file gets a verdict."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import fx, nn

import qtorch
from benchmarks.files import command, references
from benchmarks.files.command import FILES, apart, main
from benchmarks.files.one import Asked, measured
from benchmarks.files.published import PUBLISHED, published_lines
from benchmarks.files.references import ReferenceFile, reference_files
from benchmarks.files.table import ratio, reference_lines, table_of
from benchmarks.files.tflm import resolver_methods
from export.c.network import c_network
from export.c.source import c_source
from export.cost.rig_ends import NAME, rig_sources, rows_of_bytes
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.tflite.writer import write_tflite
from firmware.emulation import MACHINES, available, replay
from qtorch.errors import BadConfiguration, BadModelFile

_NOTHING = Asked(inputs=16, machines=(), tflm=())


class Sums(nn.Module):
    """Two inputs and two outputs of int16."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + y, torch.relu(x)


def sums() -> Graph:
    torch.manual_seed(0)
    x, y = torch.randn(8, 5), torch.randn(8, 5)
    qat = qtorch.prepare(Sums().eval(), (x[:1], y[:1]), qtorch.QuantizationConfig(activations="int16"))
    qtorch.calibrate(qat, [(x, y)])
    return integer_graph(qat)


def test_a_rig_runs_a_network_of_any_inputs_and_outputs() -> None:
    graph = sums()
    rng = np.random.default_rng(0)
    codes = tuple(rng.integers(-32768, 32767, (6, 5), np.int16) for _ in graph.inputs)
    computed = interpret(graph, codes)
    files = c_source("net", c_network(graph)).files
    sources = {**files, **rig_sources(graph, "net")}
    expected = rows_of_bytes([computed[name] for name in graph.outputs], 6)
    assert expected.shape == (6, 20)
    assert replay(MACHINES["host"], sources, NAME, rows_of_bytes(codes, 6), expected).first is None
    # Inputs the other way round are others.
    swapped = replay(MACHINES["host"], sources, NAME, rows_of_bytes(codes[::-1], 6), expected)
    assert swapped.mismatches == 6


@pytest.mark.parametrize(
    "name", ["host", pytest.param("cortex_m4", marks=pytest.mark.qemu), pytest.param("riscv32", marks=pytest.mark.qemu)]
)
def test_a_sequence_begins_with_the_first_sample(name: str) -> None:
    """What a rig runs before, to measure the stack, leaves nothing in the states."""
    if why := available(MACHINES[name]):
        pytest.skip(why)
    source = """
#include "sum_model.h"
static int8_t state;
void sum_reset(void) { state = 0; }
void sum_invoke(const int8_t *in, int8_t *out) { *out = state = (int8_t)(state + *in); }
"""
    declared = "#define SUM_STATE_BYTES 1\nvoid sum_reset(void);\nvoid sum_invoke(const int8_t *in, int8_t *out);\n"
    sizes = "#include <stdint.h>\n#define SUM_INPUT_SIZE 1\n#define SUM_OUTPUT_SIZE 1\n"
    samples = np.array([[3], [5], [-2]], np.int8)
    sources = {"sum_model.h": sizes + declared, "sum_model.c": source}
    assert replay(MACHINES[name], sources, "sum", samples, np.cumsum(samples, 0, np.int8)).first is None


def test_methods_are_found_in_upstream_s_header() -> None:
    header = """
  TfLiteStatus AddAbs(const TFLMRegistration& registration = Register_ABS()) {
    return AddBuiltin(BuiltinOperator_ABS, registration, ParseAbs);
  }
  TfLiteStatus AddAssignVariable(const TFLMRegistration& registration =
                                     tflite::Register_ASSIGN_VARIABLE()) {
    return AddBuiltin(BuiltinOperator_ASSIGN_VARIABLE, registration,
                      ParseAssignVariable);
  }
  TfLiteStatus AddWindow() {
    // TODO: a comment
    return AddCustom("SignalWindow", tflite::tflm_signal::Register_WINDOW());
  }
"""
    methods = resolver_methods(header, ["ASSIGN_VARIABLE", "ABS", "ABS", "CUSTOM:SignalWindow"])
    assert methods == ("AddAssignVariable", "AddAbs", "AddWindow")
    with pytest.raises(BadModelFile, match="a method for CONV_2D"):
        resolver_methods(header, ["CONV_2D"])


def test_every_file_gets_a_verdict(network: fx.GraphModule, tmp_path: Path) -> None:
    data = write_tflite(integer_graph(network))
    found = measured(data, "tiny.tflite", _NOTHING)
    assert found["verdict"] == "exact"
    assert (found["inputs"], found["sha256"]) == (16, hashlib.sha256(data).hexdigest())
    refused = measured(data[:100], "cut.tflite", _NOTHING)
    assert refused["verdict"] == "refused"
    assert "cut.tflite" in refused["why"]
    file = tmp_path / "tiny.tflite"
    file.write_bytes(data)
    assert apart(file, _NOTHING)["verdict"] == "exact"
    assert apart(file, _NOTHING, seconds=0.01)["verdict"] == "time"
    assert apart(file, _NOTHING, gigabytes=0.01)["verdict"] == "error"


def test_files_that_were_measured_are_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verdict(file: Path, *_: Any) -> dict[str, Any]:
        asked.append(file.name)
        return {"file": file.name, "verdict": "refused", "why": "a | b"}

    asked: list[str] = []
    monkeypatch.setattr(command, "apart", verdict)
    for name in ("a", "b"):
        (tmp_path / f"{name}.tflite").touch()
    for _ in range(2):
        main(["--files", str(tmp_path), "--out", str(tmp_path / "found.jsonl")])
    assert asked == ["a.tflite", "b.tflite"]
    assert "   2 refused" in capsys.readouterr().out
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 2


def found_file(**other: Any) -> dict[str, Any]:
    cycles = {"core": "cortex-m4", "least": 2000.0, "most": 2500.0, "assumption": "no waits", "source": "a manual"}
    plain = {"samples": 256, "unit": "instructions", "most": 1, "flash": 2000, "ram": 40, "stack": 8}
    return {
        "file": "kws",
        "verdict": "exact",
        "bytes": 1234,
        "sha256": "ab",
        "source": "a/b.tflite",
        "products": 1000,
        "inputs": 256,
        "machines": {
            "cortex_m4": {
                "size": {**plain, "median": 4000},
                "balanced": {**plain, "median": 3000},
                "speed": {**plain, "median": 1500, "cycles": cycles},
            },
            "cortex_m0": {"size": {**plain, "median": 9000, "board": "cortex_m3"}, "speed": {"absent": "no room"}},
        },
        "tflm": {
            "cortex_m4": {"instructions": 2000, "flash": 50000, "ram": 300, "cycles": {"least": 3000, "most": None}}
        },
        **other,
    }


def test_the_tables_say_what_is_slower_first_and_leave_open_what_was_not_counted() -> None:
    one = found_file()
    assert ratio(one, "cortex_m4") == 0.75
    assert ratio(one, "cortex_m4", "size") == 2
    assert ratio(one, "cortex_m0") is None
    slow = found_file(file="slow", tflm={"cortex_m4": {"instructions": 1000, "differs": "2 samples"}})
    refused = {"file": "bad", "verdict": "refused", "why": "a | b"}
    rows = table_of([refused, one, slow])[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| slow", "| kws", "| bad"]
    assert "| 4,000 | 3,000 | 1,500 | 2,000 | 2.00 | 1.50 | 0.75 |" in rows[1]
    assert rows[0].endswith("CMSIS-NN gives others: 2 samples |")
    assert rows[2].endswith(r"a \| b |")
    layers = [
        {"op": "conv_2d", "products": 100, "speed": 50, "tflm": 70},
        {"op": "conv_2d", "products": 100, "speed": 70, "tflm": 80},
        {"op": "add", "products": 0, "absent": "no"},
    ]
    page = reference_lines(
        {"commit": "abc", "compiler": "gcc", "emulator": "QEMU", "files": [found_file(layers=layers)]}
    )
    cycles = "2,000 to 2,500 | 2.00 to 2.50"
    beside = "2,000 | at least 3.00 | 50,000; 300"
    assert f"| kws | Cortex-M4 | speed | 1,500 | 1.50 | {cycles} | 256 | 2,000 | 40 | 8 | {beside} |" in page
    assert "Cycles of a cortex-m4: no waits (a manual)." in page
    assert any(line.startswith("| kws | Cortex-M0* | size | 9,000 |") and line.endswith("|  |  |") for line in page)
    assert not any("no room" in line for line in page)
    assert "`a/b.tflite`" in "".join(page)
    assert page[-1].endswith("CONV_2D 120 (0.60 per product), beside 150.")


def test_reference_files_are_told_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPERF_TINY", raising=False)
    with pytest.raises(BadConfiguration, match=r"got nothing.*git clone https://github.com/mlcommons/tiny"):
        FILES.measure()
    content = b"bytes"
    monkeypatch.setattr(
        references, "REFERENCE_FILES", (ReferenceFile("it", "x/it.tflite", hashlib.sha256(content).hexdigest()),)
    )
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "renamed.tflite"
    file.write_bytes(content + b"!")
    with pytest.raises(BadConfiguration, match=r"without these bytes of x/it\.tflite"):
        reference_files(str(tmp_path))
    file.write_bytes(content)
    assert reference_files(str(tmp_path)) == {"it": file}


@pytest.mark.qemu
def test_a_file_is_counted_on_a_machine(network: fx.GraphModule) -> None:
    if why := available(MACHINES["cortex_m4"]):
        pytest.skip(why)
    data = write_tflite(integer_graph(network))
    found = measured(data, "tiny.tflite", replace(_NOTHING, machines=("cortex_m4",)))
    size = found["machines"]["cortex_m4"]["size"]
    assert size["samples"] == 16
    assert 0 < size["median"] < 100_000
    assert math.isclose(size["flash"], len(data), rel_tol=3)
    json.dumps(found)


def test_what_others_published_stands_beside_our_cycles() -> None:
    """Milliseconds become cycles per product by clock and products: 43.2 ms at 120 MHz of 2,656,768 are 1.95."""
    found = found_file(file="keyword spotting, DS-CNN", products=2_656_768)
    lines = list(published_lines([found]))
    (st,) = [line for line in lines if "X-CUBE-AI 9.0" in line and "Cortex-M4" in line]
    assert "STM32L4R5, Cortex-M4 at 120 MHz | 1.95 / speed 0.00" in st
    (hale,) = [line for line in lines if "HALE" in line and "M0+" in line]
    assert hale.endswith("| 11.43 |")
    person = next(each for each in PUBLISHED if each.where.startswith("ESP32-C3"))
    assert round(person.cycles_per_product("MobileNetV1", 1), 1) == 9.5
