"""What SOFTMAX and LOG_SOFTMAX share: differences from the largest code of a vector, and their exponentials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qtorch.numbers.fixedpoint import Multiplier, fits_int32, power_of_two, quantize_multiplier
from qtorch.numbers.gemmlowp import exp_on_negative, multiply, rounding_divide_by_power_of_two
from qtorch.numbers.grid import Grid
from qtorch.remedies.asked import none, same
from qtorch.remedies.axes import moved_last
from qtorch.row.row import Call, Refused
from qtorch.surroundings import without_values

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


class _Scaled(NamedTuple):
    """Every difference from -255 to 0.

    Attributes:
        multiplier: from differences to Q5.26.
        smallest: what lies below it, int64 ``[]``, is too small for Q5.26.
        fixed: in Q5.26, int64 ``[256]``; below the smallest, the smallest.
        exponentials: in Q0.31, likewise; 0 below the smallest.
    """

    multiplier: Multiplier
    smallest: Tensor
    fixed: Tensor
    exponentials: Tensor


@dataclass(frozen=True)
class Differences:
    """Codes less the largest of their vector, from -255 to 0, and how they become Q5.26."""

    codes: Tensor
    scaled: _Scaled

    @classmethod
    def of(cls, x: Tensor, grid: Grid, beta: float) -> Differences:
        """Of int64 codes along the last axis."""
        # From other devices nothing is read.
        known = x.is_cpu and grid.scale.is_cpu and not without_values(grid.scale)
        scaled = _of_number(float(grid.scale), beta) if known else _of_scale(grid.scale, beta, x.device)
        return cls(x - x.amax(-1, keepdim=True), scaled)

    def fixed(self) -> Tensor:
        """In Q5.26; below the smallest, the smallest."""
        return self.scaled.fixed[self.codes + 255]

    def exponentials(self) -> Tensor:
        """In Q0.31."""
        return self.scaled.exponentials[self.codes + 255]

    def total(self) -> Tensor:
        """Sum of the exponentials along the last axis, kept, in Q12.19."""
        total = rounding_divide_by_power_of_two(self.exponentials(), SUM_BITS).sum(-1, keepdim=True)
        # None is larger than 1, so that few of them need no look.
        few = self.codes.shape[-1] < 1 << SUM_BITS
        return total if few else fits_int32(total, "sum of exponentials")


def _of_scale(scale: Tensor, beta: float, device: torch.device) -> _Scaled:
    # At most what a Q31 mantissa and 31 bits of shift can hold.
    real = (scale.to(torch.float64) * beta * 2.0 ** (31 - DIFFERENCE_BITS)).clamp(max=2.0**31 - 1)
    multiplier = quantize_multiplier(real)
    # :func:`qtorch.families.sigmoids.input_radius`, without a number read from the device.
    radius = ((1 << DIFFERENCE_BITS) - 1) * power_of_two(31 - DIFFERENCE_BITS - multiplier.shift)
    smallest = -torch.floor(radius).to(torch.int64)
    every = torch.arange(-255, 1, device=device)
    fixed = multiply(torch.maximum(every, smallest) << multiplier.shift, multiplier.mantissa)
    exponentials = torch.where(every < smallest, 0, exp_on_negative(fixed, DIFFERENCE_BITS))
    return _Scaled(multiplier, smallest, fixed, exponentials)


@lru_cache(maxsize=64)
def _of_number(scale: float, beta: float) -> _Scaled:
    """On a CPU once for all steps of training: it takes longer than the rest of a softmax."""
    with torch.inference_mode(False):
        return _of_scale(torch.tensor(scale, dtype=torch.float32), beta, torch.device("cpu"))
