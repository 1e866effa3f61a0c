"""A file of another writer, sample by sample: reader and C against TFLite Micro, to the bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from export.c.compiled import run_c
from export.c.model import c_model
from export.graph.interpret import interpret
from export.graph.ir import Value
from export.tflite.reader import read_tflite
from qtorch.errors import BadModelFile
from tests.schema_file import SchemaFile

runtime = pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro").runtime

__all__ = ["file_of", "require_integers_of_tflm", "require_refused"]

#: Puts operators and tensors into a file.
Put = Callable[[SchemaFile], None]


def file_of(put: Put) -> bytes:
    """A whole file of what is put into it."""
    file = SchemaFile()
    put(file)
    return file.written()


def require_refused(put: Put, words: str) -> None:
    """The reader names the first operator, and says these words of it, a regular expression."""
    with pytest.raises(BadModelFile, match="operator 0 ." + words):
        read_tflite(file_of(put), aligned=False)


def _sample(stacked: np.ndarray, value: Value, sample: int) -> np.ndarray:
    return stacked[sample * value.rows : (sample + 1) * value.rows]


def require_integers_of_tflm(model: bytes) -> None:
    """Random codes through the graph, compiled C and TFLite Micro, all equal."""
    graph = read_tflite(model, aligned=False)
    rng = np.random.default_rng(0)
    values = [graph.values[name] for name in graph.inputs]
    ranges = [graph.code_range(name) for name in graph.inputs]
    codes = tuple(
        rng.integers(low, high + 1, (8 * v.rows, *v.shape[1:])).astype(v.array_dtype)
        for v, (low, high) in zip(values, ranges, strict=True)
    )
    expected = interpret(graph, codes)
    compiled = run_c("net", c_model("net", graph).files, graph, codes)
    engine = runtime.Interpreter.from_bytes(model, arena_size=1 << 16)
    for sample in range(8):
        for position, name in enumerate(graph.inputs):
            fed = _sample(codes[position], graph.values[name], sample)
            fed = (fed.view(np.uint8) ^ 128) if name in graph.shifted else fed
            # Of a number, whose axis counts samples here alone.
            engine.set_input(fed.reshape(engine.get_input_details(position)["shape"]), position)
        engine.invoke()
        for position, name in enumerate(graph.outputs):
            got = engine.get_output(position)
            got = (got ^ 128).view(np.int8) if name in graph.shifted else got
            np.testing.assert_array_equal(got, _sample(expected[name], graph.values[name], sample))
            np.testing.assert_array_equal(got, _sample(compiled[position], graph.values[name], sample))
