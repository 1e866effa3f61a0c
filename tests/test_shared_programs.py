"""Of several networks in one program, exactly those are named that compute something else."""

from __future__ import annotations

import numpy as np
import pytest

from export.c.network import c_network
from export.rows import reference_outputs, runtime_arrays, sample_graph
from qtorch.ops import ROWS
from tests.shared_programs import AMPLE, Case, batches, failures, part_of


def case(op: str) -> Case:
    """The first sample of int8 codes alone."""
    sample = next(s for s in ROWS[op].samples() if all(array.dtype == np.int8 for array in s.arrays.values()))
    graph = sample_graph(ROWS[op], sample)
    return c_network(graph), runtime_arrays(graph, sample), reference_outputs(ROWS[op], sample)


@pytest.mark.parametrize("machine", ["host", pytest.param("cortex_m4", marks=pytest.mark.qemu)])
def test_what_is_wrong_is_named(machine: str) -> None:
    """Of one input and of two."""
    cases = {op: case(op) for op in ("relu", "add", "max_pool_2d", "mul")}
    assert failures(machine, cases) == {}
    for op in ("add", "max_pool_2d"):
        network, inputs, (expected,) = cases[op]
        wrong = expected.copy()
        wrong.reshape(-1)[-1] ^= 1
        cases[op] = network, inputs, (wrong,)
    found = failures(machine, cases)
    assert list(found) == ["add", "max_pool_2d"]
    for op, said in found.items():
        output = cases[op][2][0]
        assert said.startswith(f"output {output[0].size - 1} of sample {len(output) - 1}: {machine} ")
        assert said.endswith(f"reference {output.reshape(-1)[-1]}")


def test_a_program_holds_what_there_is_room_for() -> None:
    part = part_of("net_0", case("relu"))
    programs = list(batches([part] * 301, "cortex_m4", lambda each: each.room))
    assert sum(map(len, programs)) == 301
    assert all(len(batch) <= 100 and len(batch) * part.room[0] <= AMPLE[0] for batch in programs)
    assert len(list(batches([part] * 40, "atmega328p", lambda each: each.room))) > 1
