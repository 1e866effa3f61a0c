"""Generated C as a program of its own: what sanitizers need, which do not like to be loaded into Python."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from export.graph.ir import Graph

#: As in the house rules, every warning an error.
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")

#: Compilers by what they are asked for, and the Debian package that has each.
COMPILERS = {
    "gcc, C99": (("gcc", "-std=c99"), "gcc"),
    "clang, C99": (("clang", "-std=c99"), "clang"),
    "g++, C++17": (("g++", "-std=c++17", "-x", "c++"), "g++"),
    "clang++, C++17": (("clang++", "-std=c++17", "-x", "c++"), "clang"),
}
AVR = (("avr-gcc", "-std=c99", "-mmcu=atmega2560"), "gcc-avr avr-libc")
SIMAVR = (("simavr", "-m", "atmega2560", "-f", "16000000"), "simavr")


def command(compiler: tuple[tuple[str, ...], str]) -> tuple[str, ...]:
    """Its command line; the test is skipped where it is not installed."""
    (name, *options), package = compiler
    if shutil.which(name) is None:
        pytest.skip(f"no {name} found; apt install {package}")
    return (name, *options)


def succeed(arguments: Sequence[str], folder: Path, given: bytes = b"", *, stderr_too: bool = False) -> bytes:
    """What a command printed; its words if it fails."""
    done = subprocess.run(list(arguments), cwd=folder, input=given, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.returncode}\n{done.stderr.decode()[:4000]}"
    return done.stdout + done.stderr if stderr_too else done.stdout


def main_of(models: Mapping[str, Graph]) -> str:
    """A program that runs the model named by its argument on samples from stdin, each in memory of exactly its size."""
    runs = "\n".join(
        f'  if (strcmp(arguments[1], "{name}") == 0) {{\n{_loop(name, graph)}    return 0;\n  }}'
        for name, graph in models.items()
    )
    includes = "\n".join(f'#include "{name}_model.h"' for name in models)
    return (
        f"#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\n{includes}\n\n"
        f"int main(int count, char **arguments) {{\n  if (count != 2) return 2;\n{runs}\n  return 3;\n}}\n"
    )


def _loop(name: str, graph: Graph) -> str:
    made, read, written, freed, arguments = [], [], [], [], []
    for side, names in (("in", graph.inputs), ("out", graph.outputs)):
        for i, tensor in enumerate(names):
            value, buffer = graph.values[tensor], f"{side}_{i}"
            ctype = f"{value.array_dtype}_t"
            size = value.bytes
            made.append(f"    {ctype} *{buffer} = ({ctype} *)malloc({size});")
            freed.append(f"    free({buffer});")
            arguments.append(buffer)
            if side == "in":
                read.append(f"fread({buffer}, 1, {size}, stdin) == {size}")
            else:
                written.append(f"      if (fwrite({buffer}, 1, {size}, stdout) != {size}) return 4;")
    call = f"      {name}_invoke({', '.join(arguments)});"
    return "\n".join([*made, f"    while ({' && '.join(read)}) {{", call, *written, "    }", *freed]) + "\n"


def run_program(program: Path, name: str, graph: Graph, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Outputs of all samples, ``[samples, *shape[1:]]`` each."""
    given = b"".join(array[s].tobytes() for s in range(len(inputs[0])) for array in inputs)
    printed = succeed([str(program), name], program.parent, given)
    sinks = [graph.values[output] for output in graph.outputs]
    kind = np.dtype([(str(i), value.array_dtype, value.shape[1:]) for i, value in enumerate(sinks)])
    rows = np.frombuffer(printed, kind)
    return tuple(rows[str(i)] for i in range(len(sinks)))


def write(folder: Path, models: Mapping[str, Mapping[str, str]], main: str) -> list[str]:
    """All files in ``folder``; the names of those to be compiled."""
    for files in models.values():
        for file, text in files.items():
            (folder / file).write_text(text)
    (folder / "main.c").write_text(main)
    return [*(f"{name}_model.c" for name in models), "main.c"]


def avr_main(name: str, graph: Graph, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> str:
    """A program for an ATmega2560 that computes one sample and says Y or N to its serial line."""
    tables, made, calls, checks = [], [], [], []
    for side, names, arrays in (("in", graph.inputs, inputs), ("out", graph.outputs, outputs)):
        for i, (tensor, array) in enumerate(zip(names, arrays, strict=True)):
            kind = f"{graph.values[tensor].array_dtype}_t"
            codes = array.astype(graph.values[tensor].array_dtype)
            numbers = ", ".join(map(str, codes.reshape(-1).tolist()))
            tables.append(f"static const {kind} {side}_{i}_flash[] PROGMEM = {{{numbers}}};")
            made.append(f"static {kind} {side}_{i}[{array.size}];")
            calls.append(f"{side}_{i}")
            what = "memcpy_P" if side == "in" else "right &= !memcmp_P"
            checks.append((side, f"  {what}({side}_{i}, {side}_{i}_flash, sizeof {side}_{i});"))
    before, after = ("\n".join(line for found, line in checks if found == side) for side in ("in", "out"))
    return f"""\
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>
#include <string.h>
#include "{name}_model.h"
{chr(10).join(tables)}
{chr(10).join(made)}

int main(void) {{
  int right = 1;
{before}
  {name}_invoke({", ".join(calls)});
{after}
  UCSR0B = _BV(TXEN0);
  UDR0 = right ? 'Y' : 'N';
  while (!(UCSR0A & _BV(UDRE0))) {{}}
  UDR0 = '\\n';
  while (!(UCSR0A & _BV(TXC0))) {{}}
  cli();
  sleep_mode();
  return 0;
}}
"""
