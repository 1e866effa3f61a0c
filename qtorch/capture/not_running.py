"""The error for a network that fails on inputs: where in its code, and what to do."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from torch import Tensor

from qtorch.capture.untraceable import own_line
from qtorch.errors import BadConfiguration

__all__ = ["not_running"]


def not_running(inputs: Sequence[Tensor], error: Exception, *, expected: str, remedy: str) -> BadConfiguration:
    """The error for a network that does not run.

    Args:
        inputs: that it was called with.
        error: what it raised.
        expected: what it should accept.
        remedy: what to do.
    """
    line, first = own_line(error.__traceback__), (str(error).splitlines() or [""])[0]
    if any(frame.name == "embedding" for frame in traceback.extract_tb(error.__traceback__)):
        return BadConfiguration(
            where="the network" + (f" ({line})" if line else ""),
            expected="inputs that are numbers, float32",
            got="integers that an embedding looks rows up with, and the device looks nothing up",
            remedy="give it F.one_hot(index, count).float() as input, and let nn.Linear(count, size, bias=False) hold "
            "the transposed table, which computes the same",
        )
    return BadConfiguration(
        where="example_input",
        expected=expected,
        got=f"shapes {[tuple(each.shape) for each in inputs]}, on which it fails: {type(error).__name__}: {first}"
        + (f" ({line})" if line else ""),
        remedy=remedy,
    )
