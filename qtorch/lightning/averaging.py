"""Living with Lightning's callbacks that average weights (SWA, EMA): they copy the module and swap copies in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import StochasticWeightAveraging, WeightAveraging
from torch import nn

from qtorch.errors import BadConfiguration
from qtorch.network.quantized_network import QuantizedNetwork

__all__ = ["averaged_networks", "averages_weights", "require_first", "saved_network"]

_AVERAGING = (StochasticWeightAveraging, WeightAveraging)


def averages_weights(trainer: pl.Trainer) -> bool:
    """Whether the run's final weights are an average of those that were trained."""
    callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
    return any(isinstance(callback, _AVERAGING) for callback in callbacks)


def averaged_networks(trainer: pl.Trainer) -> Iterator[nn.Module]:
    """The ``net`` of every averaged copy of the module."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        copy = getattr(callback, "_average_model", None) if isinstance(callback, _AVERAGING) else None
        if copy is not None:
            yield copy.net if hasattr(copy, "net") else copy.module.net


def saved_network(trainer: pl.Trainer, network: nn.Module) -> nn.Module:
    """The network whose state a checkpoint holds: ``network``, or the average that a callback saves in its place."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        average = getattr(callback, "_average_model", None) if isinstance(callback, WeightAveraging) else None
        if average is not None:
            averaged: nn.Module = average.module.net
            return averaged
    return network


def require_first(trainer: pl.Trainer, qat: pl.Callback) -> None:
    """The network must be prepared before another callback copies the module.

    Raises:
        BadConfiguration: a callback that averages weights comes before ``qat``.
    """
    callbacks: list[Any] = list(trainer.callbacks)  # type: ignore[attr-defined]
    for callback in callbacks[: callbacks.index(qat)]:
        copy = getattr(callback, "_average_model", None)
        net = getattr(copy, "net", None) or getattr(getattr(copy, "module", None), "net", None)
        if isinstance(callback, _AVERAGING) and not isinstance(net, QuantizedNetwork):
            raise BadConfiguration(
                where="trainer.callbacks",
                expected="QuantizationAwareTraining before callbacks that average weights",
                got=f"{type(callback).__name__} first, which has copied the network before it was prepared",
                remedy="swap them",
            )
