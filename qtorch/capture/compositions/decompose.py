"""Calls of ATen operators that no row stands for, written as calls of operators that rows stand for."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.alike_samples import compute_one_of_alike_samples
from qtorch.capture.compositions import (  # noqa: F401 - each fills the table
    arithmetic,
    attention,
    axes,
    choices,
    convolutions,
    embeddings,
    extremes,
    images,
    lengths,
    norms,
    places,
    places_of_extrema,
    poolings,
    products,
    recurrences,
    reductions,
    resizings,
    sorted_values,
    unpoolings,
    volumes,
    windows,
)
from qtorch.capture.compositions.broadcasts import copy_broadcasts, drop_broadcasts
from qtorch.capture.compositions.many_axes import merge_axes
from qtorch.capture.compositions.softmax_factors import take_factors_in
from qtorch.capture.compositions.summed_stacks import add_up_stacks
from qtorch.capture.compositions.table import DECOMPOSITIONS, Writer
from qtorch.capture.compositions.volumes import norms_of_slices
from qtorch.capture.identities import reshape_instead_of_view
from qtorch.capture.nodes import draws_numbers, given_arguments, operator_name
from qtorch.ops import ROWS, of_rows
from qtorch.row.row import Row

__all__ = ["decompose_calls"]

#: Other names of operators, with the same overloads and arguments.
_OTHER_NAMES = {
    "absolute": "abs", "arccos": "acos", "arcsin": "asin", "arctan": "atan", "clip": "clamp", "concat": "cat",
    "concatenate": "cat", "divide": "div", "moveaxis": "movedim", "multiply": "mul", "negative": "neg",
    "sgn": "sign", "special_digamma": "digamma", "special_exp2": "exp2", "special_expit": "sigmoid",
    "special_expm1": "expm1", "special_gammaln": "lgamma", "special_i0": "i0", "special_log1p": "log1p",
    "special_logit": "logit", "special_sinc": "sinc", "special_xlogy": "xlogy", "subtract": "sub",
    "swapaxes": "transpose", "swapdims": "transpose", "true_divide": "div",
}  # fmt: skip


#: Of indices, counts and conditions; all others are of floats.
_OF_OTHERS = frozenset({"argmax", "argmin", "bucketize", "isfinite", "isinf", "isnan", "searchsorted"})


def decompose_calls(traced: fx.GraphModule, activations: frozenset[str] = frozenset({"int8"})) -> None:
    """Replace, in place, what is a composition of rows by that composition.

    What has no form stays as it is: whoever looks for rows refuses it by the name that a person wrote. Constants stay
    whole too, since they are computed once.

    Args:
        traced: calls of ATen operators as ``torch.export`` has them; ``meta["val"]`` of each node is its value without
            data. New nodes have one as well, and the source line and the layer of the call that they stand for.
        activations: the types that codes will have.
    """
    reshape_instead_of_view(traced)
    add_up_stacks(traced)
    norms_of_slices(traced)
    drop_broadcasts(traced)
    constants: set[fx.Node] = set()
    node = next(iter(traced.graph.nodes))
    while node.op != "root":
        before = node.prev
        if _is_constant(node, constants):
            constants.add(node)
        elif _decomposed(node, constants, activations):
            # What was written may be decomposed in its turn.
            node = before
        node = node.next
    # What decompositions made of what is the same for every sample is so too.
    compute_one_of_alike_samples(traced)
    drop_broadcasts(traced)
    copy_broadcasts(traced, constants)
    take_factors_in(traced, constants)
    merge_axes(traced)
    # What was replaced may be all that read a call.
    traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    traced.graph.lint()
    traced.recompile()


def _is_constant(node: fx.Node, constants: set[fx.Node]) -> bool:
    computed = node.op == "call_function" and all(source in constants for source in node.all_input_nodes)
    return node.op == "get_attr" or (computed and not draws_numbers(node))


def _decomposed(node: fx.Node, constants: set[fx.Node], activations: frozenset[str]) -> bool:
    """Whether another form stands in a call's place now."""
    if node.op != "call_function":
        return False
    name: Any = operator_name(node) or node.target
    if name in _OTHER_NAMES and name not in _registered():
        name = _OTHER_NAMES[name]
        node.target = _overload(name, node.target)
    if (
        name not in DECOMPOSITIONS
        or name in _registered()
        or not (name in _OF_OTHERS or _is_of_floats(node.meta.get("val")))
    ):
        return False
    writer = Writer(node, constants, activations)
    replaced = any(_is_replaced(node, writer, decomposition) for decomposition in DECOMPOSITIONS[name])
    # What is not needed: all of it where the call stays, or parts that nobody reads.
    for written in reversed(writer.written):
        if not written.users:
            constants.discard(written)
            writer.graph.erase_node(written)
    return replaced


def _is_replaced(node: fx.Node, writer: Writer, decomposition: Any) -> bool:
    """Whether one of the forms of an operator is one of this call, which then stands in its place."""
    arguments = _arguments(node, writer, decomposition)
    with node.graph.inserting_before(node):
        result = None if arguments is None else decomposition(**arguments)
    return result is not None and _replaced(node, result)


@of_rows
def _registered(rows: Mapping[str, Row]) -> frozenset[str]:
    """The operators that rows of others stand for: these know better than a composition."""
    others = [row for name, row in rows.items() if not ROWS.owners[name].startswith("qtorch.ops")]
    return frozenset(str(match.target) for row in others for match in row.matches if match.kind == "aten")


def _overload(name: str, target: Any) -> Any:
    packet = getattr(torch.ops.aten, name)
    return getattr(packet, target._overloadname if target._overloadname in packet.overloads() else "int")


def _is_of_floats(value: Any) -> bool:
    first = value[0] if isinstance(value, tuple | list) and value else value
    return isinstance(first, Tensor) and first.is_floating_point()


def _arguments(node: fx.Node, writer: Writer, decomposition: Any) -> dict[str, Any] | None:
    """A call's arguments by name; None where one is given that its decomposition doesn't know."""
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        called = inspect.signature(decomposition).bind(*node.args, **node.kwargs)
        called.apply_defaults()
        return {name: _proxies(value, writer) for name, value in called.arguments.items()}
    given = given_arguments(node)
    known = inspect.signature(decomposition).parameters
    arguments = {}
    for argument in target._schema.arguments:
        value = given.get(argument.name, argument.default_value)
        name = "input" if argument.name == "self" else argument.name
        if name in known:
            arguments[name] = _proxies(value, writer)
        elif value != argument.default_value and not (argument.name == "dtype" and _stays(node, value)):
            return None
    return arguments


def _stays(node: fx.Node, dtype: Any) -> bool:
    """Whether the type that a call asks for is what it would give anyway."""
    value, given = node.meta["val"], [each.meta["val"] for each in node.all_input_nodes]
    return all(isinstance(each, Tensor) and each.dtype is dtype for each in (value, *given))


def _proxies(value: Any, writer: Writer) -> Any:
    proxy: Any = lambda part: fx.Proxy(part, writer) if isinstance(part, fx.Node) else part  # noqa: E731
    return fx.node.map_aggregate(value, proxy)


def _replaced(node: fx.Node, result: Any) -> bool:
    """Whether the readers of a call read ``result`` now."""
    if isinstance(result, fx.Proxy):
        node.replace_all_uses_with(result.node)
        node.graph.erase_node(node)
        return True
    elements = [reader for reader in node.users if reader.target is operator.getitem]
    # What acts in training alone may read all results at once.
    others = [reader for reader in node.users if reader not in elements]
    if any(e.users and result[e.args[1]] is None for e in elements) or (
        others and any(each is None for each in result)
    ):
        return False
    for element in elements:
        if element.users:
            element.replace_all_uses_with(result[element.args[1]].node)
        node.graph.erase_node(element)
    together = [each.node for each in result] if others else []
    for reader in others:
        given = (reader.args, reader.kwargs)
        reader.args, reader.kwargs = fx.map_arg(given, lambda each: together if each is node else each)
    node.graph.erase_node(node)
    return True
