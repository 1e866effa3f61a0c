"""Parity, or no export: the file against the network, and the engines against the integer reference.

Three comparisons. Every scale (as float32 bits), zero point, weight and bias of the file, read back, against the
network's. TFLite Micro's outputs and those of the network that was trained against the integer reference's: judged,
exactly. LiteRT's: reported, because it rounds differently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx

from export.engines import Engine, InspectableEngine
from export.graph.ir import Graph, Value
from export.parity.judges import judge_here, reported_here
from export.parity.nodes import node_parity
from export.parity.reference import interpreted
from export.tflite.reader import read_tflite
from export.tflite.variable_tensors import as_in_file
from qtorch.capture.call_form import tensors_in
from qtorch.errors import ParityError
from qtorch.network.calibration import in_mode
from qtorch.network.mode import Mode
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.qparams import QParams
from qtorch.progress import stage, steps
from qtorch.surroundings import evaluating

__all__ = [
    "EngineParity",
    "FileParity",
    "NotRun",
    "ParityReport",
    "compare_file",
    "compare_graphs",
    "corner_codes",
    "distances",
    "network_codes",
    "parity",
    "shown_share",
]


@dataclass(frozen=True)
class FileParity:
    """How many tensors and constants were compared, and how many differ."""

    tensors: int
    tensor_mismatches: int
    values: int
    value_mismatches: int
    first: str = ""


@dataclass(frozen=True)
class EngineParity:
    """The outputs of an engine that ran against the integer reference's, in codes."""

    version: str
    inputs: int
    outputs: int
    mismatches: int
    max_lsb: int

    @classmethod
    def of(cls, version: str, got: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> EngineParity:
        """The comparison of outputs, ``[samples, ...]`` each; distances between floats count as LSB, rounded up."""
        apart = np.concatenate([distances(*pair).ravel() for pair in zip(got, expected, strict=True)])
        wrong, largest = int((apart > 0).sum()), int(np.ceil(apart.max(initial=0)))
        return cls(version, len(expected[0]), apart.size, wrong, largest)

    @property
    def exact_share(self) -> float:
        """Share of outputs that agree exactly; not a number where there was none to compare."""
        return 1 - self.mismatches / self.outputs if self.outputs else float("nan")


def shown_share(share: float) -> str:
    """A share of equal outputs, in percent; "100.00%" is kept for all of them.

    >>> shown_share(1.0), shown_share(0.99999), shown_share(0.5)
    ('100.00%', '99.99%', '50.00%')
    """
    said = f"{share:.2%}"
    return "99.99%" if share < 1 and said == "100.00%" else said


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far two arrays of codes, or of floats, lie apart: float64, which holds all differences of 32 bits."""
    return np.abs(a.astype(np.float64) - b.astype(np.float64))


@dataclass(frozen=True)
class NotRun:
    """An engine that could not run the model, of which there is nothing to compare."""

    version: str
    error: str


@dataclass(frozen=True)
class ParityReport:
    """All comparisons of one model; ``judges`` names the engines that had to agree exactly and did.

    ``engines`` has those that ran, ``not_run`` those that could not.
    """

    file: FileParity
    engines: dict[str, EngineParity]
    judges: tuple[str, ...]
    exhaustive: bool
    not_run: dict[str, NotRun] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The contents of parity.json."""
        return {
            "qparams": {"tensors": self.file.tensors, "mismatches": self.file.tensor_mismatches},
            "constants": {"values": self.file.values, "mismatches": self.file.value_mismatches},
            "engines": {name: asdict(engine) for name, engine in self.engines.items()},
            "not_run": {name: asdict(engine) for name, engine in self.not_run.items()},
            "judges": list(self.judges),
            "exhaustive": self.exhaustive,
        }


def _bits(qparams: QParams | None) -> tuple[Any, ...] | None:
    if qparams is None:
        return None
    scales = np.asarray(qparams.scale, np.float32).view(np.uint32)
    # One scale is the same thing with and without a channel axis: a file can't tell them apart.
    axis = qparams.axis if len(qparams.scale) > 1 else None
    return (qparams.dtype, axis, qparams.zero_point, tuple(int(b) for b in scales))


def compare_graphs(graph: Graph, other: Graph) -> FileParity:
    """Two graphs value by value in the order in which they stand; ``first`` says where they first differ."""
    tensors = constants = tensor_mismatches = value_mismatches = 0
    first = ""
    wiring = [
        [(n.op, dict(n.attrs), _indices(g, n.inputs), _indices(g, n.outputs)) for n in g.nodes] for g in (graph, other)
    ]
    ends = [(_indices(g, g.sources), _indices(g, g.sinks), len(g.inputs), len(g.values)) for g in (graph, other)]
    if wiring[0] != wiring[1] or ends[0] != ends[1]:
        return FileParity(len(graph.values), len(graph.values), 0, 0, "the ops, their attributes or their order")
    for (name, expected), got in zip(graph.values.items(), other.values.values(), strict=True):
        tensors += 1
        if _bits(expected.qparams) != _bits(got.qparams) or expected.shape != got.shape:
            tensor_mismatches += 1
            first = first or f"{name}: {_first_difference(expected, got)}"
        if expected.data is None and got.data is None:
            continue
        if expected.data is None or got.data is None or expected.data.shape != got.data.shape:
            value_mismatches += 1
            first = first or f"{name}: constant in one, not in the other"
            continue
        constants += expected.data.size
        wrong = np.argwhere(expected.data != got.data)
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            value_mismatches += len(wrong)
            first = first or f"{name}{list(at)}: expected {expected.data[at]}, got {got.data[at]}"
    for state, held in zip(graph.states, other.states, strict=True):
        constants += state.first.size
        if wrong_codes := int((state.first != held.first).sum()):
            value_mismatches += wrong_codes
            first = first or f"what state {state.value} begins with"
    return FileParity(tensors, tensor_mismatches, constants, value_mismatches, first)


def _first_difference(expected: Value, got: Value) -> str:
    """The first field in which two values' types differ, and both contents; of scales only the first that differs."""
    if expected.shape != got.shape or expected.qparams is None or got.qparams is None:
        return f"expected {expected.shape} {expected.dtype}, got {got.shape} {got.dtype}"
    a, b = expected.qparams, got.qparams
    for channel, pair in enumerate(zip(a.scale, b.scale, strict=False)):
        if pair[0] != pair[1]:
            return f"expected scale[{channel}] {pair[0]!r}, got {pair[1]!r}"
    return f"expected {a.dtype} {a.zero_point} along {a.axis}, got {b.dtype} {b.zero_point} along {b.axis}"


def _indices(graph: Graph, names: tuple[str, ...]) -> tuple[int, ...]:
    order = list(graph.values)
    return tuple(order.index(name) for name in names)


def compare_file(graph: Graph, model: bytes) -> FileParity:
    """A graph against a model file, read back with the schema.

    Raises:
        ParityError: they differ; names the first tensor, index and both values.
    """
    result = compare_graphs(as_in_file(graph), read_tflite(model))
    if result.tensor_mismatches or result.value_mismatches:
        raise ParityError(
            f"the file is not the network: {result.tensor_mismatches} of {result.tensors} tensors and "
            f"{result.value_mismatches} of {result.values} constants differ, first {result.first}"
        )
    return result


def corner_codes(graph: Graph, random: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Codes for each input of a graph, ``[samples * rows, *shape[1:]]``: corners of its box, and ``random`` others.

    Every corner in the first 10 elements of the inputs, the rest at the middle of their range; of inputs with a single
    element in all, every code there is.
    """
    values = [graph.values[name] for name in graph.inputs]
    sizes = [value.elements for value in values]
    limits = [graph.code_range(name) for name in graph.inputs]
    if sum(sizes) == 1 and values[0].dtype == "int8":
        return (np.arange(-128, 128, dtype=np.int8).reshape(-1, *values[0].shape[1:]),)
    free = min(sum(sizes), 10)
    bits = ((np.arange(2**free)[:, None] >> np.arange(free)) & 1).astype(bool)
    rng, start, codes = np.random.default_rng(seed), 0, []
    for value, size, (low, high) in zip(values, sizes, limits, strict=True):
        # In its own type from the start: of a large image, eight bytes a code are gigabytes.
        drawn = np.full((2**free + random, size), (low + high) // 2, value.dtype)
        chosen = bits[:, start : start + size]
        drawn[: 2**free, : chosen.shape[1]] = np.where(chosen, high, low)
        drawn[2**free :] = rng.integers(low, high, (random, size), endpoint=True)
        codes.append(drawn.reshape(-1, *value.shape[1:]))
        start += size
    return tuple(codes)


def parity(
    graph: Graph,
    model: bytes,
    codes: tuple[np.ndarray, ...],
    network: fx.GraphModule | None = None,
    reported: tuple[Engine, ...] | None = None,
    judged: tuple[Engine, ...] = (),
    *,
    foreign: Callable[[Engine], Engine] | None = None,
) -> ParityReport:
    """Compare everything that can compute this model, on input ``codes``, ``[samples, ...]`` each.

    Args:
        graph: of the integer model.
        model: its file, integers in and out.
        codes: as the device stores them; all 256 of a one-feature model make the comparison exhaustive. Of a graph with
            states, of runs one after the other.
        network: that was trained, whose own outputs are then judged as well; left as it was.
        reported: engines that are run and reported without judging; by default those that ask for it and run here.
        judged: more engines that must equal the reference.
        foreign: how an engine runs the file of which ``graph`` was read, and with which it is not compared again; see
            :func:`export.parity.foreign.foreign_engine`.

    Where layers compute in float32, engines may round a sum to another code, and all that follows differs: then every
    node is judged by itself, on what the engine had at its inputs, and the outputs of engines and network are reported.

    Raises:
        ParityError: the file differs from the graph, or TFLM (LiteRT's reference kernels where TFLM does not exist)
            from the integer reference, or the network itself from it.
    """
    file = compare_file(graph, model) if foreign is None else compare_graphs(graph, graph)
    run = foreign or _as_it_is
    computed = interpreted(graph, codes)
    expected = tuple(computed[name] for name in graph.outputs)
    engines: dict[str, EngineParity] = {}
    not_run: dict[str, NotRun] = {}

    def report(name: str, engine: Engine, wanted: tuple[np.ndarray, ...]) -> None:
        agreement = _report(engine, model, codes, wanted)
        if isinstance(agreement, NotRun):
            not_run[name] = agreement
        else:
            engines[name] = agreement

    judge, judges, in_float = run(judge_here()), [], graph.has_float_nodes
    assert isinstance(judge, InspectableEngine)
    if in_float:
        node_parity(graph, model, codes, judge)
        judges.append(f"{judge.name}, node by node")
        report(judge.name, judge, expected)
    elif judge.rounding is Rounding.DOUBLE:
        engines[judge.name] = _judge(judge, graph, model, codes, expected)
        judges.append(judge.name)
    else:
        name, against = f"{judge.name} against single rounding", interpreted(graph, codes, Rounding.SINGLE)
        single = tuple(against[output] for output in graph.outputs)
        if _declares_differences(graph):
            # What one node rounds otherwise runs through all that follow: each is judged by itself.
            node_parity(graph, model, codes, judge)
            report(name, judge, single)
            judges.append(f"{name}, node by node")
        else:
            engines[name] = _judge(judge, graph, model, codes, single)
            judges.append(name)
    for engine in judged:
        engines[engine.name] = _judge(engine, graph, model, codes, expected)
        judges.append(engine.name)
    for engine in reported_here() if reported is None else reported:
        report(engine.name, run(engine), expected)
    if network is not None:
        own = EngineParity.of(torch.__version__, network_codes(network, graph, codes), expected)
        if own.mismatches and not in_float:
            raise ParityError(
                f"the network as it is trained differs from the integer reference on {own.mismatches} of {own.outputs} "
                f"outputs, by up to {own.max_lsb} LSB"
            )
        engines["qat_network"] = own
        judges += [] if in_float else ["qat_network"]
    one_input = len(codes) == 1 and codes[0].size == 256 and len(np.unique(codes[0])) == 256
    return ParityReport(file, engines, tuple(judges), one_input, not_run)


def _as_it_is(engine: Engine) -> Engine:
    return engine


def _declares_differences(graph: Graph) -> bool:
    """Whether LiteRT's kernel of a node may differ from its reference, as the node's row says."""
    return any(graph.values[name].dtype in node.row.litert_lsb for node in graph.nodes for name in node.outputs)


#: Samples that the network computes at a time, at most: enough to be fast.
_CHUNK = 256
#: Elements of all activations together that it computes at a time, because a gradient needs them all: 32 Mi, 128 MiB.
_ELEMENTS = 2**25


def network_codes(network: fx.GraphModule, graph: Graph, codes: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The quantized network's own output codes for input codes, both as the device stores them.

    By the forward pass that training takes, which records for the gradient, with batch norms as they are frozen. The
    network is left in the mode in which it was.
    """
    parts = []
    device = next((tensor.device for tensor in (*network.parameters(), *network.buffers())), None)
    elements = sum(value.elements for value in graph.values.values() if value.data is None)
    chunk = min(_CHUNK, max(1, _ELEMENTS // elements))
    with torch.enable_grad(), evaluating(network), in_mode(network, Mode.QUANTIZED):
        for start in steps(range(0, len(codes[0]), chunk), "the network that was trained"):
            held = zip(graph.inputs, (array[start : start + chunk] for array in codes), strict=True)
            outputs = tensors_in(network(*(torch.from_numpy(graph.decode(*each)).to(device) for each in held)))
            parts.append([tensor.detach() for tensor in outputs])
    by_name = zip(graph.outputs, zip(*parts, strict=True), strict=True)
    return tuple(graph.encode(name, torch.cat(tensors).cpu().numpy()) for name, tensors in by_name)


def _judge(
    engine: Engine, graph: Graph, model: bytes, codes: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]
) -> EngineParity:
    with stage(engine.name):
        got = engine.run(model, codes)
    result = EngineParity.of(engine.version, got, expected)
    for name, outcome, wanted in zip(graph.outputs, got, expected, strict=True):
        wrong = np.argwhere(outcome != wanted)
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            shown = [array[at[0]].ravel()[:16].tolist() for array in codes]
            raise ParityError(
                f"{engine.name} {engine.version} differs from the integer reference on {result.mismatches} of "
                f"{result.outputs} outputs, by up to {result.max_lsb} LSB; first in {_producer(graph, name)} at sample "
                f"{at[0]}, index {list(at[1:])}, input {shown}: reference {wanted[at]}, {engine.name} {outcome[at]}"
            )
    return result


def _report(
    engine: Engine, model: bytes, codes: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]
) -> EngineParity | NotRun:
    """What an engine that is no judge says; that it can't run a model is no reason not to export it."""
    try:
        with stage(engine.name):
            got = engine.run(model, codes)
        return EngineParity.of(engine.version, got, expected)
    except (RuntimeError, ValueError) as error:
        return NotRun(engine.version, str(error).partition("\n")[0])


def _producer(graph: Graph, name: str) -> str:
    return next((f"{node.op} {name!r}" for node in graph.nodes if name in node.outputs), name)
