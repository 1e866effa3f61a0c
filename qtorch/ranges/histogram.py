"""A histogram of real numbers whose result depends neither on the order of what it sees nor on how it was split.

A value's bucket is the leading bits of its own float32: sign, exponent and 10 bits of mantissa. So every bucket is
narrow against its values (a share of 2**-10 to 2**-11), outliers cost no resolution elsewhere, no range must be known
before, and two histograms add up exactly. Only buckets that are not empty are stored.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Histogram"]

#: Bits of a float32 that are dropped: 23 of mantissa, of which 10 remain.
_DROPPED = 13
_BUCKETS = 2 ** (32 - _DROPPED)
#: From here on counting into every bucket that there could be is faster than sorting.
_MANY = 2**15


class Histogram(NamedTuple):
    """Counts by bucket.

    Attributes:
        keys: int64 ``[K]``, ascending; the leading bits of a float32.
        counts: int64 ``[K]``, positive.
    """

    keys: Tensor
    counts: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Histogram:
        """Of finite float32 values of any shape."""
        bits = x.detach().to("cpu", torch.float32).contiguous().view(torch.int32).flatten().to(torch.int64)
        keys = (bits >> _DROPPED) & (_BUCKETS - 1)
        if keys.numel() < _MANY:
            return cls(*torch.unique(keys, return_counts=True))
        counts = torch.bincount(keys, minlength=_BUCKETS)
        bins = counts.nonzero().flatten()
        return cls(bins, counts[bins])

    def plus(self, other: Histogram) -> Histogram:
        """Of what either has seen."""
        keys, place = torch.unique(torch.cat([self.keys, other.keys]), return_inverse=True)
        counts = torch.zeros_like(keys).index_add_(0, place, torch.cat([self.counts, other.counts]))
        return Histogram(keys, counts)

    def values(self) -> Tensor:
        """A value in the middle of each bucket, float64 ``[K]``; 0 for the bucket of zero."""
        middle = torch.where(self.keys % (_BUCKETS // 2) == 0, 0, 1 << (_DROPPED - 1))
        # The upper half of the keys has the sign bit set, which is a negative int32.
        signed = torch.where(self.keys >= _BUCKETS // 2, self.keys - _BUCKETS, self.keys)
        return ((signed << _DROPPED) | middle).to(torch.int32).view(torch.float32).to(torch.float64)
