"""Values of what depends on no input and on no parameter: places, masks, grids, which a decomposition may look at."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["known_value", "same_for_all"]


def known_value(x: Any) -> Tensor | None:
    """A tensor's value; None where it depends on an input, or on a parameter, which training changes."""
    if isinstance(x, Tensor):
        return x
    with torch.no_grad():
        value = _value(x.node, {}) if isinstance(x, fx.Proxy) else None
    return value if isinstance(value, Tensor) else None


def same_for_all(x: Any) -> Any:
    """What a tensor repeats for every sample of a batch, where that is all that it does; else the tensor."""
    while isinstance(x, fx.Proxy) and x.node.target is torch.ops.aten.expand.default:
        size: Any = x.node.args[1]
        if isinstance(size[0], int) or any(each != -1 and not isinstance(each, int) for each in size[1:]):
            return x
        x = fx.Proxy(x.node.args[0], x.tracer)  # type: ignore[arg-type]
    return x


def _value(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    if node not in known:
        known[node] = None
        known[node] = _computed(node, known)
    return known[node]


def _computed(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    if node.op == "get_attr":
        value = attrgetter(str(node.target))(node.graph.owning_module)
        return None if isinstance(value, nn.Parameter) or not isinstance(value, Tensor) else value
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None
    if torch.Tag.nondeterministic_seeded in node.target.tags:
        return None
    sources = {each: _value(each, known) for each in node.all_input_nodes}
    if any(value is None for value in sources.values()):
        return None
    args, kwargs = fx.map_arg((node.args, node.kwargs), sources.__getitem__)
    # What is written in place is a copy that was made for it.
    return node.target(*args, **kwargs)
