"""What can run a model file: TFLite Micro and LiteRT, behind one function type.

An engine takes the file's bytes and the samples of each input, ``[samples, *shape[1:]]``, and gives the outputs stacked
the same way. It runs as many samples at a time as the model's batch axis says, one by one as a device does.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

__all__ = [
    "LITERT_DEFAULT",
    "LITERT_REFERENCE",
    "TFLM",
    "Engine",
    "InspectableEngine",
    "run_interpreter",
    "tflm_absent",
    "tflm_available",
]


@dataclass(frozen=True)
class Engine:
    """Whatever computes a model.

    Attributes:
        name: in reports.
        version_of: what it calls itself.
        run: model file and samples to outputs.
    """

    name: str
    version_of: Callable[[], str]
    run: Callable[[bytes, tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]

    @property
    def version(self) -> str:
        """Of the installed distribution, or of the compiler."""
        return self.version_of()


@dataclass(frozen=True)
class InspectableEngine(Engine):
    """An engine that shows what happens inside.

    Attributes:
        tensors: every tensor of the model for each sample, by its index in the file; takes how many there are.
    """

    tensors: Callable[[bytes, tuple[np.ndarray, ...], int], Iterator[list[np.ndarray]]]


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
        return f"TFLite Micro's Python package is absent ({error}); pip install -c constraints.txt tflite-micro"
    return ""


#: Bytes; more than a microcontroller has, so that no model that makes sense is refused for lack of it.
_ARENA = 2**24


def _run_tflm(model: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=_ARENA)
    batch = int(interpreter.get_input_details(0)["shape"][0])

    def one(samples: list[np.ndarray]) -> list[np.ndarray]:
        for i, sample in enumerate(samples):
            interpreter.set_input(sample, i)
        interpreter.invoke()
        return [np.array(interpreter.get_output(i)) for i in range(outputs)]

    outputs = _output_count(model)
    return _in_batches(one, inputs, batch)


def _tflm_tensors(model: bytes, inputs: tuple[np.ndarray, ...], count: int) -> Iterator[list[np.ndarray]]:
    from tflite_micro import runtime

    config = runtime.InterpreterConfig.kPreserveAllTensors
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=_ARENA, intrepreter_config=config)
    for index in range(len(inputs[0])):
        for i, array in enumerate(inputs):
            interpreter.set_input(array[index : index + 1], i)
        interpreter.invoke()
        yield [np.array(interpreter.GetTensor(i, 0)["tensor_data"]) for i in range(count)]


#: LiteRT's own name of all kernels that belong to no delegate.
_WITHOUT_DELEGATES = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"


def _litert_tensors(
    resolver: str, model: bytes, inputs: tuple[np.ndarray, ...], count: int
) -> Iterator[list[np.ndarray]]:
    interpreter = _litert_interpreter(resolver, model, experimental_preserve_all_tensors=True)
    sources = interpreter.get_input_details()
    for index in range(len(inputs[0])):
        for source, array in zip(sources, inputs, strict=True):
            interpreter.set_tensor(source["index"], array[index : index + 1])
        interpreter.invoke()
        yield [np.array(interpreter.get_tensor(i)) for i in range(count)]


def _run_litert(resolver: str, model: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return run_interpreter(_litert_interpreter(resolver, model), inputs)


def _litert_interpreter(resolver: str, model: bytes, **options: Any) -> Any:
    """LiteRT's interpreter of a model, ready to run.

    Of ops that have a single kernel the resolver of reference kernels leaves some out, ELU among them: where one is
    missing, the kernels are those that LiteRT has without delegates.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def ready(kind: Any) -> Any:
        interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kind, num_threads=1, **options)
        interpreter.allocate_tensors()
        return interpreter

    try:
        return ready(getattr(OpResolverType, resolver))
    except ValueError as error:
        if "Didn't find op" not in str(error) or resolver == _WITHOUT_DELEGATES:
            raise
        return ready(getattr(OpResolverType, _WITHOUT_DELEGATES))


def run_interpreter(interpreter: Any, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Outputs of a LiteRT interpreter, or of TensorFlow's, which has the same methods."""
    interpreter.allocate_tensors()
    sources, sinks = interpreter.get_input_details(), interpreter.get_output_details()

    def one(samples: list[np.ndarray]) -> list[np.ndarray]:
        for source, sample in zip(sources, samples, strict=True):
            interpreter.set_tensor(source["index"], sample)
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(sink["index"])) for sink in sinks]

    return _in_batches(one, inputs, int(sources[0]["shape"][0]))


def _output_count(model: bytes) -> int:
    from ai_edge_litert import schema_py_generated as schema

    return int(schema.Model.GetRootAs(bytearray(model)).Subgraphs(0).OutputsLength())


def _in_batches(
    one: Callable[[list[np.ndarray]], list[np.ndarray]], inputs: tuple[np.ndarray, ...], batch: int
) -> tuple[np.ndarray, ...]:
    parts = [one([array[i : i + batch] for array in inputs]) for i in range(0, len(inputs[0]), batch)]
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


_LITERT_VERSION = partial(metadata.version, "ai-edge-litert")

#: The judge: the kernels that the device runs.
TFLM = InspectableEngine("tflm", partial(metadata.version, "tflite-micro"), _run_tflm, _tflm_tensors)
#: LiteRT's plain C++ kernels, which round once where TFLM rounds twice.
LITERT_REFERENCE = InspectableEngine(
    "litert_reference", _LITERT_VERSION, partial(_run_litert, "BUILTIN_REF"), partial(_litert_tensors, "BUILTIN_REF")
)
#: What LiteRT picks by itself (XNNPACK), which requantizes in float32.
LITERT_DEFAULT = InspectableEngine(
    "litert_default", _LITERT_VERSION, partial(_run_litert, "AUTO"), partial(_litert_tensors, "AUTO")
)
