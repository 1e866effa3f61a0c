"""Every row's samples, compiled for an emulated processor: its own kernels, at the shapes that rows know to be hard.

What is drawn at random (:mod:`tests.test_checkkernel`) meets a kernel's ends now and then; these are met every time.
"""

from __future__ import annotations

import pytest

from export.c.network import c_network
from export.rows import reference_outputs, runtime_arrays, sample_graph
from firmware.emulation import MACHINES
from qtorch.errors import UnsupportedLayer
from qtorch.ops import ROWS
from tests.shared_programs import Case, failures

pytestmark = pytest.mark.usefixtures("one_thread")

#: Whose kernels have vectors or words of some processor in them; those of products have tests of their own.
_OF_A_CORE = ("add", "batch_matmul", "maximum", "minimum", "mul", "softmax", "sub", "table")
#: A row and the machine that runs its samples.
_ALWAYS = [(op, machine) for machine in ("cortex_m4", "cortex_m55") for op in _OF_A_CORE]
# A compiler that knows the addresses of a reversal's tensors has left it out.
_ALWAYS.append(("reverse_v2", "cortex_m0"))
_MACHINES = ("cortex_m0", "cortex_m3", "cortex_m4", "cortex_m55", "riscv32")
_REST = [(op, machine) for op in ROWS for machine in _MACHINES if (op, machine) not in _ALWAYS]


#: Tables of 16 bits and large samples are more than their memory.
_SMALL = ("atmega328p", "cortex_m0", "cortex_m55")
#: Compilers are wrong at one level and right at another: what the projects here compile with is only the first.
_LEVELS = ("-O1", "-O3", "-Os")


def written(op: str, cpu: str) -> dict[str, Case]:
    """A row's samples as C for a processor, whose inputs are all of one width: else some lie where chance has them."""
    cases = {}
    for sample in ROWS[op].samples():
        graph = sample_graph(ROWS[op], sample)
        if {graph.values[name].array_dtype for name in graph.inputs} not in ({"int8"}, {"int16"}):
            continue
        try:
            network = c_network(graph, cpu)
        except UnsupportedLayer:
            continue
        cases[f"{len(cases)}: {sample.label}"] = (
            network,
            runtime_arrays(graph, sample),
            reference_outputs(ROWS[op], sample),
        )
    return cases


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("op", "machine"), [*_ALWAYS, *(pytest.param(*each, marks=pytest.mark.sweep) for each in _REST)]
)
def test_samples_of_a_row(op: str, machine: str) -> None:
    cases = written(op, machine.replace("_", "-"))
    if op in _OF_A_CORE:
        assert len(cases) >= 3
    found = failures(machine, cases) if cases else {}
    beyond = {label for label, said in found.items() if said == "too large" and machine in _SMALL}
    assert {label: said for label, said in found.items() if label not in beyond} == {}
    assert not cases or len(beyond) < len(cases)


@pytest.mark.parametrize("op", ["arg_max", "arg_min"])
def test_layers_that_a_compiler_keeps_apart(op: str) -> None:
    """Told where its tensors lie, such a layer was taken for one that stores nothing, and its call left out."""
    cases = written(op, "host")
    assert len(cases) >= 3
    assert failures("host", cases, "-O2 -fno-inline") == {}


def _sample_bytes(case: Case) -> int:
    _, inputs, outputs = case
    return sum(each[:1].nbytes for each in (*inputs, *outputs))


@pytest.mark.sweep
@pytest.mark.parametrize("level", _LEVELS)
@pytest.mark.parametrize("machine", ["host", "atmega328p", *_MACHINES])
def test_samples_of_all_rows_at_every_level(machine: str, level: str) -> None:
    cpu = MACHINES[machine].cpu
    cases = {f"{op} {label}": case for op in ROWS for label, case in written(op, cpu).items()}
    # An int has 16 bits there, and larger samples more bytes than the program can count.
    cases = {label: case for label, case in cases.items() if cpu != "avr" or _sample_bytes(case) < 2**14}
    assert len(cases) >= 500
    found = failures(machine, cases, level)
    beyond = {label for label, said in found.items() if said == "too large" and machine in _SMALL}
    assert {label: said for label, said in found.items() if label not in beyond} == {}
    assert len(beyond) < len(cases) / 4
