"""TFLite Micro, the judge: the kernels that the device runs."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from functools import partial
from importlib import metadata

import numpy as np

from export.engines.engine import InspectableEngine, in_batches
from export.engines.unplanned import without_plan
from qtorch.numbers.fixedpoint import Rounding

__all__ = ["ARENA", "ENGINES", "TFLM", "tflm_absent", "tflm_available"]


def tflm_available() -> bool:
    """Whether TFLite Micro's Python package can be imported here."""
    return not tflm_absent()


def tflm_absent() -> str:
    """Why TFLite Micro does not run here, and the remedy; empty if it does."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "TFLite Micro's Python package has wheels for Linux on x86-64 only"
    try:
        from tflite_micro import runtime  # noqa: F401
    except ImportError as error:
        return f"TFLite Micro's Python package is absent ({error}); pip install qtorch-tflm brings it"
    return ""


#: Bytes; more than a microcontroller has, so that no model that makes sense is refused for lack of it.
ARENA = 2**24


def _run(model: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA)
    batch = int(interpreter.get_input_details(0)["shape"][0])

    def one(samples: list[np.ndarray]) -> list[np.ndarray]:
        for i, sample in enumerate(samples):
            interpreter.set_input(sample, i)
        interpreter.invoke()
        return [np.array(interpreter.get_output(i)) for i in range(outputs)]

    outputs = _output_count(model)
    return in_batches(one, inputs, batch)


def _output_count(model: bytes) -> int:
    from ai_edge_litert import schema_py_generated as schema

    return int(schema.Model.GetRootAs(bytearray(model)).Subgraphs(0).OutputsLength())


def _tensors(model: bytes, inputs: tuple[np.ndarray, ...], count: int) -> Iterator[list[np.ndarray]]:
    from tflite_micro import runtime

    config = runtime.InterpreterConfig.kPreserveAllTensors
    interpreter = runtime.Interpreter.from_bytes(without_plan(model), arena_size=ARENA, intrepreter_config=config)
    for index in range(len(inputs[0])):
        for i, array in enumerate(inputs):
            interpreter.set_input(array[index : index + 1], i)
        interpreter.invoke()
        yield [np.array(interpreter.GetTensor(i, 0)["tensor_data"]) for i in range(count)]


#: It has no kernels for float activations with narrower weights.
TFLM = InspectableEngine(
    "tflm",
    partial(metadata.version, "tflite-micro"),
    _run,
    _tensors,
    absent=tflm_absent,
    rounding=Rounding.DOUBLE,
    preference=1,
    called="TFLM",
    kernels="TFLite Micro's kernels",
)

ENGINES = (TFLM,)
