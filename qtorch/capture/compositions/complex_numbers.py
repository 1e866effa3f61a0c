"""Complex numbers as pairs of real ones: a device computes with real numbers alone.

What a network does with complex ones in between, a spectrum that it filters and transforms back, becomes calls of their
real and imaginary parts.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.compositions.spectra import TRANSFORMS, Parts, frames_of, signal_of, transformed
from qtorch.capture.compositions.table import Writer, result_shape, same_shape, shape_of
from qtorch.capture.nodes import WITHOUT_PARTS, operator_name, schema_arguments

__all__ = ["write_parts_of_complex_numbers"]

aten = torch.ops.aten

#: Calls that do the same to both parts; whatever else they are given is real.
_OF_EACH_PART = frozenset({
    "_to_copy", "_unsafe_view", "alias", "cat", "chunk", "clone", "constant_pad_nd", "contiguous", "cumsum", "detach",
    "expand", "expand_as", "flatten", "flip", "index", "index_select", "lift_fresh_copy", "mT", "mean", "moveaxis",
    "movedim", "narrow", "neg", "pad", "permute", "repeat", "repeat_interleave", "reshape", "roll", "select",
    "select_scatter", "slice", "slice_scatter", "split", "split_with_sizes", "squeeze", "stack", "sum", "swapaxes",
    "swapdims", "t", "tensor_split", "tile", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as",
    "where",
})  # fmt: skip

#: Products of two tensors, of each of which they are sums of multiples.
_PRODUCTS = frozenset({"bmm", "einsum", "matmul", "mm", "mv", "outer"})

#: Products with a weight, and with a bias behind them.
_LAYERS = frozenset({"linear", *(f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in (1, 2, 3))})

#: Tensors of one number; by it the real part is filled.
_FILLED = frozenset({"full", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "zeros", "zeros_like"})


def write_parts_of_complex_numbers(traced: fx.GraphModule) -> None:
    """Write, in place, calls that give or take complex numbers as calls of real ones.

    What has no such form stays, and so does all that goes into it; it is marked, to be refused by its own name.

    Args:
        traced: calls of ATen operators; ``meta["val"]`` of each node is its value without data.
    """
    if not any(map(_is_complex, traced.graph.nodes)):
        return
    parts: dict[fx.Node, Parts] = {}
    constants: set[fx.Node] = set()
    for node in list(traced.graph.nodes):
        if node.op == "get_attr" or (node.op == "call_function" and constants.issuperset(node.all_input_nodes)):
            constants.add(node)
        if node.op not in ("call_function", "get_attr") or not any(map(_is_complex, (node, *node.all_input_nodes))):
            continue
        with traced.graph.inserting_before(node.next):
            result = _written(_Call(node, Writer(node, constants), parts))
        if isinstance(result, Parts):
            parts[node] = Parts(*(part if part is None else part.node for part in result))
        elif result is not None:
            node.replace_all_uses_with(result.node)
    traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    for node in traced.graph.nodes:
        if node not in parts and not parts.keys().isdisjoint(node.all_input_nodes):
            node.meta[WITHOUT_PARTS] = True
    traced.graph.lint()
    traced.recompile()


def _is_complex(node: fx.Node) -> bool:
    value = node.meta.get("val")
    first = value[0] if isinstance(value, tuple | list) and value else value
    return isinstance(first, Tensor) and first.is_complex()


@dataclass(frozen=True)
class _Call:
    """A call that gives or takes complex numbers.

    Attributes:
        node: the call.
        writer: what writes calls where it stands.
        found: nodes that are the parts of what stands before it.
    """

    node: fx.Node
    writer: Writer
    found: dict[fx.Node, Parts]

    def proxy(self, node: Any) -> Any:
        return fx.Proxy(node, self.writer)

    def parts(self, node: fx.Node) -> Parts:
        """Of a complex number that stands before it."""
        return Parts(*(part if part is None else self.proxy(part) for part in self.found[node]))

    def argument(self, name: str) -> Any:
        """An argument by its name in the operator's schema."""
        return schema_arguments(self.node).get(name)

    def operand(self, name: str) -> Parts:
        """A tensor or a number among the arguments, in its parts."""
        value: Any = self.argument(name)
        if isinstance(value, fx.Node):
            return self.parts(value) if value in self.found else Parts(self.proxy(value), None)
        return Parts(value.real, value.imag or None) if isinstance(value, complex) else Parts(value, None)

    @property
    def complex_ones(self) -> list[Parts]:
        """Parts of the complex tensors among the arguments, as often as each stands there."""
        sources: list[fx.Node] = []
        fx.map_arg((self.node.args, self.node.kwargs), sources.append)
        return [self.parts(source) for source in sources if source in self.found]

    def of_parts(self, chosen: Sequence[Any]) -> Any:
        """The call with these tensors in the places of the complex ones; zero where one of them is."""
        if any(each is None for each in chosen):
            return None
        real: Iterator[Any] = iter(chosen)
        args, kwargs = fx.map_arg(
            (self.node.args, self.node.kwargs), lambda each: next(real) if each in self.found else self.proxy(each)
        )
        kwargs = {key: torch.float32 if value == torch.complex64 else value for key, value in kwargs.items()}
        return self.writer.create_proxy("call_function", self.node.target, args, kwargs)


def _written(call: _Call) -> Any:
    """Parts of what a call gives, one tensor where it gives real numbers; None where there is no form of it."""
    node, name = call.node, operator_name(call.node)
    if name == "view_as_complex":
        pairs = call.proxy(node.args[0])
        return Parts(*(aten.select.int(pairs, -1, part) for part in (0, 1)))
    if node in call.writer.constants and _is_complex(node):
        return Parts(aten.real.default(call.proxy(node)), aten.imag.default(call.proxy(node)))
    if any(_is_complex(source) and source not in call.found for source in node.all_input_nodes):
        return None
    if name in _OF_EACH_PART or node.target is operator.getitem:
        return _of_each_part(call)
    if name in _PRODUCTS:
        return _product(call)
    if name in _LAYERS:
        return _with_weights(call)
    if name in _FILLED:
        real = call.of_parts([each.real for each in call.complex_ones])
        return Parts(real, None)
    if name in TRANSFORMS:
        return transformed(TRANSFORMS[name], call.operand("self"), _given(call))
    form = _FORMS.get(name)
    result = None if form is None else form(call)
    return _of_one_shape(result) if isinstance(result, Parts) else result


def _given(call: _Call) -> dict[str, Any]:
    others = {name: value for name, value in schema_arguments(call.node).items() if name != "self"}
    return {name: call.proxy(value) if isinstance(value, fx.Node) else value for name, value in others.items()}


def _of_one_shape(parts: Parts) -> Parts:
    """Parts of the shape that they have together: where a real number is added, the imaginary part may be smaller."""
    if not parts.is_whole or same_shape(*(shape_of(each) for each in parts)):
        return parts
    zeros = (aten.mul.Tensor(each, 0.0) for each in reversed(parts))
    return Parts(*(aten.add.Tensor(part, zero) for part, zero in zip(parts, zeros, strict=True)))


def _of_each_part(call: _Call) -> Any:
    ones = call.complex_ones
    if not ones:
        # A cast of real numbers.
        return Parts(call.proxy(call.node.args[0]), None)
    if not _is_complex(call.node):
        return None

    def of(part: int) -> Any:
        if all(each[part] is None for each in ones):
            return None
        return call.of_parts([_nothing(each[1 - part]) if each[part] is None else each[part] for each in ones])

    return Parts(of(0), of(1))


def _nothing(like: Any) -> Any:
    return aten.zeros_like.default(like)


def _product(call: _Call) -> Any:
    ones = call.complex_ones
    if len(ones) == 1:
        return Parts(*(call.of_parts([part]) for part in ones[0]))
    if len(ones) != 2:
        return None
    (a, b), (c, d) = ones
    return Parts(
        _difference(call.of_parts([a, c]), call.of_parts([b, d])), _sum(call.of_parts([a, d]), call.of_parts([b, c]))
    )


def _with_weights(call: _Call) -> Any:
    z, (real, imaginary), bias = (
        call.operand(name) if call.argument(name) is not None else Parts(None, None)
        for name in ("input", "weight", "bias")
    )
    if z.real is None:
        return None
    others = {name: value for name, value in _given(call).items() if name not in ("input", "weight", "bias")}

    def of(x: Any, weight: Any, bias: Any) -> Any:
        given = {"input": x, "weight": weight, "bias": bias, **others}
        return call.writer.create_proxy("call_function", call.node.target, tuple(given.values()), {})

    one, other = of(z.real, real, bias.real), of(z.real, imaginary, bias.imaginary)
    if z.imaginary is None:
        return Parts(one, other)
    return Parts(_difference(one, of(z.imaginary, imaginary, None)), _sum(other, of(z.imaginary, real, None)))


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float)


def _sum(a: Any, b: Any) -> Any:
    """Of tensors, numbers and zeros, which are None."""
    if a is None or b is None:
        return b if a is None else a
    if _is_number(a):
        a, b = b, a
    return a + b if _is_number(a) else aten.add.Tensor(a, b)


def _times(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    if _is_number(a):
        a, b = b, a
    return a * b if _is_number(a) else aten.mul.Tensor(a, b)


def _difference(a: Any, b: Any) -> Any:
    if a is None or b is None or _is_number(a) or _is_number(b):
        return _sum(a, _times(b, -1))
    return aten.sub.Tensor(a, b)


def _multiplied(first: Parts, second: Parts) -> Parts:
    (a, b), (c, d) = first, second
    return Parts(_difference(_times(a, c), _times(b, d)), _sum(_times(a, d), _times(b, c)))


def _squares(z: Parts) -> Any:
    return _sum(_times(z.real, z.real), _times(z.imaginary, z.imaginary))


def _conjugate(z: Parts) -> Parts:
    return Parts(z.real, _times(z.imaginary, -1))


def _plus_or_minus(combine: Callable[[Any, Any], Any]) -> Callable[[_Call], Any]:
    def form(call: _Call) -> Parts:
        a, b, alpha = call.operand("self"), call.operand("other"), call.argument("alpha")
        scaled = b if alpha in (1, None) else Parts(_times(b.real, alpha), _times(b.imaginary, alpha))
        return Parts(combine(a.real, scaled.real), combine(a.imaginary, scaled.imaginary))

    return form


def _mul(call: _Call) -> Parts:
    return _multiplied(call.operand("self"), call.operand("other"))


def _div(call: _Call) -> Any:
    a, b = call.operand("self"), call.operand("other")
    if call.argument("rounding_mode") is not None:
        return None
    if b.imaginary is not None:
        a, b = _multiplied(a, _conjugate(b)), Parts(_squares(b), None)
    return Parts(*(None if part is None else aten.div.Tensor(part, b.real) for part in a))


def _pow(call: _Call) -> Any:
    z, exponent = call.operand("self"), call.argument("exponent")
    return _multiplied(z, z) if exponent == 2 else None


def _polar(call: _Call) -> Parts:
    size, angle = (call.proxy(call.argument(name)) for name in ("abs", "angle"))
    return Parts(aten.mul.Tensor(size, aten.cos.default(angle)), aten.mul.Tensor(size, aten.sin.default(angle)))


def _exp(call: _Call) -> Any:
    z = call.operand("self")
    if z.imaginary is None:
        return None
    size = None if z.real is None else aten.exp.default(z.real)
    ends = aten.cos.default(z.imaginary), aten.sin.default(z.imaginary)
    return Parts(*(end if size is None else aten.mul.Tensor(size, end) for end in ends))


def _abs(call: _Call) -> Any:
    z = call.operand("self")
    return aten.sqrt.default(_squares(z)) if z.is_whole else aten.abs.default(z.either)


def _part(place: int) -> Callable[[_Call], Any]:
    def form(call: _Call) -> Any:
        z = call.operand("self")
        return _nothing(z[1 - place]) if z[place] is None else z[place]

    return form


def _view_as_real(call: _Call) -> Any:
    pair = [form(call) for form in (_part(0), _part(1))]
    return aten.stack.default(pair, len(result_shape(pair[0])) - 1)


#: Of calls that are of another form than all their like.
_FORMS: dict[str, Callable[[_Call], Any]] = {
    "_conj": lambda call: _conjugate(call.operand("self")),
    "abs": _abs,
    "add": _plus_or_minus(_sum),
    "complex": lambda call: Parts(*(call.operand(name).real for name in ("real", "imag"))),
    "conj": lambda call: _conjugate(call.operand("self")),
    "conj_physical": lambda call: _conjugate(call.operand("self")),
    "div": _div,
    "exp": _exp,
    "imag": _part(1),
    "istft": lambda call: signal_of(call.operand("self"), _given(call)),
    "mul": _mul,
    "polar": _polar,
    "pow": _pow,
    "real": _part(0),
    "resolve_conj": lambda call: call.operand("self"),
    "resolve_neg": lambda call: call.operand("self"),
    "stft": lambda call: frames_of(call.operand("self").real, _given(call)),
    "sub": _plus_or_minus(_difference),
    "to": lambda call: call.operand("self") if _is_complex(call.node) else call.operand("self").real,
    "view_as_real": _view_as_real,
}
