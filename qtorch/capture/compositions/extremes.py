"""The larger or smaller of a tensor and a number that stands in a tensor of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from qtorch.capture.compositions.conditions import written_number
from qtorch.capture.compositions.table import decomposes, is_constant, reshaped, shape_of

aten = torch.ops.aten


def _beside_a_number(of_two: Any, limited: Any) -> Any:
    def decomposition(input: Any, other: Any) -> Any:
        """A number of the code is a limit; one that is held, an operand that has an axis."""
        for x, limit in ((input, other), (other, input)):
            if not isinstance(limit, fx.Proxy) or not isinstance(x, fx.Proxy):
                continue
            number = written_number(limit)
            if number is not None:
                return limited(x, number)
            if is_constant(limit) and shape_of(limit) == ():
                return of_two(x, reshaped(limit, (1,)))
        return None

    return decomposition


decomposes("maximum")(_beside_a_number(aten.maximum.default, aten.clamp_min.default))
decomposes("minimum")(_beside_a_number(aten.minimum.default, aten.clamp_max.default))


@decomposes("fmax")
def _fmax(input: Any, other: Any) -> Any:
    """The device has no number that is none."""
    return aten.maximum.default(input, other)


@decomposes("fmin")
def _fmin(input: Any, other: Any) -> Any:
    return aten.minimum.default(input, other)
