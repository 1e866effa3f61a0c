"""Shapes, orders and parts of tensors that have the batch elsewhere than in front, with the batch in front."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import torch
from torch import fx

from qtorch.capture.batch.calls import Held, MovedCall, Result, rule, size_of, sizes_of
from qtorch.capture.batch.layout import Layout, batch_of, layout_of, multiple_of_batch

aten = torch.ops.aten


@rule(
    "_reshape_alias", "_unsafe_view", "atleast_1d", "atleast_2d", "atleast_3d", "flatten", "ravel", "reshape",
    "reshape_as", "squeeze", "unflatten", "unsqueeze", "view", "view_as",
)  # fmt: skip
def _reshape(call: MovedCall) -> Result:
    x = call.held(call.node.args[0])
    layout = None if x is None else x.layout.reshaped(call.shape)
    return None if x is None or layout is None else call.as_held(x.node, layout)


@rule(
    "adjoint", "mH", "mT", "matrix_H", "moveaxis", "movedim", "numpy_T", "permute", "swapaxes", "swapdims", "t",
    "transpose",
)  # fmt: skip
def _permute(call: MovedCall) -> Result:
    x = call.source
    if x is None:
        return None
    # Every axis gets its number for its size, so that the shape of the result spells the order.
    axes = torch.empty(list(range(x.layout.rank)), device="meta")
    target: Any = call.node.target
    order = list(target(axes, *call.node.args[1:], **call.node.kwargs).shape)
    layout = x.layout.with_sizes(call.shape, order.index(x.layout.axis))
    places = [0, *(x.layout.place(axis) for axis in order if axis != x.layout.axis or x.layout.merged)]
    stays = places == list(range(len(places)))
    return Held(x.node if stays else call.emit(aten.permute.default, x.node, places), layout)


@rule("expand", "expand_as", "broadcast_to")
def _expand(call: MovedCall) -> Result:
    given: Any = call.node.args[0]
    x = call.held(given)
    if x is None:
        return _repeated_constant(call, given, [1] * len(call.shape))
    more = len(call.shape) - x.layout.rank
    layout = x.layout.with_sizes(call.shape, x.layout.axis + more)
    node = call.reshaped(x.node, [1] * more + list(x.layout.held))
    same = sizes_of(node)[1:] == layout.held
    return Held(node if same else call.emit(aten.expand.default, node, [-1, *layout.held]), layout)


@rule("repeat")
def _repeat(call: MovedCall) -> Result:
    given, repeats = call.node.args
    x = call.held(given)
    if x is None:
        # How often the sample's own axis is repeated follows from the result.
        return _repeated_constant(call, given, [n if isinstance(n, int) else 1 for n in repeats])  # type: ignore[union-attr]
    counts: list[Any] = list(repeats)  # type: ignore[arg-type]
    if not all(isinstance(count, int) for count in counts):
        return None
    more = len(counts) - x.layout.rank
    axis = x.layout.axis + more
    layout = layout_of(call.shape, axis, x.layout.outer * counts[axis], x.layout.inner)
    node = call.whole(x, more)
    return call.as_held(call.emit(aten.repeat.default, node, [1, *counts]) if set(counts) != {1} else node, layout)


def _repeated_constant(call: MovedCall, constant: Any, repeats: list[int]) -> Result:
    """What is the same for all samples, repeated for each."""
    found = batch_of(call.shape)
    if found is None or not isinstance(constant, fx.Node):
        return None
    axis, count = found
    sizes = [1] * (len(call.shape) - len(sizes_of(constant))) + list(sizes_of(constant))
    if not all(isinstance(size, int) for size in sizes) or count % sizes[axis]:
        return None
    repeats[axis] = count // sizes[axis]
    layout = layout_of(call.shape, axis, *_apart(call, count) if sizes[axis] == 1 else (1, count))
    x = constant
    if any(n > 1 for n in repeats):
        x = call.emit(aten.repeat.default, x, repeats)
        sizes = [size * n for size, n in zip(sizes, repeats, strict=True)]
    x = call.emit(aten.reshape.default, x, [1, *(n for i, n in enumerate(sizes) if i != axis or layout.merged)])
    return Held(call.emit(aten.expand.default, x, [call.batch(), *layout.held]), layout)


def _apart(call: MovedCall, count: int) -> tuple[int, int]:
    """How often the batch is repeated, and how many places of a sample are beside each other, of a tensor that is the
    same for all ``count`` of a sample: as in the last tensor that has so many."""
    found = (held.layout for held in reversed([*call.known.values()]) if held.layout.outer * held.layout.inner == count)
    return next(((layout.outer, layout.inner) for layout in found), (1, count))


@rule("repeat_interleave")
def _repeat_interleave(call: MovedCall) -> Result:
    x, repeats, dim = call.source, call.arguments["repeats"], call.arguments.get("dim")
    if x is None or not isinstance(repeats, int) or dim is None:
        return None
    axis, old = dim % x.layout.rank, x.layout
    inner = old.inner * (repeats if axis == old.axis else 1)
    layout = layout_of(call.shape, old.axis, old.outer, inner)
    node = call.emit(aten.repeat_interleave.self_int, call.whole(x), repeats, axis + 1)
    return call.as_held(node, layout)


@rule("full", "ones", "zeros", "empty")
def _made(call: MovedCall) -> Result:
    found = batch_of(call.shape)
    if found is None:
        return None
    layout = layout_of(call.shape, found[0], *_apart(call, found[1]))
    return Held(call.again({"size": [call.batch(), *layout.held]}), layout)


@rule("new_full", "new_ones", "new_zeros", "new_empty")
def _made_like(call: MovedCall) -> Result:
    found, x = batch_of(call.shape), call.held(call.node.args[0])
    if found is None:
        return None
    layout = layout_of(call.shape, found[0], *_apart(call, found[1]))
    changes = {"size": [call.batch(), *layout.held]}
    return Held(call.again(changes | ({} if x is None else {"self": x.node})), layout)


@rule("select")
def _select(call: MovedCall) -> Result:
    x = call.source
    axis = _axis(call)
    if x is None or axis == x.layout.axis:
        return None
    return Held(call.again({"self": x.node, "dim": x.layout.place(axis)}), x.layout.without(axis))


@rule("unbind")
def _unbind(call: MovedCall) -> Result:
    x, axis = call.source, _axis(call)
    if x is None or axis == x.layout.axis:
        return None
    node = call.again({"self": x.node, "dim": x.layout.place(axis)})
    return [Held(node, x.layout.without(axis)) for _ in call.shapes]


@rule("index_select")
def _index_select(call: MovedCall) -> Result:
    x, axis = call.source, _axis(call)
    if x is None or axis == x.layout.axis:
        return None
    return Held(call.again({"self": x.node, "dim": x.layout.place(axis)}), x.layout.with_sizes(call.shape))


@rule("gather", "take_along_dim")
def _gather(call: MovedCall) -> Result:
    """At places that each sample has, its own or those of all."""
    x, axis, name = call.held(call.node.args[0]), _axis(call), "index" if "index" in call.arguments else "indices"
    places = call.held(call.arguments[name])
    if x is None or places is None or x.layout.batch != places.layout.batch or axis == x.layout.axis:
        return None
    node = call.again({"self": x.node, name: places.node, "dim": x.layout.place(axis)})
    return Held(node, x.layout.with_sizes(call.shape))


@rule("embedding")
def _embedding(call: MovedCall) -> Result:
    """Rows of a table, which are an axis more behind all others."""
    places = call.held(call.arguments["indices"])
    if places is None or call.held(call.arguments["weight"]):
        return None
    return Held(call.again({"indices": places.node}), places.layout.with_sizes(call.shape))


@rule("slice", "narrow")
def _slice(call: MovedCall) -> Result:
    x, axis = call.source, _axis(call)
    if x is None:
        return None
    if axis != x.layout.axis:
        return Held(call.again({"self": x.node, "dim": x.layout.place(axis)}), x.layout.with_sizes(call.shape))
    start, count = _number(call.arguments["start"]), batch_of(call.shape)
    if start is None or count is None or call.arguments.get("step", 1) != 1:
        return None
    return _pieces(call, x, start, [count[1]])[0]


@rule("unfold")
def _unfold(call: MovedCall) -> Result:
    x = call.source
    if x is None or call.arguments["dimension"] % x.layout.rank == x.layout.axis:
        return None
    place = x.layout.place(call.arguments["dimension"] % x.layout.rank)
    return Held(call.again({"self": x.node, "dimension": place}), x.layout.with_sizes(call.shape))


@rule("chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes")
def _split(call: MovedCall) -> Result:
    x, axis = call.source, _axis(call)
    if x is None:
        return None
    if axis != x.layout.axis:
        node = call.again({"self": x.node, "dim": x.layout.place(axis)})
        return [Held(node, x.layout.with_sizes(shape)) for shape in call.shapes]
    counts = [multiple_of_batch(shape[axis]) for shape in call.shapes]
    pieces = _pieces(call, x, 0, counts)
    return None if None in pieces else pieces  # type: ignore[return-value]


def _pieces(call: MovedCall, x: Held, start: int, counts: list[int]) -> list[Held | None]:
    """Parts of the batch's axis, of so many places for every sample; None of one that tears the batch apart."""
    inner, place = x.layout.inner, x.layout.axis + 1
    ends = [start + end for end in accumulate(counts)]
    found: list[Held | None] = []
    for end, count in zip(ends, counts, strict=True):
        if not count or (end - count) % inner or count % inner:
            found.append(None)
            continue
        sizes = [count if axis == x.layout.axis else size for axis, size in enumerate(x.layout.sizes)]
        layout = Layout(tuple(sizes), x.layout.axis, count // inner, inner)
        part = call.emit(aten.slice.Tensor, call.whole(x), place, end - count, end)
        found.append(call.as_held(part, layout))
    return found


def _number(size: Any) -> int | None:
    """A place in the batch's axis, by how many places of a sample lie before it; None where that is no number."""
    value = size_of(size)
    if value is None or (isinstance(value, int) and value == 0):
        return 0
    return multiple_of_batch(value) or None


def _axis(call: MovedCall) -> int:
    first: Any = call.node.args[0]
    dim: int = call.arguments.get("dim", 0)
    return dim % len(sizes_of(first))


@rule("cat", "concat", "concatenate")
def _cat(call: MovedCall) -> Result:
    parts = _all_held(call)
    if parts is None:
        return None
    layouts = [part.layout for part in parts]
    axis, dim = layouts[0].axis, call.arguments.get("dim", 0) % layouts[0].rank
    if len({each.axis for each in layouts}) > 1:
        return None
    if dim != axis:
        if len({each.batch for each in layouts}) > 1:
            return None
        node = call.emit(aten.cat.default, [part.node for part in parts], layouts[0].place(dim))
        return Held(node, layouts[0].with_sizes(call.shape))
    if len({each.inner for each in layouts}) > 1:
        return None
    layout = layout_of(call.shape, axis, sum(each.outer for each in layouts), layouts[0].inner)
    return call.as_held(call.emit(aten.cat.default, [call.whole(part) for part in parts], axis + 1), layout)


@rule("stack")
def _stack(call: MovedCall) -> Result:
    parts = _all_held(call)
    if parts is None or len({part.layout.batch for part in parts}) > 1:
        return None
    old = parts[0].layout
    dim = call.arguments["dim"] % (old.rank + 1)
    layout = old.with_sizes(call.shape, old.axis + (dim <= old.axis))
    return Held(call.emit(aten.stack.default, [part.node for part in parts], layout.place(dim)), layout)


def _all_held(call: MovedCall) -> list[Held] | None:
    """What stands for all of the tensors; None where one has no batch."""
    parts = [call.held(each) for each in call.arguments["tensors"]]
    return None if None in parts else parts  # type: ignore[return-value]


@rule("constant_pad_nd", "pad")
def _pad(call: MovedCall) -> Result:
    x = call.source
    amounts = list(call.arguments["pad"])
    if x is None:
        return None
    # The last axis comes first.
    pairs = [amounts[i : i + 2] for i in range(0, len(amounts), 2)]
    at = x.layout.rank - 1 - x.layout.axis
    if at < len(pairs):
        if any(pairs[at]):
            return None
        pairs = pairs if x.layout.merged else pairs[:at] + pairs[at + 1 :]
    node = x.node
    if call.arguments.get("mode", "constant") != "constant":
        # Borders are made of images and the like alone, whose channels all other axes are.
        sizes = list(sizes_of(node)[1:])
        kept = len(sizes) - len(pairs)
        node = call.reshaped(node, [math.prod(sizes[:kept]), *sizes[kept:]])
    padded = call.again({"self": node, "pad": [amount for pair in pairs for amount in pair]})
    return call.as_held(padded, x.layout.with_sizes(call.shape))


@rule("index")
def _index(call: MovedCall) -> Result:
    """By constants, along axes side by side."""
    x, indices, given = call.source, list(call.arguments["indices"]), _indexed(call)
    if x is None or not given:
        return None
    grown = len(call.shape) - x.layout.rank
    layout = x.layout.with_sizes(call.shape, x.layout.axis + (grown if given[0] < x.layout.axis else 0))
    return Held(call.emit(aten.index.Tensor, x.node, _placed(x, indices, given)), layout)


@rule("index_put")
def _index_put(call: MovedCall) -> Result:
    """One number, put where constants say, along axes side by side."""
    x, indices, given = call.source, list(call.arguments["indices"]), _indexed(call)
    if x is None or not given or sizes_of(call.arguments["values"]):
        return None
    return Held(call.again({"self": x.node, "indices": _placed(x, indices, given)}), x.layout)


def _indexed(call: MovedCall) -> list[int]:
    """The axes that constants which are no masks index; none where they are apart, or one is the batch's."""
    indices, x = list(call.arguments["indices"]), call.source
    given = [axis for axis, index in enumerate(indices) if index is not None]
    if x is None or not given or given != list(range(given[0], given[-1] + 1)) or x.layout.axis in given:
        return []
    return [] if any(indices[axis].meta["val"].dtype == torch.bool for axis in given) else given


def _placed(x: Held, indices: list[Any], given: list[int]) -> list[Any]:
    """Indices, each where its axis is in what stands for the tensor."""
    places: list[Any] = [None] * (x.layout.place(given[-1]) + 1)
    for axis in given:
        places[x.layout.place(axis)] = indices[axis]
    return places
