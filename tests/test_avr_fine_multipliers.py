"""Layers on AVR whose sums outgrow 16 bits and whose thresholds ask for finer multipliers than 24 bits have."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from export.c.network import CNetwork, c_network
from export.c.requantization import exact_codes
from export.c.short_requantization import Short, short_codes, short_requantization
from export.graph.ir import Graph
from export.rows import reference_outputs, runtime_arrays, sample_graph
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.kernel_call import Accumulators
from qtorch.row.row import Sample
from tests.avr_arithmetic import NUMBERS_OF_A_LEVEL, little, on_an_uno
from tests.shared_programs import Case, failures
from tests.table_kernels import by_table

_ROW = ROWS["fully_connected"]


def _layer(seed: int) -> Sample:
    """Thirty-two inputs on sixteen outputs, each with a scale of its own, as a hidden layer behind a ReLU has them."""
    rng = np.random.default_rng(seed)
    s_in, s_w = 0.02, rng.uniform(0.004, 0.008, 16)
    source, output = QParams((float(np.float32(s_in)),), (-128,)), QParams((float(np.float32(0.09)),), (-128,))
    weight = QParams(tuple(float(s) for s in s_w.astype(np.float32)), (0,) * 16, axis=0)
    grid = tuple(float(np.float32(s_in) * np.float32(s)) for s in weight.scale)
    arrays = {
        "input": rng.integers(-128, 128, (24, 32), dtype=np.int8),
        "weight": rng.integers(-127, 128, (16, 32), dtype=np.int8),
        "bias": rng.integers(-2000, 2000, 16, dtype=np.int32),
    }
    for i in range(8):
        arrays["input"][i] = np.where(arrays["weight"][i] > 0, 127, -128)
    qparams = {"input": source, "weight": weight, "output": output, "bias": QParams(grid, (0,) * 16, "int32", 0)}
    return Sample("hidden", {"activation": "relu", "keep_num_dims": False}, arrays, qparams)


def _operands(graph: Graph) -> Accumulators:
    (found,) = (
        step.call.arguments["channels"]
        for step in c_network(graph).steps
        if isinstance(step.call.arguments.get("channels"), Accumulators)
    )
    assert isinstance(found, Accumulators)
    return found


@cache
def _fine() -> dict[int, tuple[Accumulators, Short]]:
    """By seed, layers that the form with finer multipliers computes."""
    found = {}
    for seed in range(12):
        accumulators = _operands(sample_graph(_ROW, _layer(seed)))
        short = short_requantization(accumulators)
        if short is not None and short.form == 40:
            found[seed] = (accumulators, short)
    return found


def test_most_such_layers_need_no_exact_arithmetic() -> None:
    assert len(_fine()) >= 8


def test_what_is_proven_at_thresholds_holds_for_every_sum() -> None:
    for accumulators, short in _fine().values():
        low, high = accumulators.low, accumulators.high
        for first in range(int(accumulators.least.min()), int(accumulators.greatest.max()), 1 << 16):
            sums = np.arange(first, first + (1 << 16), 5)[None].repeat(len(accumulators.bias), 0)
            sums = sums.clip(accumulators.least[:, None], accumulators.greatest[:, None])
            expected = exact_codes(accumulators, sums).clip(low, high)
            np.testing.assert_array_equal(short_codes(short, sums, low, high), expected)


@pytest.mark.avr
def test_layers_are_exact_with_weights_in_tables_and_as_immediates() -> None:
    cases: dict[str, Case] = {}
    for seed in _fine():
        sample = _layer(seed)
        graph = sample_graph(_ROW, sample)
        ends = (runtime_arrays(graph, sample), reference_outputs(_ROW, sample))
        kinds: dict[str, CNetwork] = {
            "table": by_table(graph, "avr", "fully_connected_avr"),
            "any": c_network(graph, "avr", optimize="speed"),
        }
        cases |= {f"{seed} {kind}": (network, *ends) for kind, network in kinds.items()}
    kernels = {step.call.kernel for network, *_ in cases.values() for step in network.steps}
    assert "fully_connected_avr" in kernels
    assert len(kernels) > 1
    assert failures("atmega328p", cases) == {}


def _product(moved: int, multiplier: int) -> int:
    """Of bytes: all from the third of the result up, and what the high bytes of the second's carry there."""
    parts = [(i + j, (moved >> 8 * i & 255) * (multiplier >> 8 * j & 255)) for i in range(3) for j in range(4)]
    return sum(part << 8 * at >> 16 for at, part in parts if at > 1) + sum(part >> 8 for at, part in parts if at == 1)


@pytest.mark.avr
def test_levels_change_where_the_last_bit_says() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(500):
        moved, multiplier = (int(rng.integers(1 << int(rng.integers(8, most)))) for most in (24, 33))
        edge = -_product(moved, multiplier) % (1 << 24)
        # Just enough for the next level, one less, and more, so that an earlier product carries.
        for plus in (0, -1, int(rng.integers(1 << int(rng.integers(1, 25))))):
            rows.append((moved, multiplier, (edge + plus) % (1 << 24)))
    levels = [min(_product(moved, multiplier) + fraction >> 24, 255) for moved, multiplier, fraction in rows]
    body = f"""\
{NUMBERS_OF_A_LEVEL}  out[0] = (int8_t)q_level_of_40_avr(moved, multiplier, fraction);
"""
    sums, multipliers, fractions = (np.array(column) for column in zip(*rows, strict=True))
    columns = [little(each.tolist(), count) for each, count in ((sums, 3), (multipliers, 4), (fractions, 3))]
    found = on_an_uno(
        "requantize_avr", body, np.concatenate(columns, 1), np.array(levels, np.uint8).view(np.int8)[:, None]
    )
    assert found.mismatches == 0, found.first
    # The export's own model of that product.
    zeros = np.zeros_like(sums)
    short = Short(40, zeros, multipliers, fractions, fractions)
    np.testing.assert_array_equal(short_codes(short, sums[:, None], 0, 255)[:, 0], levels)
