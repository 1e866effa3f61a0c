"""Scores that a softmax must give nothing, and factors that it can take: what attention has that no ATen operator is.

A mask of minus infinity has no place on a grid, and one of a large number leaves the others none: what is beside it has
a few codes. Here masked scores are put to the lowest code, and the grid has it for them: it begins so far below every
score that was measured that the exponentials of all masked ones add up to less than a thousandth of the largest. In
int8 a softmax then gives them 0; in int16, whose kernel has no exponential below ``exp(-10)``, up to a step each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

__all__ = ["NOTHING", "limits_of", "masked_scores", "measured_scores", "room_below", "scaled_softmax"]

#: Beyond every grid, to either side.
NOTHING = 2.0**100


def limits_of(kept: Tensor) -> Tensor:
    """Numbers that scores are held below, float32, of a boolean mask of what is kept."""
    return torch.where(kept, NOTHING, -NOTHING)


def room_below(length: int) -> float:
    """How far below the least of ``length`` scores masked ones lie: their exponentials add up to less than 2**-10."""
    return math.log(2.0**10 * length)


def masked_scores(
    input: Tensor, other: Tensor, room: float, filled: float | None = None, added: float | None = None
) -> Tensor:
    """``input`` where ``other`` is :data:`NOTHING`, and elsewhere what a softmax gives nothing.

    A number that is written to forbid does so of scores that lie nearer to each other, and not of others; nor in a row
    that is forbidden as a whole. In floats it is what the network computes with.

    Args:
        input: scores, real numbers or steps.
        other: of :func:`limits_of`, or its steps, the lowest and the highest; broadcasts to them.
        room: of :func:`room_below`, in the scores' units; see :func:`measured_scores`.
        filled: what forbidden scores become in floats, if not ``other``.
        added: what is added to them instead.
    """
    if has_torch_function((input, other)):
        return handle_torch_function(masked_scores, (input, other), input, other, room, filled, added)
    kept = torch.minimum(input, other)
    if added is not None:
        least = input + added
    elif filled is not None:
        least = torch.full_like(input, filled)
    else:
        return kept
    # On a grid the limits are its ends.
    return torch.where(other > -NOTHING / 2, kept, least)


def measured_scores(scores: Tensor, room: float) -> Tensor:
    """What the grid of masked scores, real numbers, has to hold: all others, and a lowest code ``room`` below them."""
    kept = scores > -NOTHING / 2
    least = torch.where(kept, scores, NOTHING).amin() if scores.numel() else 0.0
    return torch.where(kept, scores, least - room)


def scaled_softmax(input: Tensor, beta: float) -> Tensor:
    """``softmax(beta * input)`` along the last axis; one op on the device."""
    if has_torch_function((input,)):
        return handle_torch_function(scaled_softmax, (input,), input, beta)
    return torch.softmax(input * beta, -1)
