"""What code computes in float64, in float32: the device has no numbers of more, and nothing between need have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map

from qtorch.capture.emitting import emit
from qtorch.capture.nodes import attribute_of

__all__ = ["in_single_precision"]

_SINGLE = {torch.float64: torch.float32, torch.complex128: torch.complex64}


def in_single_precision(traced: fx.GraphModule) -> None:
    """Let calls that convert to float64, make tensors of it or add up in it do so in float32; changes them in place.

    What came in double precision, as numbers of NumPy do, is converted where it is read. A network that gives results
    in it stays as it is.

    Args:
        traced: calls of ATen operators and layers; ``meta["val"]`` of each node is its value without data.
    """
    if any(_has_double(each.meta.get("val")) for each in traced.graph.output_node().all_input_nodes):
        return
    for node in list(traced.graph.nodes):
        if not _has_double(node.meta.get("val")):
            continue
        if node.op == "get_attr":
            _convert(traced, node)
        elif node.op == "call_function":
            node.args, node.kwargs = tree_map(_single, (node.args, node.kwargs))
            node.meta["val"] = tree_map(_single, node.meta["val"])


def _has_double(value: Any) -> bool:
    values = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(each, Tensor) and each.dtype in _SINGLE for each in values)


def _single(each: Any) -> Any:
    """A type, or a tensor without data, in single precision; what else there is stays."""
    if isinstance(each, torch.dtype):
        return _SINGLE.get(each, each)
    return each.to(_SINGLE[each.dtype]) if isinstance(each, Tensor) and each.dtype in _SINGLE else each


def _convert(traced: fx.GraphModule, node: fx.Node) -> None:
    value = attribute_of(node)
    readers = set(node.users)
    with traced.graph.inserting_after(node):
        single = emit(traced.graph, torch.ops.aten.to.dtype, (node, _SINGLE[value.dtype]), like=node)
    node.replace_all_uses_with(single, delete_user_cb=readers.__contains__)
