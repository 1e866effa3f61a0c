"""Kernels that suit one family of processors better than the ones that the rows name.

An adaptation is a function of a call and of ``speed`` to the same call, or to one of a kernel made for these
processors, with the weights in the order in which it reads them. What it computes is the same to the last bit. Weights
of 4 bits that are left to a kernel of bytes are packed behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from export.c.targets import avr
from export.c.targets.cortex_m import paired, paired_in_depth
from export.c.targets.halves import packed
from export.c.targets.helium import in_vectors
from qtorch.row.kernel_call import KernelCall

__all__ = ["ADAPTATIONS", "adapted"]


def _vectors(call: KernelCall, speed: bool) -> KernelCall:
    return paired_in_depth(in_vectors(call, speed), speed)


#: By processor, as in :class:`export.boards.Board`; ``speed`` allows more flash for fewer cycles.
ADAPTATIONS: Mapping[str, Callable[[KernelCall, bool], KernelCall]] = {
    "avr": avr.adapted,
    **dict.fromkeys(("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"), paired),
    **dict.fromkeys(("cortex-m55", "cortex-m85"), _vectors),
}


def adapted(call: KernelCall, cpu: str, speed: bool) -> KernelCall:
    """The call that computes the same on ``cpu``, its tables as they lie in flash."""
    adaptation = ADAPTATIONS.get(cpu)
    return packed(call if adaptation is None else adaptation(call, speed))
