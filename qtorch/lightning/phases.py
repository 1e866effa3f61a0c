"""When what happens in quantization-aware training: points in a run, as epochs or shares of it."""

from __future__ import annotations

import warnings
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from qtorch.errors import BadConfiguration

__all__ = ["EXACT_AFTER", "Phases", "Point", "forget_exact_after", "said_of_exact_after"]

#: An option of earlier versions, which old files and code still give.
EXACT_AFTER = "exact_after"

#: An epoch, counted from 0 (int), or a share of all epochs (float in [0, 1]).
Point = int | float


@dataclass(frozen=True)
class Phases:
    """Points of a run; each is an epoch (int) or a share of all epochs (float).

    Attributes:
        start: float training ends, ranges are calibrated, quantized training begins.
        freeze_observers: ranges stop following the activations; ``None``: at the start, where they were calibrated.
        freeze_batch_norm: batch norms use their running statistics, as the device does, and every value in training is
            the device's from here on; ``None``: never in training. A share leaves the last epoch to this at least.

    Raises:
        BadConfiguration: a share outside [0, 1], a negative epoch, or points that contradict each other as far as can
            be seen without the number of epochs; :meth:`epochs` sees the rest.
    """

    start: Point = 0.6
    freeze_observers: Point | None = None
    freeze_batch_norm: Point | None = 0.8

    def __post_init__(self) -> None:
        for name, point in vars(self).items():
            if point is None:
                continue
            wrong = isinstance(point, bool) or point < 0 or (isinstance(point, float) and not point <= 1)
            if wrong:
                raise BadConfiguration(
                    where=f"qat.{name}",
                    expected="a share of all epochs from 0.0 to 1.0, or an epoch as a whole number from 0",
                    got=f"{point}",
                    remedy="try 0.6",
                )
            if name != "start" and type(point) is type(self.start) and point < self.start:
                self._contradiction(name, f"{point}", f"{self.start}")

    def _contradiction(self, name: str, got: str, start: str) -> None:
        raise BadConfiguration(
            where=f"qat.{name}",
            expected=f"a point not before qat.start, {start}",
            got=got,
            remedy=f"raise {name} or lower start: there is nothing to freeze in float training",
        )

    def epochs(self, total: int) -> Epochs:
        """The points as epochs of a run of ``total``; -1 for a run without end.

        Raises:
            BadConfiguration: no epoch is left to quantized training, points contradict each other, or a share is asked
                of a run without end.
        """

        def resolve(name: str, point: Point) -> int:
            if isinstance(point, int):
                return point
            if total < 0:
                raise BadConfiguration(
                    where=f"qat.{name}",
                    expected="a whole epoch, as neither trainer.max_epochs nor max_steps of batches that can be "
                    "counted says when the run ends",
                    got=f"share {point}",
                    remedy="set one of them, and trainer.limit_train_batches where the data have no length, or give "
                    "qat.start, qat.freeze_batch_norm and the others as epochs",
                )
            return round(point * total)

        start = resolve("start", self.start)
        if isinstance(self.start, float):
            # A share leaves at least one epoch to quantized training, however short the run.
            start = min(start, max(total - 1, 0)) if self.start < 1 else start
        if 0 <= total <= start:
            raise BadConfiguration(
                where="qat.start",
                expected=f"an epoch before the last of {total}, by trainer.max_epochs and max_steps",
                got=f"{self.start}, which is epoch {start}",
                remedy="leave some epochs to quantized training: lower start or raise them",
            )
        later: dict[str, int | None] = {}
        for name in ("freeze_observers", "freeze_batch_norm"):
            point = getattr(self, name)
            epoch = later[name] = None if point is None else resolve(name, point)
            if epoch is not None and epoch < start and isinstance(point, int):
                self._contradiction(name, f"epoch {epoch}", f"epoch {start}")
        frozen = later["freeze_batch_norm"]
        if frozen is not None and isinstance(self.freeze_batch_norm, float):
            frozen = max(start, min(frozen, total - 1))
        return Epochs(start, later["freeze_observers"] or start, frozen)


@dataclass(frozen=True)
class Epochs:
    """:class:`Phases` of one run, as epochs; ``None`` for what never comes."""

    start: int
    freeze_observers: int
    freeze_batch_norm: int | None

    def said_of_quantized(self, epoch: int, normalized: bool) -> str:
        """What quantized training computes, which begins in ``epoch``; ``normalized``: the network has batch norms."""
        if not normalized:
            return "every value is the device's"
        if self.freeze_batch_norm is None:
            return (
                "batch norms normalize by the batch to the end (qat.freeze_batch_norm: null), which no device does: "
                "values in training are not the device's, those in validation, test and export are"
            )
        if epoch >= self.freeze_batch_norm:
            return "batch norms freeze at once"
        return f"until epoch {self.freeze_batch_norm}, batch norms are not frozen and normalize by the batch"

    def said_of_early_end(self) -> str:
        """What training was that ended in quantized training, with batch norms that were to be frozen later."""
        return (
            f"training ended before epoch {self.freeze_batch_norm}, in which batch norms were to freeze: they "
            "normalized by the batch, and no value in training was the device's. Remedy: more epochs, or a lower "
            "qat.freeze_batch_norm"
        )


def said_of_exact_after(value: Any) -> str:
    """What to tell whoever gives the option, with the value that was given."""
    return (
        f"qat.{EXACT_AFTER}: every quantized step computes the device's own integers now, from qat.start on, so that "
        f"{value} changes nothing. Remedy: remove the option; it is refused from 0.3 on"
    )


def forget_exact_after(options: MutableMapping[str, Any], stacklevel: int) -> None:
    """Take the option out of ``options``, if it is there.

    Args:
        options: of the callback, by name; changed in place.
        stacklevel: whose line is named, as :func:`warnings.warn` counts it from the caller on.

    Warns:
        DeprecationWarning: it was there.
    """
    if EXACT_AFTER in options:
        message = said_of_exact_after(options.pop(EXACT_AFTER))
        warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 1)
