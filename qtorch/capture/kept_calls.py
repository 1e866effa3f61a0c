"""Calls that a capture keeps whole, instead of the operators that they come to: layers, and functions of rows.

Such a call is made as always, and what it gave goes through an operator of this project's own, which the exported graph
names by number. What was computed inside is then read by nobody.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from qtorch.ops import of_rows
from qtorch.row.row import Row

__all__ = ["DROPOUTS", "KEPT", "KeptCall", "KeptCalls", "keeping_functions"]


@torch.library.custom_op("qtorch::kept", mutates_args=())
def _kept(tensors: list[Tensor], results: list[Tensor], number: int) -> list[Tensor]:
    return [each.clone() for each in results]


@_kept.register_fake
def _(tensors: list[Tensor], results: list[Tensor], number: int) -> list[Tensor]:
    return [torch.empty_like(each, memory_format=torch.contiguous_format) for each in results]


#: The operator that stands for a call that is kept.
KEPT = torch.ops.qtorch.kept.default


#: Layers that hand on what they get in evaluation.
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


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
    """

    calls: list[KeptCall] = field(default_factory=list)
    views: set[str] = field(default_factory=set)

    def keep(self, op: str, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Any:
        """``result``, of a call with these arguments, as that of the call as a whole."""
        leaves, spec = pytree.tree_flatten((args, dict(kwargs)))
        tensors = [each for each in leaves if isinstance(each, Tensor)]
        results, shape = pytree.tree_flatten(result)
        sized = any(isinstance(each, torch.SymInt | torch.SymFloat) for each in leaves)
        if sized or not tensors or not results or not all(isinstance(each, Tensor) for each in results):
            return result
        places = tuple(_PLACE if isinstance(each, Tensor) else each for each in leaves)
        self.calls.append(KeptCall(op, target, not shape.is_leaf(), places, spec))
        return pytree.tree_unflatten(_kept(tensors, results, len(self.calls) - 1), shape)

    def keep_layer(self, layer: nn.Module, path: str, shapes: Iterator[tuple[int, ...]] | None = None) -> None:
        """Let calls of a layer be kept; its hooks run around them as always.

        Args:
            layer: whose ``forward`` is replaced.
            path: of it in the network.
            shapes: of what its calls give, one after the other, without the batch's axis; its code is not run then.
        """
        opaque = shapes is not None
        forward = layer.forward if shapes is None else lambda x, *_, **__: x.new_empty((x.shape[0], *next(shapes)))

        def kept(*args: Any, **kwargs: Any) -> Any:
            if getattr(layer, "inplace", False) is not True:
                result = forward(*args, **kwargs)
                if not opaque and not isinstance(layer, DROPOUTS) and _is_view(result, args):
                    self.views.add(path)
                return self.keep("call_module", path, args, kwargs, result)
            layer.inplace = False  # type: ignore[assignment]
            try:
                result = self.keep("call_module", path, args, kwargs, forward(*args, **kwargs))
            finally:
                layer.inplace = True  # type: ignore[assignment]
            return next(iter((*args, *kwargs.values()))).copy_(result)

        layer.forward = kept


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


class _Keeping(TorchFunctionMode):
    def __init__(self, kept: KeptCalls, functions: frozenset[Any], methods: frozenset[str]) -> None:
        super().__init__()
        self.kept, self.functions, self.methods = kept, functions, methods
        self.operators = {each.__name__.strip("_"): each for each in functions if _is_operator(each)}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
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
