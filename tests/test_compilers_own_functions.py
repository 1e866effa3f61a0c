"""Which functions of its own library a compiler calls in kernels: none in floats, none that multiplies 64 bits."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from torch import nn

from export.c.network import c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.graph.ir import Graph
from export.rows import sample_graph
from firmware.emulation import MACHINES, Options, available
from firmware.emulation.build import compile_model, run_tool
from qtorch.errors import UnsupportedLayer
from qtorch.ops import ROWS
from tests.test_profile import graph_of

#: Arithmetic, comparisons and conversions of float and double, as the EABI of Arm and as GCC call them, and libm's.
FLOATS = re.compile(
    r"__aeabi_(c?[fd](add|sub|rsub|mul|div|cmp\w*|2\w+)|(i|ui|l|ul|h)2[fd])"
    r"|__(add|sub|mul|div|neg|cmp|eq|ne|lt|le|gt|ge|unord|pow|fix|fixuns|float|floatun|floatuns|extend|trunc)"
    r"(si|di|usi|udi)?(sf|df)(si|di|sf|df|hf)?[23]?"
    r"|(sqrt|exp|log|pow|round|lround|floor|ceil|tanh|fmax|fmin|fabs)f?"
)
#: A product of 64 bits, for which there are short forms; an AVR has none in its loops of products.
LONG_PRODUCTS = re.compile(r"__aeabi_lmul|__muldi3")

MACHINE = [
    pytest.param("cortex_m0", marks=pytest.mark.qemu),
    *(
        pytest.param(name, marks=[pytest.mark.qemu, pytest.mark.sweep])
        for name in ("cortex_m3", "cortex_m4", "cortex_m55", "riscv32")
    ),
    pytest.param("atmega328p", marks=pytest.mark.avr),
]


@cache
def _graphs() -> list[tuple[str, Graph]]:
    """Every sample of every row."""
    return [(name, sample_graph(row, sample)) for name, row in ROWS.items() for sample in row.samples()]


def _undefined(machine: str, optimize: Optimize, folder: Path) -> dict[str, set[str]]:
    """By symbol that an object asks for: kernels of the rows' samples, each form of each once."""
    tools, found, seen = MACHINES[machine], defaultdict[str, set[str]](set), set[object]()
    made: dict[str, str] = {}
    for name, graph in _graphs():
        try:
            network = c_network(graph, tools.cpu, optimize)
        except UnsupportedLayer:
            continue
        calls = [step.call for step in network.steps]
        numbers = [{k: v for k, v in c.arguments.items() if k in ("form", "splits", "weight_bits")} for c in calls]
        source = c_source(f"net_{len(made)}", network)
        macros = tuple(re.findall(r"\bQ_[A-Z]+\b", source.files[f"net_{len(made)}_model.c"]))
        form = (name, tuple(c.kernel for c in calls), str(numbers), macros)
        if form in seen:
            continue
        seen.add(form)
        (compiled,) = compile_model(tools, source.files, "net", folder, Options()).objects
        made[str(compiled)] = " ".join((name, *(c.kernel for c in calls)))
    listed = run_tool(machine, (f"{tools.prefix}nm", "-A", "-u", *made))
    for compiled, symbol in re.findall(r"^(.+?):.*\bU (\S+)", listed, re.MULTILINE):
        found[symbol].add(made[compiled])
    return found


@pytest.mark.parametrize("machine", MACHINE)
def test_no_arithmetic_in_floats_and_no_long_product_by_a_call(machine: str, tmp_path: Path) -> None:
    if (reason := available(MACHINES[machine])) is not None:
        pytest.skip(reason)
    found = _undefined(machine, "size", tmp_path)
    assert found, "objects ask for memcpy at least"
    assert {symbol: kernels for symbol, kernels in found.items() if FLOATS.fullmatch(symbol)} == {}
    if machine != "atmega328p":
        assert {symbol: kernels for symbol, kernels in found.items() if LONG_PRODUCTS.fullmatch(symbol)} == {}


@pytest.mark.parametrize(
    "symbol",
    ["__aeabi_fadd", "__aeabi_dcmplt", "__aeabi_f2iz", "__aeabi_i2d", "__addsf3", "__mulsf3", "__fixsfsi",
     "__floatsidf", "__extendsfdf2", "__truncdfsf2", "__ltsf2", "expf", "sqrt"],
)  # fmt: skip
def test_names_of_functions_in_floats(symbol: str) -> None:
    assert FLOATS.fullmatch(symbol)


@pytest.mark.parametrize("symbol", ["__aeabi_lmul", "__aeabi_idiv", "memcpy", "__muldi3", "__mulsi3", "__udivmodhi4"])
def test_names_of_functions_in_integers(symbol: str) -> None:
    assert not FLOATS.fullmatch(symbol)


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["cortex_m0", "cortex_m4"])
def test_a_layer_is_a_function_of_its_own(name: str, tmp_path: Path) -> None:
    """Where GCC puts layers into one another, they take registers from each other."""
    if reason := available(MACHINES[name]):
        pytest.skip(reason)
    machine, graph = MACHINES[name], graph_of(nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 5)), 12)
    source = c_source("net", c_network(graph, machine.cpu))
    objects = compile_model(machine, source.files, "net", tmp_path, Options()).objects
    symbols = run_tool(name, (f"{machine.prefix}nm", *objects))
    assert {f"fully_connected_{i}" for i in (1, 2)} <= set(re.findall(r" t (\w+)", symbols))
