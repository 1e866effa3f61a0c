"""C cells of functions of one code: a table of the op's own arithmetic for int8, a requantization for int16."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.strides import bytes_each
from qtorch.numbers.fixedpoint import Rounding, quantize_multiplier
from qtorch.numbers.grid import Grid
from qtorch.row.fused_activation import activation_limits
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, KernelCell, NoKernel, Operands, TensorArgument
from qtorch.row.row import Attrs, Reference

__all__ = ["Factors", "by_table", "rescaling", "table_of_codes"]

#: (attrs, grids) to the real factors by which codes below the zero point and from there on are multiplied, float64.
Factors = Callable[[Attrs, Mapping[str, Grid]], tuple[Tensor, Tensor]]


def by_table(reference: Reference, wide: KernelCell | None = None) -> KernelCell:
    """The cell of an op whose output codes each depend on the input code at the same place, and on nothing else.

    Args:
        reference: the op's.
        wide: where 16-bit codes come in or go out.
    """

    def cell(operands: Operands) -> KernelCall | tuple[KernelCall, ...]:
        dtypes = tuple(operands.grid(role).dtype for role in ("input", "output"))
        if dtypes == ("int8", "int8"):
            return table_of_codes(reference, operands)
        if wide is None:
            raise NoKernel(f"{dtypes[0]} to {dtypes[1]}, a table of which has {2**16} entries")
        return wide(operands)

    return cell


def table_of_codes(reference: Reference, operands: Operands, role: str = "input") -> KernelCall:
    """The outputs for all 256 codes of ``role``, int8 to int8; the node's other inputs are constants of one element."""
    every = torch.arange(-128, 128).reshape(1, -1)
    views = {name: operands.grid(name).grid for name in operands.qparams}
    constants = {name: torch.from_numpy(a.astype(np.int64)).reshape(1, 1) for name, a in operands.constants.items()}
    codes = reference(operands.attrs, {**constants, role: every}, views, Rounding.DOUBLE).numpy().astype(np.int8)
    arguments: dict[str, Argument] = {
        "in": TensorArgument(role),
        "table": ConstantTable(codes.reshape(-1)),
        "out": TensorArgument("output"),
        "size": operands.size(role),
    }
    return KernelCall("lookup_s8", arguments, in_place=frozenset({role}))


def rescaling(factors: Factors, activation: str = "none") -> KernelCell:
    """The cell of an op that is one of two requantizations, computed code by code, and a clamp."""

    def cell(operands: Operands) -> KernelCall:
        grids = {role: operands.grid(role).grid for role in ("input", "output")}
        arguments: dict[str, Argument] = {"in": TensorArgument("input"), "out": TensorArgument("output")}
        for name, factor in zip(("below", "above"), factors(operands.attrs, grids), strict=True):
            mantissa, shift = quantize_multiplier(factor.abs())
            arguments |= {f"{name}_mantissa": int(mantissa) * (-1 if factor < 0 else 1), f"{name}_shift": int(shift)}
        low, high = activation_limits(activation, grids["output"])
        widths = [bytes_each(grid.dtype) for grid in grids.values()]
        arguments |= {
            "width": widths[0], "out_width": widths[1], "size": operands.size("output"), "low": low, "high": high,
            "in_zero_point": operands.grid("input").zero_point[0], "zero_point": operands.grid("output").zero_point[0],
        }  # fmt: skip
        same = frozenset({"input"}) if widths[0] == widths[1] else frozenset[str]()
        return KernelCall("rescale", arguments, in_place=same)

    return cell
