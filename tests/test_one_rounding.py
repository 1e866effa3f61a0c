"""One place rounds constants, and one reduces mantissas: turned into something else there, everybody follows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph
from qtorch.network.quantized_op import QuantizedOp
from qtorch.numbers.fixedpoint import reduced_mantissa
from qtorch.post_training import round_adaptively
from qtorch.post_training.adaround import learn_steps

ROOT = Path(__file__).parents[1]


def cut_off(real: Tensor) -> Tensor:
    return real.trunc_()


@pytest.fixture
def cutting_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qtorch.numbers.functional.whole_steps_", cut_off)


def network(**options: str | int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    net = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(**options))  # type: ignore[arg-type]
    qtorch.calibrate(qat, [x])
    return qat, x


@pytest.mark.usefixtures("cutting_off")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activations": "int16"},
        {"weight_bits": 4, "weights": "per_tensor"},
        {"scales": "lsq"},
        {"weight_observer": "mse"},
    ],
)
@pytest.mark.parametrize("gradients", [False, True])
def test_training_and_export_round_constants_alike(options: dict[str, str | int], gradients: bool) -> None:
    qat, _ = network(**options)
    graph = integer_graph(qat)
    for name, op in qat.named_modules():
        if not isinstance(op, QuantizedOp):
            continue
        assert op.weight is not None
        with torch.set_grad_enabled(gradients):
            trained, _ = op.constants.in_steps()
        stored = op.constants.integers()
        for role, constant in stored.items():
            assert torch.equal(trained[role].detach().to(torch.int64), constant.codes)
            assert np.array_equal(graph.values[f"{name}.{role}"].data, constant.codes.numpy())  # type: ignore[arg-type]
        # As it was made: towards zero, whatever is nearest.
        steps = op.weight.detach() / stored["weight"].grid.scale.reshape(-1, 1)
        assert float((steps.abs() - stored["weight"].codes.abs()).mean()) > 0.3


@pytest.mark.usefixtures("cutting_off")
def test_learned_rounding_begins_and_ends_there() -> None:
    steps = torch.tensor([[0.9, 1.2, -0.1]])
    x = torch.zeros(4, 3)
    found = learn_steps(
        steps, 127, lambda x, s: x @ s.T, x, x @ steps.T, iterations=1, batch=2, strength=1.0,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert found.tolist() == [[0.0, 1.0, 0.0]]
    qat, x = network()
    ops = [(name, op) for name, op in qat.named_modules() if isinstance(op, QuantizedOp)]
    before = {name: op.constants.integers()["weight"].codes for name, op in ops}
    learned = round_adaptively(qat, [x], steps=1)  # type: ignore[arg-type]
    for each in learned:
        if not each.moved:
            op = qat.get_submodule(each.name)
            assert isinstance(op, QuantizedOp)
            assert torch.equal(op.constants.integers()["weight"].codes, before[each.name])


def test_a_q15_mantissa_is_the_upper_half_of_a_q31_rounded() -> None:
    """Held against exact arithmetic, at both of the places where it could go beyond 15 bits."""
    edges = [
        2**30,
        2**30 + 2**15 - 1,
        2**30 + 2**15,
        0x7FFEFFFF,
        0x7FFF0000,
        0x7FFF7FFE,
        0x7FFF7FFF,
        0x7FFF8000,
        2**31 - 1,
        0,
    ]
    drawn = torch.randint(2**30, 2**31, (1000,), generator=torch.Generator().manual_seed(0)).tolist()
    for mantissa in (*edges, *drawn):
        exact = min(int(Fraction(mantissa, 2**16) + Fraction(1, 2)), 2**15 - 1)
        assert int(reduced_mantissa(torch.tensor(mantissa))) == exact


def test_nobody_else_reduces_mantissas() -> None:
    sources = [path for folder in ("qtorch", "export") for path in (ROOT / folder).rglob("*.py")]
    # Logarithms of the front end are in Q16, products of bytes begin at the third; neither has mantissas.
    assert {path.name for path in sources if ">> 16" in path.read_text()} == {
        "fixedpoint.py",
        "short_requantization.py",
        "signal_filter_bank_log.py",
    }
