"""A person's network, and how it becomes a graph that is another name for the same function.

The graph is of the evaluation form. What only training does is in it as modules that act in training, and where the
network keeps gradients out, so does the graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, fx, nn

from qtorch.call_form import Arguments, CallForm, OutputForm, arguments_of, call_form, signature_of
from qtorch.capture_check import require_captured, require_repeatable
from qtorch.decompositions import decompose
from qtorch.errors import BadInput
from qtorch.reference import Reference, copied
from qtorch.surroundings import in_float32
from qtorch.tracing import Trace, Traced, detach_what_is_frozen, is_leaf, trace, traced_calls
from qtorch.training_form import act_in_training, keep_training_form

__all__ = ["Capture", "CapturedNetwork", "capture_of"]


class CapturedNetwork(fx.GraphModule):
    """A graph that is called as the network is that it was made of, or with its input tensors in a row.

    Attributes:
        form: how it is called.
        outputs: how it returns its outputs, if not as a tensor or a tuple of them.
    """

    form: CallForm
    outputs: OutputForm | None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs as the network returns them.

        Raises:
            BadData: the call has another form than the example had.
        """
        return self.called(self.form.tensors(args, kwargs))

    def called(self, tensors: tuple[Tensor, ...]) -> Any:
        """Outputs as the network returns them, of its input tensors."""
        found = super().__call__(*tensors)
        return found if self.outputs is None else self.outputs.rebuilt(found)

    def inputs_of(self, batch: Any) -> tuple[Tensor, ...]:
        """The input tensors of a batch that is as the example was: a tensor, a tuple of arguments, a dict of them.

        Raises:
            BadData: the network is not called so.
        """
        call = arguments_of(self.form.signature, batch)
        if isinstance(batch, tuple | list) and len(batch) == len(self.form.names) > len(call.args):
            call = Arguments(tuple(batch), {})
        return self.form.tensors(call.args, call.kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> CapturedNetwork:
        copied: CapturedNetwork = super().__deepcopy__(memo)  # type: ignore[assignment]
        copied.form, copied.outputs = self.form, self.outputs
        return copied


Captured = TypeVar("Captured", bound=CapturedNetwork)


@dataclass(frozen=True)
class Capture:
    """A network that is about to be captured.

    Attributes:
        net: it.
        form: how it is called.
        examples: float32, a tensor per input, a batch each.
        reference: runs a copy of it; ``None`` where there are no values to compute with.
    """

    net: nn.Module
    form: CallForm
    examples: tuple[Tensor, ...]
    reference: Reference | None

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the examples, batch axis included."""
        return tuple(tuple(each.shape) for each in self.examples)

    @property
    def acting(self) -> frozenset[tuple[str, int]]:
        """Hooks of torch's own layers that change values, by layer and number."""
        return frozenset() if self.reference is None else frozenset(self.reference.acting)

    def traced(self, kind: type[Captured], *, decomposed: bool = True) -> Captured:
        """The network as a graph with the shape of every tensor, in evaluation mode.

        Args:
            kind: of graph.
            decomposed: layers that the device has no kernel for are written as calls that it has.

        Raises:
            UnsupportedLayer: code that a tracer can't follow.
            BadConfiguration: the network does not run on the examples.

        Warns:
            UserWarning: of what only the training form does, and what was captured does not.
        """
        inside = self._decomposed if decomposed else self._inside
        if _has_own_code(self.net):
            found, odd = _with_training(
                lambda *opaque: self._trace(inside(), kind, opaque), lambda *opaque: self._calls(inside(), opaque)
            )
        else:
            found, odd = self._trace(inside(), kind, ()), ""
        if odd:
            warnings.warn(
                f"prepare: in training the network computes something else than in evaluation, from {odd} on; what was "
                "prepared computes in training what it does in evaluation. Remedy: let a module of its own, which "
                "returns its input in evaluation, do what is for training alone, or do it in the training step",
                UserWarning,
                stacklevel=3,
            )
        detach_what_is_frozen(found.graph)
        found.graph.form, found.graph.outputs = self.form, found.outputs
        return found.graph.eval()

    def _trace(self, inside: nn.Module, kind: type[Traced], opaque: tuple[str, ...]) -> Trace[Traced]:
        return trace(inside.eval(), self.form, self.examples, kind, opaque, self.acting)

    def _calls(self, inside: nn.Module, opaque: tuple[str, ...]) -> fx.GraphModule:
        return traced_calls(inside.train(), self.form, fx.GraphModule, opaque, self.acting).graph

    def _inside(self) -> nn.Module:
        """A copy of the network to be traced, over the same parameters and buffers."""
        inside = copied(self.net, (*self.net.parameters(), *self.net.buffers()))
        # A tracer looks into its root; a lone layer must be seen as a layer.
        return nn.Sequential(inside) if is_leaf(inside) else inside

    def _decomposed(self) -> nn.Module:
        return decompose(self._inside())

    def require_same(self, captured: CapturedNetwork) -> None:
        """Refuse a graph, or what was made of it, that computes something else than the network.

        Raises:
            UnsupportedLayer: so it does; names the first call that gives something else, and its line.
            BadConfiguration: the network does not run on batches of another size than the example's.
        """
        if self.reference is not None:
            require_captured(captured, self.reference, self.examples, self._again)

    def _again(self) -> fx.GraphModule:
        return self._trace(self._decomposed(), fx.GraphModule, ()).graph


def capture_of(net: nn.Module, example: Any) -> Capture:
    """A network that computes the same for the same inputs, ready to be captured.

    Args:
        net: a plain module of float32 parameters.
        example: one batch as it is called with it; see :func:`qtorch.prepare`.

    Raises:
        BadConfiguration: it does not run on the example, or has tensors that it computes from its parameters.
        BadData: an example that is no tensor of real numbers.
        UnsupportedLayer: its outputs hang on more than its inputs.
    """
    form, tensors = call_form(net, arguments_of(signature_of(net), example), {name for name, _ in net.named_modules()})
    # As a captured network takes whatever comes in.
    examples = tuple(in_float32(each) for each in tensors)
    if any(each.is_meta for each in (*examples, *net.parameters())):
        return Capture(net, form, examples, None)
    reference = Reference(net, form)
    require_repeatable(reference, examples)
    return Capture(net, form, examples, reference)


def _has_own_code(net: nn.Module) -> bool:
    """Whether a network has code that could ask whether it trains, beside layers of torch in a row."""
    plain = all(is_leaf(module) or type(module) is nn.Sequential for module in net.modules())
    return not plain or any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def _with_training(
    trace_evaluation: Callable[..., Trace[Traced]], trace_training: Callable[..., fx.GraphModule]
) -> tuple[Trace[Traced], str]:
    """The evaluation form with what only training does, and the first call that could not be kept in it.

    Args:
        trace_evaluation: of the names of layers that are not looked into.
        trace_training: as well.
    """
    found = trace_evaluation()
    odd = _kept(found, trace_training)
    if odd and found.identities:
        # Of layers that do nothing in evaluation it does not matter what they do in training.
        found = trace_evaluation(*found.identities)
        act_in_training(found.graph, found.opaque)
        odd = _kept(found, trace_training)
    return found, odd


def _kept(found: Trace[Traced], trace_training: Callable[..., fx.GraphModule]) -> str:
    try:
        return keep_training_form(found.graph, lambda: trace_training(*found.opaque))
    except BadInput as error:
        return str(error)
