"""Files that somebody else wrote, held against TFLite Micro before anything is said of them.

Engines run in a process of their own, and before the reference does, so that a file on which they end costs nothing
else. What the file has as uint8 the graph has as int8 codes; here one becomes the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from export.engines import Engine
from export.engines.apart import EngineRefused, Limits, apart
from export.engines.tflm import TFLM
from export.graph.ir import Graph
from export.parity.first_difference import first_difference
from export.parity.float_ends import codes_behind, fed
from export.parity.outputs import corner_codes
from export.parity.reference import activations, interpreted, sample_count
from export.parity.shifted_ends import in_other_codes
from export.tflite.contents import read_contents
from export.tflite.file_data import FileTensor
from export.tflite.reader import REMEDY_OF_ANY
from export.tflite.soundness import elements, require_sound
from qtorch.errors import BadModelFile, ParityError

__all__ = ["Judged", "drawn", "fixed_batch_advised", "foreign_engine", "judged_by_tflm", "places", "told_by_tflm"]

#: Elements of all activations of all samples that are drawn at most: a few hundred of a network for small images.
_ELEMENTS = 2**27
#: Bytes of inputs that are drawn at most.
_INPUT_BYTES = 2**26


@dataclass(frozen=True)
class Judged:
    """What TFLite Micro said of a file: all equal, or there is a :class:`~qtorch.errors.ParityError`.

    Attributes:
        engine: its name.
        version: of it.
        samples: that it computed.
        outputs: that were compared.
    """

    engine: str
    version: str
    samples: int
    outputs: int


def judged_by_tflm(
    model: bytes, graph: Graph, samples: tuple[np.ndarray, ...], *, where: str = "model", limits: Limits | None = None
) -> Judged:
    """TFLite Micro's outputs of a file, equal to those of the graph that was read from it.

    Args:
        model: the file, whoever wrote it.
        graph: as :func:`export.tflite.reader.read_tflite` reads it.
        samples: codes or floats of each of its inputs, ``[samples, *shape[1:]]``, as :func:`drawn` draws them.
        where: what to call the file in an error.
        limits: of the engine's process.

    Raises:
        BadModelFile: the file can't be computed, or has constants where TFLite Micro does not read them.
        EngineRefused: TFLite Micro does not run the file.
        ParityError: an output differs; names the first operator whose output does.
    """
    require_sound(read_contents(model, where), where)
    bounds = limits or Limits()
    engine = foreign_engine(TFLM, graph, where, bounds)
    got = engine.run(model, samples)
    computed = interpreted(graph, samples, where=where)
    outputs = 0
    for name, each in zip(graph.outputs, got, strict=True):
        expected = computed[name]
        same = each.shape == expected.shape and np.array_equal(each, expected, equal_nan=expected.dtype.kind == "f")
        if not same:
            raise ParityError(_difference(model, graph, samples, name, each, expected, where, bounds))
        outputs += each.size
    return Judged(TFLM.name, TFLM.version, sample_count(graph, samples), outputs)


_FIXED_BATCH = (
    "the batch was left open, so that sizes are computed while the network runs; convert the model again with a batch "
    "of 1, as keras.Input(shape, batch_size=1) gives it, or a function to convert whose input has it"
)


@contextmanager
def fixed_batch_advised(model: bytes, where: str = "model") -> Iterator[None]:
    """Where an engine refuses a file whose batch was left open, with that as the remedy.

    Args:
        model: the file, which is sound.
        where: what to call it in an error.

    Raises:
        EngineRefused: what was raised inside, with the remedy that fits.
    """
    try:
        yield
    except EngineRefused as refused:
        if refused.kind != "refuses" or not _has_open_batch(model, where):
            raise
        raise EngineRefused(refused.engine, refused.kind, refused.words, where=where, remedy=_FIXED_BATCH) from refused


def _has_open_batch(model: bytes, where: str) -> bool:
    entry = read_contents(model, where).subgraphs[0]
    return any(entry.tensors[index].signature[:1] == (-1,) for index in entry.inputs)


_OTHER_OPERATORS = (
    "write that part of the network in operators that TFLite Micro computes with these integers (those known here "
    "stand in docs/operators.md), and convert it again"
)
#: Elements of the inputs with which TFLite Micro is asked about a file that can't be read here, and seconds for it.
_ASKED_WITH, _ASKED_FOR = 2**24, 10.0


def told_by_tflm(unknown: BadModelFile, model: bytes, where: str = "model") -> BadModelFile:
    """The error of a file that can't be read here; where TFLite Micro does not run it either, with what it says.

    Args:
        unknown: what is not known here.
        model: the file, which is sound.
        where: what to call it in an error.
    """
    entry = read_contents(model, where).subgraphs[0]
    tensors = [entry.tensors[index] for index in entry.inputs]
    if TFLM.absent() or sum(map(elements, tensors)) > _ASKED_WITH:
        return unknown
    try:
        inputs = tuple(np.zeros(tensor.shape or (1,), tensor.dtype) for tensor in tensors)
    except TypeError:
        # Of strings or handles.
        return unknown
    try:
        apart(TFLM, where, Limits(seconds=_ASKED_FOR)).run(model, inputs)
    except EngineRefused as refused:
        if refused.kind not in ("refuses", "ends"):
            return unknown
        return BadModelFile(
            where=where, expected="a network that TFLite Micro runs",
            got=f"{unknown.got}; and it does not run there either: {refused.words}",
            remedy=unknown.remedy if unknown.remedy != REMEDY_OF_ANY
            else _FIXED_BATCH if _has_open_batch(model, where) else _OTHER_OPERATORS,
        )  # fmt: skip
    return unknown


def _difference(
    model: bytes,
    graph: Graph,
    samples: tuple[np.ndarray, ...],
    name: str,
    got: np.ndarray,
    expected: np.ndarray,
    where: str,
    limits: Limits,
) -> str:
    """The sentence of a difference in output ``name``: how many, how far, and where it begins."""
    if got.shape != expected.shape:
        return (
            f"{where}: TFLite Micro gives {list(got.shape)} for output {name!r}, the reference {list(expected.shape)}"
        )
    wrong = np.argwhere(got != expected)
    apart_by = np.abs(got.astype(np.float64) - expected.astype(np.float64)).max()
    count = sample_count(graph, samples)
    sample = int(wrong[0][0]) * count // len(expected)
    first = _first_node(model, graph, samples, sample, where, limits)
    return (
        f"{where}: TFLite Micro {TFLM.version} differs from the reference on {len(wrong)} of {got.size} outputs of "
        f"{name!r}, by up to {apart_by:g}, first at sample {sample}; {first}"
    )


def _first_node(
    model: bytes, graph: Graph, samples: tuple[np.ndarray, ...], sample: int, where: str, limits: Limits
) -> str:
    """Which node differs first, on one sample."""
    tensors = read_contents(model, where).subgraphs[0].tensors
    try:
        first = first_difference(graph, model, places(graph, tensors), samples, sample, apart(TFLM, where, limits))
    except EngineRefused as refused:
        return f"where it begins is not known: {refused.words}"
    if first is None:
        return "every operator that can be looked at is equal by itself"
    return f"the first that differs is operator {first.index}, {first.node.op}, whose output is {first.name!r}"


def places(graph: Graph, tensors: tuple[FileTensor, ...]) -> Mapping[str, int]:
    """The file's index of each value of a graph that was read from it; those that reading made have none."""
    numbered = {name: int(name[1:]) for name in graph.values if re.fullmatch(r"t\d+", name)}
    return {name: index for name, index in numbered.items() if index < len(tensors)}


def foreign_engine(engine: Engine, graph: Graph, where: str = "model", limits: Limits | None = None) -> Engine:
    """An engine for files of which ``graph`` was read: in a process of its own, and with the graph's codes."""
    bounded = apart(engine, where, limits or Limits())
    return replace(bounded, run=partial(_run, bounded, graph, where))


def _run(
    engine: Engine, graph: Graph, where: str, model: bytes, inputs: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    with fixed_batch_advised(model, where):
        return in_other_codes(graph, graph.outputs, engine.run(model, in_other_codes(graph, graph.inputs, inputs)))


#: Of a graph with states, which the reference can only compute one after the other.
_RUNS = 64


def drawn(graph: Graph, most: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Samples for each input of a graph, ``[samples, *shape[1:]]``; of a large network fewer than ``most``.

    Corners of the input box and random codes; where an input is float32 and QUANTIZE reads it, the numbers that become
    such codes, else normally distributed ones.
    """
    behind = codes_behind(graph)
    if any(graph.values[name].qparams is None and graph.values[name].dtype == "float32" for name in graph.inputs):
        if behind is None:
            return _normal(graph, most, seed)
        return fed(graph, _drawn_codes(replace(graph, inputs=behind), most, seed))
    return _drawn_codes(graph, most, seed)


def _count(graph: Graph, most: int) -> int:
    inputs = sum(graph.values[name].bytes for name in graph.inputs)
    most = min(most, _RUNS) if graph.states else most
    return max(2, min(most, _ELEMENTS // max(1, activations(graph)), _INPUT_BYTES // max(1, inputs)))


def _normal(graph: Graph, most: int, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    shapes = [graph.values[name].shape for name in graph.inputs]
    rows = [graph.values[name].rows for name in graph.inputs]
    count = _count(graph, most)
    return tuple(
        rng.normal(size=(count * row, *shape[1:])).astype(np.float32) for row, shape in zip(rows, shapes, strict=True)
    )


def _drawn_codes(graph: Graph, most: int, seed: int) -> tuple[np.ndarray, ...]:
    count = _count(graph, most)
    if count >= 2048:
        return corner_codes(graph, most, seed)
    rng, codes = np.random.default_rng(seed), []
    for name in graph.inputs:
        value = graph.values[name]
        low, high = graph.code_range(name)
        row = value.rows
        array = rng.integers(low, high, (count * row, *value.shape[1:]), value.dtype, endpoint=True)
        # A quarter of them at the limits.
        for place in range(0, count, 4):
            part = array[place * row : (place + 1) * row]
            part[...] = np.where(rng.integers(0, 2, part.shape, np.int8), high, low)
        codes.append(array)
    return tuple(codes)
