"""Plain C on an emulated Xtensa core: every output exact, every instruction counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from export.boards import BOARDS, machine_of
from export.cost.machines import replayed
from firmware.emulation import MACHINES, Machine, Options, available, replay
from recipes.mlperf_tiny import DSCNN, Autoencoder, ResNet8
from tests.c_models import copying
from tests.test_profile import graph_of

pytestmark = [pytest.mark.qemu, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def machine() -> Machine:
    if absent := available(MACHINES["lx106"]):
        pytest.skip(absent)
    return MACHINES["lx106"]


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2), nn.Softmax(1))


@pytest.mark.parametrize(
    ("net", "shape", "optimize"),
    [
        pytest.param(_perceptron, (3,), "size", id="perceptron"),
        pytest.param(DSCNN, (1, 49, 10), "size", id="keyword spotting"),
        pytest.param(DSCNN, (1, 49, 10), "ram", id="keyword spotting, row by row"),
        pytest.param(Autoencoder, (640,), "size", id="anomaly detection"),
        pytest.param(ResNet8, (3, 32, 32), "size", id="image classification", marks=pytest.mark.sweep),
    ],
)
def test_network_is_exact(net: type[nn.Module], shape: tuple[int, ...], optimize: str, machine: Machine) -> None:
    torch.manual_seed(0)
    # Every output is compared there.
    found = replayed(graph_of(net(), *shape), machine, 2, optimize)  # type: ignore[arg-type]
    assert found.unit == "instructions"
    assert found.per_mac is not None
    assert 5 < found.per_mac < 25
    assert found.stack > 0


def test_products_and_quotients_of_64_bits(machine: Machine) -> None:
    """What the compiler's own library lacks for this core."""
    one = np.arange(3, dtype=np.int8)[:, None]
    numbers = [0, 1, 3, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 0x12345678]
    checks = "".join(
        f"  a = {a}ull; b = {b}ull; wrong |= a * b != {a * b % 2**64}ull || (uint64_t)(uint32_t)a * (uint32_t)b != "
        f"{a % 2**32 * (b % 2**32)}ull;\n"
        f"  if (b != 0) wrong |= a / b != {a // b if b else 0}ull || a % b != {a % b if b else 0}ull;\n"
        f"  if (b != 0) wrong |= (uint32_t)a / (uint32_t)(b | 1) != {a % 2**32 // (b % 2**32 | 1)}u;\n"
        for a in [*numbers, *(x << 31 for x in numbers)]
        for b in numbers
    )
    body = f"  static volatile uint64_t a, b;\n  int wrong = 0;\n{checks}  if (wrong) {{ *out = 99; return; }}"
    assert replay(machine, copying(body), "copy", one, one).mismatches == 0


@pytest.mark.sweep
def test_a_counter_that_turns_is_still_exact(machine: Machine) -> None:
    """It turns after some 839 million instructions."""
    one = np.zeros((1, 1), np.int8)
    step = '"1: addi %0, %0, -1\\n\\tbnez %0, 1b" : "+r"(i)'
    costs = []
    for n in (1, 425_000_001):
        body = f"static volatile const uint32_t n = {n};\nuint32_t i = n;\n__asm__ volatile({step});"
        found = replay(machine, copying(body), "copy", one, one, Options(seconds=300))
        assert found.cost is not None
        costs.append(found.cost.max)
    assert costs[1] - costs[0] == 850_000_000


def test_no_board_is_estimated_by_it() -> None:
    """Cores of ESP32 have instructions that it lacks."""
    assert all(machine_of(BOARDS[name]) is None for name in ("esp32", "esp32s3"))
