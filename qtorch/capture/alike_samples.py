"""What is the same for every sample, whatever comes in: computed for one, and repeated.

``torch.ones(x.shape[0])`` gives lengths, ``torch.arange(n).expand(x.shape[0], n) < lengths[:, None]`` a mask of them,
``torch.arange(n).repeat(x.shape[0], 1).float()`` places, ``linear(positions.expand(x.shape[0], -1, -1))`` what trained
layers make of positions: the batch's size is all of the input that is in them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._guards import detect_fake_mode
from torch.utils._pytree import tree_map

from qtorch.capture.batch.layout import batch_of, has_batch, is_plain
from qtorch.capture.emitting import OF_THE_VALUE, emit, emit_buffer, tensor_of
from qtorch.capture.kept_calls import drops_out
from qtorch.capture.nodes import attribute_of, draws_numbers, operator_name, schema_arguments

__all__ = ["compute_one_of_alike_samples"]

aten = torch.ops.aten

#: Calls that make a tensor of a size, or repeat one: they have forms of their own.
_PLAIN = frozenset({
    "expand", "full", "full_like", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "repeat", "zeros",
    "zeros_like",
})  # fmt: skip
#: Numbers of samples that show whether they are alike.
_COUNTS = (2, 3)


def compute_one_of_alike_samples(traced: fx.GraphModule) -> None:
    """Put, in place, what is computed for one sample and repeated where calls give the same for every sample.

    It is a buffer where no parameter is in it, else the same calls once more.

    Args:
        traced: calls of ATen operators and layers; ``meta["val"]`` of each node is its value without data.
    """
    _tell_sizes(traced)
    alike = _alike(traced)
    known = set(alike)
    sized = _come_of(alike, _is_size)
    ends = [node for node in alike if node in sized and any(each not in known for each in node.users)]
    ends = [node for node in ends if _has_batch_slowest(node)]
    rows = [node for node in ends if _is_of(node, torch.int64) and any(map(_looks_up, node.users))]
    ends = [node for node in ends if operator_name(node) not in _PLAIN]
    trained = _come_of(alike, _has_parameters)
    masks = _come_of(alike, _is_condition)
    ends = rows + [node for node in ends if node in masks | trained or _is_of(node, torch.float32)]
    if not ends:
        return
    needed = _needed(alike, ends)
    one, *more = (_values(needed, samples) for samples in (1, *_COUNTS))
    copies: dict[fx.Node, Any] = {}
    replaced: list[tuple[fx.Node, fx.Node, bool]] = []
    for node in ends:
        close = _near if node in trained else torch.equal
        times = [(each[node], (len(each[node]) // len(one[node]), *[1] * (one[node].dim() - 1))) for each in more]
        if not all(close(values, one[node].repeat(count)) for values, count in times):
            continue
        if node not in masks | trained and _is_of(node, torch.float32) and not one[node].any():
            continue  # zeros are states, which have forms of their own
        with traced.graph.inserting_before(node):
            if node in trained:
                of_one = _copied(node, one, sized, copies)
            else:
                of_one = emit_buffer(traced.graph, f"{node.name}_of_one_sample", one[node], like=node)
        values = one[node]
        replaced.append((node, of_one, len(values) > 1 and close(values, values[:1].expand_as(values))))
    # Only now, because of what one of them reads, the others' calls are copied.
    for node, of_one, rows_alike in replaced:
        _repeat(traced, node, of_one, rows_alike)
    traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    traced.graph.lint()
    traced.recompile()


def _tell_sizes(traced: fx.GraphModule) -> None:
    """Take a tensor away that calls read nothing of but its shape: ``zeros_like(ids)``, ``self.scale.expand_as(x)``."""
    for node in list(traced.graph.nodes):
        name, value = operator_name(node), tensor_of(node)
        if value is None or batch_of(value.shape) != (0, 1):
            continue
        like: Any = node.args[-1 if name == "expand_as" else 0] if node.args else None
        filled = name in ("full_like", "ones_like", "zeros_like") and not value.is_floating_point()
        if not filled and (name != "expand_as" or has_batch(_shape(node.args[0]))):
            continue
        with traced.graph.inserting_before(node):
            size = emit(traced.graph, aten.sym_size.int, (like, 0), like=node)
            sizes = [size, *map(int, value.shape[1:])]
            if filled:
                number = schema_arguments(node)["fill_value"] if name == "full_like" else int(name == "ones_like")
                told = emit(traced.graph, aten.full.default, (sizes, number), {"dtype": value.dtype}, like=node)
            else:
                told = emit(traced.graph, aten.expand.default, (node.args[0], sizes), like=node)
        node.replace_all_uses_with(told)
        traced.graph.erase_node(node)


def _looks_up(reader: fx.Node) -> bool:
    """Whether it takes whole numbers for rows of a table, or with numbers that are not whole."""
    return operator_name(reader) == "embedding" or _is_of(reader, torch.float32)


def _shape(node: fx.Node) -> tuple[Any, ...]:
    value = tensor_of(node)
    return () if value is None else tuple(value.shape)


def _has_batch_slowest(node: fx.Node) -> bool:
    """Whether axis 0 has the batch, whatever else it has."""
    axis, _ = batch_of(_shape(node)) or (None, 0)
    return axis == 0


def _is_size(node: fx.Node) -> bool:
    return operator_name(node) == "sym_size"


def _is_condition(node: fx.Node) -> bool:
    return _is_of(node, torch.bool)


def _is_of(node: fx.Node, dtype: torch.dtype) -> bool:
    value = tensor_of(node)
    return value is not None and value.dtype is dtype


def _has_parameters(node: fx.Node) -> bool:
    return node.op == "call_module" or (node.op == "get_attr" and isinstance(attribute_of(node), nn.Parameter))


def _come_of(nodes: list[fx.Node], begins: Callable[[fx.Node], bool]) -> set[fx.Node]:
    """Those that ``begins`` says of, and what is computed of such; ``nodes`` are in order."""
    found: set[fx.Node] = set()
    for node in nodes:
        if begins(node) or any(each in found for each in node.all_input_nodes):
            found.add(node)
    return found


def _needed(nodes: list[fx.Node], ends: Iterable[fx.Node]) -> list[fx.Node]:
    """What ``ends`` are computed of, and they themselves, in order."""
    found = set(ends)
    for node in reversed(nodes):
        if node in found:
            found.update(node.all_input_nodes)
    return [node for node in nodes if node in found]


def _alike(traced: fx.GraphModule) -> list[fx.Node]:
    """What is computed of the batch's size, of buffers and of parameters, in order.

    What drops out of such is taken out of the graph: it is the same for all samples, and stays so in training.
    """
    known: dict[fx.Node, None] = {}
    for node in list(traced.graph.nodes):
        if _is_size(node):
            known[node] = None
        elif all(each in known for each in node.all_input_nodes):
            if drops_out(traced, node):
                node.replace_all_uses_with(node.all_input_nodes[0])
                traced.graph.erase_node(node)
            elif _fits(traced, node):
                known[node] = None
    return list(known)


def _fits(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node gives the same whatever comes in, where those that it reads do."""
    if node.op == "get_attr":
        return isinstance(attribute_of(node), Tensor)
    if node.op == "call_module":
        return _is_pure(traced.get_submodule(str(node.target)))
    writes = isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
    return node.op == "call_function" and not writes and not draws_numbers(node)


def _is_pure(layer: nn.Module) -> bool:
    """Whether a layer of torch does in training what it does in evaluation, and keeps nothing."""
    otherwise = (nn.modules.dropout._DropoutNd, nn.RNNBase, nn.MultiheadAttention, nn.RReLU)
    return type(layer).__module__.startswith("torch.nn.") and not (
        isinstance(layer, otherwise) or next(layer.buffers(), None) is not None
    )


def _values(nodes: list[fx.Node], samples: int) -> dict[fx.Node, Any]:
    """By node, for so many samples."""
    values: dict[fx.Node, Any] = {}
    with torch.no_grad():
        for node in nodes:
            if node.op == "get_attr":
                values[node] = attribute_of(node).detach().clone()
            elif _is_size(node):
                values[node] = _size(node, samples)
            else:
                args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                target: Any = node.target
                if node.op == "call_module":
                    target = node.graph.owning_module.get_submodule(target)  # type: ignore[union-attr]
                values[node] = target(*args, **kwargs)
    return values


def _size(node: fx.Node, samples: int) -> int:
    """A size for so many samples: of what has the batch as often as it may be in one axis, the same share."""
    size: Any = node.meta["val"]
    if isinstance(size, int):
        return size
    (symbol,) = size.node.expr.free_symbols
    return int(size.node.expr.subs(symbol, samples))


def _near(a: Tensor, b: Tensor) -> bool:
    """Whether values are those of another number of samples, which may be summed in another order."""
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(b.abs().max())) if b.numel() else 0.0)


def _copied(node: fx.Node, one: Mapping[fx.Node, Any], sized: set[fx.Node], copies: dict[fx.Node, Any]) -> Any:
    """The calls once more, at the graph's insertion point, that give a node's value for one sample."""
    if node not in sized:
        return node
    if not isinstance(one[node], Tensor | tuple | list):
        return one[node]
    if node not in copies:
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda each: _copied(each, one, sized, copies))
        copies[node] = node.graph.create_node(node.op, node.target, args, kwargs, f"{node.name}_of_one_sample")
        mode = detect_fake_mode([node.meta["val"]])
        copies[node].meta = {key: each for key, each in node.meta.items() if key not in OF_THE_VALUE}
        copies[node].meta["val"] = tree_map(
            lambda value: mode.from_tensor(value, static_shapes=True) if mode and isinstance(value, Tensor) else value,
            one[node],
        )
    return copies[node]


def _repeat(traced: fx.GraphModule, node: fx.Node, one: fx.Node, rows_alike: bool) -> None:
    """Let what read ``node`` read one sample, repeated; of one that has rows in front which are all the same, a row."""
    graph = traced.graph
    size = next(each for each in graph.nodes if _is_size(each) and has_batch((each.meta["val"],)))
    readers = set(node.users)
    shape = _shape(one)
    with graph.inserting_before(node):
        if is_plain(_shape(node)):
            whole = emit(graph, aten.expand.default, (one, [size, *shape[1:]]), like=node)
        elif rows_alike:
            row = emit(graph, aten.slice.Tensor, (one, 0, 0, 1), like=node)
            count = emit(graph, operator.mul, (size, shape[0]), like=node)
            whole = emit(graph, aten.expand.default, (row, [count, *shape[1:]]), like=node)
        else:
            sample = emit(graph, aten.unsqueeze.default, (one, 0), like=node)
            whole = emit(graph, aten.expand.default, (sample, [size, *shape]), like=node)
            whole = emit(graph, aten.reshape.default, (whole, [-1, *shape[1:]]), like=node)
    node.replace_all_uses_with(whole, delete_user_cb=readers.__contains__)
