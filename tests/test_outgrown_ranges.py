"""What a loop of one's own is told of values that its ranges can't hold, and whether the remedies mend it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import qtorch
from qtorch.network.training_check import checked_training
from tests import trained_modules as modules


def _saturated_after(train: Callable[[qtorch.QuantizedNetwork], None], **options: Any) -> list[str]:
    """What a loop is told of its layer: calibrated, then quantized and trained by ``train``."""
    torch.manual_seed(0)
    qat = qtorch.prepare(nn.Linear(4, 1), torch.zeros(1, 4), qtorch.QuantizationConfig(**options))
    optimizer = torch.optim.SGD(qat.parameters(), 0.01)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with checked_training(qat, optimizer):
            qtorch.calibrate(qat, [modules.TRAIN[0]])
            qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
            train(qat)
    said = [str(each.message) for each in told]
    return [each for each in said if "saturated range" in each and "input" not in each]


def _outgrow(qat: qtorch.QuantizedNetwork) -> None:
    """Outputs half as large again as they were when ranges were measured."""
    _grow(qat, 1.5)


def _grow(qat: qtorch.QuantizedNetwork, times: float) -> None:
    with torch.no_grad():
        for parameter in qat.parameters():
            parameter.mul_(times)
    qat(modules.TRAIN[0])


def _outgrow_and_calibrate(qat: qtorch.QuantizedNetwork) -> None:
    _outgrow(qat)
    qtorch.calibrate(qat, [modules.TRAIN[0]])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)


def test_what_grew_in_quantized_training_has_remedies_that_mend_it() -> None:
    (told,) = _saturated_after(_outgrow)
    assert "Remedy: calibrate again and train on in QUANTIZED, or prepare with head-room, by " in told
    assert "qtorch.QuantizationConfig(margin=0.2)" in told
    assert _saturated_after(_outgrow_and_calibrate) == _saturated_after(_outgrow, margin=1.0) == []


def test_what_grew_by_a_tenth_has_learned_with_the_ends_of_its_range() -> None:
    """Values lie beyond, and what is cut off of them is less than 1 % of the power of all."""
    assert _saturated_after(lambda qat: _grow(qat, 1.1)) == []
    torch.manual_seed(0)
    qat = qtorch.prepare(nn.Linear(4, 1), torch.zeros(1, 4))
    qtorch.calibrate(qat, [modules.TRAIN[0]])
    _grow(qat, 1.1)
    (found,) = qtorch.saturation(qat, [modules.TRAIN[0]])
    assert 0 < found.cut_off < 0.01
    assert not found.outgrown


def test_nan_is_no_range_that_is_too_narrow() -> None:
    def spoil(qat: qtorch.QuantizedNetwork) -> None:
        qat(torch.full((2, 4), torch.nan))
        with torch.no_grad():
            for parameter in qat.parameters():
                parameter.mul_(0.5)

    (told,) = _saturated_after(spoil)
    assert "values are NaN; the worst of 2. Remedy: look for NaN in the data and the loss, and train again" in told
