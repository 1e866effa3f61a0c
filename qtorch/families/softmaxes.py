"""What SOFTMAX and LOG_SOFTMAX share: differences from the largest code of a vector, and their exponentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qtorch.numbers.fixedpoint import Multiplier, fits_int32, power_of_two, quantize_multiplier
from qtorch.numbers.gemmlowp import exp_on_negative, multiply, rounding_divide_by_power_of_two
from qtorch.numbers.grid import Grid
from qtorch.remedies.asked import none, same
from qtorch.remedies.axes import moved_last
from qtorch.row.row import Call, Refused

__all__ = ["DIFFERENCE_BITS", "SMALLEST_SCALE", "SUM_BITS", "Differences", "along_last_axis"]

#: Integer bits of a difference, Q5.26, and of the sum of exponentials, Q12.19.
DIFFERENCE_BITS, SUM_BITS = 5, 12

#: The kernels abort on a scale below Q5.26's unit.
SMALLEST_SCALE = 2.0**-25


def along_last_axis(call: Call, most: int, function: str) -> dict[str, Any]:
    """Refuses every axis but the last, and more than ``most`` codes along it; ``function`` is its name in PyTorch.

    PyTorch's default axis is the last one of a tensor of rank 2.
    """
    rank, length = len(call.shapes["input"]), call.shapes["input"][-1]
    axis = call.get("dim")
    if axis is None:
        axis = 0 if rank in (1, 3) else 1
    if axis % rank != rank - 1:
        raise Refused(
            expected=f"the last axis, dim=-1 or dim={rank - 1}",
            got=f"dim={call.get('dim')} on shape {call.shapes['input']}",
            remedy=same(moved_last(f"F.{function}({{x}}, -1)", axis, rank))
            if axis % rank
            else none("along the batch's axis it mixes samples; name another"),
        )
    if length > most:
        raise Refused(
            expected=f"at most {most} values along the axis, beyond which the kernel's sum leaves its range",
            got=f"shape {call.shapes['input']}",
            remedy="end the network before it: the largest value is the same",
        )
    return {}


@dataclass(frozen=True)
class Differences:
    """Codes less the largest of their vector, from -255 to 0, and how they become Q5.26.

    What lies below ``smallest``, int64 ``[]``, is too small for Q5.26; its exponential counts as 0.
    """

    codes: Tensor
    multiplier: Multiplier
    smallest: Tensor

    @classmethod
    def of(cls, x: Tensor, grid: Grid, beta: float) -> Differences:
        """Of int64 codes along the last axis."""
        # At most what a Q31 mantissa and 31 bits of shift can hold.
        real = (grid.scale.to(torch.float64) * beta * 2.0 ** (31 - DIFFERENCE_BITS)).clamp(max=2.0**31 - 1)
        multiplier = quantize_multiplier(real)
        # :func:`qtorch.families.sigmoids.input_radius`, without a number read from the device.
        radius = ((1 << DIFFERENCE_BITS) - 1) * power_of_two(31 - DIFFERENCE_BITS - multiplier.shift)
        smallest = -torch.floor(radius).to(torch.int64)
        return cls(x - x.amax(-1, keepdim=True), multiplier, smallest)

    def _table(self) -> Tensor:
        every = torch.arange(-255, 1, device=self.codes.device)
        every = torch.maximum(every, self.smallest)
        return multiply(every << self.multiplier.shift, self.multiplier.mantissa)

    def fixed(self) -> Tensor:
        """In Q5.26; below the smallest, the smallest."""
        return self._table()[self.codes + 255]

    def exponentials(self) -> Tensor:
        """In Q0.31."""
        small = torch.arange(-255, 1, device=self.codes.device) < self.smallest
        table = torch.where(small, 0, exp_on_negative(self._table(), DIFFERENCE_BITS))
        return table[self.codes + 255]

    def total(self) -> Tensor:
        """Sum of the exponentials along the last axis, kept, in Q12.19."""
        total = rounding_divide_by_power_of_two(self.exponentials(), SUM_BITS).sum(-1, keepdim=True)
        # None is larger than 1, so that few of them need no look.
        few = self.codes.shape[-1] < 1 << SUM_BITS
        return total if few else fits_int32(total, "sum of exponentials")
