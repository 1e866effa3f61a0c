"""Functions of one code in quantized training: every value and every slope stands in a table, made when a grid changes.

A table of values is the op's integer reference on every code that there is, so nothing is to be proven of it; one of
slopes is the derivative of the op's float function at these codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.functional import round_half_away
from qtorch.numbers.grid import Grid
from qtorch.row.row import Attrs, Row
from qtorch.surroundings import without_values

__all__ = ["StepTables", "looked_up", "sloped", "tables_of"]


class StepTables(NamedTuple):
    """An op's output steps and their slopes for each input code from the lowest on, float32 ``[2**bits + 1]``.

    The last entry is that of NaN, which is no code: NaN.
    """

    values: Tensor
    slopes: Tensor


def tables_of(row: Row, attrs: Attrs, source: Grid, output: Grid) -> StepTables:
    """The tables of a row with ``by_table``, on the device of the grids; of NaN where the grids have no numbers.

    A slope is that of output steps by input steps, ``f'(x) * s_in / s_out``. Where the float function's result rounds
    to a code beyond the output's grid, or has no slope, it is 0.

    Args:
        row: the op; its one input and its output are integers.
        attrs: its attributes.
        source: of the input, int8 or int16.
        output: of the output.
    """
    low, high = source.limits
    device = source.scale.device
    if without_values(source.scale):
        return StepTables(*(torch.full((high - low + 2,), torch.nan, device=device) for _ in range(2)))
    codes = torch.arange(low, high + 1, device=device)[None]
    with torch.no_grad():
        grids = {"input": source, "output": output}
        values = row.reference(attrs, {"input": codes}, grids, Rounding.DOUBLE) - output.zero_point
    with torch.inference_mode(False):
        s_in, s_out = (grid.scale.detach().to(torch.float64, copy=True) for grid in (source, output))
        x = (codes - source.zero_point) * s_in
        y, slopes = _with_slopes(lambda x: row.forward(attrs, {"input": x}) / s_out, x)
        steps = round_half_away(y)
        ends = [end - output.zero_point for end in output.limits]
        kept = (steps >= ends[0]) & (steps <= ends[1])
        slopes = torch.where(kept, slopes * s_in, 0.0)
    nan = torch.full((1,), torch.nan, device=device)
    return StepTables(*(torch.cat([t.reshape(-1).to(torch.float32), nan]) for t in (values, slopes)))


def _with_slopes(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """What a function of each number alone gives, and its slopes there, 0 where one is not finite; without gradient."""
    # Whatever surrounds the call: the slopes need a gradient of their own, and poles are nothing to be warned of.
    with torch.enable_grad(), torch.autograd.set_detect_anomaly(False):
        own = x.detach().requires_grad_()
        y = function(own)
        (slopes,) = torch.autograd.grad(y.sum(), own)
    return y.detach(), torch.where(slopes.isfinite(), slopes, 0.0)


class _Sloped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(slopes)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return grad * slopes, None, None


def sloped(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)``, with 0 where its result is not finite, and a gradient of 0 where its slope is not.

    Args:
        function: of each number alone.
        x: float32, any shape; NaN stays NaN.
    """
    y, slopes = _with_slopes(function, x)
    held: Tensor = _Sloped.apply(x, torch.where(y.isfinite() | torch.isnan(x), y, 0.0), slopes)
    return held


def looked_up(steps: Tensor, tables: StepTables, zero_point: Tensor) -> Tensor:
    """The op's output steps, float32; its gradient is the tables' slope at each of ``steps``. NaN stays NaN.

    Args:
        steps: float32 whole numbers on the input's grid, any shape.
        tables: on the device of ``steps``.
        zero_point: of the input, int32 ``[]``.
    """
    y: Tensor = _LookedUp.apply(steps, tables.values, tables.slopes, zero_point)
    return y


def _entries(steps: Tensor, table: Tensor, first: Tensor) -> Tensor:
    place = (steps + first).nan_to_num_(nan=float(table.shape[0] - 1))
    # The fastest of PyTorch's ways to look numbers up, by far.
    return table.index_select(0, place.to(torch.int32).reshape(-1)).reshape(steps.shape)


class _LookedUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: Tensor, values: Tensor, slopes: Tensor, zero_point: Tensor) -> Tensor:
        first = zero_point + (values.shape[0] - 1) // 2
        # Of the slopes their places are kept, which is memory that the layer before has in use already.
        ctx.save_for_backward(steps, slopes, first)
        return _entries(steps, values, first)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        steps, slopes, first = ctx.saved_tensors
        return grad * _entries(steps, slopes, first), None, None, None
