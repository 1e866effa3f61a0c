"""Runs models in one package of TFLite Micro: ``python -s runner.py PACKAGE CASES OUT``.

A program of its own that imports NumPy and, of PACKAGE, a folder that pip installed into, the native module alone: what
older packages import beside it (TensorFlow, ``pkg_resources``) computes nothing.

CASES holds ``NAME.tflite`` and ``NAME.in``, the bytes of every sample's inputs one after another. Every model runs in a
process forked for it, so that one that ends its process ends nothing else. OUT then has ``NAME.out``, the outputs laid
out in the same way, and ``said.jsonl``: a line a model with its name, ``ran``, ``refused`` or ``crashed``, and why.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

#: Bytes of an arena, seconds of a model.
_ARENA, _SECONDS = 2**22, 60
#: The exit code of a child whose interpreter said no.
_REFUSED = 3


def native(package: Path) -> Any:
    """The module that a package's Python is written around.

    Raises:
        ImportError: this Python can't load it; or the package has none.
    """
    (file, *_) = (*sorted(package.glob("tflite_micro/python/tflite_micro/_runtime*.so")), package / "_runtime.so")
    spec = importlib.util.spec_from_file_location("_runtime", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def opened(module: Any, model: bytes) -> Any:
    """An interpreter of a model that has no variables; later packages ask for one number more."""
    fixed: tuple[Any, ...] = (model, [], _ARENA, 0, module.PythonInterpreterConfig.kAllocationRecording)
    try:
        return module.InterpreterWrapper(*fixed)
    except TypeError:
        return module.InterpreterWrapper(*fixed, 0)


def outputs(interpreter: Any, held: bytes, inputs: int, results: int) -> bytes:
    """Every sample's outputs, of all samples' inputs."""
    details = [interpreter.GetInputTensorDetails(i) for i in range(inputs)]
    shapes = [(tuple(int(n) for n in each["shape"]), np.dtype(each["dtype"])) for each in details]
    given, at = [], 0
    while at < len(held):
        for i, (shape, dtype) in enumerate(shapes):
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(held, dtype, count, at).reshape(shape)
            interpreter.SetInputTensor(array, i)
            at += array.nbytes
        interpreter.Invoke()
        given += [np.array(interpreter.GetOutputTensor(i)).tobytes() for i in range(results)]
    return b"".join(given)


def _child(module: Any, cases: Path, out: Path, name: str, inputs: int, results: int) -> None:
    said = os.open(out / f"{name}.said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    signal.alarm(_SECONDS)
    try:
        interpreter = opened(module, (cases / f"{name}.tflite").read_bytes())
        got = outputs(interpreter, (cases / f"{name}.in").read_bytes(), inputs, results)
    except BaseException as error:
        os.write(2, f"\n{type(error).__name__}: {error}".encode())
        os._exit(_REFUSED)
    (out / f"{name}.out").write_bytes(got)
    os._exit(0)


def verdict(status: int, said: str) -> tuple[str, str]:
    """What came of a child, and its last words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "crashed", f"{signal.Signals(number).name}{': ' + lines[-1] if lines else ''}"
    code = os.WEXITSTATUS(status)
    if code == _REFUSED:
        # The interpreter's own words stand before the exception's, which says only that it failed.
        return "refused", " | ".join(lines[:-1][:2] or lines[-1:])
    return ("ran", "") if code == 0 else ("crashed", f"exit code {code}")


def main(package: Path, cases: Path, out: Path) -> None:
    """Run all that ``CASES/list.json`` names: ``[name, inputs, outputs]``."""
    module = native(package)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "said.jsonl").open("w") as lines:
        for name, inputs, results in json.loads((cases / "list.json").read_text()):
            child = os.fork()
            if child == 0:
                _child(module, cases, out, name, inputs, results)
            _, status = os.waitpid(child, 0)
            file = out / f"{name}.said"
            ended, why = verdict(status, file.read_text(errors="replace") if file.exists() else "")
            file.unlink(missing_ok=True)
            lines.write(json.dumps({"name": name, "ended": ended, "why": why[:300]}) + "\n")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
