"""Constants of generated C that are alike: each stands once, and what is counted is what stands there."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.boards import board
from export.c.compiled import c_compiler, run_c
from export.c.model import c_model
from export.c.network import c_network
from export.c.optimize import Optimize
from export.c.source import CSource, c_source
from export.c.tables import table_of
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.foreign import drawn
from qtorch.errors import BadConfiguration

ARRAY = re.compile(r"static const (u?int\d+)_t (\w+)\[(\d+)\] (Q_FLASH(?: Q_WORDS)?) = \{\n(.*?)\n\};", re.DOTALL)


class Unrolled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.memory(x)[0][:, -1])
        return found


class Siamese(nn.Module):
    """One encoder for both inputs; twice the same layers, and two whose sizes are alike and weights are not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.head = nn.Linear(32, 3)

    def encoded(self, x: Tensor) -> Tensor:
        found: Tensor = self.third(self.second(self.first(x).relu()).relu())
        return found

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(torch.cat([self.encoded(x[:, :12]), self.encoded(x[:, 12:])], 1))
        return found


class Waves(nn.Module):
    """Twice the same table of a function, of tensors that lie on one grid."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(torch.cat([x[:, :4].sin(), x[:, 4:].sin()], 1))
        return found


NETWORKS = {"gru": (Unrolled, (12, 4)), "siamese": (Siamese, (24,)), "waves": (Waves, (8,))}


@cache
def graph_of(network: str) -> Graph:
    torch.manual_seed(3)
    kind, shape = NETWORKS[network]
    x = torch.randn(32, *shape)
    qat = qtorch.prepare(kind(), x[:1])
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)


def arrays(source: CSource) -> list[tuple[str, str, str, tuple[int, ...]]]:
    """Name, type, qualifiers and elements of each."""
    text = source.files["net_model.c"].split("// Constants, named")[1].split("// Kernels with")[0]
    found = []
    for ctype, name, size, qualifiers, rows in ARRAY.findall(text):
        elements = tuple(int(each.replace("INT32_MIN", str(-(2**31)))) for each in rows.replace(",", " ").split())
        assert len(elements) == int(size)
        found.append((name, ctype, qualifiers, elements))
    assert len(found) == text.count("static const")
    return found


@pytest.mark.parametrize("optimize", ["size", "balanced", "speed"])
@pytest.mark.parametrize("cpu", ["host", "cortex-m4", "avr"])
@pytest.mark.parametrize("network", NETWORKS)
def test_each_stands_once_and_is_counted_once(network: str, cpu: str, optimize: Optimize) -> None:
    made = c_network(graph_of(network), cpu, optimize)
    source = c_source("net", made)
    found = arrays(source)
    assert len({array[1:] for array in found}) == len(found)
    width = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4}
    assert sum(source.constant_bytes.values()) == sum(width[ctype] * len(data) for _, ctype, _, data in found)


@pytest.mark.parametrize("network", NETWORKS)
def test_calls_read_them_by_the_first_name(network: str) -> None:
    source = c_source("net", c_network(graph_of(network), "host", "size"))
    run = source.files["net_model.c"].split("static void run(void) {")[1]
    read = {name: len(re.findall(rf"\b{name}\b", run)) for name, *_ in arrays(source)}
    assert min(read.values()) == 1
    assert max(read.values()) == {"gru": 12, "siamese": 2, "waves": 2}[network]


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc")
@pytest.mark.parametrize("network", NETWORKS)
def test_codes_stay_exact(network: str) -> None:
    graph = graph_of(network)
    codes = drawn(graph, 500)
    got, expected = run_c("net", c_model("net", graph).files, graph, codes), interpret(graph, codes)
    for each, name in zip(got, graph.outputs, strict=True):
        np.testing.assert_array_equal(each, expected[name])


def test_another_type_or_alignment_or_byte_is_another_table() -> None:
    data = np.arange(8, dtype=np.int8)
    other = [data.view(np.uint8), data.view(np.int32), data[::-1], data[:7]]
    assert len({table_of(data), table_of(data, words=True), *map(table_of, other)}) == 6
    assert table_of(data.reshape(2, 4)) == table_of(data.copy())
    assert table_of(data.reshape(2, 4).T) == table_of(data.reshape(2, 4).T.copy()) != table_of(data)


def test_steps_of_a_gru_have_the_same_constants_however_many_they_are() -> None:
    """What a gate is at one step it is at all, on one grid: its multipliers are the same, and stand once."""

    def constants(steps: int) -> int:
        torch.manual_seed(0)
        x = torch.randn(100, steps, 4)
        qat = qtorch.prepare(Unrolled(), x[:1])
        qtorch.calibrate(qat, [x])
        graph = integer_graph(qat.eval())
        return sum(c_source("net", c_network(graph, "host", "size")).constant_bytes.values())

    assert constants(12) == constants(6)


def test_flash_that_is_asked_for_needs_to_hold_each_once() -> None:
    """Constants alone, which no compiler is asked about."""
    graph, host = graph_of("siamese"), board("host")
    once = sum(c_source("net", c_network(graph, "host", "size")).constant_bytes.values())
    assert c_model("net", graph, host, "size").figures["constant_bytes"] == once
    held = sum(value.bytes for value in graph.values.values() if value.data is not None and value.dtype == "int8")
    assert held < once < 2 * held
    with pytest.raises(BadConfiguration, match=rf"{once:,} bytes of constants"):
        c_model("net", graph, host, "size", flash=once - 1)
    c_model("net", graph, host, "size", flash=once)
