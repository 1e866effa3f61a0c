"""Room for sums whose length the network's shapes decide: refused here where one could leave its kernel's int32.

What sums of products with trained weights may reach, :func:`qtorch.families.accumulator.require_room` knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from qtorch.capture.nodes import shape_of
from qtorch.errors import AccumulatorOverflow
from qtorch.preparation.assembly import Plan
from qtorch.row.row import Attrs, Row

__all__ = ["has_possible_sums", "require_possible_sums", "require_sum_room"]

#: What codes reach to both sides of any zero point that an input's range could give them.
_ALWAYS_REACHED = {"int8": (-127, 127), "int16": (-(2**15), 2**15 - 1)}


def require_sum_room(layer: str, row: Row, attrs: Attrs, shape: tuple[int, ...], low: int, high: int) -> None:
    """Refuse an op that some codes take beyond the int32 in which its kernel adds.

    Args:
        layer: its name, for the error.
        row: the op.
        attrs: its attributes.
        shape: of its input, axes as PyTorch counts them.
        low: the lowest code less the input's zero point.
        high: the highest.

    Raises:
        AccumulatorOverflow: so it is.
    """
    least, greatest = (0, 0) if row.sums is None else row.sums(attrs, shape, low, high)
    if not _in_int32(least, greatest):
        raise AccumulatorOverflow(
            where=f"layer {layer!r}",
            expected=f"a {row.name} whose sums are int32 values for every input, as the device has them",
            got=f"sums of {least}..{greatest} over an input of shape {shape}",
            remedy="take it over fewer elements, in two steps or behind a pooling"
            + (", or give the layer activations='int8'" if high - low >= 2**8 else ""),
        )


def require_possible_sums(plans: Iterable[Plan]) -> None:
    """Refuse, before anything is trained, an op whose sums leave int32 whatever range its input will have.

    Raises:
        AccumulatorOverflow: there is one.
    """
    for plan in plans:
        source = plan.call.sources.get("input")
        if source is not None and not plan.config.skip:
            reach = _ALWAYS_REACHED[plan.config.activations]
            require_sum_room(plan.name, plan.row, plan.call.attrs, shape_of(source), *reach)


def has_possible_sums(plan: Plan, dtype: str) -> bool:
    """Whether no input's range takes an op's sums of codes of a type beyond int32."""
    shape = shape_of(plan.call.sources["input"])
    return plan.row.sums is None or _in_int32(*plan.row.sums(plan.call.attrs, shape, *_ALWAYS_REACHED[dtype]))


def _in_int32(least: int, greatest: int) -> bool:
    return least >= -(2**31) and greatest < 2**31
