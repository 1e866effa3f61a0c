"""Grids on which kernels that divide scales in float32 compute the same integers as those that do so in double.

Until October 2026 some kernels of TFLite Micro took quotients of scales in float32, and the copies for boards do so
still. The multipliers that come of it differ in their last bits, and an output where one of both is just beyond a tie.
Which outputs those are hangs on the grids alone, so every code is tried, and a grid that parts them is made coarser by
a part in some thousands, until none does.

Differences of two int16 tensors are too many to try, and of some other functions of int16 no such grid is near. There
all scales become powers of two, whose quotients float32 holds: at most a bit of sixteen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from qtorch.network.quantized_op import QuantizedOp
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.short_mantissa import is_power_of_two, rounded_up_power_of_two, rounded_up_short

__all__ = ["agrees_in_float32", "let_agree"]

#: Scales that are tried; each agrees in one of three cases or more.
_TRIES = 64

#: Combinations of codes that are tried; two int16 tensors have more.
_MOST = 2**16


def agrees_in_float32(op: QuantizedOp) -> bool:
    """Whether both arithmetics give one output for all codes that may come in.

    Of codes that are too many to try: whether all scales are powers of two.
    """
    if not op.row.divides_scales:
        return True
    codes = _combinations(op)
    return _of_powers_of_two(op) if codes is None else _agrees(op, codes)


@torch.no_grad()
def let_agree(op: QuantizedOp) -> bool:
    """Whether grids had to be made coarser, and were.

    A grid that a kernel assumes stays as it is, and so do others of int8 where no scale is found.
    """
    if not op.row.divides_scales:
        return False
    codes = _combinations(op)
    if codes is None:
        return _on_powers_of_two(op)
    if _agrees(op, codes):
        return False
    return _coarser_output(op, codes) or _on_powers_of_two(op)


def _coarser_output(op: QuantizedOp, codes: Mapping[str, Tensor]) -> bool:
    """Whether a scale of the output was found that agrees, and taken."""
    if op.output.fixed is not None:
        return False
    before = op.output.scale.clone()
    scale = before
    for _ in range(_TRIES):
        # The next number of twelve bits.
        scale = rounded_up_short(torch.nextafter(scale, torch.full_like(scale, torch.inf)))
        op.output.coarsen(float(scale), stays=False)
        if _agrees(op, codes):
            return True
    op.output.coarsen(float(before), stays=False)
    return False


def _on_powers_of_two(op: QuantizedOp) -> bool:
    """Whether scales of int16 were brought to powers of two; none are where a kernel assumes another."""
    tensors = [*op.sources.values(), op.output]
    others = [each for each in tensors if not is_power_of_two(each.scale)]
    if op.output.dtype != "int16" or not others or any(each.fixed is not None for each in others):
        return False
    for each in others:
        each.coarsen(float(rounded_up_power_of_two(each.scale)), stays=False)
    return True


def _of_powers_of_two(op: QuantizedOp) -> bool:
    constants = [each.grid.scale for each in op.constants.integers().values()]
    return all(map(is_power_of_two, [*(each.scale for each in (*op.sources.values(), op.output)), *constants]))


def _agrees(op: QuantizedOp, codes: Mapping[str, Tensor]) -> bool:
    grids = {role: source.grid for role, source in op.sources.items()} | {"output": op.output.grid}
    grids |= {role: each.grid for role, each in op.constants.integers().items()}
    now, earlier = (
        op.row.reference(op.integer_attrs, codes, grids, each) for each in (Rounding.DOUBLE, Rounding.EARLIER)
    )
    return torch.equal(now, earlier)


def _combinations(op: QuantizedOp) -> dict[str, Tensor] | None:
    """Every code of each role, int64, along an axis of its own; ``None`` of too many combinations."""
    found = {role: _every(source.grid) for role, source in op.sources.items()}
    found |= {role: each.codes.unique() for role, each in op.constants.integers().items()}
    if math.prod(len(each) for each in found.values()) > _MOST:
        return None
    shapes = [[1] * place + [-1] + [1] * (len(found) - place - 1) for place in range(len(found))]
    return {role: each.reshape(shape) for (role, each), shape in zip(found.items(), shapes, strict=True)}


def _every(grid: Grid) -> Tensor:
    low, high = CODE_RANGE[grid.dtype]
    return torch.arange(low, high + 1, device=grid.scale.device)
