"""TFLite Micro in a process of its own, where files may be run on which it ends its process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

__all__ = ["Refusal", "TflmApart"]


class Refusal(Exception):
    """It does not allocate the model, or ends its process; the message is what it says."""


class TflmApart:
    """One process after another: a new one where the last has ended."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def __call__(self, model: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of one inference.

        Raises:
            Refusal: there are none.
        """
        if self.pool is None:
            self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            return self.pool.submit(_run, model, list(inputs)).result(120)
        except BrokenProcessPool as error:
            self.pool = None
            raise Refusal("the process ended") from error
        except (RuntimeError, ValueError) as error:
            raise Refusal(str(error)) from error

    def close(self) -> None:
        """No process is left."""
        if self.pool is not None:
            self.pool.shutdown()


def _run(model: bytes, inputs: list[np.ndarray]) -> list[np.ndarray]:
    from ai_edge_litert import schema_py_generated as schema
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=2**24)
    for index, array in enumerate(inputs):
        interpreter.set_input(array, index)
    interpreter.invoke()
    count = schema.Model.GetRootAs(bytearray(model)).Subgraphs(0).OutputsLength()
    return [np.array(interpreter.get_output(index)) for index in range(count)]
