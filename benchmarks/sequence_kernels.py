"""Layers of sequences and attention, one by one: plain C's instructions beside TFLite Micro's with CMSIS-NN.

Each is a file of its own, on random codes, every output of both equal to the reference's. ``TFLM_ROOT`` is as for
``interpreter``; its libraries with CMSIS-NN's kernels are measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.files.tflm import counted_tflm
from benchmarks.interpreter import chosen, setting
from benchmarks.suite import Suite, markdown_table
from export.cost import machines as machine_profile
from export.cost.rig_ends import rows_of_bytes
from export.graph.interpret import interpret_sequence
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.rows import sample_graph
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from firmware.emulation import Library
from qtorch.families.long_short_term_memory import BIASES, INPUT_WEIGHTS, STATE_WEIGHTS
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import Sample

__all__ = ["LAYERS", "SEQUENCE_KERNELS", "Layer", "counted"]

_SAMPLES = 4
_LSTM = "unidirectional_sequence_lstm"
#: Grids, of int8.
_OUTPUTS = {"batch_matmul": (0.11, 4), "mul": (0.02, 3), "add": (0.07, 3)}


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        op: its row.
        shapes: of the operands, a batch of one; of an LSTM those of its input and output.
        attrs: of the node.
        dtype: of all codes.
        constants: which operands the file holds.
    """

    op: str
    shapes: tuple[tuple[int, ...], ...]
    attrs: tuple[tuple[str, Any], ...] = ()
    dtype: str = "int8"
    constants: tuple[int, ...] = ()

    def __str__(self) -> str:
        turned = ", the second turned" if ("adj_y", True) in self.attrs else ""
        return f"{self.op.upper()} {self.dtype} {', '.join('x'.join(map(str, s[1:])) for s in self.shapes)}{turned}"

    def graph(self) -> Graph:
        """One node with random constants, those of a layer always the same."""
        rng = np.random.default_rng(0)
        roles = ("input",) if self.op == _LSTM else ROWS[self.op].input_roles(len(self.shapes))
        arrays = {
            role: rng.integers(*CODE_RANGE[self.dtype], shape, dtype=self.dtype, endpoint=True)
            for role, shape in zip(roles, self.shapes, strict=self.op != _LSTM)
        }
        grids = {role: self._grid(*grid) for role, grid in zip(roles, ((0.05, -3), (0.03, 7)), strict=False)}
        attrs = dict(self.attrs)
        if self.op == _LSTM:
            attrs |= {"cell_activation": "tanh", "time_major": False, "cell_clip": 0.0, "cell_exponent": -11}
            self._gates(rng, arrays, grids)
        elif self.op == "softmax":
            grids["output"] = (
                QParams((1 / 256,), (-128,)) if self.dtype == "int8" else QParams((2**-15,), (0,), "int16")
            )
        elif self.op in ("minimum", "transpose"):
            grids = dict.fromkeys((*roles, "output"), grids[roles[0]])
        else:
            coarse = self.op == "batch_matmul" and self.dtype == "int16"  # a step of above 512 of the products'
            scale, zero_point = _OUTPUTS[self.op]
            grids["output"] = self._grid(520 * 0.05 * 0.03 / 2**8 if coarse else scale, zero_point)
        sample = Sample(str(self), attrs, arrays, grids, frozenset(roles[i] for i in self.constants))
        return sample_graph(ROWS[self.op], sample)

    def _grid(self, scale: float, zero_point: int) -> QParams:
        """Of int8, or one of int16 that is 256 times finer."""
        if self.dtype == "int8":
            return QParams((float(np.float32(scale)),), (zero_point,))
        return QParams((float(np.float32(scale / 2**8)),), (0,), "int16")

    def _gates(self, rng: np.random.Generator, arrays: dict[str, Any], grids: dict[str, QParams]) -> None:
        inputs, width = (shape[-1] for shape in self.shapes)
        wide = "int64" if self.dtype == "int16" else "int32"
        grids["output"] = self._grid(1 / 128, 0)
        for roles, columns in ((INPUT_WEIGHTS, inputs), (STATE_WEIGHTS, width)):
            for role in roles:
                arrays[role] = rng.integers(-127, 128, (width, columns), dtype=np.int8)
                grids[role] = QParams((2.0**-8,), (0,))
        for role in BIASES:
            arrays[role] = rng.integers(-500, 500, (width,), dtype=wide)
            grids[role] = QParams((grids["input"].scale[0] * 2.0**-8,), (0,), wide)


def _layers() -> Iterator[Layer]:
    plain, turned = (tuple({"adj_x": False, "adj_y": side}.items()) for side in (False, True))
    none = (("activation", "none"),)
    for heads, tokens, width in ((2, 17, 12), (2, 64, 32)):
        one, scores = (1, heads, tokens, width), (1, heads, tokens, tokens)
        yield Layer("batch_matmul", (one, one), turned)
        yield Layer("batch_matmul", (scores, one), plain)
        yield Layer("softmax", (scores,), (("beta", 1.0),))
    yield Layer("batch_matmul", ((1, 2, 17, 12), (1, 2, 17, 12)), turned, "int16")
    yield Layer("batch_matmul", ((1, 2, 17, 17), (1, 2, 17, 12)), plain, "int16")
    yield Layer("softmax", ((1, 2, 17, 17),), (("beta", 1.0),), "int16")
    for dtype in ("int8", "int16"):
        yield Layer(_LSTM, ((1, 12, 24), (1, 12, 24)), dtype=dtype)
        for op in ("add", "mul"):
            yield Layer(op, ((1, 17, 24), (1, 17, 24)), none, dtype)
        yield Layer("mul", ((1, 17, 24), (1, 1, 24)), none, dtype)
    yield Layer("minimum", ((1, 17, 24), (1, 17, 24)))
    yield Layer("transpose", ((1, 17, 2, 12),), (("perm", (0, 2, 1, 3)),))


LAYERS = tuple(_layers())


def counted(layer: Layer, library: Library) -> dict[str, Any]:
    """Instructions of an inference: ``plain`` C for speed, and ``tflm`` with the library's kernels.

    Raises:
        EmulationFailure: a program does not fit, or did not end.
        ParityError: plain C's output differs from the reference's.
    """
    graph = layer.graph()
    drawn = corner_codes(graph, _SAMPLES)
    codes = tuple(each[-_SAMPLES * graph.values[name].rows :] for each, name in zip(drawn, graph.inputs, strict=True))
    computed = interpret_sequence(graph, codes)
    ends = (rows_of_bytes(codes, _SAMPLES), rows_of_bytes([computed[name] for name in graph.outputs], _SAMPLES))
    data = write_tflite(graph)
    # A library's program says that there is no memcpy, for the sake of what runs first. There is: kernels may have it.
    flags = tuple(flag for flag in library.machine.flags if flag != "-ffreestanding")
    own = machine_profile.replayed(graph, replace(library.machine, flags=flags), _SAMPLES, "speed")
    tflm = counted_tflm(data, summarize(data), library, *ends, 300)
    differs = {"differs": tflm["differs"]} if "differs" in tflm else {}
    return {"plain": round(own.median), "tflm": tflm["instructions"], **differs}


def _measure() -> dict[str, Any]:
    found = [each for each in chosen() if each.kernels == "cmsis_nn"]
    return {
        **setting(),
        "layers": [
            {"layer": str(layer), "machines": {each.machine.name: counted(layer, each) for each in found}}
            for layer in LAYERS
        ],
    }


def _table(found: dict[str, Any]) -> Sequence[str]:
    names = list(dict.fromkeys(name for each in found["layers"] for name in each["machines"]))
    head = ["layer"]
    for name in names:
        said = name.replace("cortex_m", "Cortex-M")
        head += [f"plain C, {said}", "TFLite Micro, CMSIS-NN", "times"]
    rows = [
        [each["layer"], *(cell for name in names for cell in _cells(each["machines"].get(name, {})))]
        for each in found["layers"]
    ]
    return [*markdown_table(head, rows), "", f"{found['compiler']}; {found['emulator']}."]


def _cells(counts: dict[str, Any]) -> tuple[str, str, str]:
    if "tflm" not in counts:
        return "", "", ""
    return f"{counts['plain']:,}", f"{counts['tflm']:,}", f"{counts['tflm'] / counts['plain']:.1f}"


SEQUENCE_KERNELS = Suite("sequence_kernels", __doc__, _measure, _table)
