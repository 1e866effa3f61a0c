"""C cells of ops on two tensors whose shapes broadcast."""

from __future__ import annotations

from collections.abc import Mapping

from qtorch.c_cells.code_tables import table_of_codes
from qtorch.c_cells.strides import bytes_each, row_major, walk
from qtorch.numbers.fixedpoint import Multiplier
from qtorch.row.kernel_call import Argument, KernelCall, KernelCell, Operands, TensorArgument
from qtorch.row.row import Reference

__all__ = ["all_int8", "call_for_each_pair", "multiplier_arguments", "table_or", "zero_points"]


def all_int8(operands: Operands) -> bool:
    """Whether every tensor of the node has int8 codes."""
    return all(operands.grid(role).dtype == "int8" for role in operands.qparams)


def table_or(reference: Reference, cell: KernelCell, other: str = "other") -> KernelCell:
    """A table where one int8 operand is a constant number, so that one code is all the output depends on."""

    def chosen(operands: Operands) -> KernelCall | tuple[KernelCall, ...]:
        for role, constant in (("input", other), (other, "input")):
            number = operands.constants.get(constant)
            if number is not None and number.size == 1 and role not in operands.constants and all_int8(operands):
                return table_of_codes(reference, operands, role)
        return cell(operands)

    return chosen


def _stretched(shape: tuple[int, ...], to: tuple[int, ...]) -> tuple[int, ...]:
    """Strides at which a tensor is read as one of the shape ``to``: 0 along axes that it repeats."""
    aligned = (1,) * (len(to) - len(shape)) + shape
    return tuple(0 if size == 1 else step for size, step in zip(aligned, row_major(aligned), strict=True))


def call_for_each_pair(
    kernel: str, operands: Operands, numbers: Mapping[str, Argument], other: str = "other"
) -> KernelCall:
    """A call of a kernel that has the loops of ``firmware/c/broadcast.h``; ``numbers`` are what it takes besides.

    Raises:
        NoKernel: the shapes broadcast along too many axes by turns.
    """
    roles, shape = {"in": "input", "other": other}, operands.shapes["output"]
    loops = walk(shape, {name: _stretched(operands.shapes[role], shape) for name, role in roles.items()} | {
        "out": row_major(shape)})  # fmt: skip
    arguments = loops.arguments()
    for name in [name for name in arguments if name.startswith("out_")]:
        del arguments[name]
    for name, role in roles.items():
        arguments |= {name: TensorArgument(role), f"{name}_flash": int(role in operands.constants)}
    arguments |= {"out": TensorArgument("output"), "width": bytes_each(operands.grid("output").dtype), **numbers}
    alike = {role for role in roles.values() if operands.size(role) == operands.size("output")}
    return KernelCall(kernel, arguments, in_place=frozenset(alike))


def zero_points(operands: Operands, other: str = "other") -> dict[str, Argument]:
    """Of both operands and the output, by the kernels' parameters."""
    roles = {"in_zero_point": "input", "other_zero_point": other, "zero_point": "output"}
    return {name: operands.grid(role).zero_point[0] for name, role in roles.items()}


def multiplier_arguments(multipliers: Mapping[str, Multiplier]) -> dict[str, Argument]:
    """``<name>_mantissa`` and ``<name>_shift``; without the name where it is empty."""
    return {
        f"{name}_{part}".lstrip("_"): int(number)
        for name, multiplier in multipliers.items()
        for part, number in zip(("mantissa", "shift"), multiplier, strict=True)
    }
