"""Nodes that pass values on, dropout and identity among them: the device does not see them."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx, nn

from qtorch.capture.constant_folding import is_constant, without_batch
from qtorch.capture.kept_calls import DROPOUTS
from qtorch.capture.nodes import is_tensor, operator_name
from qtorch.capture.training_form import InTraining
from qtorch.network.conversions import Rounded, ToReals, ToSteps

__all__ = ["changes_in_training", "is_silent", "is_transparent", "multiplies_in_training", "readers", "source_of"]

#: What training uses and the device does not see.
_MULTIPLYING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_TRANSPARENT_MODULES = (nn.Identity, *DROPOUTS, InTraining, Rounded, ToReals, ToSteps)
#: Operators that pass values on; detaching alone means something, in training.
_TRANSPARENT_OPERATORS = frozenset({"detach", "clone", "contiguous", "alias"})


def is_transparent(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node passes its input's grid on: dropout, identity, one tensor out of several."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), _TRANSPARENT_MODULES)
    return is_tensor(node) and (operator_name(node) in _TRANSPARENT_OPERATORS or _picks_tensor(node))


def changes_in_training(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node passes on other values while the network trains."""
    called = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
    return isinstance(called, (*DROPOUTS, InTraining))


def multiplies_in_training(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether all that it does then is to multiply, by 0 or a number that is the same for all."""
    called = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
    return isinstance(called, _MULTIPLYING)


def _picks_tensor(node: fx.Node) -> bool:
    return node.target is operator.getitem and isinstance(node.args[0], fx.Node) and not is_tensor(node.args[0])


def is_silent(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the device does not compute a node: inputs, constants, sizes, dropout."""
    computes = is_tensor(node) or _computes_tensors(node)
    given = node.op == "placeholder" or is_constant(traced, without_batch(traced, node))
    return given or not computes or is_transparent(traced, node)


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
    """A call that gives a tuple of tensors, which the recorder kept as a tuple of shapes."""
    value: Any = node.meta.get("value")
    return isinstance(value, tuple) and bool(value) and all(isinstance(part, tuple) for part in value)
