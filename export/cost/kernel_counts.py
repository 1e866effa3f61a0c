"""What one call of a kernel takes on an emulated machine: instructions or cycles, and bytes of code."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from export.c.network import network_of, portable_calls
from export.c.source import c_source
from export.c.targets import Candidate, candidates
from export.graph.interpret import interpret
from export.graph.ir import Graph, Node, Value
from export.parity.outputs import corner_codes
from firmware.emulation import MACHINES, Machine, Options, replay
from firmware.emulation.build import compile_model, weigh
from qtorch.errors import ParityError
from qtorch.numbers.qparams import QParams

__all__ = ["CallCount", "call_count", "layer_candidates"]


@dataclass(frozen=True)
class CallCount:
    """One call of a kernel, alone in a network.

    Attributes:
        instructions: of one run, or cycles on AVR, without the copies of its input and its output.
        code_bytes: of the object file, without constants and without what any network has.
    """

    instructions: float
    code_bytes: int


def layer_candidates(graph: Graph, cpu: str) -> tuple[Candidate, ...]:
    """The kernels that can compute a graph of one node of one call."""
    ((call,),) = portable_calls(graph)
    return candidates(call, cpu)


def call_count(graph: Graph, candidate: Candidate, machine: Machine) -> CallCount:
    """A graph of one node on a machine, its outputs compared with the reference.

    Raises:
        EmulationFailure: it does not fit, or did not end.
        ParityError: an output differs from the reference's.
    """
    source = c_source("net", network_of(graph, [(candidate.call,)], machine.cpu))
    codes = corner_codes(graph, 1)[0][-1:]
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    flat = [np.ascontiguousarray(array.reshape(1, -1)) for array in (codes, expected)]
    run = replay(machine, source.files, "net", flat[0], flat[1], Options(seconds=300))
    if run.first is not None:
        raise ParityError(f"{candidate.call.kernel} on {machine.name} differs from the reference: {run.first}")
    assert run.cost is not None
    code = _weighed(machine, source.files) - sum(source.constant_bytes.values())
    copies = (_copies(machine.name, codes.size) + _copies(machine.name, expected.size)) / 2
    return CallCount(run.cost.median - copies, code - _any_network(machine.name))


def _weighed(machine: Machine, files: Mapping[str, str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return weigh(machine, compile_model(machine, files, "net", Path(folder), Options()).objects).flash


def _nothing(size: int) -> Graph:
    """A network that computes nothing: its output is its input in another shape."""
    grid = QParams((0.5,), (0,))
    values = {"input": Value((1, size), grid), "output": Value((1, size, 1), grid)}
    return Graph(values, (Node("reshape", {"shape": (size, 1)}, ("input",), ("output",)),), ("input",), ("output",))


@cache
def _any_network(machine: str) -> int:
    """Bytes of what is in any network's code."""
    graph, on = _nothing(4), MACHINES[machine]
    return _weighed(on, c_source("net", network_of(graph, portable_calls(graph), on.cpu)).files)


@cache
def _copies(machine: str, size: int) -> float:
    """What it takes to copy so many codes in and out."""
    graph, on = _nothing(size), MACHINES[machine]
    codes = np.zeros((1, size), np.int8)
    files = c_source("net", network_of(graph, portable_calls(graph), on.cpu)).files
    cost = replay(on, files, "net", codes, codes, Options(seconds=300)).cost
    assert cost is not None
    return cost.median
