"""Where the largest, or the smallest, stands along an axis: calls that come to argmax or argmin without keepdim."""

from __future__ import annotations

from typing import Any

import torch

from qtorch.capture.compositions.table import decomposes, kept_apart, shape_of

__all__ = ["place_along"]

aten = torch.ops.aten


def place_along(place: Any, input: Any, dim: int, keepdim: bool) -> Any:
    """``place``, which is argmax or argmin, along an axis that may be kept at size 1."""
    found = place(input, dim, False)
    return aten.unsqueeze.default(found, dim) if keepdim else found


def _kept(place: Any) -> Any:
    def decomposition(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if not keepdim or dim is None or kept_apart(input, dim) is None:
            return None
        return place_along(place, input, dim, True)

    return decomposition


decomposes("argmax")(_kept(aten.argmax.default))
decomposes("argmin")(_kept(aten.argmin.default))


@decomposes("topk")
def _topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """Of one alone: the extremum, and where it stands."""
    if k != 1 or len(shape_of(input)) < 2 or kept_apart(input, dim) is None:
        return None
    along, place = (aten.amax, aten.argmax) if largest else (aten.amin, aten.argmin)
    return along.default(input, [dim], True), place_along(place.default, input, dim, True)
