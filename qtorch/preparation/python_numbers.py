"""Numbers that a network's code takes out of tensors: they would be constants."""

from __future__ import annotations

from torch import fx

from qtorch.capture.nodes import operator_name
from qtorch.preparation.matching import refusal

__all__ = ["require_no_numbers"]

#: What takes values out of tensors, or makes sizes of them.
_NUMBERS = {"item": "item()", "_local_scalar_dense": "item()", "nonzero": "nonzero()"}


def require_no_numbers(traced: fx.GraphModule) -> None:
    """Refuse Python numbers that are made of tensors.

    Raises:
        UnsupportedLayer: names the call.
    """
    for node in traced.graph.nodes:
        if operator_name(node) in _NUMBERS:
            raise refusal(
                traced,
                node,
                expected="values that stay in tensors",
                got=f"a number of Python, by {_NUMBERS[operator_name(node)]}",
                remedy="keep it a tensor, as y.amax(1, keepdim=True) instead of y.max().item() does",
            )
