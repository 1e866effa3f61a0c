"""A network as a graph of calls: traced, with the shape of every tensor, and plain values for computed sizes."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from qtorch.capture.call_form import CallForm, OutputForm, output_form
from qtorch.capture.nodes import Recorder, keep_gradient_mode
from qtorch.capture.untraceable import Untraceable, untraceable
from qtorch.errors import BadConfiguration
from qtorch.normalization import Normalization
from qtorch.ops import of_rows
from qtorch.row.row import Row

__all__ = ["Trace", "Traced", "is_leaf", "trace", "traced_calls"]

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


#: One trace at a time: each patches what the others do, and puts back what it found.
_TRACING = threading.RLock()


class _Tracer(fx.Tracer):
    """Keeps where each call stands in the source; stops at torch's own modules and at :class:`Normalization`.

    The network is called as a person calls it, so that its hooks, and a ``forward`` that was put in the place of its
    own, are seen too.
    """

    record_stack_traces = True

    def __init__(self, form: CallForm, opaque: Sequence[str], acting: Collection[tuple[str, int]]) -> None:
        super().__init__()
        self.form, self.opaque, self.acting = form, frozenset(opaque), acting
        self.identities: list[str] = []
        self.output_form: OutputForm | None = None
        #: Whether a function with a gradient of its own was called.
        self.own_gradients = False
        #: What is patched for the trace is patched for everybody; what others call meanwhile is not traced.
        self.thread = threading.get_ident()

    @property
    def elsewhere(self) -> bool:
        """Whether a call comes from another thread than the trace's."""
        return threading.get_ident() != self.thread

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_leaf(m) or module_qualified_name in self.opaque

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        inputs = [self.create_proxy("placeholder", name, (), {}) for name in self.form.names]

        def whole(*tensors: fx.Proxy) -> Any:
            call = self.form.arguments(tensors)
            self.output_form, outputs = output_form(self.root(*call.args, **call.kwargs))
            return outputs

        return whole, list(inputs)

    def path_of_module(self, mod: nn.Module) -> str:
        return "" if mod is self.root else super().path_of_module(mod)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.elsewhere:
            return forward(*args, **kwargs)
        if is_leaf(m):
            return self._with_hooks(m, args, kwargs)
        result = super().call_module(m, forward, args, kwargs)
        if isinstance(result, fx.Proxy) and len(args) == 1 and result is args[0] and not kwargs:
            self.identities.append(self.path_of_module(m))
        return result

    def _with_hooks(self, m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One of torch's layers, and what hooks that were seen to change values make of its inputs and its output."""
        name = self.path_of_module(m)
        for number, hook in m._forward_pre_hooks.items():
            if (name, number) in self.acting and number in m._forward_pre_hooks_with_kwargs:
                args, kwargs = hook(m, args, kwargs)
            elif (name, number) in self.acting:
                changed = hook(m, args)
                args = changed if isinstance(changed, tuple) else (changed,)
        result = super().call_module(m, m.forward, args, kwargs)
        for number, hook in m._forward_hooks.items():
            if (name, number) in self.acting:
                named = number in m._forward_hooks_with_kwargs
                result = hook(m, args, kwargs, result) if named else hook(m, args, result)
        return result

    def create_node(self, *arguments: Any, **named: Any) -> fx.Node:
        node = super().create_node(*arguments, **named)
        keep_gradient_mode(node)
        return node

    def to_bool(self, obj: fx.Proxy) -> bool:
        raise Untraceable("an `if`, `while` or `assert` on", obj.node)

    def iter(self, obj: fx.Proxy) -> Any:
        raise Untraceable("a loop over, or an unpacking of,", obj.node)


def is_leaf(net: nn.Module) -> bool:
    """Whether a tracer sees a layer in ``net`` rather than a network to look into: torch's own, and rows'."""
    own = type(net).__module__.startswith(("torch.nn", "torch.ao.nn")) and not isinstance(net, nn.Sequential)
    # What was derived from a norm without another forward asks for sizes, as no user's code does.
    own |= isinstance(net, _NORMS) and type(net).forward.__module__.startswith("torch.nn")
    return (own or isinstance(net, Normalization) or type(net) in _layers_of_rows()) and "forward" not in vars(net)


@of_rows
def _layers_of_rows(rows: Mapping[str, Row]) -> frozenset[Any]:
    """The module classes that rows stand for: those of registered rows may be anybody's."""
    return frozenset(match.target for row in rows.values() for match in row.matches if match.kind == "module")


Traced = TypeVar("Traced", bound=fx.GraphModule)


@dataclass(frozen=True)
class Trace(Generic[Traced]):
    """A network that was traced.

    Attributes:
        graph: its calls.
        outputs: how it returns its outputs, if not as a tensor or a tuple of them.
        identities: names of layers of its own that handed on the very tensor that they got.
        opaque: names of layers of its own that were not looked into.
        own_gradients: whether it calls functions that say themselves what their gradient is.
    """

    graph: Traced
    outputs: OutputForm | None
    identities: tuple[str, ...]
    opaque: tuple[str, ...]
    own_gradients: bool


def trace(
    net: nn.Module,
    form: CallForm,
    examples: Sequence[Tensor],
    kind: type[Traced] = fx.GraphModule,  # type: ignore[assignment]
    opaque: Sequence[str] = (),
    acting: Collection[tuple[str, int]] = (),
) -> Trace[Traced]:
    """``net`` traced on ``examples``, float32 with a leading batch axis.

    A batch of one is doubled, so that an axis that is the batch's can be told from one of size 1.

    Args:
        net: any module, in the mode whose calls are wanted; the trace is over its own parameters, buffers and layers.
        form: how it is called.
        examples: a tensor per input.
        kind: class of the result.
        opaque: names of layers that are not looked into.
        acting: hooks of torch's own layers that change values, by layer and number; others are not called.

    Raises:
        UnsupportedLayer: code that a tracer can't follow.
        BadConfiguration: the network does not run on the examples.
    """
    calls = traced_calls(net, form, kind, opaque, acting)
    traced = calls.graph
    examples = tuple(e.repeat(2, *[1] * (e.dim() - 1)) if e.dim() and len(e) == 1 else e for e in examples)
    was_training = [(module, module.training) for module in traced.modules()]
    traced.eval()
    try:
        with torch.no_grad():
            Recorder(traced).run(*examples)
    except Exception as error:
        raise BadConfiguration(
            where="example_input",
            expected="tensors that the network accepts, in batches of any size",
            got=f"shapes {[tuple(e.shape) for e in examples]}, on which it fails: {str(error).splitlines()[0]}",
            remedy="pass one example batch in the shape that the network is trained on, and keep the batch size out of "
            "the network's code",
        ) from error
    for module, training in was_training:
        module.training = training
    return calls


def traced_calls(
    net: nn.Module,
    form: CallForm,
    kind: type[Traced] = fx.GraphModule,  # type: ignore[assignment]
    opaque: Sequence[str] = (),
    acting: Collection[tuple[str, int]] = (),
) -> Trace[Traced]:
    """``net`` as calls alone, without shapes; see :func:`trace`."""
    try:
        tracer = _Tracer(form, opaque, acting)
        # A block without gradients is one of the network's own, not of whoever prepares it.
        with _TRACING, torch.enable_grad(), _factories_traced(tracer), _functions_traced(tracer):
            graph = tracer.trace(net)
    except Exception as error:
        raise untraceable(net, error) from error
    traced = kind(tracer.root, graph, kind.__name__)
    for module in traced.modules():
        if is_leaf(module):
            # What they do has become calls, or was seen to do nothing.
            for hooks in (module._forward_pre_hooks, module._forward_hooks, module._backward_hooks):
                hooks.clear()
            module._backward_pre_hooks.clear()
    return Trace(
        traced, tracer.output_form, tuple(dict.fromkeys(tracer.identities)), tuple(opaque), tracer.own_gradients
    )


#: Functions that draw numbers, which are drawn anew in every call; and those that make a tensor of a size.
_DRAWING = ("rand", "randn", "randint", "randperm", "normal")
_MAKING = ("zeros", "ones", "full", "empty", "arange")


@contextmanager
def _factories_traced(tracer: _Tracer) -> Iterator[None]:
    """A block in which ``tracer`` sees functions that make tensors: those that draw numbers, or are given a size."""
    plain = {name: getattr(torch, name) for name in (*_DRAWING, *_MAKING)}

    def traceable(name: str, function: Any) -> Any:
        def traced_or_plain(*args: Any, **kwargs: Any) -> Any:
            sized = any(isinstance(each, fx.Proxy) for each in pytree.tree_leaves((args, kwargs)))
            if (sized or name in _DRAWING) and not tracer.elsewhere:
                return tracer.create_proxy("call_function", function, args, kwargs)
            return function(*args, **kwargs)

        return traced_or_plain

    for name, function in plain.items():
        setattr(torch, name, traceable(name, function))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(torch, name, function)


@contextmanager
def _functions_traced(tracer: _Tracer) -> Iterator[None]:
    """A block in which functions with a gradient of their own are traced as the calls that they make.

    Torch runs them without gradients, which are theirs to give.
    """
    plain = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if tracer.elsewhere:
            return plain.__get__(None, cls)(*args, **kwargs)
        tracer.own_gradients = True
        if cls.setup_context is not torch.autograd.function._SingleLevelFunction.setup_context:
            return cls.forward(*args, **kwargs)
        return cls.forward(_NoContext(), *args, **kwargs)

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        torch.autograd.Function.apply = plain  # type: ignore[method-assign]


class _NoContext:
    """Takes what a function keeps for its gradient."""

    def save_for_backward(self, *tensors: Any) -> None:
        """Nothing is kept."""

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Nothing is kept."""

    def mark_dirty(self, *tensors: Any) -> None:
        """Nothing is kept."""

    def set_materialize_grads(self, value: bool) -> None:
        """Nothing is kept."""
