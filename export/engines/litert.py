"""LiteRT twice: its plain C++ kernels, which judge where TFLite Micro is absent, and what it picks by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np

from export.engines.engine import InspectableEngine, in_batches
from qtorch.numbers.fixedpoint import Rounding
from qtorch.progress import hidden

__all__ = ["ENGINES", "LITERT_DEFAULT", "LITERT_REFERENCE", "WITHOUT_DELEGATES", "run_interpreter"]


def _absent() -> str:
    if find_spec("ai_edge_litert") is None:
        return "LiteRT's Python package is absent; pip install qtorch-tflm brings it"
    return ""


#: LiteRT's own name of all kernels that belong to no delegate.
WITHOUT_DELEGATES = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"


def _tensors(resolver: str, model: bytes, inputs: tuple[np.ndarray, ...], count: int) -> Iterator[list[np.ndarray]]:
    interpreter = _interpreter(resolver, model, experimental_preserve_all_tensors=True)
    sources = interpreter.get_input_details()
    for index in range(len(inputs[0])):
        for source, array in zip(sources, inputs, strict=True):
            interpreter.set_tensor(source["index"], array[index : index + 1])
        interpreter.invoke()
        yield [np.array(interpreter.get_tensor(i)) for i in range(count)]


def _run(resolver: str, model: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return run_interpreter(_interpreter(resolver, model), inputs)


def _interpreter(resolver: str, model: bytes, **options: Any) -> Any:
    """LiteRT's interpreter of a model, ready to run.

    Of ops that have a single kernel the resolver of reference kernels leaves some out, ELU among them: where one is
    missing, the kernels are those that LiteRT has without delegates.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def ready(kind: Any) -> Any:
        # It says by itself which kernels it takes.
        with hidden():
            interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kind, num_threads=1, **options)
            interpreter.allocate_tensors()
        return interpreter

    try:
        return ready(getattr(OpResolverType, resolver))
    except ValueError as error:
        if "Didn't find op" not in str(error) or resolver == WITHOUT_DELEGATES:
            raise
        return ready(getattr(OpResolverType, WITHOUT_DELEGATES))


def run_interpreter(interpreter: Any, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Outputs of a LiteRT interpreter whose tensors are allocated, or of TensorFlow's, which has the same methods."""
    sources, sinks = interpreter.get_input_details(), interpreter.get_output_details()

    def one(samples: list[np.ndarray]) -> list[np.ndarray]:
        for source, sample in zip(sources, samples, strict=True):
            interpreter.set_tensor(source["index"], sample)
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(sink["index"])) for sink in sinks]

    return in_batches(one, inputs, int(sources[0]["shape"][0]))


_VERSION = partial(metadata.version, "ai-edge-litert")

#: LiteRT's plain C++ kernels, which round once where TFLM rounds twice.
LITERT_REFERENCE = InspectableEngine(
    "litert_reference",
    _VERSION,
    partial(_run, "BUILTIN_REF"),
    partial(_tensors, "BUILTIN_REF"),
    absent=_absent,
    rounding=Rounding.SINGLE,
    reported=True,
    preference=2,
    narrow_weights=True,
    called="LiteRT",
    kernels="LiteRT's reference kernels",
)
#: What LiteRT picks by itself (XNNPACK), which requantizes in float32: it never judges.
LITERT_DEFAULT = InspectableEngine(
    "litert_default",
    _VERSION,
    partial(_run, "AUTO"),
    partial(_tensors, "AUTO"),
    absent=_absent,
    rounding=Rounding.SINGLE,
    reported=True,
    narrow_weights=True,
    called="LiteRT",
)

ENGINES = (LITERT_REFERENCE, LITERT_DEFAULT)
