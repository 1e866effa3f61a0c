"""ARG_MIN: the place of the smallest code along an axis, of several the first.

Source: TFLM ``micro/kernels/arg_min_max.cc``.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from qtorch.families.places_of_extrema import place_row
from qtorch.row.row import Attrs


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape to one without the axis, int64."""
    return x["input"].argmin(attrs["axis"])


ROW = place_row("arg_min", "argmin", forward, largest=False, seed=52)
