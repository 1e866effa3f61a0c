"""Lightning runs that no number of epochs describes: modules that step by themselves, streams without end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
from torch.utils.data import DataLoader, IterableDataset

from qtorch.lightning.callback import QuantizationAwareTraining
from tests.small_task import SmallData, SmallModule, small_trainer
from tests.test_lightning import Modes, Restless, require_exact

pytestmark = [pytest.mark.tflm, pytest.mark.filterwarnings("ignore:.*does not have many workers.*")]


@pytest.mark.parametrize(("steps", "every"), [(3, 1), (1, 3)])
def test_shares_are_of_the_steps_that_a_module_takes_by_itself(steps: int, every: int) -> None:
    pl.seed_everything(0, verbose=False)
    modes, most = Modes(), 6 * 6 * steps // every
    qat = QuantizationAwareTraining(start=0.5, freeze_batch_norm=0.75)
    module, trainer = Restless(steps, every), small_trainer(qat, modes, max_epochs=-1, max_steps=most)
    trainer.fit(module, datamodule=SmallData())
    assert [mode for mode, _, _ in modes.seen] == ["float"] * 3 + ["quantized"] * 3
    assert trainer.global_step == most
    require_exact(module)


class Endless(IterableDataset[Any]):
    """Rows again and again."""

    def __iter__(self) -> Iterator[Any]:
        return itertools.cycle(SmallData().rows)


@pytest.mark.parametrize(("start", "limits"), [(0.5, {"limit_train_batches": 6}), (0, {})])
def test_a_stream_without_end_is_measured_as_far_as_the_run_goes(start: float, limits: dict[str, Any]) -> None:
    pl.seed_everything(0, verbose=False)
    module = SmallModule()
    trainer = small_trainer(QuantizationAwareTraining(start, None, start), max_epochs=-1, max_steps=12, **limits)
    trainer.fit(module, DataLoader(Endless(), batch_size=16))
    assert trainer.global_step == 12
    require_exact(module)
