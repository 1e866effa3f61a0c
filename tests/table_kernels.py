"""Networks of given kernels of the table, whatever would be chosen, and layers on machines."""

from __future__ import annotations

import numpy as np
import pytest

from export.c.network import CNetwork, network_of, portable_calls
from export.c.source import c_source
from export.c.targets import candidates
from export.graph.ir import Graph
from firmware.emulation import MACHINES, Options, Replay, available, replay

__all__ = ["by_table", "kernels_of", "replayed_layer"]


def by_table(graph: Graph, cpu: str, *kernels: str) -> CNetwork:
    """Every call by one of those kernels of the table, or the last that takes it; the others as ``size`` has them."""
    calls = []
    for node in portable_calls(graph):
        found = [candidates(call, cpu) for call in node]
        wanted = [[each for each in of if not kernels or (each.row and each.row.kernel in kernels)] for of in found]
        calls.append(tuple((some or of)[-1 if some else 0].call for some, of in zip(wanted, found, strict=True)))
    return network_of(graph, calls, cpu)


def kernels_of(network: CNetwork) -> set[str]:
    """What is called."""
    return {step.call.kernel for step in network.steps}


def replayed_layer(
    machine: str, network: CNetwork, inputs: np.ndarray, expected: np.ndarray, optimize: str = "-O2"
) -> Replay:
    """Samples of a network of one int8 input and output on a machine; skips the test where that is not here."""
    reason = available(MACHINES[machine])
    if reason is not None:
        pytest.skip(reason)
    flat = [np.ascontiguousarray(codes.reshape(len(codes), -1), np.int8) for codes in (inputs, expected)]
    sources = c_source("layer", network).files
    return replay(MACHINES[machine], sources, "layer", flat[0], flat[1], Options(optimize=(optimize,)))
