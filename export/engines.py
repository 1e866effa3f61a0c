"""What can run a model file: TFLite Micro and LiteRT, behind one function type.

An engine takes the file's bytes and the samples of its one input, ``[samples, *shape[1:]]``, and gives its one output
stacked the same way. It runs sample by sample, as a device does.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

__all__ = ["LITERT_DEFAULT", "LITERT_REFERENCE", "TFLM", "Engine", "tflm_available"]


@dataclass(frozen=True)
class Engine:
    """A named interpreter: ``run(model, inputs) -> outputs``; ``package`` is the distribution that it comes from."""

    name: str
    package: str
    run: Callable[[bytes, np.ndarray], np.ndarray]

    @property
    def version(self) -> str:
        """Version of the installed distribution."""
        return metadata.version(self.package)


def tflm_available() -> bool:
    """Whether TFLite Micro's Python package exists for this platform."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _run_tflm(model: bytes, inputs: np.ndarray) -> np.ndarray:
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model)

    def one(sample: np.ndarray) -> np.ndarray:
        interpreter.set_input(sample, 0)
        interpreter.invoke()
        return np.array(interpreter.get_output(0))

    return np.concatenate([one(inputs[i : i + 1]) for i in range(len(inputs))])


def _run_litert(resolver: str, model: bytes, inputs: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind: Any = getattr(OpResolverType, resolver)
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kind, num_threads=1)
    interpreter.allocate_tensors()
    source, sink = (d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))

    def one(sample: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, sample)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(sink))

    return np.concatenate([one(inputs[i : i + 1]) for i in range(len(inputs))])


#: The judge: the kernels that the device runs.
TFLM = Engine("tflm", "tflite-micro", _run_tflm)
#: LiteRT's plain C++ kernels, which round once where TFLM rounds twice.
LITERT_REFERENCE = Engine("litert_reference", "ai-edge-litert", partial(_run_litert, "BUILTIN_REF"))
#: What LiteRT picks by itself (XNNPACK), which requantizes in float32.
LITERT_DEFAULT = Engine("litert_default", "ai-edge-litert", partial(_run_litert, "AUTO"))
