"""Kernels that suit one family of processors better than the ones that the rows name.

An adaptation is a function of a call and of what the C is made for to the same call, or to one of a kernel made for
these processors, with the weights in the order in which it reads them. What it computes is the same to the last bit.
Weights of 4 bits that are left to a kernel of bytes are packed behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from export.c.optimize import Optimize
from export.c.targets import avr
from export.c.targets.cortex_m import paired, paired_in_depth, with_halfwords
from export.c.targets.halves import packed
from qtorch.row.kernel_call import KernelCall

__all__ = ["ADAPTATIONS", "adapted"]


def _for_avr(call: KernelCall, optimize: Optimize) -> KernelCall:
    return avr.adapted(call, optimize == "speed")


#: By processor, as in :class:`export.boards.Board`; ``speed`` allows more flash for fewer cycles.
ADAPTATIONS: Mapping[str, Callable[[KernelCall, Optimize], KernelCall]] = {
    "avr": _for_avr,
    "cortex-m3": paired,
    **dict.fromkeys(("cortex-m4", "cortex-m7", "cortex-m33"), with_halfwords),
    **dict.fromkeys(("cortex-m55", "cortex-m85"), paired_in_depth),
}


def adapted(call: KernelCall, cpu: str, optimize: Optimize) -> KernelCall:
    """The call that computes the same on ``cpu``, its tables as they lie in flash."""
    adaptation = ADAPTATIONS.get(cpu)
    return packed(call if adaptation is None else adaptation(call, optimize))
