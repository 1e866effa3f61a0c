"""Several networks in one program for an emulated machine: to build and to start one takes longer than most of them do.

The first byte of an input says whose it is; its codes begin where words may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pytest

from export.c.network import CNetwork
from export.c.source import c_source
from export.graph.ir import Graph
from firmware.emulation import MACHINES, DidNotBuild, EmulationFailure, Machine, Options, available, replay

__all__ = ["AMPLE", "ROOM", "Case", "Part", "batches", "failures", "outcomes", "part_of"]

#: Bytes of RAM and of constants that the networks of one program may take, where the machine is small.
ROOM = {"atmega328p": (900, 5_000), "cortex_m0": (8_000, 100_000)}
AMPLE = (100_000, 200_000)

#: What the linker or the replay says of a program that is larger than the machine.
TOO_LARGE = ("size of array", "is not within region", "will not fit in region", "overflowed by", "overwrites data")

#: Bytes before an input's codes.
_BEFORE = 8

T = TypeVar("T")
#: A network, the codes of its inputs ``[N, ...]`` and of its outputs.
Case = tuple[CNetwork, Sequence[np.ndarray], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Part:
    """A network of a program.

    Attributes:
        name: in C; others of the program have others.
        files: its C.
        codes: int8 ``[N, I]``, bytes of all inputs one behind the other.
        expected: int8 ``[N, O]``, of all outputs.
        arguments: that it is called with, where ``in`` and ``out`` are its bytes.
        room: bytes that it takes of RAM and, constants alone, of flash.
        behind: statements after its call.
    """

    name: str
    files: Mapping[str, str]
    codes: np.ndarray
    expected: np.ndarray
    arguments: str
    room: tuple[int, int]
    behind: str = ""


def part_of(name: str, case: Case) -> Part:
    """A case that is called ``name``."""
    network, inputs, outputs = case
    source = c_source(name, network)
    codes, expected = _bytes(network.graph, inputs), _bytes(network.graph, outputs, of_outputs=True)
    # The rig holds an input, an expected output and an output of the largest network.
    ends = codes.shape[1] + 2 * expected.shape[1]
    room = (source.scratch_bytes + ends, sum(source.constant_bytes.values()))
    return Part(name, source.files, codes, expected, _arguments(network.graph), room)


def _bytes(graph: Graph, arrays: Sequence[np.ndarray], of_outputs: bool = False) -> np.ndarray:
    """A row for each sample, in the order of a little-endian machine."""
    names = graph.outputs if of_outputs else graph.inputs
    dtypes = [np.dtype(graph.values[name].array_dtype).newbyteorder("<") for name in names]
    rows = [np.ascontiguousarray(a.reshape(len(a), -1).astype(t)) for a, t in zip(arrays, dtypes, strict=True)]
    return np.concatenate([each.view(np.int8) for each in rows], 1)


def _arguments(graph: Graph) -> str:
    written = []
    for side, qualifier, names in (("in", "const ", graph.inputs), ("out", "", graph.outputs)):
        at = 0
        for name in names:
            value = graph.values[name]
            written.append(f"({qualifier}{value.array_dtype}_t *)({qualifier}void *)({side} + {at})")
            at += value.elements * np.dtype(value.array_dtype).itemsize
    return ", ".join(written)


def together(parts: Sequence[Part]) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
    """A model of all of them, with inputs and outputs: whose they are, zeros, then their codes, then zeros."""
    sizes = [max(getattr(one, side).shape[1] for one in parts) for side in ("codes", "expected")]
    header = (
        f"#include <stdint.h>\n#define ALL_INPUT_SIZE {_BEFORE + sizes[0]}\n#define ALL_OUTPUT_SIZE {sizes[1]}\n"
        "void all_invoke(const int8_t *in, int8_t *out);\n"
    )
    includes = "".join(f'#include "{name}_model.h"\n' for name in ("all", *(one.name for one in parts)))
    cases = "".join(
        f"    case {i}: {one.name}_invoke({one.arguments}); {one.behind} break;\n" for i, one in enumerate(parts)
    )
    body = (
        f"void all_invoke(const int8_t *in, int8_t *out) {{\n  for (int32_t i = 0; i < {sizes[1]}; ++i) out[i] = 0;\n"
        f"  const int which = *in;\n  in += {_BEFORE};\n  switch (which) {{\n{cases}    default: break;\n  }}\n}}\n"
    )
    files = {file: text for one in parts for file, text in one.files.items()}
    rows = [np.pad(one.codes, ((0, 0), (0, sizes[0] - one.codes.shape[1]))) for one in parts]
    inputs = np.concatenate([_numbered(i, r) for i, r in enumerate(rows)])
    expected = np.concatenate([np.pad(o.expected, ((0, 0), (0, sizes[1] - o.expected.shape[1]))) for o in parts])
    return {**files, "all_model.h": header, "all.c": includes + body}, inputs, expected


def _numbered(number: int, rows: np.ndarray) -> np.ndarray:
    ahead = np.zeros((len(rows), _BEFORE), np.int8)
    ahead[:, 0] = number
    return np.concatenate([ahead, rows], 1)


def outcomes(parts: Sequence[Part], machine: Machine, optimize: str = "") -> list[str]:
    """Of each network: ``"exact"``, ``"too large"``, or where machine and reference part."""
    files, inputs, expected = together(parts)
    # Sanitizers say what there is to say of code that is soonest compiled.
    optimize = optimize or {"simavr": "-Os", "host": "-O0"}.get(machine.kind, "-O2")
    try:
        found = replay(machine, files, "all", inputs, expected, Options(tuple(optimize.split()), seconds=300))
    except EmulationFailure as failure:
        if len(parts) > 1:  # the half that is to blame
            middle = len(parts) // 2
            return outcomes(parts[:middle], machine, optimize) + outcomes(parts[middle:], machine, optimize)
        too_large = isinstance(failure, DidNotBuild) and any(words in str(failure) for words in TOO_LARGE)
        return ["too large" if too_large else str(failure)]
    rows = np.split(np.arange(len(inputs)), np.cumsum([len(one.codes) for one in parts])[:-1])
    return [_verdict(found.outputs[each], expected[each], machine.name) for each in rows]


def _verdict(outputs: np.ndarray, expected: np.ndarray, machine: str) -> str:
    wrong = np.argwhere(outputs != expected)
    if not len(wrong):
        return "exact"
    sample, at = map(int, wrong[0])
    return f"output {at} of sample {sample}: {machine} {outputs[sample, at]}, reference {expected[sample, at]}"


def failures(machine: str, cases: Mapping[str, Case], optimize: str = "") -> dict[str, str]:
    """By label, where machine and reference part; skips the test where the machine is not here."""
    reason = available(MACHINES[machine])
    if reason is not None:
        pytest.skip(reason)
    parts = [part_of(f"net_{index}", case) for index, case in enumerate(cases.values())]
    found = [
        said
        for few in batches(parts, machine, lambda part: part.room)
        for said in outcomes(few, MACHINES[machine], optimize)
    ]
    assert len(found) == len(cases) > 0
    return {label: said for label, said in zip(cases, found, strict=True) if said != "exact"}


def batches(
    networks: Iterable[T], machine: str, room: Callable[[T], tuple[int, int]], most: int = 100
) -> Iterator[list[T]]:
    """As many networks for one program each time as a machine holds, at most 127: the first byte of an input counts."""
    batch, used = list[T](), (0, 0)
    for network in networks:
        needed = room(network)
        total = (used[0] + needed[0], used[1] + needed[1])
        if batch and (len(batch) == most or any(a > b for a, b in zip(total, ROOM.get(machine, AMPLE), strict=True))):
            yield batch
            batch, total = [], needed
        batch.append(network)
        used = total
    if batch:
        yield batch
