"""Puts conversions into an assembled network: what leaves it is real, and so is what dropout and the like see."""

from __future__ import annotations

from typing import Any

from torch import fx

from qtorch.capture.constant_folding import is_constant
from qtorch.capture.nodes import operator_name
from qtorch.network.conversions import Rounded, ToReals, ToSteps
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.preparation.transparency import changes_in_training, multiplies_in_training

__all__ = ["left_real", "put_conversions"]


def put_conversions(network: fx.GraphModule) -> None:
    """Put them where steps would meet what expects real numbers."""
    real_of: dict[fx.Node, fx.Node] = {}
    for node in list(network.graph.nodes):
        if node.op == "output":
            for source in node.all_input_nodes:
                if not _quantizer_of(network, source).of_indices:
                    node.replace_input_with(source, _real(network, source, node, real_of))
        elif changes_in_training(network, node) and not left_real(network, node):
            quantizer, whole = _quantizer_of(network, node.all_input_nodes[0]), not _is_only_summed(network, node)
            if not multiplies_in_training(network, node):
                for source in node.all_input_nodes:
                    node.replace_input_with(source, _real(network, source, node, real_of))
                _insert(network, ToSteps(quantizer, whole), node, after=node)
            elif whole:
                _insert(network, Rounded(quantizer), node, after=node)


def _is_only_summed(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether nothing but sums of products is made of a tensor, which need no whole steps.

    No device computes what only training does. Rounded, small steps would be taken back to what they were, and with
    them the mean that dropout keeps.
    """
    return all(_only_sums(network, user) for user in node.users)


def _only_sums(network: fx.GraphModule, reader: fx.Node) -> bool:
    op = network.get_submodule(str(reader.target)) if reader.op == "call_module" else None
    if not isinstance(op, QuantizedOp):
        return multiplies_in_training(network, reader) and _is_only_summed(network, reader)
    if op.config.skip:
        return False
    return _is_only_summed(network, reader) if op.row.selects else op.has_weight


def _real(network: fx.GraphModule, source: fx.Node, reader: fx.Node, real_of: dict[fx.Node, fx.Node]) -> fx.Node:
    """The node that gives the real numbers of ``source``; one for all who read them. Sizes and constants are such."""
    if operator_name(source) == "sym_size" or is_constant(network, source):
        return source
    if source not in real_of:
        real_of[source] = _insert(
            network, ToReals(_quantizer_of(network, source), reader.op == "output"), source, before=reader
        )
    return real_of[source]


def _insert(
    network: fx.GraphModule,
    conversion: Rounded | ToReals | ToSteps,
    source: fx.Node,
    *,
    before: fx.Node | None = None,
    after: fx.Node | None = None,
) -> fx.Node:
    name = _free_name(network, f"{source.name}_{'reals' if before is not None else 'steps'}")
    network.add_submodule(name, conversion)
    graph = network.graph
    with graph.inserting_before(before) if before is not None else graph.inserting_after(after):
        inserted = graph.call_module(name, (source,))
    inserted.meta, inserted.stack_trace = dict(source.meta), source.stack_trace
    if after is not None:
        source.replace_all_uses_with(inserted, delete_user_cb=lambda user: user is not inserted)
    return inserted


def left_real(network: fx.GraphModule, node: Any) -> bool:
    """Whether a tensor is on no grid: between layers that are left in float32."""
    module = _origin(network, node)
    return isinstance(module, QuantizedOp) and not module.rounds_output


def _quantizer_of(network: fx.GraphModule, node: fx.Node) -> Quantizer:
    """Of the tensor that a node gives, or passes on."""
    module = _origin(network, node)
    return module.output if isinstance(module, QuantizedOp) else module


def _origin(network: fx.GraphModule, node: fx.Node) -> QuantizedOp | Quantizer:
    """What computed the tensor that a node gives, or passes on."""
    while True:
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, QuantizedOp | Quantizer):
            return module
        node = node.all_input_nodes[0]


def _free_name(network: fx.GraphModule, stem: str) -> str:
    name, index = stem, 0
    while hasattr(network, name):
        index += 1
        name = f"{stem}_{index}"
    return name
