"""What is taken for inputs and what for targets: the same by calibration, quantization and export, and said."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import export
import qtorch
from qtorch.capture.told_apart import parts_of, parts_of_call

X = torch.rand(40, 4, generator=torch.Generator().manual_seed(0))
MASK = (X > 0.5).float()
Y = X.sum(1, keepdim=True)


class Masked(nn.Module):
    """A second argument that may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.layer(x if mask is None else x * mask)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.layer(a + b)


class OfDict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.layer(batch["a"])


TAKEN = (
    r"the last of 2 parts of the data, a Tensor of shape \(40, 1\), is taken for targets, and forward's mask for None"
)


def _prepared(net: nn.Module, example: Any) -> qtorch.QuantizedNetwork:
    torch.manual_seed(0)
    return qtorch.prepare(net, example)


def test_what_stands_in_the_place_of_a_default_is_a_target_for_calibration_and_export_and_both_say_so() -> None:
    qat = _prepared(Masked(), X[:1])
    with pytest.warns(UserWarning, match=TAKEN):
        qtorch.calibrate(qat, [(X, Y)])
    assert qat.calibrated
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    bundle = export.export_network(qat, calibration=(X, Y), test=(X, Y), options=export.ExportOptions())
    assert bundle.verdict is not None
    said = [each for each in bundle.verdict.remarks if "taken for targets" in each]
    assert [each.partition(":")[0] for each in said] == ["calibration", "test"]
    assert "prepare the network with an example that has it" in said[0]


def test_a_float_network_that_is_quantized_says_it_too() -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match=TAKEN):
        qtorch.quantize(Masked(), (X, Y))


def test_what_the_example_had_is_an_input() -> None:
    qat = _prepared(Masked(), (X[:1], MASK[:1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qtorch.calibrate(qat, [(X, MASK)])
        qtorch.calibrate(qat, [(X, MASK, Y)])
    with pytest.raises(qtorch.errors.BadData, match=r"2 tensors \(x, mask\)"):
        qtorch.calibrate(qat, [X])
    with pytest.raises(qtorch.errors.BadData, match=r"2 tensors \(x, mask\)"):
        qtorch.calibrate(qat, [(X, MASK, Y, Y)])


BATCHES: tuple[tuple[Callable[[], nn.Module], Any, Any, Any, bool], ...] = (
    (lambda: nn.Linear(4, 1), X[:1], X, X, False),
    (lambda: nn.Linear(4, 1), X[:1], (X, Y), X, True),
    (lambda: nn.Linear(4, 1), X[:1], [X, Y], X, True),
    (lambda: nn.Linear(4, 1), X[:1], (X,), X, False),
    (Two, (X[:1], X[:1]), (X, X), (X, X), False),
    (Two, (X[:1], X[:1]), (X, X, Y), (X, X), True),
    (Two, (X[:1], X[:1]), ((X, X), Y), (X, X), True),
    (Two, (X[:1], X[:1]), ({"a": X, "b": X}, Y), {"a": X, "b": X}, True),
    (OfDict, {"a": X[:1]}, {"a": X}, {"a": X}, False),
    (OfDict, {"a": X[:1]}, ({"a": X}, Y), {"a": X}, True),
)


@pytest.mark.parametrize(("net", "example", "batch", "inputs", "has_targets"), BATCHES)
def test_one_rule_for_prepared_and_for_float_networks(
    net: Callable[[], nn.Module], example: Any, batch: Any, inputs: Any, has_targets: bool
) -> None:
    of_float, qat = net(), _prepared(net(), example)
    found = [parts_of(of_float, batch), parts_of(qat, batch), parts_of_call(qat.form, batch)]
    for parts in found[:2]:
        assert parts is not None
        assert repr(parts.inputs) == repr(inputs)
    for parts in found:
        assert parts is not None
        assert (parts.targets is Y) == has_targets
        assert parts.remark == ""
    qtorch.calibrate(qat, [batch])
    assert qat.calibrated
