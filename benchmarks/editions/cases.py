"""The models that editions are tried on, with inputs and the codes that are expected, in a folder that programs read.

A case is one of: a row's sample; one op cut out of a network; a whole network. Networks are the recipes', trained for
an epoch, the MLPerf Tiny references, and layers drawn at random (:mod:`benchmarks.editions.drawn`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.graph.interpret import interpret
from export.graph.ir import Graph, Node
from export.rows.samples import reference_outputs, runtime_arrays, sample_graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.ops import ROWS

__all__ = ["Case", "cut", "of_graph", "of_model", "read_cases", "samples", "write_cases"]

#: Whole networks, where others have the name of their op.
WHOLE = "whole networks"


@dataclass(frozen=True)
class Case:
    """A model, what goes in and what is to come out.

    Attributes:
        label: where it is from.
        form: the row of the table that it counts in: an op with its types.
        model: the file.
        inputs: an array per input, ``[samples, *shape[1:]]``.
        expected: an array per output.
    """

    label: str
    form: str
    model: bytes
    inputs: tuple[np.ndarray, ...]
    expected: tuple[np.ndarray, ...]


def form_of(graph: Graph, node: Node) -> str:
    """An op as tables name it: its name, the type of its output, and whether a weight has several scales.

    Example:
        ``"FULLY_CONNECTED int8 per channel"``
    """
    grids = graph.qparams(node)
    words = [node.op.upper(), graph.values[node.output].dtype]
    if (weight := grids.get("weight")) is not None:
        words += ["per channel"] if len(weight.scale) > 1 else ["per tensor"]
        words += ["int4 weights"] if weight.dtype == "int4" else []
    return " ".join(words)


def of_graph(label: str, graph: Graph, inputs: tuple[np.ndarray, ...], form: str = WHOLE) -> Case:
    """A case whose expected codes the integer reference computes."""
    computed = interpret(graph, inputs)
    return Case(label, form, write_tflite(graph), inputs, tuple(computed[name] for name in graph.outputs))


def of_model(label: str, model: bytes, inputs: tuple[np.ndarray, ...]) -> Iterator[Case]:
    """A file whole, and every op of it."""
    graph = read_tflite(model)
    yield of_graph(label, graph, inputs)
    yield from cut(label, graph, inputs)


def cut(label: str, graph: Graph, inputs: tuple[np.ndarray, ...]) -> Iterator[Case]:
    """Each node as a network of its own, fed with what the network would feed it."""
    computed = interpret(graph, inputs, every=True)
    for index, node in enumerate(graph.nodes):
        fed = tuple(dict.fromkeys(name for name in node.inputs if graph.values[name].data is None))
        if not fed or graph.is_float(node):
            continue
        named = {name: graph.values[name] for name in (*node.inputs, *node.outputs)}
        alone = Graph(named, (node,), fed, node.outputs)
        yield Case(
            f"{label}, op {index}",
            form_of(graph, node),
            write_tflite(alone),
            tuple(computed[name] for name in fed),
            tuple(computed[name] for name in node.outputs),
        )


def samples() -> Iterator[Case]:
    """Every sample of every row, as the row's integer reference computes it."""
    for row in ROWS.values():
        for sample in row.samples():
            graph = sample_graph(row, sample)
            (node,) = graph.nodes
            label = f"{row.name}, {sample.label}"
            computed = zip(graph.outputs, reference_outputs(row, sample), strict=True)
            expected = tuple(codes.astype(graph.values[name].dtype) for name, codes in computed)
            inputs = runtime_arrays(graph, sample)
            yield Case(label, form_of(graph, node), write_tflite(graph), inputs, expected)


def _bytes(arrays: tuple[np.ndarray, ...]) -> bytes:
    """Sample by sample, all of a sample's arrays one after another."""
    samples = len(arrays[0])
    return b"".join(np.ascontiguousarray(array[i]).tobytes() for i in range(samples) for array in arrays)


def write_cases(cases: Iterable[tuple[str, Case]], folder: Path) -> Iterator[tuple[str, Case]]:
    """Write what a runner reads, ``list.json`` and ``list.txt`` among it, and what only the judge does.

    Args:
        cases: each with its source; of two alike the first is taken.
        folder: emptied before.

    Yields:
        Those that were written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listed: list[list[object]] = []
    judged: list[dict[str, object]] = []
    seen: set[tuple[bytes, bytes]] = set()
    for source, case in cases:
        key = (case.model, _bytes(case.inputs))
        if key in seen:
            continue
        seen.add(key)
        name = f"{len(listed):05}"
        (folder / f"{name}.tflite").write_bytes(case.model)
        (folder / f"{name}.in").write_bytes(key[1])
        (folder / f"{name}.expected").write_bytes(_bytes(case.expected))
        listed.append([name, len(case.inputs), len(case.expected)])
        layout = [[str(array.dtype), int(np.prod(array.shape[1:], dtype=np.int64))] for array in case.expected]
        judged.append({"name": name, "label": case.label, "form": case.form, "layout": layout})
        yield source, case
    (folder / "list.json").write_text(json.dumps(listed))
    (folder / "list.txt").write_text("".join(f"{name}\n" for name, *_ in listed))
    (folder / "judged.json").write_text(json.dumps(judged))


def read_cases(folder: Path) -> list[dict[str, object]]:
    """What the judge reads of a folder: names, labels, forms, and of which outputs a sample consists."""
    found: list[dict[str, object]] = json.loads((folder / "judged.json").read_text())
    return found
