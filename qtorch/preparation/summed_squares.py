"""Squares that are summed up, in 16 bits beside 8 where asked: what a norm divides by, a variance, a length.

Of numbers that lie evenly on 256 codes most squares are on the lowest few of theirs, and a mean of them is off by as
much. In 16 bits they cost a QUANTIZE of what is squared, and one of the few numbers that come of it: everything else
keeps 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import fx

from qtorch.preparation.assembly import Plan
from qtorch.preparation.sum_room import has_possible_sums

__all__ = ["WIDENED", "widen_summed_squares"]

_MEANS = frozenset({"mean", "sum"})
#: Ops that may be.
WIDENED = _MEANS | {"squared_difference", "mul", "add"}


def widen_summed_squares(plans: Mapping[fx.Node, Plan]) -> None:
    """Give squares that only means and sums read, those, and what is added to them in front of a root, 16 bits."""
    for node, plan in plans.items():
        if _is_square(plan) and _asks(plan) and _all_are_widened(node, plans):
            for each in (node, *_behind(node, plans)):
                plans[each].narrow = plans[each].config.activations
                plans[each].config = plans[each].config.with_activations("int16")


def _is_square(plan: Plan) -> bool:
    sources = list(plan.call.sources.values())
    return plan.row.name == "squared_difference" or (
        plan.row.name == "mul" and len(sources) == 2 and sources[0] is sources[1]
    )


def _asks(plan: Plan) -> bool:
    config = plan.config
    return (config.activations, config.squares, config.skip) == ("int8", "int16", False)


def _all_are_widened(node: fx.Node, plans: Mapping[fx.Node, Plan]) -> bool:
    """Whether only means and sums read squares, of no more of them than 32 bits hold, and other ops these."""
    return bool(node.users) and all(reader in plans and _sums(reader, plans) for reader in node.users)


def _sums(node: fx.Node, plans: Mapping[fx.Node, Plan]) -> bool:
    plan = plans[node]
    room = plan.row.name in _MEANS and has_possible_sums(plan, "int16")
    return room and _asks(plan) and all(reader in plans for reader in node.users)


def _behind(node: fx.Node, plans: Mapping[fx.Node, Plan]) -> Iterator[fx.Node]:
    """The means, and the numbers that are added to each in front of a root."""
    for mean in node.users:
        yield mean
        readers = list(mean.users)
        if len(readers) == 1 and readers[0] in plans and _is_small_sum(readers[0], plans):
            yield readers[0]


def _is_small_sum(node: fx.Node, plans: Mapping[fx.Node, Plan]) -> bool:
    plan, roots = plans[node], [plans.get(reader) for reader in node.users]
    of_one = plan.row.name == "add" and len(plan.call.sources) == 1 and _asks(plan)
    return of_one and bool(roots) and all(root is not None and root.row.name == "rsqrt" for root in roots)
