"""Kernels that suit one family of processors better than the ones that the rows name.

A row of :data:`export.c.targets.table.KERNELS` makes of a call that of a kernel for these processors, with the weights
in the order in which it reads them. What it computes is the same to the last bit. Weights of 4 bits that are left to a
kernel of bytes are packed behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from export.c.targets.halves import packed
from export.c.targets.kernel_row import KernelRow, anywhere
from export.c.targets.table import KERNELS
from qtorch.row.kernel_call import KernelCall

__all__ = ["Candidate", "candidates", "least", "rows_for"]


@dataclass(frozen=True)
class Candidate:
    """A call that computes what another does.

    Attributes:
        portable: the row's own call.
        call: of the kernel, its tables as they lie in flash.
        row: of the table; ``None`` of the portable kernel.
    """

    portable: KernelCall
    call: KernelCall
    row: KernelRow | None


def rows_for(cpu: str) -> tuple[KernelRow, ...]:
    """The kernels of the table that a processor has."""
    return tuple(row for row in KERNELS if cpu in row.cpus)


def least(call: KernelCall, cpu: str) -> Candidate:
    """The call that takes the least flash: the portable one, or that which always takes its place."""
    for row in rows_for(cpu):
        if row.always is not None and (made := _made(row, call)) is not None and row.always(call, made):
            return Candidate(call, made, row)
    return Candidate(call, packed(call), None)


def candidates(call: KernelCall, cpu: str) -> tuple[Candidate, ...]:
    """:func:`least`, and behind it the call of every other kernel that may stand in its place."""
    first = least(call, cpu)
    others = (row for row in rows_for(cpu) if row is not first.row)
    made = (Candidate(call, made, row) for row in others if (made := _made(row, call)) is not None)
    weighed = first.row is not None and first.row.always is not anywhere
    return (first, *made, *((Candidate(call, packed(call), None),) if weighed else ()))


def _made(row: KernelRow, call: KernelCall) -> KernelCall | None:
    """The call of a row, for as many images."""
    made = row.make(call) if call.kernel in row.replaces else None
    return None if made is None else replace(packed(made), images=call.images)
