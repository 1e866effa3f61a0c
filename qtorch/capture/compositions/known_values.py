"""Values of what depends on no input and on no parameter: places, masks, grids, which a decomposition may look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.capture.nodes import attribute_of, draws_numbers

__all__ = ["computed_value", "known_value", "same_for_all"]


def known_value(x: Any) -> Tensor | None:
    """A tensor's value; None where it depends on an input, or on a parameter, which training changes."""
    if isinstance(x, Tensor):
        return x
    with torch.no_grad():
        value = computed_value(x.node, _is_known) if isinstance(x, fx.Proxy) else None
    return value if isinstance(value, Tensor) else None


def same_for_all(x: Any) -> Any:
    """What a tensor repeats for every sample of a batch, where that is all that it does; else the tensor."""
    while isinstance(x, fx.Proxy) and x.node.target is torch.ops.aten.expand.default:
        size: Any = x.node.args[1]
        if isinstance(size[0], int) or any(each != -1 and not isinstance(each, int) for each in size[1:]):
            return x
        x = fx.Proxy(x.node.args[0], x.tracer)  # type: ignore[arg-type]
    return x


def computed_value(node: fx.Node, fits: Callable[[fx.Node], bool], known: dict[fx.Node, Any] | None = None) -> Any:
    """What a node computes of attributes of its module; None where it or a node behind it does not fit.

    Args:
        node: a call, or a read of an attribute.
        fits: whether a node may be computed; what it reads is not looked at where it does not.
        known: values by node, which this adds to.
    """
    known = {} if known is None else known
    if node not in known:
        known[node] = None
        if not fits(node):
            return None
        values = {each: computed_value(each, fits, known) for each in node.all_input_nodes}
        if all(value is not None for value in values.values()):
            known[node] = attribute_of(node) if node.op == "get_attr" else _called(node, values)
    return known[node]


def _called(node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
    target: Any = node.target
    # What is written in place is a copy that was made for it.
    return target(*args, **kwargs)


def _is_known(node: fx.Node) -> bool:
    """Whether neither inputs nor training change what a node gives."""
    if node.op == "get_attr":
        value = attribute_of(node)
        return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
    return isinstance(node.target, torch._ops.OpOverload) and not draws_numbers(node)
