"""The lines that fill an input and read an output take and give physical values, in every document; and say so."""

from __future__ import annotations

import html
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

import qtorch
from export.bundle.bundle import Bundle
from export.bundle.make import make_bundle
from export.bundle.outcome_page import outcome_page
from export.console.page import plain_text
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.interface.tensor_layout import tensor_layouts
from export.interface.tensor_meaning import with_meaning
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.tflite.reader import read_tflite
from qtorch.features import Feature, Interface
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary
from tests.c_programs import COMPILERS, STRICT, command, succeed
from tests.small_task import small_trainer

pytestmark = [
    pytest.mark.tflm,
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*val_dataloader.*"),
    pytest.mark.filterwarnings("ignore:this run's checkpoints"),
]

_STEPS, _AXES, _SPAN = 6, 3, 127.0
_DRAWN = torch.Generator().manual_seed(0)
#: As a sensor gives them, time first.
_RECORDED = (torch.rand(96, _STEPS, _AXES, generator=_DRAWN) * 2 - 1) * _SPAN
_OUTPUTS = (Feature("force", "N", 2.0, 8.0), Feature("angle", "deg", -1.0, 64.0))


class _Own(pl.LightningModule):
    def __init__(self, net: nn.Module, *examples: Tensor) -> None:
        super().__init__()
        self.net = net
        self.example_input_array = examples if len(examples) > 1 else examples[0]

    def forward(self, *inputs: Tensor) -> Any:
        return self.net(*inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        found = self.net(*batch[:-1])
        return mse_loss(found["level"] if isinstance(found, dict) else found, batch[-1])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


class _Recordings(ArrayDataModule):
    """Accelerations in m/s^2 that the network sees divided by a span, and two outputs of unlike scaling."""

    def load(self) -> Arrays:
        x = (_RECORDED / _SPAN).transpose(1, 2).contiguous()
        parts = [(each, each[:, :2].mean(2)) for each in (x[:64], x[64:80], x[80:])]
        interface = Interface((Feature("acceleration", "m/s^2", 0.0, _SPAN),), _OUTPUTS)
        return Arrays(parts[0], parts[1], parts[2], interface, DataSummary("drawn", 96, 0, 64, 16))


class _Pairs(pl.LightningDataModule):
    def _loader(self) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(0)
        motion, picture = torch.randn(32, 3, 10, generator=generator), torch.randn(32, 2, 6, 4, generator=generator) * 4
        return DataLoader(TensorDataset(motion, picture, motion.mean((1, 2))[:, None].repeat(1, 4)), batch_size=8)

    train_dataloader = test_dataloader = _loader


class _Two(nn.Module):
    """Two named inputs, two named outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.last = nn.Conv1d(3, 6, 3), nn.Conv2d(2, 6, 3), nn.Linear(12, 4)

    def forward(self, motion: Tensor, picture: Tensor) -> dict[str, Tensor]:
        a, b = torch.relu(self.one(motion)), torch.relu(self.other(picture))
        return {"level": self.last(torch.cat([a.mean(2), b.mean((2, 3))], 1)), "course": a}


def _trained(module: pl.LightningModule, data: pl.LightningDataModule) -> Run:
    qat = QuantizationAwareTraining(start=1)
    small_trainer(qat, max_epochs=2).fit(module, datamodule=data)
    return Run("m", module.eval(), data, qat)


@cache
def _recordings() -> Run:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(_AXES, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * (_STEPS - 2), 2))
    return _trained(_Own(net, torch.zeros(1, _AXES, _STEPS)), _Recordings(8))


@cache
def _two() -> Run:
    torch.manual_seed(0)
    return _trained(_Own(_Two(), torch.zeros(1, 3, 10), torch.zeros(1, 2, 6, 4)), _Pairs())


@cache
def _uno() -> Bundle:
    return make_bundle(subject_of(_recordings()), "m", ExportOptions(c=True, target="uno", firmware=Path("m")))


def _documents(bundle: Bundle) -> dict[str, str]:
    """Text by name, as a reader sees it."""
    page = html.unescape(re.sub(r"<[^>]*>", "", bundle.files["report.html"].decode().replace("</code>", "\n")))
    texts = {name: bundle.files[name].decode() for name in ("m_model.h", "m_quantization.h") if name in bundle.files}
    readme = {"README.md": bundle.firmware["README.md"].decode()} if bundle.firmware else {}
    return {**texts, **readme, "report.html": page}


def _program(folder: Path, bundle: Bundle, body: str) -> tuple[str, ...]:
    for file, content in bundle.files.items():
        if file.endswith((".h", ".c")):
            (folder / file).write_bytes(content)
    (folder / "main.c").write_text(
        '#include <stdio.h>\n#include "m_quantization.h"\n' + f"int main(void) {{\n{body}\n  return 0;\n}}\n"
    )
    compiler = command(COMPILERS["gcc, C99"])
    succeed((*compiler, *STRICT, "-Wno-unused-function", "main.c", "-o", "program"), folder)
    return ("./program",)


def _line(text: str, of: str) -> str:
    """The first statement that has ``of`` in it, of those that fill or read an array."""
    lines = [line.strip().removeprefix("//").strip() for line in text.splitlines() if of in line]
    return next(line for line in lines if line.endswith(";"))


@pytest.mark.parametrize("document", ["m_model.h", "m_quantization.h", "README.md", "report.html"])
def test_the_line_of_every_document_takes_physical_values(tmp_path: Path, document: str) -> None:
    bundle = _uno()
    text = _documents(bundle)[document]
    fill = _line(text, "samples[t][c]")
    # The macro of the order stands in the header, whoever else has the line.
    body = (
        f"  float samples[{_STEPS}][{_AXES}];\n  int8_t in[{_STEPS * _AXES}];\n"
        f"  while (fread(samples, sizeof samples, 1, stdin) == 1) {{\n    {fill}\n"
        "    fwrite(in, sizeof in, 1, stdout);\n  }"
    )
    printed = succeed(_program(tmp_path, bundle, body), tmp_path, _RECORDED.numpy().tobytes())
    graph = read_tflite(bundle.files["m.tflite"])
    grid: Any = graph.values[graph.inputs[0]].qparams
    network = (_RECORDED.double() / _SPAN).float().numpy()
    np.testing.assert_array_equal(np.frombuffer(printed, np.int8).reshape(network.shape), grid.quantize(network))
    assert 'float samples[6][3], physical values, "acceleration" in "m/s^2"' in text


@pytest.mark.parametrize("document", ["m_model.h", "m_quantization.h", "README.md", "report.html"])
def test_the_line_of_every_document_gives_physical_values(tmp_path: Path, document: str) -> None:
    bundle = _uno()
    text = _documents(bundle)[document]
    read = _line(text, "(out, results)")
    body = (
        "  float results[2];\n  int8_t out[2];\n  while (fread(out, sizeof out, 1, stdin) == 1) {\n"
        f"    {read}\n    fwrite(results, sizeof results, 1, stdout);\n  }}"
    )
    codes = np.stack([np.arange(-128, 128), np.arange(127, -129, -1)], 1).astype(np.int8)
    printed = succeed(_program(tmp_path, bundle, body), tmp_path, codes.tobytes())
    graph = read_tflite(bundle.files["m.tflite"])
    grid: Any = graph.values[graph.outputs[0]].qparams
    scaling = np.array([(each.span, each.offset) for each in _OUTPUTS])
    expected = (grid.dequantize(codes).astype(np.float64) * scaling[:, 0] + scaling[:, 1]).astype(np.float32)
    np.testing.assert_array_equal(np.frombuffer(printed, np.float32).reshape(-1, 2), expected)
    assert 'physical values, "force" in "N", "angle" in "deg"' in text


@pytest.mark.parametrize("document", ["m_quantization.h", "report.html"])
def test_with_float_ends_the_lines_scale_and_plain_c_is_said_to_take_codes(tmp_path: Path, document: str) -> None:
    bundle = make_bundle(subject_of(_recordings()), "m", ExportOptions(c=True, io="float32"))
    text = _documents(bundle)[document]
    fill, first = _line(text, "samples[t][c]"), _line(text, "results[0]")
    body = (
        f"  float samples[{_STEPS}][{_AXES}], in[{_STEPS * _AXES}], out[2] = {{0.5f, -0.25f}}, results[2];\n"
        f"  while (fread(samples, sizeof samples, 1, stdin) == 1) {{\n    {fill}\n    {first}\n"
        "    fwrite(in, sizeof in, 1, stdout);\n    fwrite(results, sizeof results, 1, stdout);\n  }"
    )
    printed = np.frombuffer(
        succeed(_program(tmp_path, bundle, body), tmp_path, _RECORDED.numpy().tobytes()), np.float32
    ).reshape(len(_RECORDED), -1)
    network = (_RECORDED.double() / _SPAN).float().numpy()
    np.testing.assert_array_equal(printed[:, :-2], network.reshape(len(network), -1))
    np.testing.assert_array_equal(printed[0, -2:], [0.5 * 8 + 2, -0.25 * 64 - 1])
    told = " ".join(text.replace("//", " ").split())
    assert "in plain C the arguments of its function" not in told
    assert "lain C takes and gives codes" in told
    assert "int8_t in[6][3]" in (bundle.files["m_model.h"].decode() if document.endswith(".h") else text)
    assert "plain C's input: int8_t in[6][3]" in plain_text(outcome_page(bundle))


@pytest.mark.parametrize("kind", ["float32", "dynamic_range"])
def test_a_float_model_takes_what_its_header_computes(kind: Any) -> None:
    header = make_bundle(subject_of(_recordings()), "m", ExportOptions(format=kind)).files["m_model_data.h"].decode()
    assert "in[M_INPUT_INDEX(t, c)] = (float)(((double)samples[t][c] - 0.0) / 127.0);" in header
    assert 'physical values, "acceleration" in "m/s^2"' in header


@pytest.mark.parametrize("document", ["m_model.h", "m_quantization.h", "report.html"])
def test_several_inputs_and_outputs_bear_the_networks_names(document: str) -> None:
    bundle = make_bundle(subject_of(_two()), "m", ExportOptions(c=True))
    text = _documents(bundle)[document]
    begin = "input" if document.endswith("html") else "Input"
    for said in (f"{begin} 0 (motion)", f"{begin} 1 (picture)"):
        assert said in text
    for said in ("0 (level)", "1 (course)"):
        assert re.search(rf"[Oo]utput {re.escape(said)}", text)
    assert "input 1 (picture): int8_t in_1[6][4][2]" in plain_text(outcome_page(bundle))


def test_each_of_several_has_a_size_functions_and_its_place_in_the_interpreter(tmp_path: Path) -> None:
    bundle = make_bundle(subject_of(_two()), "m", ExportOptions(c=True))
    header = bundle.files["m_quantization.h"].decode()
    for text in (header, bundle.files["m_model_data.h"].decode()):
        told = " ".join(text.replace("//", " ").split())
        for k in (0, 1):
            assert f"interpreter.input({k})->data" in told
            assert f"interpreter.output({k})->data" in told
    body = """\
  static float samples_0[M_INPUT_0_SIZE], samples_1[M_INPUT_1_SIZE], results_0[M_OUTPUT_0_SIZE];
  static float results_1[M_OUTPUT_1_SIZE];
  static int8_t in_0[M_INPUT_0_SIZE], in_1[M_INPUT_1_SIZE], out_0[M_OUTPUT_0_SIZE], out_1[M_OUTPUT_1_SIZE];
  if (fread(samples_0, sizeof samples_0, 1, stdin) + fread(samples_1, sizeof samples_1, 1, stdin) != 2) return 1;
  if (fread(out_0, sizeof out_0, 1, stdin) + fread(out_1, sizeof out_1, 1, stdin) != 2) return 1;
  m_quantize_input_0(samples_0, in_0);
  m_quantize_input_1(samples_1, in_1);
  m_dequantize_output_0(out_0, results_0);
  m_dequantize_output_1(out_1, results_1);
  if (m_quantize_picture(samples_1[0]) != in_1[0] || m_dequantize_course(out_1[0]) != results_1[0]) return 2;
  fwrite(in_0, sizeof in_0, 1, stdout);
  fwrite(in_1, sizeof in_1, 1, stdout);
  fwrite(results_0, sizeof results_0, 1, stdout);
  fwrite(results_1, sizeof results_1, 1, stdout);"""
    graph, rng = read_tflite(bundle.files["m.tflite"]), np.random.default_rng(0)
    shapes = [graph.values[name].shape for name in (*graph.inputs, *graph.outputs)]
    real = [rng.normal(size=shape).astype(np.float32) * 4 for shape in shapes[:2]]
    codes = [rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes[2:]]
    printed = succeed(_program(tmp_path, bundle, body), tmp_path, b"".join(each.tobytes() for each in (*real, *codes)))
    grids: list[Any] = [graph.values[name].qparams for name in (*graph.inputs, *graph.outputs)]
    expected = [grid.quantize(each) for grid, each in zip(grids[:2], real, strict=True)]
    expected += [grid.dequantize(each) for grid, each in zip(grids[2:], codes, strict=True)]
    assert printed == b"".join(each.tobytes() for each in expected)
    assert interpret(graph, tuple(expected[:2]))


def test_c_for_avr_says_so_to_another_compiler(tmp_path: Path) -> None:
    bundle = _uno()
    for file in ("m_model.h", "m_model.c"):
        (tmp_path / file).write_bytes(bundle.files[file])
    (name, *options) = command(COMPILERS["gcc, C99"])
    done = subprocess.run([name, *options, "-c", "m_model.c"], cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode != 0
    assert "made for AVR" in errors[0]
    assert "export with --export.target host, qtorch compile with --target host" in errors[0]
    # And nothing else, which would hide it.
    assert len([line for line in errors if " error: " in line]) == 1


@pytest.mark.parametrize(("recorded", "axis"), [((("rate", "50 Hz"),), "time"), ((), "axis 1")])
def test_the_first_axis_of_a_sensors_recordings_is_time(recorded: Any, axis: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 7, 3)
    network = qtorch.prepare(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), x[:1]).eval()
    qtorch.calibrate(network, [x])
    interface = Interface((Feature("acceleration"),), (), recorded)
    found, _ = with_meaning(tensor_layouts(integer_graph(network)), interface)
    assert found.axes == (axis, "features")
