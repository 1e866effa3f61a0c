"""TensorFlow's own copy of the interpreter: compared where it is installed, and not run by an export."""

from __future__ import annotations

import warnings
from functools import partial
from importlib import metadata

import numpy as np

from export.engines.engine import Engine
from export.engines.litert import run_interpreter
from export.optional_packages import missing, remedy, tensorflow_package
from qtorch.numbers.fixedpoint import Rounding

__all__ = ["ENGINES", "TENSORFLOW"]


def _absent() -> str:
    return remedy("tensorflow") if missing("tensorflow") else ""


def _run(model: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    tensorflow = tensorflow_package()
    with warnings.catch_warnings():
        # It says that it will move to another package.
        warnings.simplefilter("ignore")
        interpreter = tensorflow.lite.Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        return run_interpreter(interpreter, inputs)


#: It takes XNNPACK where it can. Its import takes seconds, so that parity does not report it.
TENSORFLOW = Engine(
    "tensorflow",
    partial(metadata.version, "tensorflow"),
    _run,
    absent=_absent,
    rounding=Rounding.SINGLE,
    called="TensorFlow",
)

ENGINES = (TENSORFLOW,)
