"""What a kernel for some processors is made of: a row of the table in :mod:`export.c.targets.table`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qtorch.row.kernel_call import KernelCall

__all__ = ["KernelRow", "Portable", "Work", "anywhere"]

#: How often a kernel does what it does, by what that is: instructions are a sum of these, each times a number that was
#: counted. Those of code bytes likewise.
Work = Mapping[str, float]


@dataclass(frozen=True)
class Portable:
    """A kernel for every processor, in the place of which others may stand.

    Attributes:
        kernel: name of the function and its file in ``firmware/c``.
        work: of a call, what takes instructions.
        code: of a call, what takes bytes of code.
    """

    kernel: str
    work: Callable[[KernelCall], Work]
    code: Callable[[KernelCall], Work]


@dataclass(frozen=True)
class KernelRow:
    """A kernel that computes the same as a portable one, on some processors in fewer instructions.

    Attributes:
        kernel: its name, as that of the function in ``firmware/c``; of one whose text is made for a call, in general.
        cpus: as boards name them.
        replaces: portable kernels.
        make: of a call of one of them the call of this one, its weights in the order in which it reads them; ``None``
            where it does not take the shape. Working memory is the call's ``scratch``, constants are its tables.
        shape: that it takes, in words.
        work: of the portable call and the one made of it, what takes instructions; ``None`` of one that is never
            weighed against another.
        code: likewise what takes bytes of code.
        always: of the portable call and the one made of it, whether it takes that one's place in ``size`` and ``ram``
            too, for it costs no flash worth a choice; ``None``: never.
    """

    kernel: str
    cpus: frozenset[str]
    replaces: frozenset[str]
    make: Callable[[KernelCall], KernelCall | None]
    shape: str
    work: Callable[[KernelCall, KernelCall], Work] | None = None
    code: Callable[[KernelCall, KernelCall], Work] | None = None
    always: Callable[[KernelCall, KernelCall], bool] | None = None


def anywhere(call: KernelCall, made: KernelCall) -> bool:
    """Of a kernel that always takes the portable one's place."""
    return True
