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
            expected="an example in which indices are integers, int64 or int32, of rows that its tables have",
            got=f"{[f'{str(each.dtype)[6:]} {list(each.shape)}' for each in inputs]}, of which an embedding makes "
            f"{type(error).__name__}: {first}",
            remedy="give the example as the network is trained, for example torch.randint(count, (2, length))",
        )
    return BadConfiguration(
        where="example_input",
        expected=expected,
        got=f"shapes {[tuple(each.shape) for each in inputs]}, on which it fails: {type(error).__name__}: {first}"
        + (f" ({line})" if line else ""),
        remedy=remedy,
    )
