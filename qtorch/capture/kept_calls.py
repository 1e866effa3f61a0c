"""Calls that a capture keeps whole, instead of the operators that they come to: layers, and functions of rows.

Such a call is made as always, and what it gave goes through an operator of this project's own, which the exported graph
names by number. What was computed inside is then read by nobody.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from qtorch.capture.asked_numbers import KnownNumbers
from qtorch.capture.opened_layers import is_opened_for
from qtorch.ops import of_rows
from qtorch.row.row import Row

__all__ = ["DROPOUTS", "KEPT", "KeptCall", "KeptCalls", "SeenCall", "drops_out", "keeping_functions"]


@torch.library.custom_op("qtorch::kept", mutates_args=())
def _kept(tensors: list[Tensor], results: list[Tensor], sample: list[int], number: int) -> list[Tensor]:
    return [each.clone() for each in results] or [tensors[0].new_empty((len(tensors[0]), *sample))]


@_kept.register_fake
def _(tensors: list[Tensor], results: list[Tensor], sample: list[int], number: int) -> list[Tensor]:
    if not results:
        return [tensors[0].new_empty((tensors[0].shape[0], *sample))]
    return [torch.empty_like(each, memory_format=torch.contiguous_format) for each in results]


#: The operator that stands for a call that is kept.
KEPT = torch.ops.qtorch.kept.default


#: Layers that hand on what they get in evaluation.
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def drops_out(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a call is of one of :data:`DROPOUTS`."""
    return node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), DROPOUTS)


@dataclass(frozen=True)
class SeenCall:
    """A layer's call, as it was when the network ran on real numbers.

    Attributes:
        taken: shape of a sample of the tensor that it was called with, alone.
        given: of what it gave, as many samples.
        view: whether that lay in the memory of the other.
    """

    taken: tuple[int, ...]
    given: tuple[int, ...]
    view: bool


class _Place:
    """Where a tensor stands among a call's arguments."""


_PLACE = _Place()


@dataclass(frozen=True)
class KeptCall:
    """A call that was kept.

    Attributes:
        op: of the graph's node: ``"call_module"``, ``"call_function"`` or ``"call_method"``.
        target: path of the layer, the function, or the method's name.
        several: whether it gives several tensors.
    """

    op: str
    target: Any
    several: bool
    _leaves: tuple[Any, ...]
    _spec: pytree.TreeSpec

    def arguments(self, tensors: list[fx.Node]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional arguments and those by name, with these nodes for the tensors."""
        rest = iter(tensors)
        leaves = [next(rest) if each is _PLACE else each for each in self._leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self._spec)
        return args, kwargs


@dataclass
class KeptCalls:
    """The calls that were kept in one capture, by number.

    Attributes:
        calls: they.
        views: paths of layers that gave views of their inputs, which what was captured does not show.
        values: what is known of tensors meanwhile.
    """

    calls: list[KeptCall] = field(default_factory=list)
    views: set[str] = field(default_factory=set)
    values: KnownNumbers = field(default_factory=KnownNumbers)

    def keep(self, op: str, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Any:
        """``result``, of a call with these arguments, as that of the call as a whole."""
        leaves = pytree.tree_leaves((args, dict(kwargs)))
        tensors = [each for each in leaves if isinstance(each, Tensor)]
        results, shape = pytree.tree_flatten(result)
        sized = any(isinstance(each, torch.SymInt | torch.SymFloat) for each in leaves)
        if sized or not tensors or not results or not all(isinstance(each, Tensor) for each in results):
            return result
        return self._named(op, target, args, kwargs, tensors, results, [], shape)

    def _named(
        self,
        op: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        tensors: Sequence[Tensor],
        results: Sequence[Tensor],
        sample: list[int],
        shape: pytree.TreeSpec | None,
    ) -> Any:
        """What stands for a call's result in the exported graph: tensors like ``results``, or samples of a shape."""
        leaves, spec = pytree.tree_flatten((args, dict(kwargs)))
        places = tuple(_PLACE if isinstance(each, Tensor) else each for each in leaves)
        several = shape is not None and not shape.is_leaf()
        self.calls.append(KeptCall(op, target, several, places, spec))
        given = _kept(list(tensors), list(results), sample, len(self.calls) - 1)
        return given[0] if shape is None else pytree.tree_unflatten(given, shape)

    def keep_layer(self, layer: nn.Module, path: str, seen: Iterable[SeenCall | None], opaque: bool) -> None:
        """Let calls of a layer be kept; its hooks run around them as always.

        Args:
            layer: whose ``forward`` is replaced.
            path: of it in the network.
            seen: its calls, one after the other, as far as their shapes say all: the layer's code is not run for them.
            opaque: whether its code is not run for others either; such give a tensor like their first.
        """
        forward, calls = (lambda x, *_, **__: x) if opaque else layer.forward, iter(seen)

        def whole(*args: Any, **kwargs: Any) -> Any:
            call = next(calls, None)
            if not opaque and args and is_opened_for(layer, args[0]):
                return forward(*args, **kwargs)
            if call is not None and len(args) == 1 and not kwargs and _has_sample(args[0], call.taken):
                if call.view and not isinstance(layer, DROPOUTS):
                    self.views.add(path)
                return self._named("call_module", path, args, kwargs, args, (), list(call.given), None)
            result = forward(*args, **kwargs)
            if not opaque and not isinstance(layer, DROPOUTS) and _is_view(result, args):
                self.views.add(path)
            return self.keep("call_module", path, args, kwargs, result)

        def kept(*args: Any, **kwargs: Any) -> Any:
            if getattr(layer, "inplace", False) is not True:
                return whole(*args, **kwargs)
            layer.inplace = False  # type: ignore[assignment]
            try:
                result = whole(*args, **kwargs)
            finally:
                layer.inplace = True  # type: ignore[assignment]
            return next(iter((*args, *kwargs.values()))).copy_(result)

        layer.forward = kept


def _has_sample(x: Any, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is of samples of a shape; its own is not compared where the batch's size is in it."""
    if not isinstance(x, Tensor) or not x.dim() or any(not isinstance(size, int) for size in x.shape[1:]):
        return False
    return tuple(x.shape[1:]) == shape


def _is_view(result: Any, args: tuple[Any, ...]) -> bool:
    """Whether a result shares memory with the first argument."""
    tensors = [each for each in (result, *args[:1]) if isinstance(each, Tensor)]
    return len(tensors) == 2 and len({each.untyped_storage()._cdata for each in tensors}) == 1


@of_rows
def _functions_of_rows(rows: Mapping[str, Row]) -> tuple[frozenset[Any], frozenset[str]]:
    """The functions that rows stand for as wholes, and the names of methods."""
    matches = [match for row in rows.values() for match in row.matches]
    functions = {match.target for match in matches if match.kind == "function"}
    # Of an index the capture makes one call itself: what it shows may be written to.
    functions -= {operator.getitem}
    return frozenset(functions), frozenset(str(match.target) for match in matches if match.kind == "method")


def keeping_functions(kept: KeptCalls) -> TorchFunctionMode:
    """A block in which functions and methods that rows stand for are kept."""
    functions, methods = _functions_of_rows()
    return _Keeping(kept, functions, methods)


def _take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    if dim is None or indices.dim() != input.dim():
        return torch.take_along_dim(input, indices, dim)
    pairs = zip(indices.shape, input.shape, strict=True)
    sizes = [each if isinstance(size, int) and size == 1 else -1 for size, each in pairs]
    sizes[dim] = -1
    return input.gather(dim, indices.expand(sizes))


def _set_data(x: Tensor, value: Tensor) -> None:
    if not isinstance(x, nn.Parameter) or x.shape != value.shape:
        x.data = value
        return
    with torch.no_grad():
        x.copy_(value)


#: A descriptor, of which type checkers know what it gives.
_DATA: Any = Tensor.data
#: Functions of which torch's own export takes the batch's size for a number, or that it does not see, with others that
#: do the same.
_SEEN_AS: Mapping[Any, Callable[..., Any]] = {
    torch.take_along_dim: _take_along_dim, Tensor.take_along_dim: _take_along_dim,
    _DATA.__get__: Tensor.detach, _DATA.__set__: _set_data,
}  # fmt: skip


class _Keeping(TorchFunctionMode):
    def __init__(self, kept: KeptCalls, functions: frozenset[Any], methods: frozenset[str]) -> None:
        super().__init__()
        self.kept, self.functions, self.methods = kept, functions, methods
        self.operators = {each.__name__.strip("_"): each for each in functions if _is_operator(each)}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.kept.values.answers(func, args):
            return self.kept.values.answer(func, args)
        func = _SEEN_AS.get(func, func)
        result = func(*args, **kwargs)
        self.kept.values.note(func, args, kwargs, result)
        name = getattr(func, "__name__", "")
        is_method = isinstance(args[0] if args else None, Tensor) and getattr(Tensor, name, None) is func
        if func in self.functions:
            return self.kept.keep("call_function", func, args, kwargs, result)
        if is_method and name in self.methods:
            return self.kept.keep("call_method", name, args, kwargs, result)
        if is_method and name.startswith("__") and name.strip("_") in self.operators:
            return self.kept.keep("call_function", self.operators[name.strip("_")], args, kwargs, result)
        return result


def _is_operator(function: Any) -> bool:
    """Whether a function is one of Python's operators, which torch knows as a method of tensors."""
    return getattr(function, "__module__", "") == "_operator"
