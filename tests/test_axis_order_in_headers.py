"""A C program that fills its inputs by the lines of the headers computes what the quantized PyTorch module does."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.c.model import c_model
from export.device import headers
from export.engines import TFLM, tflm_available
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.graph.passes.float_interface import float_interface
from export.interface.tensor_layout import tensor_layouts
from export.tflite.writer import write_tflite
from qtorch import Mode
from qtorch.features import Feature, Interface

_STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-O1")
_SAMPLES = 20


class _Net(nn.Module):
    def __init__(self, compute: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.compute = compute
        for name, layer in layers.items():
            self.add_module(name, layer)


class _One(_Net):
    def forward(self, x: Tensor) -> Any:
        return self.compute(self, x)


class _Two(_Net):
    def forward(self, x: Tensor, y: Tensor) -> Any:
        return self.compute(self, x, y)


def _conv1d() -> nn.Module:
    return nn.Sequential(nn.Conv1d(3, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 12, 3))


#: Network, shapes of its inputs, and what the headers say of every input and output.
_CASES: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...], tuple[str, ...]]] = {
    "conv1d": (
        _conv1d,
        ((3, 16),),
        ("int8_t in[16][3]: time, channels; PyTorch's (3, 16) transposed", "int8_t out[3]: features"),
    ),
    "conv2d": (
        lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()),
        ((3, 6, 5),),
        (
            "int8_t in[6][5][3]: height, width, channels; PyTorch's (3, 6, 5) transposed",
            "int8_t out[4][3][2]: height, width, channels; PyTorch's (2, 4, 3) transposed",
        ),
    ),
    "linear": (
        lambda: nn.Linear(5, 4),
        ((5,),),
        ("int8_t in[5]: features; in the order of PyTorch's (5,)", "int8_t out[4]: features"),
    ),
    "linear on sequences": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)),
        ((7, 5),),
        ("int8_t in[7][5]: axis 1, features; in the order of PyTorch's (7, 5)", "int8_t out[7][2]: axis 1, features"),
    ),
    "transposed in forward": (
        lambda: _One(lambda net, x: net.a(x.transpose(1, 2)).mean(2), a=nn.Conv1d(3, 2, 3)),
        ((16, 3),),
        ("int8_t in[16][3]: time, channels; in the order of PyTorch's (16, 3)", "int8_t out[2]: features"),
    ),
    "two inputs, three outputs": (
        lambda: _Two(
            lambda net, x, y: (net.a(x), net.b(y), torch.cat([net.c(x).mean((2, 3)), net.b(y)], 1)),
            a=nn.Conv2d(2, 3, 3),
            b=nn.Linear(4, 2),
            c=nn.Conv2d(2, 3, 1),
        ),
        ((2, 5, 4), (4,)),
        (
            "int8_t in_0[5][4][2]: height, width, channels; PyTorch's (2, 5, 4) transposed",
            "int8_t in_1[4]: features; in the order of PyTorch's (4,)",
            "int8_t out_0[3][2][3]: height, width, channels; PyTorch's (3, 3, 2) transposed",
            "int8_t out_1[2]: features; in the order of PyTorch's (2,)",
            "int8_t out_2[5]: features; in the order of PyTorch's (5,)",
        ),
    ),
}


@dataclass(frozen=True)
class _Exported:
    graph: Graph
    inputs: tuple[Tensor, ...]
    outputs: tuple[np.ndarray, ...]


def _exported(make: Callable[[], nn.Module], shapes: Sequence[tuple[int, ...]], **options: Any) -> _Exported:
    torch.manual_seed(0)
    net = make()
    inputs = tuple(torch.randn(_SAMPLES, *shape) * (1 + torch.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)))
                   for shape in shapes)  # fmt: skip
    config = qtorch.QuantizationConfig(**{k: v for k, v in options.items() if k == "activations"})
    network = qtorch.prepare(net, tuple(x[:1] for x in inputs), config).eval()
    qtorch.calibrate(network, [inputs if len(inputs) > 1 else inputs[0]])
    qtorch.set_mode(network, Mode.QUANTIZED)
    with torch.no_grad():
        found = network(*inputs)
    outputs = found if isinstance(found, tuple) else (found,)
    graph = integer_graph(network, options.get("input_layout", "nhwc"))
    return _Exported(graph, inputs, tuple(each.numpy() for each in outputs))


def _quantization(graph: Graph, final: Graph | None = None, interface: Interface | None = None) -> str:
    inputs, outputs = (
        tuple(q for name in names if (q := graph.values[name].qparams)) for names in (graph.inputs, graph.outputs)
    )
    sizes = tuple(graph.values[names[0]].elements for names in (graph.inputs, graph.outputs))
    interface = interface or Interface((Feature("value"),), (Feature("result"),))
    return headers.quantization("m", interface, inputs, outputs, (sizes[0], sizes[1]), tensor_layouts(final or graph))


def _lines(header: str, verb: str) -> list[list[tuple[str, str, str]]]:
    """Of each tensor, the declaration of the real array, what is said of it, and the line of code, as they stand."""
    blocks = re.findall(rf"// (?:Input|Output)[^\n]*\n(?:#define[^\n]*\n)?((?:// {verb} float [^\n]*\n//   [^\n]*\n)+)",
                        header)  # fmt: skip
    return [re.findall(rf"// {verb} float (\w+(?:\[\d+\])+)([^\n]*)\n//   ([^\n]*)\n", block) for block in blocks]


def _compiled(folder: Path, main: str, *sources: str) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed; install it (Debian: apt-get install gcc) to run this test")
    (folder / "main.c").write_text(main)
    done = subprocess.run(
        ["gcc", *_STRICT, "main.c", *sources, "-o", "program"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "program"


def _read(fills: Sequence[tuple[str, str, str]]) -> str:
    return "\n".join(
        f"    {{ float {declared}; if (fread(samples, sizeof samples, 1, stdin) != 1) return 0;\n      {line} }}"
        for declared, _, line in fills
    )


def _written(reads: Sequence[tuple[str, str, str]]) -> str:
    return "\n".join(
        f"    {{ float {declared};\n      {line}\n      fwrite(results, sizeof results, 1, stdout); }}"
        for declared, _, line in reads
    )


def _buffers(graph: Graph) -> tuple[list[str], str]:
    layouts = tensor_layouts(graph)
    names = [re.findall(r"\w+_t (\w+)", layout.declaration(variable(layout)))[0] for layout in layouts]
    made = [f"  static {layout.dtype}_t {name}[{layout.elements}];"
            for layout, name in zip(layouts, names, strict=True)]  # fmt: skip
    return names, "\n".join(made)


def variable(layout: Any) -> str:
    """As the plain C names its arguments."""
    return {"input": "in", "output": "out"}[layout.side] + ("" if layout.count == 1 else f"_{layout.index}")


def _as_recorded(x: np.ndarray) -> np.ndarray:
    """Channels last, as PyTorch itself says it."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _run(program: Path, arrays: Sequence[np.ndarray]) -> bytes:
    given = b"".join(np.ascontiguousarray(array[i]).tobytes() for i in range(_SAMPLES) for array in arrays)
    return subprocess.run([str(program)], input=given, capture_output=True, check=True).stdout


def _outputs(printed: bytes, expected: Sequence[np.ndarray]) -> list[np.ndarray]:
    kind = np.dtype([(str(i), np.float32, each.shape[1:]) for i, each in enumerate(expected)])
    rows = np.frombuffer(printed, kind)
    return [rows[str(i)] for i in range(len(expected))]


@pytest.mark.parametrize("from_header", ["m_model.h", "m_quantization.h"])
@pytest.mark.parametrize("case", _CASES)
def test_plain_c_filled_by_the_headers_lines(tmp_path: Path, case: str, from_header: str) -> None:
    make, shapes, said = _CASES[case]
    found = _exported(make, shapes)
    files = dict(c_model("m", found.graph).files)
    files["m_quantization.h"] = _quantization(found.graph)
    for words in said:
        assert words in files[from_header]
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    fills, reads = _lines(files[from_header], "Filled from"), _lines(files[from_header], "Read into")
    assert (len(fills), len(reads)) == (len(found.inputs), len(found.outputs))
    names, made = _buffers(found.graph)
    for recorded in (True, False):
        pick = 0 if recorded else -1
        program = _compiled(
            tmp_path,
            '#include <stdio.h>\n#include "m_model.h"\n#include "m_quantization.h"\n'
            f"int main(void) {{\n{made}\n  for (;;) {{\n{_read([each[pick] for each in fills])}\n"
            f"    m_invoke({', '.join(names)});\n{_written([each[-1] for each in reads])}\n  }}\n}}\n",
            "m_model.c",
        )
        # Two lines where the orders differ, and the first is then a recording's.
        arrays = [
            _as_recorded(x.numpy()) if recorded and len(lines) > 1 else x.numpy()
            for x, lines in zip(found.inputs, fills, strict=True)
        ]
        for got, expected in zip(_outputs(_run(program, arrays), found.outputs), found.outputs, strict=True):
            np.testing.assert_array_equal(got, expected)
        turned = [x.numpy() if recorded else _as_recorded(x.numpy()) for x in found.inputs]
        if any(len(lines) > 1 for lines in fills):
            wrong = _outputs(_run(program, turned), found.outputs)
            assert any((got != expected).any() for got, expected in zip(wrong, found.outputs, strict=True))


@pytest.mark.parametrize("options", [{}, {"input_layout": "nchw"}, {"activations": "int16"}, {"float": True}], ids=str)
@pytest.mark.parametrize("case", ["conv1d", "conv2d", "two inputs, three outputs"])
def test_tflite_micro_filled_by_the_headers_lines(tmp_path: Path, case: str, options: dict[str, Any]) -> None:
    if not tflm_available():
        pytest.skip("TFLite Micro's Python package is not installed")
    make, shapes, _ = _CASES[case]
    found = _exported(make, shapes, **options)
    final = float_interface(found.graph) if options.get("float") else found.graph
    header = _quantization(found.graph, final)
    (tmp_path / "m_quantization.h").write_text(header)
    layouts = tensor_layouts(final)
    made = "\n".join(f"  static {'float' if each.dtype == 'float32' else f'{each.dtype}_t'} {variable(each)}"
                     f"[{each.elements}];" for each in layouts)  # fmt: skip
    ends = {side: [variable(each) for each in layouts if each.side == side] for side in ("input", "output")}
    begin = '#include <stdio.h>\n#include "m_quantization.h"\nint main(void) {\n'
    put = "\n".join(f"    fwrite({name}, sizeof {name}, 1, stdout);" for name in ends["input"])
    take = "\n".join(f"    if (fread({name}, sizeof {name}, 1, stdin) != 1) return 0;" for name in ends["output"])
    fills, reads = _lines(header, "Filled from"), _lines(header, "Read into")
    sides = {name: [line for line in made.splitlines() if any(f" {each}[" in line for each in ends[name])]
             for name in ends}  # fmt: skip
    inputs = "\n".join(sides["input"])
    fill = _compiled(
        tmp_path, f"{begin}{inputs}\n  for (;;) {{\n{_read([each[0] for each in fills])}\n{put}\n  }}\n}}\n"
    )
    arrays = [_as_recorded(x.numpy()) if x.ndim > 2 else x.numpy() for x in found.inputs]
    kind = np.dtype([(n, final.values[n].array_dtype, final.values[n].shape[1:]) for n in final.inputs])
    rows = np.frombuffer(_run(fill, arrays), kind)
    computed = TFLM.run(write_tflite(final), tuple(np.ascontiguousarray(rows[n]) for n in final.inputs))
    outputs = "\n".join(sides["output"])
    read = _compiled(
        tmp_path, f"{begin}{outputs}\n  for (;;) {{\n{take}\n{_written([e[-1] for e in reads])}\n  }}\n}}\n"
    )
    for got, expected in zip(_outputs(_run(read, computed), found.outputs), found.outputs, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_lines_take_physical_values_where_features_say_what_they_are(tmp_path: Path) -> None:
    found = _exported(_conv1d, ((3, 16),))
    interface = Interface((Feature("acceleration", "g", 0.5, 4.0),), tuple(Feature(n) for n in ("a", "b", "c")))
    header = _quantization(found.graph, interface=interface)
    (tmp_path / "m_quantization.h").write_text(header)
    for file, text in c_model("m", found.graph).files.items():
        (tmp_path / file).write_text(text)
    (fills,), (reads,) = _lines(header, "Filled from"), _lines(header, "Read into")
    program = _compiled(
        tmp_path,
        '#include <stdio.h>\n#include "m_model.h"\n#include "m_quantization.h"\n'
        f"int main(void) {{\n{_buffers(found.graph)[1]}\n  for (;;) {{\n{_read(fills[:1])}\n"
        f"    m_invoke(in, out);\n{_written(reads[:1])}\n  }}\n}}\n",
        "m_model.c",
    )
    # Exact in float32 both ways: span and offset are powers of two, and values are kept to few digits.
    network = np.round(found.inputs[0].numpy() * 64) / 64
    physical = (network * 4.0 + 0.5).astype(np.float32)
    torch.manual_seed(0)
    prepared = qtorch.prepare(_conv1d(), found.inputs[0][:1]).eval()
    qtorch.calibrate(prepared, [found.inputs[0]])
    qtorch.set_mode(prepared, Mode.QUANTIZED)
    with torch.no_grad():
        expected = prepared(torch.from_numpy(network.astype(np.float32))).numpy()
    (got,) = _outputs(_run(program, [_as_recorded(physical)]), [expected])
    np.testing.assert_array_equal(got, expected)


def test_what_keeps_the_networks_order_is_said_so() -> None:
    found = _exported(_conv1d, ((3, 16),), input_layout="nchw")
    header = _quantization(found.graph)
    assert "int8_t in[3][16]: channels, time; in the order of PyTorch's (3, 16)" in header
    (fills,) = _lines(header, "Filled from")
    assert [declared for declared, _, _ in fills] == ["samples[16][3]", "samples[3][16]"]
    one_channel = _exported(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(24, 2)), ((1, 6, 5),))
    assert "in[6][5][1]: height, width, channels; in memory the same as PyTorch's (1, 6, 5)" in _quantization(
        one_channel.graph
    )
