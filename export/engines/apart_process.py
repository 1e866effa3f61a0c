"""What runs in a process of its own for :mod:`export.engines.apart`: one engine, one model, requests until none comes.

It is a program, and imports nothing of this project, so that it starts in the time of its engine's own import. Requests
come on stdin and answers go to stdout, each a length, a line of JSON, which says what arrays follow, and their bytes;
whatever the engine prints goes to stderr.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

__all__ = ["read_message", "serve", "write_message"]


#: Bytes that everything in a message begins at a multiple of, so that arrays lie as NumPy wants them.
_STEP = 16


def write_message(stream: IO[bytes], header: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """A header and arrays, as :func:`read_message` takes them.

    Raises:
        ValueError: an array is of Python's objects.
    """
    given = [np.asarray(array) for array in arrays]
    if any(array.dtype.hasobject for array in given):
        raise ValueError("expected arrays of numbers, got one of Python's objects")
    known = {**header, "arrays": [[array.dtype.str, array.shape] for array in given]}
    parts = [json.dumps(known).encode() + b"\n", *(array.tobytes() for array in given)]
    body = b"".join(part + bytes(-len(part) % _STEP) for part in parts)
    stream.write(len(body).to_bytes(8, "little"))
    stream.write(body)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A header and arrays.

    Raises:
        EOFError: there is none, or only a part of one.
    """
    length = stream.read(8)
    # Arrays lie in it, and may be written to.
    body = bytearray(stream.read(int.from_bytes(length, "little")) if len(length) == 8 else b"")
    if len(length) < 8 or len(body) < int.from_bytes(length, "little"):
        raise EOFError
    end = body.index(b"\n") + 1
    header: dict[str, Any] = json.loads(body[:end])
    arrays, at = [], end + -end % _STEP
    for kind, shape in header.pop("arrays"):
        dtype = np.dtype(kind)
        count = math.prod(shape)
        arrays.append(np.frombuffer(body, dtype, count, at).reshape(shape) if count else np.zeros(shape, dtype))
        at += count * dtype.itemsize + -(count * dtype.itemsize) % _STEP
    return header, arrays


class _Tflm:
    """TFLite Micro.

    Args:
        header: ``arena`` in bytes, and whether to ``preserve`` all tensors.
        model: the file.
    """

    def __init__(self, header: dict[str, Any], model: bytes) -> None:
        from tflite_micro import runtime

        config = runtime.InterpreterConfig
        kind = config.kPreserveAllTensors if header["preserve"] else config.kAllocationRecording
        self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=header["arena"], intrepreter_config=kind)
        subgraph = runtime.convert_bytearray_to_object(bytearray(model)).subgraphs[0]
        self._outputs = len(() if subgraph.outputs is None else subgraph.outputs)
        count = len(() if subgraph.inputs is None else subgraph.inputs)
        self.shapes = [tuple(map(int, self._interpreter.get_input_details(i)["shape"])) for i in range(count)]

    def invoke(self, samples: list[np.ndarray]) -> None:
        for index, sample in enumerate(samples):
            self._interpreter.set_input(sample, index)
        self._interpreter.invoke()

    def outputs(self) -> list[np.ndarray]:
        return [np.array(self._interpreter.get_output(index)) for index in range(self._outputs)]

    def tensors(self, count: int) -> list[np.ndarray]:
        return [np.array(self._interpreter.GetTensor(index, 0)["tensor_data"]) for index in range(count)]

    def reset(self) -> None:
        self._interpreter.reset()


class _Litert:
    """LiteRT with the kernels that a resolver gives.

    Args:
        header: ``resolver``, and whether to ``preserve`` all tensors.
        model: the file.
    """

    def __init__(self, header: dict[str, Any], model: bytes) -> None:
        kinds = [header["resolver"], header["otherwise"]]
        try:
            self._interpreter = self._ready(kinds[0], model, header["preserve"])
        except ValueError as error:
            if "Didn't find op" not in str(error) or kinds[0] == kinds[1]:
                raise
            self._interpreter = self._ready(kinds[1], model, header["preserve"])
        self._sources = self._interpreter.get_input_details()
        self._sinks = self._interpreter.get_output_details()
        self.shapes = [tuple(map(int, source["shape"])) for source in self._sources]

    @staticmethod
    def _ready(kind: str, model: bytes, preserve: bool) -> Any:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        interpreter = Interpreter(
            model_content=model,
            experimental_op_resolver_type=getattr(OpResolverType, kind),
            num_threads=1,
            experimental_preserve_all_tensors=preserve,
        )
        interpreter.allocate_tensors()
        return interpreter

    def invoke(self, samples: list[np.ndarray]) -> None:
        for source, sample in zip(self._sources, samples, strict=True):
            self._interpreter.set_tensor(source["index"], sample)
        self._interpreter.invoke()

    def outputs(self) -> list[np.ndarray]:
        return [np.array(self._interpreter.get_tensor(sink["index"])) for sink in self._sinks]

    def tensors(self, count: int) -> list[np.ndarray]:
        return [np.array(self._interpreter.get_tensor(index)) for index in range(count)]

    def reset(self) -> None:
        self._interpreter.reset_all_variables()


_KINDS = {"tflm": _Tflm, "litert": _Litert}


class _Served:
    """One model, loaded when it is first asked for."""

    def __init__(self) -> None:
        self._load: Any = None
        self._engine: Any = None

    def answer(self, header: dict[str, Any], arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
        if header["do"] == "load":
            model = arrays[0].tobytes()
            self._load = lambda: _KINDS[header["engine"]](header, model)
            self._engine = self._load()
            return {"shapes": self._engine.shapes}, []
        if header["do"] == "arena":
            model = arrays[0].tobytes()
            _Tflm({"arena": header["arena"], "preserve": False}, model)
            return {}, []
        results = []
        for run in range(header["runs"]):
            if header["reset"] == "anew" and not header["fresh"]:
                self._engine = None
                self._engine = self._load()
            elif header["reset"] == "reset":
                self._engine.reset()
            header["fresh"] = False
            self._engine.invoke([_sample(*each, run) for each in zip(arrays, self._engine.shapes, strict=True)])
            results.append(self._engine.outputs() if header["do"] == "run" else self._engine.tensors(header["count"]))
        if header["do"] == "tensors":
            return {}, [array for tensors in results for array in tensors]
        return {}, [np.concatenate([np.atleast_1d(each) for each in parts]) for parts in zip(*results, strict=True)]


def _sample(array: np.ndarray, shape: tuple[int, ...], run: int) -> np.ndarray:
    rows = shape[0] if shape else 1
    return np.ascontiguousarray(array[run * rows : (run + 1) * rows]).reshape(shape)


def _limit(name: str, amount: int) -> None:
    """A limit of this process, where the system has such limits."""
    try:
        import resource
    except ImportError:
        return
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        amount = min(amount, hard)
    resource.setrlimit(kind, (amount, hard))


def _address_space() -> int:
    """Bytes of addresses that are taken already; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def serve(engine: str, memory: int) -> None:
    """Answers to requests, until stdin ends.

    Args:
        engine: whose packages are imported before memory is limited.
        memory: bytes that the model may take beside them.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Native code prints where it likes.
    os.dup2(2, 1)
    if engine == "tflm":
        from tflite_micro import runtime  # noqa: F401
    else:
        from ai_edge_litert import interpreter  # noqa: F401
    if taken := _address_space():
        _limit("RLIMIT_AS", taken + memory)
    _limit("RLIMIT_CORE", 0)
    served = _Served()
    while True:
        try:
            header, arrays = read_message(requests)
        except EOFError:
            return
        # A process whose parent was killed does not go on forever.
        _limit("RLIMIT_CPU", int(sum(os.times()[:2]) + header["seconds"]) + 2)
        try:
            answer, results = served.answer(header, arrays)
        except MemoryError:
            answer, results = {"refused": "", "memory": True}, []
        except Exception as error:
            answer, results = {"refused": str(error) or type(error).__name__, "memory": False}, []
        write_message(answers, answer, results)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
