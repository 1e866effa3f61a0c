"""What each test sample contributes to a figure: values whose mean is the figure.

A module says it itself, by a method ``contributions(x, output, target)``; what a test step of its own logs is
recognized where it is the mean of one of :data:`COMPOSITIONS` for every network that was tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["COMPOSITIONS", "Composition", "constant_output", "recognized"]

#: By how much a logged float32 mean over batches may differ from one over samples.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Composition:
    """A figure as a mean over samples.

    Attributes:
        name: of the figure.
        better: which way it is better.
        of: float64 ``[N]`` of output and target, both ``[N, ...]``.
        fits: whether an output and a target have the shapes and types that it is made of.
    """

    name: str
    better: Literal["higher", "lower"]
    of: Callable[[Tensor, Tensor], Tensor]
    fits: Callable[[Tensor, Tensor], bool]


def _same_size(output: Tensor, target: Tensor) -> bool:
    return target.is_floating_point() and output.numel() == target.numel()


def _classes(output: Tensor, target: Tensor) -> bool:
    if output.ndim != 2 or output.shape[1] < 2 or target.ndim != 1 or target.is_floating_point():
        return False
    return bool((target >= 0).all()) and int(target.max()) < output.shape[1]


def _two(output: Tensor, target: Tensor) -> bool:
    return output.numel() == target.numel() == len(target) and bool(((target == 0) | (target == 1)).all())


def _errors(output: Tensor, target: Tensor) -> Tensor:
    return output.double().reshape(len(output), -1) - target.double().reshape(len(target), -1)


def _right(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(1) == target).double()


def _root(output: Tensor, target: Tensor) -> Tensor:
    squares = _errors(output, target).square().mean(1)
    root = float(squares.mean().sqrt())
    return root + (squares - root**2) / (2 * root) if root else torch.zeros_like(squares)


def determined(output: Tensor, target: Tensor) -> Tensor:
    """Of R2 over all values: how it changes with a sample, and in the mean R2 itself."""
    squares, wanted = _errors(output, target).square().mean(1), target.double().reshape(len(target), -1)
    spread = (wanted - wanted.mean()).square().mean(1)
    a, b = float(squares.mean()), float(spread.mean())
    return 1 - squares / b + a / b**2 * (spread - b) if b else torch.full_like(squares, math.nan)


def _above(threshold: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda output, target: ((output.flatten() > threshold) == (target.flatten() == 1)).double()


def _flat(loss: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda output, target: loss(output.double().flatten(), target.double().flatten(), reduction="none")


#: The usual ones, by what they are computed from.
COMPOSITIONS: Sequence[Composition] = (
    Composition("mean squared error", "lower", lambda o, t: _errors(o, t).square().mean(1), _same_size),
    Composition("mean absolute error", "lower", lambda o, t: _errors(o, t).abs().mean(1), _same_size),
    Composition("root of the mean squared error", "lower", _root, _same_size),
    Composition("R2", "higher", determined, _same_size),
    Composition("accuracy", "higher", _right, _classes),
    Composition("accuracy in percent", "higher", lambda o, t: 100 * _right(o, t), _classes),
    Composition("share of errors", "lower", lambda o, t: 1 - _right(o, t), _classes),
    Composition("number of errors", "lower", lambda o, t: len(t) * (1 - _right(o, t)), _classes),
    Composition("cross entropy", "lower", lambda o, t: F.cross_entropy(o.double(), t, reduction="none"), _classes),
    Composition("accuracy", "higher", _above(0.5), _two),
    Composition("accuracy", "higher", _above(0.0), _two),
    Composition("cross entropy", "lower", _flat(F.binary_cross_entropy_with_logits), _two),
)  # fmt: skip


def recognized(figures: Mapping[str, float], outputs: Mapping[str, Tensor], target: Tensor) -> Composition | None:
    """What a figure is the mean of, if it is that for every network.

    Args:
        figures: of one name, by network.
        outputs: ``[N, ...]`` by network, of the same samples.
        target: ``[N, ...]``.
    """
    for each in COMPOSITIONS:
        if all(each.fits(outputs[name], target) for name in figures) and all(
            math.isclose(float(each.of(outputs[name], target).mean()), value, rel_tol=_TOLERANCE, abs_tol=1e-12)
            for name, value in figures.items()
        ):
            return each
    return None


def constant_output(output: Tensor, target: Tensor) -> tuple[str, Tensor] | None:
    """What a network that looks at nothing would say at best, as a person calls it, and for every sample.

    The mean of the targets, or how common each class is: of the test samples themselves, which no such network can beat
    by learning.

    Args:
        output: ``[N, ...]`` of a network that looks.
        target: ``[N, ...]``.

    Returns:
        ``None`` where the target is neither of the output's size nor its classes.
    """
    if _classes(output, target):
        shares = torch.bincount(target, minlength=output.shape[1]).to(output.dtype) / len(target)
        probabilities = bool((output >= 0).all()) and bool(((output.sum(1) - 1).abs() < 0.1).all())
        # Of logits those whose cross entropy is the least that a constant has; the largest is the same class.
        same = shares if probabilities else shares.clamp(min=0.1 / len(target)).log()
        return "the commonest class", same.expand(len(output), -1)
    if _same_size(output, target) or _two(output, target):
        mean = target.double().reshape(len(target), -1).mean(0)
        return "the mean of the targets", mean.expand(len(output), -1).reshape(output.shape).to(output.dtype)
    return None
