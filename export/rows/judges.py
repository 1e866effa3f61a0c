"""One sample of a row, computed by somebody else: each function compares, and names the sample where they differ."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.c.compiled import COMPILE, build_c, run_built
from export.c.network import c_network
from export.c.source import c_source
from export.engines import LITERT_REFERENCE, TFLM, Engine
from export.forms.onnx.parity import compare_onnx
from export.forms.onnx.runtime import ONNX_RUNTIME
from export.forms.onnx.writer import onnx_cell, write_onnx
from export.graph.ir import Graph
from export.parity.outputs import compare_file, distances
from export.rows.samples import batch_of, carried_by, float_outputs, reference_outputs, runtime_arrays, sample_graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import ParityError, UnsupportedLayer
from qtorch.numbers.fixedpoint import Rounding
from qtorch.row.row import Row, Sample, TFLite

__all__ = [
    "CSample",
    "c_library",
    "c_samples",
    "require_c",
    "require_file",
    "require_float",
    "require_litert",
    "require_onnx",
    "require_tflm",
]

#: How far a code may lie from the float function: an op that rounds twice is off by up to one and a half halves, a
#: table by one. The rest is what float32 itself is off by.
_STEPS = 1.001


def require_float(row: Row, sample: Sample) -> int:
    """The float function of training against the integers: within one step of the output's grid, where that is int8.

    Of int16 float32 itself is coarser than a step, and of sums that cancel.

    Returns: how many outputs were compared.
    """
    compared = 0
    named = zip(
        (role for role in sample.qparams if role.startswith("output")),
        float_outputs(row, sample),
        reference_outputs(row, sample),
        strict=True,
    )
    for role, plain, codes in named:
        grid = sample.qparams[role]
        if grid is None or grid.dtype != "int8":
            continue
        low, high = grid.dequantize(np.array(grid.code_range))
        real, held = plain.astype(np.float64).clip(low, high), grid.dequantize(codes)
        if real.shape != held.shape:
            raise ParityError(
                f"{_where(row, sample)}: the float function has shape {real.shape}, the integer reference {held.shape}"
            )
        steps = np.abs(real - held) / grid.scale[0]
        if not np.all(steps <= _STEPS):
            at = np.unravel_index(np.argmax(np.nan_to_num(steps, nan=np.inf)), steps.shape)
            raise ParityError(
                f"{_where(row, sample)}: the float function gives {real[at]:.6g} at {role}{list(map(int, at))}, the "
                f"integer reference {held[at]:.6g} (code {codes[at]}): {steps[at]:.3g} steps apart"
            )
        compared += codes.size
    return compared


def require_file(row: Row, sample: Sample) -> int:
    """The .tflite file, read back: ops, attributes, grids and constants.

    Returns: how many tensors were compared.
    """
    graph = sample_graph(row, sample)
    model = write_tflite(graph)
    read = [(node.op, dict(node.attrs)) for node in read_tflite(model).nodes]
    if read != [(node.op, dict(node.attrs)) for node in graph.nodes]:
        raise ParityError(
            f"{_where(row, sample)}: the file has {read}, not {row.name} with {dict(graph.nodes[0].attrs)}"
        )
    return compare_file(graph, model).tensors


def require_tflm(row: Row, sample: Sample, *, at_once: bool = False) -> int:
    """TFLite Micro against double rounding, to the bit.

    Args:
        row: of the op.
        sample: its case.
        at_once: the whole batch in one inference; of a sequence of runs, and of what takes one sample, each is one all
            the same.

    Returns: how many outputs were compared.

    Raises:
        ParityError: they differ; or the outputs are all alike, and show nothing.
    """
    alone = bool(carried_by(row, sample)) or (isinstance(row.tflite, TFLite) and row.tflite.vectors)
    graph = sample_graph(row, sample, batch_of(sample) if at_once and not alone else 1)
    expected = reference_outputs(row, sample)
    for role, codes in zip(graph.outputs, expected, strict=True):
        if "alike" not in sample.label and len(np.unique(codes)) < 2:
            raise ParityError(f"{_where(row, sample)}: {role} is {codes.flat[0]} throughout, which shows nothing")
    got = _run(TFLM, write_tflite(graph), graph, row, sample)
    return _require_near(row, sample, "TFLite Micro", graph, expected, got, {})


def require_litert(row: Row, sample: Sample) -> int:
    """LiteRT's reference kernels against single rounding, within what the row declares.

    Returns: how many outputs were compared.
    """
    graph = sample_graph(row, sample)
    got = _run(LITERT_REFERENCE, write_tflite(graph), graph, row, sample)
    expected = reference_outputs(row, sample, Rounding.SINGLE)
    return _require_near(row, sample, "LiteRT", graph, expected, got, row.litert_lsb)


def require_onnx(row: Row, sample: Sample) -> int:
    """ONNX Runtime, within what the row declares; scales, zero points and constants of the file exactly.

    Returns: how many outputs were compared.

    Raises:
        UnsupportedLayer: ONNX has no form of this case.
    """
    graph = sample_graph(row, sample)
    model = write_onnx(graph)
    compare_onnx(graph, model)
    got = _run(ONNX_RUNTIME, model.file, graph, row, sample)
    return _require_near(
        row, sample, "ONNX Runtime", graph, reference_outputs(row, sample), got, onnx_cell(row.name).lsb
    )


@dataclass(frozen=True)
class CSample:
    """A sample of a row, as a graph and as C: its model's files, and the kernels that these call."""

    sample: Sample
    graph: Graph
    files: Mapping[str, str]
    kernels: tuple[str, ...]


def c_samples(row: Row) -> tuple[dict[str, CSample], dict[str, str]]:
    """A row's samples as plain C, by the names of their models; and why the others have none, by label."""
    written, missing = {}, {}
    for number, sample in enumerate(row.samples()):
        graph, name = sample_graph(row, sample), f"case_{number}"
        try:
            network = c_network(graph)
        except UnsupportedLayer as error:
            missing[sample.label] = error.got.removeprefix(f"{row.name} (node 0: ").removesuffix(")")
            continue
        kernels = tuple(step.call.kernel for step in network.steps)
        written[name] = CSample(sample, graph, c_source(name, network).files, kernels)
    return written, missing


def c_library(samples: Mapping[str, CSample], options: Sequence[str] = (*COMPILE, "-O1")) -> ctypes.CDLL:
    """All of :func:`c_samples`, compiled at once.

    Raises:
        RuntimeError: there is no compiler, or it refuses a source; the message has its words.
    """
    return build_c({name: (each.files, each.graph) for name, each in samples.items()}, options)


def require_c(row: Row, samples: Mapping[str, CSample], library: ctypes.CDLL) -> int:
    """The compiled C of all samples, to the bit.

    Returns: how many outputs were compared.
    """
    compared = 0
    for name, case in samples.items():
        got = run_built(library, name, case.graph, runtime_arrays(case.graph, case.sample))
        compared += _require_near(row, case.sample, "plain C", case.graph, reference_outputs(row, case.sample), got, {})
    return compared


def _where(row: Row, sample: Sample) -> str:
    return f"row {row.name!r}, sample {sample.label!r}"


def _run(engine: Engine, model: bytes, graph: Graph, row: Row, sample: Sample) -> tuple[np.ndarray, ...]:
    """An engine's outputs; it has to have the kernel, in the version that the row's cell says."""
    try:
        return engine.run(model, runtime_arrays(graph, sample))
    except (RuntimeError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise ParityError(f"{_where(row, sample)}: {engine.name} does not run it: {said}") from error


def _require_near(
    row: Row,
    sample: Sample,
    who: str,
    graph: Graph,
    expected: Sequence[np.ndarray],
    got: Sequence[np.ndarray],
    allowed: Mapping[str, int],
) -> int:
    compared = 0
    for role, codes, outcome in zip(graph.outputs, expected, got, strict=True):
        if codes.shape != outcome.shape or outcome.dtype.name != graph.values[role].array_dtype:
            raise ParityError(
                f"{_where(row, sample)}: {who} gives {outcome.dtype} {outcome.shape} at {role}, the integer reference "
                f"{graph.values[role].array_dtype} {codes.shape}"
            )
        apart = distances(outcome, codes)
        wrong = np.argwhere(~(apart <= allowed.get(outcome.dtype.name, 0)))
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            raise ParityError(
                f"{_where(row, sample)}: {who} gives {outcome[at]} at {role}{list(at)}, the integer reference "
                f"{codes[at]}; {len(wrong)} of {codes.size} differ, by up to {int(np.ceil(apart.max()))}"
            )
        compared += codes.size
    return compared
