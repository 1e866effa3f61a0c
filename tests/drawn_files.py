"""What becomes of a drawn file: reader, C, the file written again and simplified, held against TFLite Micro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from export.c.compiled import build_c, run_built
from export.c.network import c_network
from export.c.source import c_source
from export.compiled_file.model_in_file import ModelInFile, model_in_file
from export.engines.apart import EngineRefused, Limits, Process
from export.engines.tflm import ARENA
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.passes.foreign.simplified import simplified
from export.parity.foreign import drawn
from export.parity.shifted_ends import in_other_codes
from export.tflite.model_file import model_file
from qtorch.errors import BadInput, UnsupportedLayer
from tests.test_random_c import poisoned

__all__ = ["Found", "Judge", "compared_in_c", "outcome"]

#: Warnings are errors, as for whoever compiles a file; overflow, shifts and indices end the process.
OPTIONS = (
    "-std=c99", "-O0", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=undefined,bounds",
    "-fsanitize-undefined-trap-on-error",
)  # fmt: skip


class Judge:
    """TFLite Micro in one process for many files, which it may end."""

    def __init__(self) -> None:
        self._process = Process("TFLite Micro", "tflm", Limits(), "model")

    def run(self, model: bytes, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """See :meth:`export.engines.apart.Apart.run`."""
        load = {"do": "load", "engine": "tflm", "arena": ARENA, "preserve": False}
        answer, _ = self._process.ask(load, [np.frombuffer(model, np.uint8)])
        rows = answer["shapes"][0][0] if answer["shapes"][0] else 1
        runs = {"do": "run", "runs": len(inputs[0]) // rows, "reset": "never", "fresh": True}
        return tuple(self._process.ask(runs, list(inputs))[1])

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.close()


@dataclass(frozen=True)
class Found:
    """What is said of a file.

    Attributes:
        said: ``"exact"``, or ``"KIND: sentence"``; kinds in capitals are faults.
        model: that was read, if it was.
        codes: of its inputs.
        expected: the reference's outputs, by name.
        files: of C, if there is any.
    """

    said: str
    model: ModelInFile | None = None
    codes: tuple[np.ndarray, ...] = ()
    expected: Mapping[str, np.ndarray] | None = None
    files: Mapping[str, str] | None = None


def outcome(data: bytes, judge: Judge, name: str = "net") -> Found:
    """Of a file, but for what compiled C computes."""
    try:
        model = model_in_file(data, "model")
        codes = drawn(model.graph, 12, 1)
        expected = interpret(model.graph, codes)
    except BadInput as error:
        return Found(f"refused: {error}")
    try:
        given = in_other_codes(model.graph, model.graph.inputs, codes)
        got = in_other_codes(model.graph, model.graph.outputs, judge.run(data, given))
    except EngineRefused as error:
        return Found(f"refused by TFLite Micro: {error.words}")
    said = _difference(got, [expected[each] for each in model.graph.outputs])
    if said:
        return Found(f"FILE: {said}")
    said = _written_again(model.core, codes, expected, judge)
    if said:
        return Found(said)
    try:
        files = poisoned(c_source(name, c_network(model.core)).files)
    except UnsupportedLayer as error:
        return Found(f"no kernel: {error.got}")
    return Found("exact", model, codes, expected, files)


def _written_again(core: Graph, codes: tuple[np.ndarray, ...], expected: Mapping[str, np.ndarray], judge: Judge) -> str:
    """What is wrong with the graph written as a file of this project, as it is or simplified; ``""``: nothing."""
    wanted = [expected[each] for each in core.outputs]
    plainer = simplified(core)
    if said := _difference(tuple(interpret(plainer, codes)[each] for each in plainer.outputs), wanted):
        return f"SIMPLIFIED: {said}"
    for graph in (core, plainer) if plainer != core else (core,):
        try:
            got = judge.run(model_file(graph).data, codes)
        except EngineRefused as error:
            return f"AGAIN: {error.words}"
        if said := _difference(got, wanted):
            return f"AGAIN: {said}"
    return ""


def _difference(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        if one.shape != other.shape:
            return f"output {index} of {one.shape} instead of {other.shape}"
        if not np.array_equal(one, other):
            return f"output {index} differs at {int((one != other).sum())} of {one.size} places"
    return ""


def compared_in_c(found: Mapping[str, Found], options: Sequence[str] = OPTIONS) -> dict[str, str]:
    """What compiled C makes of each file that is exact so far, by name: ``"exact"``, or where it differs."""
    exact = {name: each for name, each in found.items() if each.model is not None and each.files is not None}
    if not exact:
        return {}
    library = build_c({name: (each.files, each.model.core) for name, each in exact.items()}, options)
    said = {}
    for name, each in exact.items():
        got = run_built(library, name, each.model.core, each.codes)
        wrong = _difference(got, [each.expected[output] for output in each.model.core.outputs])
        said[name] = f"C: {wrong}" if wrong else "exact"
    return said
