"""Batch norms folded for good: what changes weights after training must see those that the device will have.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3.2; the arithmetic is :func:`qtorch.network.batch_norm.fold`'s.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from qtorch.capture.capture import CapturedNetwork, capture_of
from qtorch.capture.constant_folding import make_permanent
from qtorch.capture.nodes import operator_name, shape_of
from qtorch.network.batch_norm import BatchNorm, fold
from qtorch.ops import of_rows
from qtorch.preparation.matching import constant_of
from qtorch.row.row import Row

__all__ = ["fold_batch_norms", "traced_copy"]


@of_rows
def _channels(rows: Mapping[str, Row]) -> dict[Any, tuple[int, bool]]:
    """The axis of the weight's output channels, and whether these are the last axis of what is computed, by layer."""
    return {
        match.target: (row.norm_axis, not row.channels_last)
        for row in rows.values()
        if row.norm_axis is not None
        for match in row.matches
    }


def fold_batch_norms(net: nn.Module, example: Any) -> CapturedNetwork:
    """A copy of a float network in evaluation, in which layers have taken in the batch norms directly behind them.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        >>> folded = fold_batch_norms(net, torch.zeros(1, 3, 8, 8))
        >>> [name for name, _ in folded.named_parameters()]
        ['0.weight', '0.bias']

    The copy computes what ``net`` computes in evaluation, but for float32's rounding; ``net`` is left as it was. Layers
    are (transposed) convolutions and linear layers, modules and functions alike; one that is called more than once is
    copied for the call with the batch norm. What stays: batch norms behind anything else or without running statistics,
    and those whose input something else reads too.

    Args:
        net: a plain module, trained.
        example: one batch as the network is called with it; see :func:`qtorch.prepare`.

    Raises:
        UnsupportedLayer: control flow that depends on data.
        BadConfiguration: the network does not run on the example.
    """
    traced = traced_copy(net, example)
    for node in list(traced.graph.nodes):
        norm = _norm(traced, node)
        producer = node.all_input_nodes[0] if norm is not None else None
        if norm is not None and producer is not None and _takes(traced, producer):
            _fold(traced, producer, norm)
            node.replace_all_uses_with(producer)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.graph.eliminate_dead_code()
    traced.graph.lint()
    traced.recompile()
    return traced


def traced_copy(net: nn.Module, example: Any) -> CapturedNetwork:
    """A copy of ``net`` in evaluation as a graph, with the shape of every tensor; see :meth:`Capture.traced`.

    Weights that are computed from parameters become parameters, because what changes weights has to write to them.
    """
    capture = capture_of(copy.deepcopy(net), example)
    traced, odd = capture.traced(CapturedNetwork, decomposed=False)
    capture.require_same(traced, odd)
    make_permanent(traced)
    return traced


def _norm(traced: fx.GraphModule, node: fx.Node) -> BatchNorm | None:
    """The batch norm that a node calls, if its statistics are constants."""
    module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, BatchNorm) and module.running_var is not None else None


def _takes(traced: fx.GraphModule, producer: fx.Node) -> bool:
    """Whether a node is a layer whose output channels are the axis that a batch norm behind it normalizes."""
    if producer.op == "call_module":
        module = traced.get_submodule(str(producer.target))
        kind: Any = type(module)
        groups = getattr(module, "groups", 1)
    else:
        kind, groups = operator_name(producer), _argument(producer, 6, "groups") or 1
        if producer.op == "call_function" and _weight_of(traced, producer) is None:
            return False
    if kind not in _channels() or len(producer.users) != 1:
        return False
    axis, last = _channels()[kind]
    # A linear layer on sequences has its features last, and a batch norm behind it normalizes another axis.
    features_last = last and len(shape_of(producer)) != 2
    return not features_last and (axis == 0 or groups == 1)


def _fold(traced: fx.GraphModule, producer: fx.Node, norm: BatchNorm) -> None:
    if producer.op == "call_function":
        _fold_into_call(traced, producer, norm)
        return
    name = str(producer.target)
    calls = Counter(str(node.target) for node in traced.graph.nodes if node.op == "call_module")
    if calls[name] > 1:
        layer = copy.deepcopy(traced.get_submodule(name))
        producer.target = name = _fresh(traced, f"{producer.name}_folded")
        traced.add_submodule(name, layer)
    folded: Any = traced.get_submodule(name)
    # New parameters, because the old ones may be tied to another layer's.
    for role, tensor in fold(norm, folded.weight, folded.bias, _channels()[type(folded)][0]).items():
        setattr(folded, role, nn.Parameter(tensor.detach()))


def _fold_into_call(traced: fx.GraphModule, producer: fx.Node, norm: BatchNorm) -> None:
    weight, bias = _weight_of(traced, producer), _argument(producer, 2, "bias")
    assert weight is not None
    old_bias = None if bias is None else constant_of(traced, bias)
    axis, _ = _channels()[operator_name(producer)]
    nodes = []
    for role, tensor in fold(norm, weight, old_bias, axis).items():
        name = _fresh(traced, f"{producer.name}_{role}")
        traced.register_parameter(name, nn.Parameter(tensor.detach()))
        with traced.graph.inserting_before(producer):
            nodes.append(traced.graph.get_attr(name))
    source = producer.args[0] if producer.args else producer.kwargs["input"]
    others = {name: value for name, value in producer.kwargs.items() if name not in ("input", "weight", "bias")}
    producer.args, producer.kwargs = (source, *nodes, *producer.args[3:]), others


def _weight_of(traced: fx.GraphModule, node: fx.Node) -> Tensor | None:
    """The constant weight of a call of a function; ``None`` where it is computed, as the bias must not be either."""
    arguments = [_argument(node, 1, "weight"), _argument(node, 2, "bias")]
    tensors = [constant_of(traced, each) if isinstance(each, fx.Node) else None for each in arguments]
    return None if arguments[1] is not None and tensors[1] is None else tensors[0]


def _argument(node: fx.Node, position: int, name: str) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name)


def _fresh(traced: fx.GraphModule, stem: str) -> str:
    while hasattr(traced, stem):
        stem += "_"
    return stem
