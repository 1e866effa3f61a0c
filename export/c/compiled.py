"""The generated C as an engine: compiled, run on samples, compared like any other.

This machine's compiler does for every processor but AVR, whose kernels are assembly: those run in simavr.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from export.engines import Engine
from export.graph.ir import Graph
from firmware.emulation import MACHINES, SAME_CORE, DidNotBuild, Options, available, replay

__all__ = ["COMPILE", "c_compiler", "compiled_c", "not_run", "run_c"]

_AVR = MACHINES["atmega328p"]

#: What the generated C compiles with: every warning is an error.
COMPILE = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")


def c_compiler() -> str | None:
    """The C compiler that is found: ``$CC``, or ``cc``, ``gcc``, ``clang``; ``None`` if there is none."""
    names = filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))
    return next((path for path in map(shutil.which, names) if path), None)


def not_run(graph: Graph, cpu: str) -> str | None:
    """Why C made for a processor can't be run here, with the remedy; ``None`` if it can."""
    if cpu != "avr":
        return None if c_compiler() else "no C compiler found; install gcc"
    ends = [graph.values[name] for name in (*graph.inputs, *graph.outputs)]
    if len(ends) != 2 or any(value.dtype != "int8" for value in ends):
        return "the rig for AVR takes one int8 input and one int8 output"
    return available(_AVR)


def compiled_c(name: str, files: Mapping[str, str], graph: Graph, cpu: str = "host") -> Engine | None:
    """The engine of a model's C files made for ``cpu``; ``None`` where nothing here can run them."""
    if not_run(graph, cpu):
        return None
    if cpu == "avr":
        return Engine(
            "compiled_c", lambda: f"{_version(_AVR.compiler)}, simavr", partial(_emulated, name, files, graph)
        )
    compiler = c_compiler()
    assert compiler is not None
    return Engine("compiled_c", partial(_version, compiler), lambda model, inputs: run_c(name, files, graph, inputs))


def _emulated(
    name: str, files: Mapping[str, str], graph: Graph, model: bytes, inputs: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """Outputs of an emulated ATmega328P, or of its core with more memory; the comparison is the caller's."""
    shape, codes = graph.values[graph.outputs[0]].shape[1:], inputs[0].reshape(len(inputs[0]), -1)
    unknown = np.zeros((len(codes), graph.values[graph.outputs[0]].elements), np.int8)
    try:
        run = replay(_AVR, files, name, codes, unknown, Options(seconds=600))
    except DidNotBuild:
        run = replay(SAME_CORE[_AVR.name], files, name, codes, unknown, Options(seconds=600))
    return (run.outputs.reshape(len(codes), *shape),)


def _version(compiler: str) -> str:
    """The compiler's own first line about itself."""
    answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.splitlines()[0]


def run_c(
    name: str,
    files: Mapping[str, str],
    graph: Graph,
    inputs: tuple[np.ndarray, ...],
    options: Sequence[str] = COMPILE,
) -> tuple[np.ndarray, ...]:
    """Outputs for samples stacked along the first axis of each input, as the engines give them: of a network with
    states, of runs one after the other, which begin with the states' first contents.

    Args:
        name: of the model, an identifier.
        files: ``<name>_model.h`` and ``<name>_model.c``.
        graph: whose inputs and outputs are the function's arguments, in order.
        inputs: codes, ``[samples, *shape[1:]]`` each.
        options: of the compiler.

    Raises:
        RuntimeError: there is no compiler, or it refuses the source; the message has its words.
    """
    return run_built(build_c({name: (files, graph)}, options), name, graph, inputs)


def build_c(models: Mapping[str, tuple[Mapping[str, str], Graph]], options: Sequence[str] = COMPILE) -> ctypes.CDLL:
    """One library of many models' files, by name.

    Raises:
        RuntimeError: there is no compiler, or it refuses a source; the message has its words.
    """
    compiler = c_compiler()
    if compiler is None:
        raise RuntimeError("compiled C: expected a C compiler, found none of cc, gcc, clang. Remedy: install gcc")
    with tempfile.TemporaryDirectory() as folder:
        for files, _ in models.values():
            for file, text in files.items():
                (Path(folder) / file).write_text(text)
        (Path(folder) / "samples.c").write_text("\n".join(_loop(name, graph) for name, (_, graph) in models.items()))
        library = Path(folder) / "model.so"
        sources = [f"{name}_model.c" for name in models]
        command = [compiler, *options, "-shared", "-fPIC", *sources, "samples.c", "-o", str(library)]
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if built.returncode:
            raise RuntimeError(f"compiled C: {compiler} refuses the source:\n{built.stderr[:4000]}")
        return ctypes.CDLL(str(library))


def run_built(library: ctypes.CDLL, name: str, graph: Graph, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """See :func:`run_c`."""
    runs, sinks = len(inputs[0]) // graph.values[graph.inputs[0]].rows, [graph.values[n] for n in graph.outputs]
    outputs = tuple(np.zeros((runs * value.rows, *value.shape[1:]), value.array_dtype) for value in sinks)
    arrays = [np.ascontiguousarray(array) for array in inputs]
    arguments = (a.ctypes.data_as(ctypes.c_void_p) for a in (*arrays, *outputs))
    getattr(library, f"{name}_samples")(ctypes.c_long(runs), *arguments)
    return outputs


def _loop(name: str, graph: Graph) -> str:
    """A function over all samples, so that Python is called once."""
    parameters, arguments = [], []
    for side, names in (("in", graph.inputs), ("out", graph.outputs)):
        for i, tensor in enumerate(names):
            value = graph.values[tensor]
            const = "const " if side == "in" else ""
            parameters.append(f"{const}{value.array_dtype}_t *{side}_{i}")
            arguments.append(f"{side}_{i} + s * {value.elements}")
    # Samples are runs one after the other, of a sequence that begins with the first.
    begin = f"  {name}_reset();\n" if graph.states else ""
    return (
        f'#include "{name}_model.h"\n'
        f"void {name}_samples(long count, {', '.join(parameters)});\n"
        f"void {name}_samples(long count, {', '.join(parameters)}) {{\n"
        f"{begin}  for (long s = 0; s < count; ++s) {name}_invoke({', '.join(arguments)});\n}}\n"
    )
