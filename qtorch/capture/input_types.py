"""Inputs of booleans and integers mean as numbers what they mean as they are: a prepared network gets numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qtorch.capture.nearness import same
from qtorch.capture.reference import Reference
from qtorch.errors import UnsupportedLayer

__all__ = ["require_same_as_numbers"]


def require_same_as_numbers(reference: Reference, given: Sequence[Tensor], captured: Sequence[Tensor]) -> None:
    """Refuse a network that asks what type an input is of, and computes something else of the same numbers in float32.

    A boolean mask of attention is one: True forbids, and 1 is added.

    Args:
        reference: runs the network.
        given: the example's tensors in their own types, the batch first.
        captured: the same in the types that a prepared network gets: float32, and indices as they are.

    Raises:
        UnsupportedLayer: so it does; names the input.
    """
    generator = torch.Generator().manual_seed(0)
    for place, (name, own) in enumerate(zip(reference.form.names, given, strict=True)):
        if not own.dim() or own.dtype == captured[place].dtype:
            continue
        drawn = torch.rand(own.shape, generator=generator).to(own.device) < 0.5 if own.dtype is torch.bool else own
        typed, numbers = (
            [*captured[:place], each, *captured[place + 1 :]] for each in (drawn, drawn.to(captured[place].dtype))
        )
        try:
            right = reference.run_as_it_is(typed)
        except Exception:
            # Code that takes no such type has one meaning: that of numbers, which it ran with.
            continue
        if all(map(same, right, reference.run_network(numbers))):
            continue
        raise UnsupportedLayer(
            where=f"input {name!r} of {type(reference.net).__name__}",
            expected="an input that means the same as numbers, because a device's inputs are numbers",
            got=f"{own.dtype}, of which the network computes something else than of the same numbers in float32",
            remedy="pass numbers and let the network compute with them: a mask as 0 where something is kept and -8, "
            "say, where it is not, which is added to scores; or keep the mask as a buffer",
        )
