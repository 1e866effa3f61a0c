"""Arithmetic on whole numbers, int32 without a scale: what files compute indices with. It wraps as the kernels' does.

Source: TFLM ``micro/kernels/{add,sub_common,mul_common,maximum_minimum,div}.cc``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.broadcasting import call_for_each_pair
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import INDICES
from qtorch.row.kernel_call import KernelCall, KernelCell, Operands
from qtorch.row.row import Attrs, Sample

__all__ = ["are_whole", "of_whole_numbers", "whole_or", "whole_samples", "wrapped"]

#: As firmware/c/whole_numbers.h counts them.
_OPERATIONS: Mapping[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "add": (0, torch.add),
    "sub": (1, torch.sub),
    "mul": (2, torch.mul),
    "maximum": (3, torch.maximum),
    "minimum": (4, torch.minimum),
    "div": (5, lambda a, b: torch.div(a, b, rounding_mode="trunc")),
}
Operation = Literal["add", "sub", "mul", "maximum", "minimum", "div"]

_LEAST, _MOST = -(2**31), 2**31 - 1
#: ADD's kernel reads no activation here.
_LIMITS = {"none": (_LEAST, _MOST), "relu": (0, _MOST), "relu6": (0, 6)}


def are_whole(grids: Mapping[str, Grid]) -> bool:
    """Whether a node computes whole numbers."""
    return grids["output"].dtype == INDICES.dtype


def wrapped(x: Tensor) -> Tensor:
    """int64 as int32 holds it."""
    return (x + 2**31).remainder(2**32) - 2**31


def _limits(operation: Operation, attrs: Attrs) -> tuple[int, int]:
    return _LIMITS["none" if operation == "add" else attrs.get("activation", "none")]


def of_whole_numbers(operation: Operation, attrs: Attrs, codes: Mapping[str, Tensor]) -> Tensor:
    """``input`` and ``other``, int64 tensors of int32 numbers whose shapes broadcast."""
    _, compute = _OPERATIONS[operation]
    return wrapped(compute(codes["input"], codes["other"])).clamp(*_limits(operation, attrs))


def whole_or(operation: Operation, cell: KernelCell) -> KernelCell:
    """The kernel of whole numbers where a node has them; ``cell`` where it has codes."""

    def chosen(operands: Operands) -> KernelCall | tuple[KernelCall, ...]:
        if operands.grid("output").dtype != INDICES.dtype:
            return cell(operands)
        low, high = _limits(operation, operands.attrs)
        number, _ = _OPERATIONS[operation]
        return call_for_each_pair("whole_numbers", operands, {"operation": number, "low": low, "high": high})

    return chosen


def whole_samples(seed: int, attrs: Attrs) -> Iterable[Sample]:
    """Small numbers and the largest; alike shapes, broadcasting, constants on either side."""
    rng = np.random.default_rng(seed)
    for label, shape, other_shape, constants in [
        ("alike shapes", (4, 5, 6), (4, 5, 6), frozenset[str]()),
        ("broadcast", (3, 2, 4, 5), (3, 1, 1, 5), frozenset[str]()),
        ("constant", (3, 2, 4, 5), (1, 1, 1, 5), frozenset({"other"})),
        ("constant first", (1, 1), (3, 7), frozenset({"input"})),
    ]:
        arrays = {}
        for role, size in (("input", shape), ("other", other_shape)):
            wide, small = rng.integers(_LEAST, _MOST, size, endpoint=True), rng.integers(-9, 10, size)
            arrays[role] = np.where(rng.random(size) < 0.5, wide, small).astype(np.int32)
        grids = dict.fromkeys(("input", "other", "output"), INDICES)
        yield Sample(f"int32 {label}", attrs, arrays, grids, constants)
