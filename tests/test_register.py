"""Rows of other packages: registered, they are what a file in ``qtorch/ops`` is; others are refused in words."""

from __future__ import annotations

import operator
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import qtorch
from export.c.model import c_model
from export.commands.support import support_table
from export.cost.layers import file_layers
from export.graph.build import integer_graph
from export.tflite.reader import read_tflite
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.errors import BadCheckpoint, BadConfiguration, UnsupportedLayer
from qtorch.network.described_ops import require_rows
from qtorch.ops import ROWS, of_rows
from qtorch.packed_state import unpacked
from qtorch.preparation.matching import supported_names
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import KernelCall, Operands, TensorArgument
from qtorch.row.row import Match, OptionField, Row, Unsupported
from tests.test_docs import blocks

PAGE = Path(__file__).parents[1] / "docs" / "add_an_operator.md"
ABS = next(block.text for block in blocks(PAGE) if block.text.startswith("# save as qtorch/ops/abs.py"))


def module_of(name: str, text: str = ABS) -> types.ModuleType:
    """The documented operator as the module of that name, imported."""
    module = types.ModuleType(name)
    exec(compile(text, f"{name}.py", "exec", dont_inherit=True), vars(module))
    return module


@pytest.fixture
def absolute() -> Iterator[Row]:
    """ABS, registered by a package of somebody's."""
    module = module_of("my_package.abs", ABS + "\nimport qtorch\n\nqtorch.register(ROW)\n")
    yield module.ROW
    del ROWS["abs"]


def calibrated(net: nn.Module) -> qtorch.QuantizedNetwork:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    return qat.eval()


class Absolute(nn.Module):
    """|x|, as a layer of a user's own that no tracer can look into."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if float(x.sum()) == 12345.678:
            raise AssertionError
        return x.abs()


class Rectifier(nn.Module):
    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 8), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).abs() if self.last is None else self.last(self.layer(x))


def test_a_registered_row_is_what_a_file_of_the_folder_is(absolute: Row) -> None:
    """Whatever had been derived from the rows before."""
    assert "| ABS | " in support_table()
    assert {"abs", "absolute"} <= set(supported_names())
    graph = integer_graph(calibrated(Rectifier()))
    assert [node.op for node in graph.nodes] == ["fully_connected", "abs"]
    model = write_tflite(graph)
    assert [node.op for node in read_tflite(model).nodes] == ["fully_connected", "abs"]
    layers = list(file_layers(summarize(model).subgraphs[0]))
    assert [layer.macs for layer in layers] == [32, 0]


def test_it_is_gone_when_it_is_taken_out(absolute: Row) -> None:
    calibrated(Rectifier())
    del ROWS["abs"]
    # The row of all functions of one number gave way to it.
    assert [node.op for node in integer_graph(calibrated(Rectifier())).nodes] == ["fully_connected", "table"]
    qtorch.register(absolute)


def test_a_layer_of_ones_own_is_one_call(absolute: Row) -> None:
    with pytest.raises(UnsupportedLayer):
        calibrated(Rectifier(Absolute()))
    ROWS["abs"] = replace(absolute, matches=(*absolute.matches, Match("module", Absolute)))
    assert [node.op for node in integer_graph(calibrated(Rectifier(Absolute()))).nodes] == ["fully_connected", "abs"]


def test_tables_are_made_anew_when_the_rows_are_others_and_only_then(absolute: Row) -> None:
    made: list[int] = []

    @of_rows
    def table(rows: Any) -> int:
        made.append(len(rows))
        return len(rows)

    assert (table(), table()) == (len(ROWS), len(ROWS))
    assert len(made) == 1
    ROWS["abs"] = replace(absolute, most_axes=4)
    table()
    assert len(made) == 2


def test_registering_it_again_is_harmless(absolute: Row) -> None:
    assert qtorch.register(absolute) is absolute


def test_a_module_that_is_reloaded_registers_its_new_edition(absolute: Row) -> None:
    text = ABS + "\nimport qtorch\n\nqtorch.register(ROW)\n"
    again = module_of("my_package.abs", text).ROW
    assert ROWS["abs"] is again is not absolute
    with pytest.raises(BadConfiguration, match=r"row 'abs', name: .*got that of a row of my_package.abs"):
        module_of("other_package.abs", text)


def refused(row: Any) -> str:
    before = dict(ROWS)
    with pytest.raises(BadConfiguration) as error:
        qtorch.register(row)
    assert dict(ROWS) == before
    return str(error.value)


def test_what_can_not_be_a_row_is_refused_in_words() -> None:
    row = module_of("my_package.abs").ROW
    tflite = row.tflite
    for wrong, words in (
        ("abs", "qtorch.register: expected a Row of qtorch.row.row, got 'abs'"),
        (replace(row, name="Abs"), "row 'Abs', name: expected small letters"),
        (replace(row, name="relu"), "got that of a row of qtorch.ops"),
        (replace(row, matches=(Match("function", F.relu),)), "got function relu, which relu of qtorch.ops stands for"),
        (replace(row, matches=(Match("function", operator.iadd),)), "got function iadd, which add of qtorch.ops"),
        (replace(row, matches=(Match("function", F.interpolate),)), "got function interpolate, which resize_"),
        (replace(row, matches=(Match("method", "clamp_"),)), "got method clamp_, which relu"),
        (replace(row, matches=(Match("aten", "relu"),)), "got aten relu, which relu of qtorch.ops stands for"),
        (replace(row, samples=lambda: ()), "row 'abs', samples: expected at least one Sample"),
        (replace(row, samples=lambda: [1]), "expected at least one Sample, by which the row is judged, got 1"),
        (replace(row, constraints={"output": Free()}), "row 'abs', constraints: expected roles, and a constraint"),
        (replace(row, tflite=replace(tflite, operator="ABSOLUTE")), "a member of the schema's BuiltinOperator"),
        (replace(row, tflite=replace(tflite, operator="CUSTOM")), "or CUSTOM: and a name"),
        (replace(row, tflite=replace(tflite, operator="RELU")), "got RELU, which relu of qtorch.ops writes"),
        (replace(row, tflite=replace(tflite, resolver="abs")), "a method of TFLite Micro's MicroMutableOpResolver"),
        (replace(row, tflite=replace(tflite, options="Abs")), "an options table of the schema, with fields and"),
        (
            replace(row, tflite=replace(tflite, options="AbsOptions", fields=(OptionField("a", "Alpha"),))),
            "fields and enumerations that it has, got Alpha",
        ),
    ):
        said = refused(wrong)
        assert words in said
        assert "Remedy: " in said


def test_a_row_without_a_file_needs_no_operator() -> None:
    row = replace(module_of("my_package.abs").ROW, tflite=Unsupported("plain C alone"))
    qtorch.register(row)
    assert ROWS["abs"] is row
    del ROWS["abs"]


KERNEL = """#include "kernel.h"

Q_KERNEL void my_abs_s8(const int8_t *in, int8_t *out, int32_t size) {
  for (int32_t i = 0; i < size; ++i) out[i] = (int8_t)(in[i] < 0 ? -in[i] - 1 : in[i]);
}
"""


def own_kernel(name: str, text: str = KERNEL) -> Callable[[Operands], KernelCall]:
    def cell(operands: Operands) -> KernelCall:
        arguments = {"in": TensorArgument("input"), "out": TensorArgument("output"), "size": operands.size("output")}
        return KernelCall(name, arguments, text=text.replace("my_abs_s8", name))

    return cell


def test_a_kernel_comes_with_its_row(absolute: Row) -> None:
    """Beside those of this project, and each under a name of its own."""
    ROWS["abs"] = replace(absolute, c=own_kernel("my_abs_s8"))
    graph = integer_graph(calibrated(Rectifier()))
    text = c_model("m", graph).files["m_model.c"]
    assert text.count("void my_abs_s8(") == 1
    assert "fully_connected_s8(" in text
    assert "#include" not in text[text.index("my_abs_s8") :]
    for taken in ("fully_connected_s8", "kernel"):
        ROWS["abs"] = replace(absolute, c=own_kernel(taken))
        with pytest.raises(UnsupportedLayer, match=f"kernel '{taken}': expected a source of its own for each name"):
            c_model("m", graph)


def test_a_state_names_the_rows_that_it_needs(absolute: Row) -> None:
    state = unpacked(calibrated(Rectifier()).state_dict()["_extra_state"])
    assert state["rows"] == {"abs": "my_package.abs"}
    require_rows(state, "the checkpoint")
    del ROWS["abs"]
    with pytest.raises(BadCheckpoint, match=r"row 'abs' of my_package.abs.*Remedy: .*`import my_package.abs`"):
        require_rows(state, "the checkpoint")
    qtorch.register(absolute)
    assert "rows" not in unpacked(calibrated(nn.Linear(4, 2)).state_dict()["_extra_state"])
    assert "my_package" not in sys.modules
