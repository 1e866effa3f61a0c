"""How near float32 values are to each other that sums in another order give."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NEAR", "largest", "same", "within"]

#: Share of a sample's largest output by which sums in another order differ at most, in networks that keep errors small.
NEAR = 1e-5


def largest(values: Tensor) -> Tensor:
    """Of each sample the largest absolute finite value, shaped to be compared with all of them."""
    finite = torch.where(torch.isfinite(values), values, 0).abs()
    return finite.amax(tuple(range(1, values.dim())), keepdim=True) if values.dim() > 1 and values.numel() else finite


def within(expected: Tensor, got: Tensor, bound: Tensor) -> bool:
    """Whether all values are at most ``bound`` apart, the same infinity, or not a number in both."""
    if expected.dtype == torch.bool:
        return torch.equal(expected, got)
    near = ((expected - got).abs() <= bound) | (expected == got) | (torch.isnan(expected) & torch.isnan(got))
    return bool(near.all())


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same but for the order of sums."""
    return a.shape == b.shape and within(a, b, NEAR * (largest(a) if a.is_floating_point() else torch.zeros(())))
