"""What quantization costs tensor by tensor: ``quantization_report.csv``, with what to do where it costs too much.

Columns and meaning are those of TensorFlow's quantization debugger: every op is given the dequantized tensors that the
device has at its inputs, computes them in float with float weights, and is compared with the dequantized codes that the
device has at its output. So a row says what its own op loses, not what those before it lost. ``rmse/scale`` of a grid
that fits is near ``1/sqrt(12) = 0.289``, the error of rounding alone. Where the debugger averages figures of single
samples, these are of all samples together: ``max_abs_error`` is the largest there is.

Rows of inputs (QUANTIZE against the data) and of constants (codes against the trained floats) come on top, and the
columns ``snr_db``, ``saturation``, ``finding`` and ``advice``.

Source: TensorFlow's ``lite/tools/optimize/debugging/python/debugger.py`` (the figures) and the numeric verifier of
``compiler/mlir/lite/quantization/quantization_utils.h`` (what each op is compared with).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import fx

from export.figures.quantization_advice import Evidence, advice
from export.figures.tensor_error import COLUMNS, TensorError
from export.graph.build import build
from export.graph.encoding import stored
from export.graph.interpret import float_reference, interpret
from export.graph.ir import Graph, Node, Value
from export.graph.names import speaking_names
from qtorch.capture.samples import Samples, taken
from qtorch.families.masked_scores import NOTHING
from qtorch.numbers.qparams import QParams
from qtorch.progress import steps
from qtorch.row.constraints import Fixed, SymmetricWeight
from qtorch.row.row import Attrs

__all__ = ["csv_text", "findings", "network_report", "quantization_report"]

#: Numbers of a graph's tensors that are held at a time, all samples together.
_NUMBERS = 2_000_000

#: Of the data that a network is judged on.
_SAMPLES = 1_000


@dataclass(frozen=True)
class _Ends:
    """What a tensor is made of, and whether it is what the network says.

    Attributes:
        weight: grid of the weights that make it.
        output: whether it is an output of the network.
        titles: of the network's outputs.
        harmless: see :func:`quantization_report`.
    """

    weight: QParams | None = None
    output: bool = False
    titles: tuple[str, ...] = ()
    harmless: bool = False


class _Sums:
    """Errors of one tensor, added up over samples, in double precision."""

    def __init__(self, value: Value, node: Node | None, role: Literal["input", "output", "constant"]) -> None:
        self.value, self.node, self.role = value, node, role
        self.count = self.total = self.squares = self.steps = self.largest = self.power = 0.0
        self.saturated = self.saturated_squares = self.end_squares = self.other_squares = self.far = 0.0
        self.low: np.ndarray | None = None
        self.high: np.ndarray | None = None
        self.compared = self.endless = False
        #: By index along the last axis, of the float values: least, largest, sum, sum of squares.
        self.floats: tuple[np.ndarray, ...] = ()
        # What a kernel's own grid stands for may end a step above its last code: 1 of a softmax is 255/256.
        fixed = role == "output" and node is not None and isinstance(node.row.constraints["output"], Fixed)
        self.room = 1.0 + 1e-6 if fixed else 0.5

    def add(self, codes: np.ndarray, floats: np.ndarray, other: np.ndarray | None = None) -> None:
        """Codes against float values; ``other``: the float values that dequantized weights would give."""
        qparams = self.value.quantization
        scale, zero = qparams.along(codes.ndim)
        got, wanted = qparams.dequantize(codes).astype(np.float64), floats.astype(np.float64)
        low, high = qparams.code_range
        # A mask's infinities, and limits beyond every grid, are what the first and last code stand for.
        endless = (np.abs(wanted) >= NOTHING) & (codes == np.where(wanted < 0, low, high))
        self.endless |= bool(endless.any())
        wanted = np.where(endless, got, wanted)
        error = got - wanted
        squares = error**2
        position = wanted / scale + zero
        beyond = (position > high + 0.5) | (position < low - 0.5)
        self.count += error.size
        self.total += float(error.sum())
        self.squares += float(squares.sum())
        self.steps += float((squares / scale**2).sum())
        self.largest = max(self.largest, float(np.abs(error).max(initial=0.0)))
        self.power += float((wanted**2).sum())
        self.saturated += float(beyond.sum())
        far = beyond if self.room == 0.5 else (position > high + self.room) | (position < low - self.room)
        self.far += float(far.sum())
        self.saturated_squares += float(squares[far].sum())
        self.end_squares += float(squares[beyond & ~far].sum())
        if other is not None:
            self.compared = True
            self.other_squares += float(((got - np.where(endless, got, other)) ** 2).sum())
        flat = codes.reshape(-1, codes.shape[-1]) if codes.ndim else codes.reshape(1, 1)
        lows, highs = flat.min(0).astype(np.int64), flat.max(0).astype(np.int64)
        self.low = lows if self.low is None else np.minimum(self.low, lows)
        self.high = highs if self.high is None else np.maximum(self.high, highs)
        if self.role != "constant":
            self._add_floats(wanted.reshape(flat.shape))

    def _add_floats(self, wanted: np.ndarray) -> None:
        totals = (wanted.min(0), wanted.max(0), wanted.sum(0), (wanted**2).sum(0))
        if self.floats:
            low, high, total, squares = self.floats
            totals = (np.minimum(low, totals[0]), np.maximum(high, totals[1]), total + totals[2], squares + totals[3])
        self.floats = totals

    def evidence(self, weakest_channel: float | None, ends: _Ends) -> Evidence:
        assert self.low is not None
        assert self.high is not None
        share = 1 / self.squares if self.squares else 0.0
        step, spans, spreads = self.value.quantization.scale[0], np.zeros(0), np.zeros(0)
        if self.floats:
            low, high, total, squares = self.floats
            rows = self.count / len(low)
            spans = (high - low) / step
            # A variance as a difference of two sums: below their rounding it is none.
            variance = squares / rows - (total / rows) ** 2
            spreads = np.sqrt(np.where(variance > 1e-12 * squares / rows, variance, 0.0)) / step
        return Evidence(
            role=self.role,
            node=self.node,
            qparams=self.value.quantization,
            rmse_over_scale=math.sqrt(self.steps / self.count),
            snr_db=_decibels(self.power, self.squares),
            rms_steps=math.sqrt(self.power / self.count) / step,
            powerless=self.power == 0,
            saturated_error=self.saturated_squares * share,
            saturated_share=self.far / self.count,
            end_error=self.end_squares * share,
            weights_error=max(0.0, 1 - self.other_squares * share) if self.compared and self.squares else 0.0,
            code_spans=tuple(int(n) for n in self.high - self.low),
            float_spans=tuple(spans.tolist()),
            same_code=int(self.low.min()) == int(self.high.max()),
            weakest_channel_db=weakest_channel,
            weight=ends.weight,
            output_spreads=tuple(spreads.tolist()) if ends.output else (),
            titles=ends.titles if ends.output else (),
            harmless=ends.harmless,
        )

    def row(
        self, op_name: str, index: int, name: str, weakest_channel: float | None = None, ends: _Ends = _Ends()
    ) -> TensorError:
        qparams = self.value.quantization
        low, high = qparams.code_range
        mean, evidence = self.total / self.count, self.evidence(weakest_channel, ends)
        # Where infinities are, neither ranges nor their share of the power say anything of the grid.
        finding, what_to_do = ("", "") if self.endless else advice(evidence)
        return TensorError(
            op_name=op_name,
            tensor_idx=index,
            num_elements=self.value.elements,
            stddev=math.sqrt(max(0.0, self.squares / self.count - mean**2)),
            mean_error=mean,
            max_abs_error=self.largest,
            mean_squared_error=self.squares / self.count,
            scale=max(qparams.scale),
            zero_point=qparams.zero_point[0],
            tensor_name=name,
            range=max(qparams.scale) * (high - low),
            rmse_over_scale=evidence.rmse_over_scale,
            snr_db=evidence.snr_db,
            saturation=self.saturated / self.count,
            finding=finding,
            advice=what_to_do,
        )


def network_report(
    network: fx.GraphModule,
    graph: Graph,
    x: Samples,
    input_layout: Literal["nhwc", "nchw"] = "nhwc",
    titles: tuple[str, ...] = (),
    harmless: bool = False,
    written: Graph | None = None,
) -> tuple[TensorError, ...]:
    """:func:`quantization_report` of a network on the first thousand samples.

    Args:
        network: prepared and calibrated.
        graph: what it became.
        x: float32 ``[N, ...]`` as the network reads it, or a tuple of its several inputs.
        input_layout: of the graph.
        titles: see :func:`quantization_report`, as of the next.
        harmless: as there.
        written: as there.
    """
    some = stored(graph, taken(x, slice(_SAMPLES)))
    # Weights and biases as they were trained, where and as the integer graph stores them.
    floating = build(network, "float32", input_layout)
    functions = {node.output: node.attrs for node in floating.nodes if node.row.frozen is not None}
    return quantization_report(graph, floating.contents(), some, titles, functions, harmless, written)


@torch.no_grad()
def quantization_report(
    graph: Graph,
    floats: Mapping[str, np.ndarray],
    inputs: tuple[np.ndarray, ...],
    titles: tuple[str, ...] = (),
    functions: Mapping[str, Attrs] | None = None,
    harmless: bool = False,
    written: Graph | None = None,
) -> tuple[TensorError, ...]:
    """Every quantized tensor of a graph on data: inputs, then what the ops make in their order, then constants.

    Args:
        graph: of integers; float layers in between are passed over.
        floats: its constants before they were quantized, by name; a constant without has no row, and stands in the
            float arithmetic as it was quantized.
        inputs: real samples for each input as the device stores them, float32 ``[N, *shape[1:]]``.
        titles: what the numbers of the network's one output are called.
        functions: attributes that became constants in ``graph``, by the output of their op: a table's chain.
        harmless: whether test figures show that the device is as good as its own weights in float, so that what ranges
            cut off is no loss.
        written: the graph whose file the indices are of, where an edition of TFLite Micro had it in other forms; a
            tensor that it does not have gets -1.
    """
    known = functions or {}
    told = replace(graph, nodes=tuple(replace(node, attrs=known.get(node.output, node.attrs)) for node in graph.nodes))
    index = dict.fromkeys(graph.values, -1)
    index |= {name: i for i, name in enumerate((written or graph).values) if name in index}
    sums = {name: _Sums(graph.values[name], None, "input") for name in graph.inputs if _quantized(graph, name)}
    producers = {name: node for node in graph.nodes for name in node.outputs if _quantized(graph, name)}
    sums |= {name: _Sums(graph.values[name], node, "output") for name, node in producers.items()}
    numbers = sum(value.elements for value in graph.running().values())
    chunk = max(1, _NUMBERS // numbers)
    for start in steps(range(0, len(inputs[0]) if inputs else 0, chunk), "samples"):
        part = tuple(array[start : start + chunk] for array in inputs)
        _add(told, floats, part, sums)
    called = speaking_names(graph)
    rows = []
    for name, tensor_sums in sums.items():
        output = name in graph.outputs
        named = titles if output and len(titles) == graph.values[name].shape[-1] else ()
        ends = _Ends(_weight_of(graph, producers[name]) if name in producers else None, output, named, harmless)
        op_name = "QUANTIZE" if name in graph.inputs else producers[name].op.upper()
        rows.append(tensor_sums.row(op_name, index[name], called[name], ends=ends))
    return (*rows, *_constant_rows(graph, floats, index))


def findings(rows: Sequence[TensorError]) -> list[dict[str, str]]:
    """What is wrong with which tensor, and what to do about it; empty for a healthy network."""
    return [{"tensor": row.tensor_name, "finding": row.finding, "advice": row.advice} for row in rows if row.finding]


def csv_text(rows: Sequence[TensorError]) -> str:
    """The file: figures with six digits, so that the same figures give the same bytes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([f"{field:.6g}" if isinstance(field, float) else field for field in astuple(row)])
    return out.getvalue()


def _weight_of(graph: Graph, node: Node) -> QParams | None:
    """The grid of an op's weights."""
    for role, name in node.input_roles().items():
        if isinstance(node.row.constraints.get(role), SymmetricWeight):
            return graph.values[name].qparams
    return None


def _quantized(graph: Graph, name: str) -> bool:
    """Whether a tensor lies on a grid, of which indices, that are exact, have none."""
    return graph.values[name].qparams is not None and not graph.values[name].of_indices


def _add(
    graph: Graph, floats: Mapping[str, np.ndarray], part: tuple[np.ndarray, ...], sums: Mapping[str, _Sums]
) -> None:
    stored = []
    for name, floats_in in zip(graph.inputs, part, strict=True):
        stored.append(graph.values[name].quantize(floats_in))
        if name in sums:
            sums[name].add(stored[-1], floats_in)
    codes = interpret(graph, tuple(stored), every=True)
    plain = {name: value.dequantize(value.contents).astype(np.float32) for name, value in graph.constants().items()}
    for node in graph.nodes:
        if not any(name in sums for name in node.outputs):
            continue
        tensors = {name: graph.values[name].dequantize(codes[name]) for name in node.inputs if name in codes}
        quantized = _float_outputs(node, {**plain, **tensors})
        trained = {name: floats[name] for name in node.inputs if name in floats}
        wanted = _float_outputs(node, {**plain, **trained, **tensors}) if trained else quantized
        for name, exact, other in zip(node.outputs, wanted, quantized, strict=True):
            sums[name].add(codes[name], exact, other if trained else None)


def _float_outputs(node: Node, tensors: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """What the row's float function makes of float32 tensors."""
    by_role = {role: torch.from_numpy(np.ascontiguousarray(tensors[name])) for role, name in node.input_roles().items()}
    results = float_reference(node, by_role, {})
    return [part.numpy() for part in (results if isinstance(results, tuple) else (results,))]


def _constant_rows(graph: Graph, floats: Mapping[str, np.ndarray], index: Mapping[str, int]) -> Iterator[TensorError]:
    seen, called = set[str](), speaking_names(graph)
    for node in graph.nodes:
        for role, name in node.input_roles().items():
            value = graph.values[name]
            if value.data is None or value.qparams is None or name in seen or name not in floats:
                continue
            if floats[name].shape != value.shape:
                continue
            seen.add(name)
            sums = _Sums(value, node, "constant")
            sums.add(value.data, floats[name])
            weakest = _weakest_channel(node, role, value, floats[name])
            yield sums.row(node.op.upper(), index[name], called[name], weakest)


def _weakest_channel(node: Node, role: str, value: Value, trained: np.ndarray) -> float | None:
    """The lowest signal-to-noise ratio among the output channels of a weight, in decibels."""
    demand = node.row.constraints.get(role)
    if not isinstance(demand, SymmetricWeight) or value.data is None:
        return None
    pair = (trained.astype(np.float64), value.dequantize(value.data).astype(np.float64))
    wanted, got = (np.moveaxis(each, demand.axis, 0).reshape(value.shape[demand.axis], -1) for each in pair)
    signal, noise = (wanted**2).sum(1), ((got - wanted) ** 2).sum(1)
    return min((_decibels(s, n) for s, n in zip(signal, noise, strict=True) if s), default=math.inf)


def _decibels(signal: float, noise: float) -> float:
    """Infinite without noise, minus infinity without a signal."""
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
