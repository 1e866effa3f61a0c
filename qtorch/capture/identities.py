"""Calls that hand on what they get: conversions that convert nothing, copies, checks of what is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.compositions.table import same_shape
from qtorch.capture.nodes import given_arguments, operator_name

__all__ = ["CHECKS", "drop_identities", "reshape_instead_of_view"]

#: Copies and changes of how a tensor lies in memory. ``detach`` is none: in training it has a meaning.
_COPIES = frozenset({
    "alias", "clone", "contiguous", "lift", "lift_fresh", "lift_fresh_copy", "positive", "resolve_conj", "resolve_neg",
})  # fmt: skip

_CONVERSIONS = frozenset({"_to_copy", "to", "type_as"})

#: Dropouts, by the position of ``train``.
_DROPOUTS = frozenset({"alpha_dropout", "dropout", "feature_alpha_dropout", "feature_dropout"})

#: Calls that change a tensor's shape or the place of its elements, and nothing where the shape stays.
_SHAPES = frozenset({
    "broadcast_to", "expand", "expand_as", "flatten", "ravel", "repeat", "reshape", "reshape_as", "slice", "squeeze",
    "atleast_1d", "atleast_2d", "atleast_3d", "narrow", "tile", "unflatten", "view_as",
})  # fmt: skip

#: Calls that give parts, of which one alone is all.
_PARTING = frozenset({"chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split"})

#: Checks that ``torch.export`` has made, or writes into the graph for whoever runs it.
CHECKS = frozenset({
    "_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size",
})  # fmt: skip


def drop_identities(traced: fx.GraphModule) -> None:
    """Drop, in place, calls that compute nothing in evaluation; a dropout that trains stays.

    Args:
        traced: calls of ATen operators as ``torch.export`` has them; ``meta["val"]`` of each node is its value without
            data. Views become reshapes, since what was made contiguous for them no longer is.
    """
    reshape_instead_of_view(traced)
    for node in list(traced.graph.nodes):
        name = operator_name(node)
        if name in CHECKS and not node.users:
            traced.graph.erase_node(node)
        elif name in _PARTING and len(node.meta["val"]) == 1:
            for part in list(node.users):
                part.replace_all_uses_with(node.args[0])
                traced.graph.erase_node(part)
            traced.graph.erase_node(node)
        elif name and (source := _handed_on(name, node)) is not None:
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
    traced.graph.lint()
    traced.recompile()


def reshape_instead_of_view(traced: fx.GraphModule) -> None:
    """Let calls of ``view`` be such of ``reshape``, which asks for no order in memory, in place."""
    aten = torch.ops.aten
    for node in traced.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
        elif node.target is aten.view_as.default:
            node.target = aten.reshape_as.default


def _handed_on(name: str, node: fx.Node) -> fx.Node | None:
    """The argument that a call hands on; None of a call that computes something."""
    for rule in (_moved, _dropout, _in_place, _alone):
        source = rule(name, node)
        if source is not None:
            return source
    return None


def _argument(node: fx.Node, name: str, default: Any = None) -> Any:
    return given_arguments(node).get(name, default)


def _alike(node: fx.Node, source: Any) -> bool:
    """Whether a call's result has the shape, the type and the device of its argument."""
    if not isinstance(source, fx.Node):
        return False
    ours, theirs = node.meta["val"], source.meta["val"]
    if not isinstance(ours, Tensor) or not isinstance(theirs, Tensor):
        return False
    return same_shape(ours.shape, theirs.shape) and (ours.dtype, ours.device) == (theirs.dtype, theirs.device)


def _moved(name: str, node: fx.Node) -> fx.Node | None:
    """Of copies, conversions and reshapes."""
    if name not in _COPIES | _CONVERSIONS | _SHAPES:
        return None
    source = node.args[0]
    return source if isinstance(source, fx.Node) and _alike(node, source) else None


def _dropout(name: str, node: fx.Node) -> fx.Node | None:
    if name not in _DROPOUTS or (_argument(node, "train") and _argument(node, "p")):
        return None
    source = node.args[0]
    return source if isinstance(source, fx.Node) else None


def _in_place(name: str, node: fx.Node) -> fx.Node | None:
    """Of movements that move nothing: what would move is of size 1, or comes where it was."""
    source = node.args[0]
    moves = _MOVEMENTS.get(name)
    if moves is None or not isinstance(source, fx.Node) or moves(node, source.meta["val"].dim()):
        return None
    return source


def _alone(name: str, node: fx.Node) -> fx.Node | None:
    """Of tensors put side by side, where there is one."""
    parts = node.args[0] if name in ("cat", "concat", "concatenate") else ()
    return parts[0] if isinstance(parts, list | tuple) and len(parts) == 1 and isinstance(parts[0], fx.Node) else None


def _permutes(node: fx.Node, rank: int) -> bool:
    return [axis % rank for axis in _argument(node, "dims")] != list(range(rank))


def _transposes(node: fx.Node, rank: int) -> bool:
    first = _argument(node, "dim0", _argument(node, "axis0"))
    second = _argument(node, "dim1", _argument(node, "axis1"))
    return bool(first % max(rank, 1) != second % max(rank, 1))


def _pads(node: fx.Node, rank: int) -> bool:
    return any(_argument(node, "pad"))


def _rolls(node: fx.Node, rank: int) -> bool:
    return any(_argument(node, "shifts"))


def _flips(node: fx.Node, rank: int) -> bool:
    return bool(_argument(node, "dims"))


_MOVEMENTS: dict[str, Callable[[fx.Node, int], bool]] = {
    "constant_pad_nd": _pads, "flip": _flips, "pad": _pads, "permute": _permutes, "roll": _rolls,
    "swapaxes": _transposes, "swapdims": _transposes, "transpose": _transposes,
}  # fmt: skip
