"""Activations of 16 bits beside 8 where the 8-bit kernel can't have every code: a softmax over very many values.

They cost a QUANTIZE of what goes in, and one of what comes out where others read it in 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterable

from qtorch.capture.nodes import shape_of
from qtorch.preparation.assembly import Plan

__all__ = ["widen_what_is_too_long"]


def widen_what_is_too_long(plans: Iterable[Plan]) -> None:
    """Give an op 16 bits whose row has no narrower kernel for an input of its shape."""
    for plan in plans:
        if (plan.config.activations, plan.config.skip) == ("int8", False) and _is_too_long(plan):
            plan.narrow = plan.config.activations
            plan.config = plan.config.with_activations("int16")


def _is_too_long(plan: Plan) -> bool:
    source = next(iter(plan.call.sources.values()), None)
    return source is not None and plan.row.narrowest(shape_of(source)) == "int16"
