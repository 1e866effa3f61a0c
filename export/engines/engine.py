"""What an engine is: whatever computes a model, and what it says of itself to those who ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from qtorch.numbers.fixedpoint import Rounding
from qtorch.progress import stage

__all__ = ["Engine", "InspectableEngine", "in_batches"]


#: Runs after which an engine says how far it is: one of a small model takes microseconds.
_RUNS = 64


def _here() -> str:
    return ""


@dataclass(frozen=True)
class Engine:
    """Whatever computes a model.

    Attributes:
        name: in reports.
        version_of: what it calls itself.
        run: model file and samples to outputs; RuntimeError or ValueError where it has no kernels for the model.
        absent: why it does not run here, and the remedy; empty if it does. Asked before anything else but the name.
        rounding: of a requantization: DOUBLE as the integer reference, or SINGLE.
        reported: whether parity runs it beside the judge, and reports how far it lies off.
        called: what a person calls it in a table.
    """

    name: str
    version_of: Callable[[], str]
    run: Callable[[bytes, tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]
    absent: Callable[[], str] = field(default=_here, kw_only=True)
    rounding: Rounding = field(default=Rounding.DOUBLE, kw_only=True)
    reported: bool = field(default=False, kw_only=True)
    called: str = field(default="", kw_only=True)

    @property
    def version(self) -> str:
        """Of the installed distribution, or of the compiler."""
        return self.version_of()


@dataclass(frozen=True)
class InspectableEngine(Engine):
    """An engine that shows what happens inside, which is what a judge must do.

    Attributes:
        tensors: every tensor of the model for each sample, by its index in the file; takes how many there are.
        preference: its place among those who may judge, the smallest first; ``None`` of one that never does.
        narrow_weights: whether it has the kernels that sum floats with weights of float16 or int8.
        kernels: what it judges with, in a sentence.
    """

    tensors: Callable[[bytes, tuple[np.ndarray, ...], int], Iterator[list[np.ndarray]]]
    preference: int | None = field(default=None, kw_only=True)
    narrow_weights: bool = field(default=False, kw_only=True)
    kernels: str = field(default="", kw_only=True)


def in_batches(
    one: Callable[[list[np.ndarray]], list[np.ndarray]], inputs: tuple[np.ndarray, ...], batch: int
) -> tuple[np.ndarray, ...]:
    """Outputs ``[samples, ...]`` of a function that takes ``batch`` samples of each input at a time."""
    count, parts, together = len(inputs[0]), [], batch * _RUNS
    with stage("inputs", count) as progress:
        for start in range(0, count, together):
            places = range(start, min(start + together, count), batch)
            parts += [one([array[i : i + batch] for array in inputs]) for i in places]
            progress.advance(together)
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))
