"""Activations of 16 bits beside 8 where the 8-bit kernel can't have every code: a softmax over very many values.

They cost a QUANTIZE of what goes in, and one of what comes out where others read it in 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import fx

from qtorch.capture.nodes import shape_of
from qtorch.families.masked_scores import masked_scores
from qtorch.preparation.assembly import Plan

__all__ = ["widen_what_is_too_long"]


def widen_what_is_too_long(plans: Mapping[fx.Node, Plan]) -> None:
    """Give an op 16 bits whose row has no narrower kernel for an input of its shape, and the mask in front of it."""
    for plan in plans.values():
        if _is_narrow(plan) and _is_too_long(plan):
            for each in (plan, *_masks(plan, plans)):
                each.narrow = each.config.activations
                each.config = each.config.with_activations("int16")


def _is_narrow(plan: Plan) -> bool:
    return (plan.config.activations, plan.config.skip) == ("int8", False)


def _is_too_long(plan: Plan) -> bool:
    source = next(iter(plan.call.sources.values()), None)
    return source is not None and plan.row.narrowest(shape_of(source)) == "int16"


def _masks(plan: Plan, plans: Mapping[fx.Node, Plan]) -> Iterator[Plan]:
    """What forbids scores of a softmax: it puts them on a grid of the softmax's own type."""
    for source in plan.call.sources.values():
        if source.target is masked_scores and source in plans and _is_narrow(plans[source]):
            yield plans[source]
