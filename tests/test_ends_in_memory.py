"""Inputs and outputs in a network's own working memory: what its header says of them is what a run leaves there."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from torch import nn

from export.c.compiled import build_c, c_compiler
from export.c.network import c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.graph.interpret import interpret
from export.graph.ir import Graph
from tests.test_profile import graph_of
from tests.test_random_networks import a_dozen

pytestmark = [
    pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)"),
    pytest.mark.usefixtures("one_thread"),
]


NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "narrow": (nn.Sequential(nn.Conv2d(3, 1, 3, 4), nn.Flatten(), nn.Linear(9, 2)), (3, 12, 12)),
    "wide": (nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.MaxPool2d(4)), (1, 12, 12)),
    "one": (nn.Linear(12, 5), (12,)),
    "dense": (nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 12)), (12,)),
}  # fmt: skip


@pytest.mark.parametrize("optimize", ["size", "ram"])
def test_what_a_header_says_of_the_input_is_true(optimize: Optimize) -> None:
    said = {}
    for name, (net, shape) in NETS.items():
        graph = graph_of(net, *shape)
        network = c_network(graph, optimize=optimize)
        files = c_source(name, network).files
        said[name] = "A run leaves it as it is." in files[f"{name}_model.h"]
        assert said[name] == ("A run overwrites it: fill it before each." not in files[f"{name}_model.h"])
        assert said[name] == _stays(name, files, graph)
    assert set(said.values()) == {False, True}


def _stays(name: str, files: dict[str, str], graph: Graph) -> bool:
    """Whether every run with pointers into the working memory, all of which are right, leaves the input there."""
    library = build_c({name: (files, graph)})
    into, out = getattr(library, f"{name}_input"), getattr(library, f"{name}_output")
    into.restype = out.restype = ctypes.POINTER(ctypes.c_int8)
    (codes,) = a_dozen(graph)
    expected, stays = interpret(graph, (codes,))[graph.outputs[0]], True
    for sample, right in zip(codes, expected, strict=True):
        memory = np.ctypeslib.as_array(into(), (sample.size,))
        memory[:] = sample.reshape(-1)
        getattr(library, f"{name}_invoke")(into(), out())
        assert (np.ctypeslib.as_array(out(), (right.size,)) == right.reshape(-1)).all()
        stays = stays and bool((memory == sample.reshape(-1)).all())
    return stays
