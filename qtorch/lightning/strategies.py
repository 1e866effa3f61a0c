"""How Lightning spreads a run over processes, held against what can be quantized so."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from qtorch.errors import BadConfiguration
from qtorch.network.whole_parameters import SHARDING_REMEDY

__all__ = ["require_whole_networks"]

_SHARDING = (DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy)


def require_whole_networks(trainer: pl.Trainer) -> None:
    """Refuse a run whose processes hold parts of the network.

    Raises:
        BadConfiguration: it is one.
    """
    if isinstance(trainer.strategy, _SHARDING):
        raise BadConfiguration(
            where="trainer.strategy",
            expected="one that leaves the network whole in every process",
            got=type(trainer.strategy).__name__,
            remedy=SHARDING_REMEDY,
        )
