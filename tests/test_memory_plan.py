"""Working memory: what is needed at once lies apart, and the whole is as small as it can be where that is known."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from export.c.memory_plan import Buffer, MemoryPlan, lower_bound, plan
from export.c.network import c_network
from export.c.source import c_source
from tests.test_profile import graph_of


def overlapping(buffers: list[Buffer], found: MemoryPlan) -> list[tuple[str, str]]:
    return [
        (a.name, b.name)
        for i, a in enumerate(buffers)
        for b in buffers[:i]
        if a.overlaps(b)
        and found.offsets[a.name] < found.offsets[b.name] + b.size
        and found.offsets[b.name] < found.offsets[a.name] + a.size
    ]


def test_a_chain_takes_its_largest_pair() -> None:
    sizes = [100, 400, 200, 300, 8]
    buffers = [Buffer(str(i), size, i, i + 1) for i, size in enumerate(sizes)]
    assert plan(buffers).peak == lower_bound(buffers) == 600


def test_a_residual_stays_while_the_branch_is_computed() -> None:
    buffers = [Buffer("x", 64, 0, 3), Buffer("a", 64, 1, 2), Buffer("b", 64, 2, 3), Buffer("c", 16, 3, 4)]
    found = plan(buffers)
    assert found.peak == lower_bound(buffers) == 192
    assert not overlapping(buffers, found)


@pytest.mark.parametrize("seed", range(30))
def test_random_plans_are_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    firsts = rng.integers(0, 12, 15)
    buffers = [
        Buffer(str(i), int(rng.integers(1, 200)), int(first), int(first + rng.integers(0, 5)))
        for i, first in enumerate(firsts)
    ]
    found = plan(buffers)
    assert not overlapping(buffers, found)
    assert all(offset % 4 == 0 for offset in found.offsets.values())
    assert found.peak >= lower_bound(buffers)
    assert found.peak == max(found.offsets[b.name] + b.size for b in buffers)


def test_nothing_takes_nothing() -> None:
    assert plan([]) == MemoryPlan({}, 0)
    assert lower_bound([]) == 0


def test_a_program_has_room_for_the_whole_plan() -> None:
    """In words of four bytes, rounded upwards: here 5 bytes lie before 1."""
    made = c_network(graph_of(nn.Linear(5, 1), 5))
    source = c_source("net", made)
    assert (made.plan.peak, source.scratch_bytes) == (9, 12)
    assert f"static uint32_t scratch[{source.scratch_bytes // 4}];" in source.files["net_model.c"]
