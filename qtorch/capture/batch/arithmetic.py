"""Arithmetic of tensors that have the batch elsewhere than in front, with the batch in front."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F

from qtorch.capture.batch.calls import Held, MovedCall, Result, rule, sizes_of
from qtorch.capture.batch.images import by_parts, one_by_one
from qtorch.capture.batch.layout import Layout, layout_of
from qtorch.capture.compositions.einsums import labels_of
from qtorch.capture.compositions.known_values import computed_value
from qtorch.capture.nodes import operator_name
from qtorch.families.arithmetic import squared_difference

aten = torch.ops.aten


def elementwise(call: MovedCall) -> Result:
    """Of tensors that broadcast."""
    operands = [each for each in call.node.all_input_nodes if isinstance(each.meta["val"], torch.Tensor)]
    found = call.broadcast(operands, len(call.shape))
    if found is None:
        return None
    like, nodes = found
    with_batch = [(each, held) for each in operands if (held := call.held(each))]
    if all(held.node in call.parts and held.layout.rank == len(call.shape) for _, held in with_batch):
        several = zip(*(call.parts[held.node] for _, held in with_batch), strict=True)
        parts = [call.replaced(dict(zip((each for each, _ in with_batch), part, strict=True))) for part in several]
        return by_parts(call, with_batch[0][1], parts)
    return Held(call.replaced(nodes), like.with_sizes(call.shape, len(call.shape) + like.batch[0]))


@rule(
    "alpha_dropout", "bernoulli", "detach", "dropout", "fill", "full_like", "hardswish", "ones_like", "rand_like",
    "randn_like", "rsub", "floor_divide", "zeros_like",
)  # fmt: skip
def _of_each_number(call: MovedCall) -> Result:
    return elementwise(call)


@rule("_to_copy", "alias", "clone", "contiguous", "lift_fresh_copy", "to", "type_as")
def _copy(call: MovedCall) -> Result:
    x = call.held(call.node.args[0])
    dtype = call.node.meta["val"].dtype
    if x is None:
        return None
    return x if x.node.meta["val"].dtype == dtype else Held(call.emit(aten.to.dtype, x.node, dtype), x.layout)


@rule(
    "_log_softmax", "_softmax", "cumprod", "cumsum", "flip", "glu", "log_softmax", "logcumsumexp", "roll", "softmax",
    "softmin", "sort", "topk",
)  # fmt: skip
def along_others(call: MovedCall) -> Result:
    """What is computed along axes that stay, none of them the batch's."""
    x = call.source
    dims = _dims(call, x)
    if x is None or not dims:
        return None
    node = call.again({"self": x.node, _dim_name(call): _placed(call, x, dims)})
    return _results(call, node, x.layout.axis, x.layout)


@rule(
    "all", "amax", "amin", "any", "argmax", "argmin", "kthvalue", "linalg_vector_norm", "logsumexp", "max", "mean",
    "median", "min", "nansum", "norm", "prod", "std", "sum", "var", "std_mean", "var_mean",
)  # fmt: skip
def _reduction(call: MovedCall) -> Result:
    x = call.source
    dims = _dims(call, x)
    if x is None or not dims:
        return None
    if x.node in call.parts:
        return one_by_one(call, lambda part: call.again({"self": part}))
    node = call.again({"self": x.node, _dim_name(call): _placed(call, x, dims)})
    dropped = 0 if call.arguments.get("keepdim") else sum(axis < x.layout.axis for axis in dims)
    return _results(call, node, x.layout.axis - dropped, x.layout)


@rule("quantile", "nanquantile")
def _quantile(call: MovedCall) -> Result:
    """Of several shares, which are an axis in front of all others, the one after the other."""
    x, shares, dims = call.source, call.arguments["q"], _dims(call, call.source)
    known = computed_value(shares, lambda node: node.op != "placeholder") if isinstance(shares, fx.Node) else None
    if x is None or known is None or known.dim() != 1 or not dims:
        return None
    place, target = x.layout.place(dims[0]), getattr(aten, str(operator_name(call.node))).scalar
    behind = [call.arguments["keepdim"]]
    named = {"interpolation": call.arguments["interpolation"]}
    found = [call.emit(target, x.node, float(share), place, *behind, **named) for share in known]
    dropped = 0 if behind[0] else sum(axis < x.layout.axis for axis in dims)
    return Held(call.emit(aten.stack.default, found, 1), x.layout.with_sizes(call.shape, x.layout.axis - dropped + 1))


def _dim_name(call: MovedCall) -> str:
    return "dims" if "dims" in call.arguments else "dim"


def _dims(call: MovedCall, x: Held | None) -> list[int]:
    """The axes that a call is along; none where it is along all, or the batch's."""
    given = call.arguments.get(_dim_name(call))
    if x is None or given is None:
        return []
    axes = [dim % x.layout.rank for dim in ([given] if isinstance(given, int) else given)]
    return [] if x.layout.axis in axes else axes


def _placed(call: MovedCall, x: Held, dims: list[int]) -> Any:
    places = [x.layout.place(axis) for axis in dims]
    return places[0] if isinstance(call.arguments[_dim_name(call)], int) else places


def _results(call: MovedCall, node: fx.Node, axis: int, like: Layout) -> Result:
    layouts = [like.with_sizes(shape, axis) for shape in call.shapes]
    several = isinstance(call.node.meta["val"], tuple | list)
    return [Held(node, each) for each in layouts] if several else Held(node, layouts[0])


def moved_function(call: MovedCall) -> Result:
    """Of a function that is kept whole."""
    function, x = call.node.target, call.source
    if function in (F.softsign, F.tanhshrink, squared_difference):
        return elementwise(call)
    if function is not F.normalize or x is None:
        return None
    given = inspect.signature(F.normalize).bind(*call.node.args, **call.node.kwargs)
    given.apply_defaults()
    axis = given.arguments["dim"]
    if not isinstance(axis, int) or axis % x.layout.rank == x.layout.axis:
        return None
    changed = {**given.arguments, "input": x.node, "dim": x.layout.place(axis % x.layout.rank)}
    return Held(call.emit(F.normalize, changed.pop("input"), **changed), x.layout)


@rule("linear")
def _linear(call: MovedCall) -> Result:
    return of_last_axes(call, 1)


@rule("layer_norm", "rms_norm")
def _norm(call: MovedCall) -> Result:
    return of_last_axes(call, len(call.arguments["normalized_shape"]))


def of_last_axes(call: MovedCall, count: int) -> Result:
    """What is computed along so many of the last axes."""
    x = call.source
    if x is None or x.layout.axis >= x.layout.rank - count:
        return None
    return Held(call.replaced({call.node.all_input_nodes[0]: x.node}), x.layout.with_sizes(call.shape))


@rule("matmul", "mm", "bmm", "mv")
def _matmul(call: MovedCall) -> Result:
    return _product(call, *call.node.args[:2])


@rule("addmm", "baddbmm")
def _added_product(call: MovedCall) -> Result:
    bias, first, second = call.node.args[:3]
    beta, alpha = call.arguments["beta"], call.arguments["alpha"]
    product = _product(call, first, second)
    if not isinstance(product, Held) or not isinstance(bias, fx.Node):
        return None
    node = product.node if alpha == 1 else call.emit(aten.mul.Tensor, product.node, alpha)
    # A product that is none of the graph's calls, which what is added has to lie beside.
    beside = MovedCall(call.node, {**call.known, node: Held(node, product.layout)}, call.batch, call.parts)
    found = beside.broadcast([node, bias], product.layout.rank)
    if found is None:
        return None
    added = found[1].get(bias, bias)
    added = added if beta == 1 else call.emit(aten.mul.Tensor, added, beta)
    return Held(call.emit(aten.add.Tensor, node, added), product.layout)


def _product(call: MovedCall, first: Any, second: Any) -> Held | None:
    """Matrices that a sample has for itself, its rows of one matrix, or its columns of one."""
    a, b = call.held(first), call.held(second)
    ranks = len(sizes_of(first)), len(sizes_of(second))
    rank = max(*ranks)
    shape = call.shape
    if ranks[1] == 1 and a is not None and b is None and a.layout.axis < ranks[0] - 1:
        return Held(call.emit(aten.matmul.default, a.node, second), a.layout.with_sizes(shape))
    if min(ranks) == 1:
        return None
    if a is not None and b is None and a.layout.axis == ranks[0] - 2:
        layout = a.layout.with_sizes(shape, rank - 2)
        if ranks[1] == 2:
            return Held(call.emit(aten.matmul.default, a.node, second), layout)
        return call.as_held(call.emit(aten.matmul.default, call.whole(a, rank - ranks[0]), second), layout)
    if b is not None and a is None and b.layout.axis == ranks[1] - 1:
        layout = b.layout.with_sizes(shape, rank - 1)
        return call.as_held(call.emit(aten.matmul.default, first, call.whole(b, rank - ranks[1])), layout)
    found = call.broadcast([first, second], rank, kept=2)
    if found is None:
        return None
    like, nodes = found
    node = call.emit(aten.matmul.default, nodes.get(first, first), nodes.get(second, second))
    return Held(node, like.with_sizes(shape, rank + like.batch[0]))


@rule("scaled_dot_product_attention")
def _attention(call: MovedCall) -> Result:
    operands = call.node.all_input_nodes
    found = call.broadcast(operands, len(call.shape), kept=2)
    if found is None:
        return None
    like, nodes = found
    return Held(call.replaced(nodes), like.with_sizes(call.shape, len(call.shape) + like.batch[0]))


@rule("einsum")
def _einsum(call: MovedCall) -> Result:
    """The batch as an axis of its own, which every tensor that has it begins with."""
    equation, tensors = call.node.args[:2]
    terms, result = labels_of(str(equation), [len(sizes_of(x)) for x in tensors])  # type: ignore[union-attr]
    all_held = [call.held(x) for x in tensors]  # type: ignore[union-attr]
    known = [(held.layout, term[held.layout.axis]) for held, term in zip(all_held, terms, strict=True) if held]
    if len({(each.outer, each.inner, label) for each, label in known}) != 1:
        return None
    like, label = known[0]
    if label not in result or any(label in term for term, held in zip(terms, all_held, strict=True) if held is None):
        return None
    batch = next(letter for letter in "zyxwvutsrqponmlkjihgfedcba" if letter not in "".join(terms))
    moved = [
        term if held is None else batch + (term if like.merged else term.replace(label, ""))
        for term, held in zip(terms, all_held, strict=True)
    ]
    to = batch + (result if like.merged else result.replace(label, ""))
    nodes = [x if held is None else held.node for x, held in zip(tensors, all_held, strict=True)]  # type: ignore[arg-type]
    node = call.emit(aten.einsum.default, f"{','.join(moved)}->{to}", nodes)
    return Held(node, layout_of(call.shape, result.index(label), like.outer, like.inner))
