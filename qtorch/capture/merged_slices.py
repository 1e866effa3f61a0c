"""Chains of slices and selections of one tensor as the one index that a person writes: ``x[:, 1:3, ::2, 0]``."""

from __future__ import annotations

import operator

from torch import fx

from qtorch.capture.nodes import is_tensor, operator_name, schema_arguments, shape_of, value_of

__all__ = ["merge_slices"]

#: What is taken of an axis: some of its places, or one, and then the axis is dropped.
_Taken = range | int


def merge_slices(traced: fx.GraphModule) -> None:
    """Make one call of each chain of ``aten.slice`` and ``aten.select`` of which nobody reads what lies between.

    A chain that takes everything is dropped; of another comes ``operator.getitem``, with what was known of the last
    call. Shapes are known of every node (:class:`qtorch.capture.nodes.Recorder`).
    """
    for node in list(traced.graph.nodes):
        if _is_part(node) and not any(_is_part(user) and len(node.users) == 1 for user in node.users):
            _merge(traced, node)
    traced.recompile()


def _is_part(node: fx.Node) -> bool:
    """Whether a node is a slice or selection by numbers, as those by a computed tensor are not."""
    return operator_name(node) in ("slice", "select") and not any(is_tensor(each) for each in node.args[1:])


def _merge(traced: fx.GraphModule, last: fx.Node) -> None:
    chain = [last]
    # What others read too has been made an index before.
    while _is_part(source := chain[0].all_input_nodes[0]):
        chain.insert(0, source)
    source = chain[0].all_input_nodes[0]
    sizes = shape_of(source)
    index = _index(sizes, chain)
    if all(taken == range(size) for taken, size in zip(index, sizes, strict=True)):
        last.replace_all_uses_with(source)
    else:
        entries = tuple(_entry(taken, size) for taken, size in zip(index, sizes, strict=True))
        with traced.graph.inserting_after(last):
            merged = traced.graph.call_function(operator.getitem, (source, entries))
        merged.meta = {**last.meta}
        last.replace_all_uses_with(merged)
    for node in reversed(chain):
        traced.graph.erase_node(node)


def _index(sizes: tuple[int, ...], chain: list[fx.Node]) -> list[_Taken]:
    """What a chain takes of each axis of its source."""
    index: list[_Taken] = [range(size) for size in sizes]
    for node in chain:
        axes = [axis for axis, taken in enumerate(index) if isinstance(taken, range)]
        arguments = value_of(schema_arguments(node))
        axis = axes[arguments["dim"]]
        taken = index[axis]
        assert isinstance(taken, range)
        if operator_name(node) == "select":
            index[axis] = taken[arguments["index"]]
        else:
            index[axis] = taken[arguments["start"] : arguments["end"] : arguments["step"]]
    return index


def _entry(taken: _Taken, size: int) -> slice | int:
    if isinstance(taken, int):
        return taken
    return slice(None) if taken == range(size) else slice(taken.start, taken.stop, taken.step)
