"""Sums of which one operand is lost, because no value of it is half a step of the other's grid; and masks that do not
forbid what they should."""

from __future__ import annotations

from torch import nn

from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer

__all__ = ["lost_operands", "weak_masks"]

_SUMS = frozenset({"add", "sub"})


def lost_operands(net: nn.Module) -> list[str]:
    """Each such sum in words, with the remedy; of what was calibrated to be zero nothing is lost.

    The sum's own grid spans the wider operand, so that its steps are no finer. A mask that forbids scores by -1e4 or
    -1e9, and is computed or comes in as numbers, is one: all scores are rounded to the same code.

    Args:
        net: calibrated, with layers by name.
    """
    modules = dict(net.named_modules())
    # An input's is registered as "x_quantizer".
    names = {each: name[: -len(".quantizer")] for name, each in modules.items() if isinstance(each, Quantizer)}
    said = []
    for name, op in modules.items():
        if not isinstance(op, QuantizedOp) or op.row.name not in _SUMS or op.config.skip or len(op.sources) != 2:
            continue
        fine, coarse = sorted(op.sources.values(), key=lambda each: each.step)
        low, high = _seen(fine)
        if not coarse.step > 2 * max(abs(low), abs(high)) > 0:
            continue
        said.append(
            f"layer {name!r} adds {names.get(coarse)!r}, one step of whose grid is {coarse.step:.4g}, and "
            f"{names.get(fine)!r}, within [{low:.4g}, {high:.4g}], less than half of that: on one grid nothing is "
            "left of the latter. Remedy: of a mask that forbids scores make a condition, as in "
            "scores.masked_fill(mask < 0.5, -1e9) in front of the softmax, which takes no grid; bring other tensors to "
            "one size before they are added"
        )
    return said


def weak_masks(net: nn.Module) -> list[str]:
    """Each mask in words, with the remedy, whose number leaves some of the scores that were measured more than nothing.

    Args:
        net: calibrated, with layers by name.
    """
    said = []
    for name, op in net.named_modules():
        if not isinstance(op, QuantizedOp) or not {"filled", "added"} & set(op.attrs):
            continue
        # The lowest code is what a device gives what is forbidden, and a softmax nothing of it.
        low, high = _seen(op.output)
        if "filled" in op.attrs and op.attrs["filled"] < low:
            continue
        if "added" in op.attrs and op.attrs["added"] < low - high:
            continue
        number = op.attrs.get("filled", op.attrs.get("added"))
        said.append(
            f"layer {name!r} forbids scores by {number:.4g}, and leaves those within [{low:.4g}, {high:.4g}], which it "
            "does not suffice for: the float network gives something to what is forbidden, and a device nothing. "
            "Remedy: forbid by -1e9, or normalize what the scores are computed of"
        )
    return said


def _seen(quantizer: Quantizer) -> tuple[float, float]:
    """The range that was measured; of a grid that a kernel fixes its own."""
    if quantizer.fixed is None:
        low, high = quantizer.observer.range()
        return float(low), float(high)
    (scale,), (zero_point,) = quantizer.fixed.scale, quantizer.fixed.zero_point
    first, last = ((code - zero_point) * scale for code in quantizer.fixed.code_range)
    return first, last
