"""Nodes that pass values on, dropout and identity among them: the device does not see them."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn

from qtorch.capture.nodes import is_tensor, operator_name
from qtorch.capture.training_form import InTraining
from qtorch.network.conversions import Rounded, ToReals, ToSteps

__all__ = ["changes_in_training", "is_silent", "is_transparent", "multiplies_in_training", "readers", "source_of"]

#: What training uses and the device does not see.
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_MULTIPLYING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_TRANSPARENT_MODULES = (nn.Identity, *_DROPOUTS, InTraining, Rounded, ToReals, ToSteps)
_MULTIPLYING_OPERATORS = ("dropout", "feature_dropout")
_DROPOUT_OPERATORS = (*_MULTIPLYING_OPERATORS, "alpha_dropout", "feature_alpha_dropout")
_TRANSPARENT_OPERATORS = (*_DROPOUT_OPERATORS, "alias", "clone", "contiguous", "detach")
#: To the type, or to the place, that everything has.
_CASTS = ("to", "_to_copy", "type_as")


def is_transparent(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node passes its input's grid on: dropout, identity, one tensor out of several."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), _TRANSPARENT_MODULES)
    passes_on = operator_name(node) in _TRANSPARENT_OPERATORS or node.target == "detach" or _keeps_type(node)
    return is_tensor(node) and (passes_on or _picks_tensor(node))


def changes_in_training(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node passes on other values while the network trains."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), (*_DROPOUTS, InTraining))
    return operator_name(node) in _DROPOUT_OPERATORS


def multiplies_in_training(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether all that it does then is to multiply, by 0 or a number that is the same for all."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), _MULTIPLYING)
    return operator_name(node) in _MULTIPLYING_OPERATORS


def _keeps_type(node: fx.Node) -> bool:
    """Whether a node makes float32 of what is float32."""
    if operator_name(node) not in _CASTS:
        return False
    return {each.meta.get("dtype") for each in (node, node.args[0]) if isinstance(each, fx.Node)} == {torch.float32}


def _picks_tensor(node: fx.Node) -> bool:
    return node.target is operator.getitem and isinstance(node.args[0], fx.Node) and not is_tensor(node.args[0])


def is_silent(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the device does not compute a node: inputs, constants, sizes, dropout."""
    computes = is_tensor(node) or _computes_tensors(node)
    return node.op in ("get_attr", "placeholder") or not computes or is_transparent(traced, node)


def source_of(traced: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Where a tensor comes from, before dropout and the like."""
    while is_silent(traced, node) and node.args and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    return node


def readers(network: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """Who reads a node, behind what passes its values on."""
    reading = []
    for user in node.users:
        reading += readers(network, user) if user.op != "output" and is_transparent(network, user) else [user]
    return reading


def _computes_tensors(node: fx.Node) -> bool:
    """A call that gives several tensors, of which the recorder kept the shapes."""
    value: Any = node.meta.get("value")
    return isinstance(value, tuple | list) and bool(value) and all(isinstance(part, tuple) for part in value)
