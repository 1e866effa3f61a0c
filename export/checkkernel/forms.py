"""The kernels that there are for a case: the calls that an export could make of one op, by what it is made for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from export.c.by_rows.blocks import in_blocks
from export.c.by_rows.row_calls import row_calls
from export.c.by_rows.schedule import scheduled
from export.c.by_rows.section import row_node, section_of
from export.c.network import portable_calls
from export.c.placement import ByRows
from export.c.targets import candidates, least
from export.graph.ir import Graph
from qtorch.row.kernel_call import ConstantTable, KernelCall, NoKernel

__all__ = ["Form", "Forms", "forms"]

#: Any processor's: what a row's C cell says, weights of 4 bits in their order.
_PORTABLE = "host"
#: What tells kernels apart that are written for one call's weights.
_OF_ONE_CALL = re.compile("_[0-9a-f]{8}_")


@dataclass(frozen=True)
class Form:
    """Calls that compute one op.

    Attributes:
        calls: one after the other, of whole images.
        rows: how they are made row by row instead; ``calls`` then only say what may lie in place.
    """

    calls: tuple[KernelCall, ...]
    rows: ByRows | None = None

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels, each once; those that are written for one call are called alike."""
        every = self.calls
        if self.rows is not None:
            of = self.rows.calls[0]
            every = of.every
        return tuple(dict.fromkeys(_OF_ONE_CALL.sub("_immediates_", call.kernel) for call in every))

    @property
    def scratch(self) -> int:
        """Bytes that the kernels work in, sums of rows included."""
        if self.rows is None:
            return max(call.scratch for call in self.calls)
        of = self.rows.calls[0]
        return max([of.sums_bytes, *(call.scratch for call in of.every)])


#: A graph of one op and a processor, as boards name it, to forms by what they are made for, the portable one first.
Forms = Callable[[Graph, str], Mapping[str, Form]]


def forms(graph: Graph, cpu: str) -> dict[str, Form]:
    """Every form that differs from those before it: ``portable``, by the kernel that is chosen, row by row by axis.

    The kernels come from :data:`export.c.targets.table.KERNELS`, each in the place of every call that it takes.

    Raises:
        UnsupportedLayer: plain C has no kernel for the op.
    """
    (own,) = portable_calls(graph)
    found = {"portable": Form(tuple(least(call, _PORTABLE).call for call in own))}
    options = [candidates(call, cpu) for call in own]
    rows, first = dict.fromkeys(each.row for of in options for each in of), {of[0].row for of in options}
    for row in rows:
        calls = tuple(next((each for each in of if each.row is row), of[0]).call for of in options)
        if not any(_same(calls, other.calls) for other in found.values()):
            found["least" if row is None or row in first else row.kernel] = Form(calls)
    for axis in (1, 2):
        for block, said in ((1, ""), (4, ", four at a time")):
            by_rows = _by_rows(graph, axis, cpu, block)
            if by_rows is not None:
                found[f"rows of axis {axis}{said}"] = Form(found["portable"].calls, by_rows)
    return found


def _by_rows(graph: Graph, axis: int, cpu: str, block: int) -> ByRows | None:
    node = row_node(graph, 0, axis)
    if node is not None and block > 1:
        (node,) = in_blocks(graph, [node], axis, block) or (None,)
    if node is None:
        return None
    try:
        calls = row_calls(graph, node, axis)
    except NoKernel:
        return None
    calls = replace(
        calls,
        each=tuple(least(call, cpu).call for call in calls.each),
        at_last=tuple(least(call, cpu).call for call in calls.at_last),
        rest=tuple(least(call, cpu).call for call in calls.rest),
    )
    section = section_of(graph, [node], axis)
    return ByRows(section, scheduled(section), {0: calls})


def _same(calls: tuple[KernelCall, ...], others: tuple[KernelCall, ...]) -> bool:
    """Whether they are the same kernels with the same arguments; an adaptation that leaves a call gives it back."""
    return len(calls) == len(others) and all(
        a.kernel == b.kernel and a.text == b.text and _alike(a, b) for a, b in zip(calls, others, strict=True)
    )


def _alike(call: KernelCall, other: KernelCall) -> bool:
    if call.arguments.keys() != other.arguments.keys():
        return False
    pairs = [(argument, other.arguments[name]) for name, argument in call.arguments.items()]
    return all(a is b or (isinstance(a, int) and a == b) or _same_table(a, b) for a, b in pairs)


def _same_table(a: object, b: object) -> bool:
    if not (isinstance(a, ConstantTable) and isinstance(b, ConstantTable)):
        return False
    return a.data.dtype == b.data.dtype and np.array_equal(a.data, b.data)
