"""A person's network, and how it becomes a graph that is another name for the same function.

The graph is of the evaluation form. What only training does is in it as modules that act in training, and where the
network keeps gradients out, so does the graph.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor, fx, nn

from qtorch.capture.alike_samples import compute_one_of_alike_samples
from qtorch.capture.batch.in_front import put_batch_in_front
from qtorch.capture.call_form import (
    CallForm,
    OutputForm,
    arguments_of,
    call_form,
    signature_of,
)
from qtorch.capture.compositions.complex_numbers import write_parts_of_complex_numbers
from qtorch.capture.compositions.decompose import decompose_calls
from qtorch.capture.constant_folding import ConstantInTraining, fold_constants
from qtorch.capture.evaluation_comparison import require_captured
from qtorch.capture.identities import drop_identities
from qtorch.capture.index_inputs import as_captured, index_inputs
from qtorch.capture.input_types import require_same_as_numbers
from qtorch.capture.merged_slices import merge_slices
from qtorch.capture.nodes import detach_what_is_frozen
from qtorch.capture.reference import Reference, copied
from qtorch.capture.repeatability import require_repeatable, state_refused
from qtorch.capture.single_precision import in_single_precision
from qtorch.capture.told_apart import called_with, parts_of_call
from qtorch.capture.tracing import Trace, Traced, has_hooks, is_leaf, is_row_of_layers, record_shapes, trace
from qtorch.capture.training_comparison import training_difference, training_trace, trains_as_it_evaluates
from qtorch.capture.training_form import act_in_training, keep_training_form
from qtorch.capture.unread_indices import drop_unread_indices
from qtorch.errors import BadConfiguration, BadInput, UnsupportedLayer
from qtorch.surroundings import evaluating, undisturbed_random_numbers

__all__ = ["Capture", "CapturedNetwork", "capture_of"]

#: What is said where a network's functions give gradients that are not those of what they compute.
_OWN_GRADIENTS = (
    "what a torch.autograd.Function of several results says of its gradient is not taken over: layers in front of it "
    "train by the gradient of what its forward computes, and of a comparison or a rounding there is none; let it give "
    "one tensor, or write it in forward as soft + (hard - soft).detach(), whose gradient is soft's"
)


class CapturedNetwork(fx.GraphModule):
    """A graph that is called as the network is that it was made of, or with its input tensors in a row.

    Attributes:
        form: how it is called.
        outputs: how it returns its outputs, if not as a tensor or a tuple of them.
        fixed_batch: the one number of samples that it could compute with; 0 where it takes any.
        norm_in_parts: a batch norm that is called for every part of a merged batch by itself; empty if there is none.
        asked: names of buffers whose values the network's code takes as numbers of Python.
    """

    form: CallForm
    outputs: OutputForm | None
    fixed_batch = 0
    norm_in_parts = ""
    asked: frozenset[str] = frozenset()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs as the network returns them.

        Raises:
            BadData: the call has another form than the example had.
        """
        return self.called(self.form.tensors(args, kwargs))

    def called(self, tensors: tuple[Tensor, ...]) -> Any:
        """Outputs as the network returns them, of its input tensors."""
        return self.returned(super().__call__(*tensors))

    def returned(self, outputs: Any) -> Any:
        """Outputs as the network returns them, of their tensors."""
        return outputs if self.outputs is None else self.outputs.rebuilt(outputs)

    def inputs_of(self, batch: Any) -> tuple[Tensor, ...]:
        """The input tensors of a batch that is as the example was: a tensor, a tuple of arguments, a dict of them.

        What a loader puts behind them is a target and left out; see :mod:`qtorch.capture.told_apart`.

        Raises:
            BadData: the network is not called so.

        Warns:
            UserWarning: ``forward`` has a place for what is left out.
        """
        parts = parts_of_call(self.form, batch)
        if parts is None:
            return called_with(self.form, batch)
        if parts.remark:
            warnings.warn(parts.remark, UserWarning, stacklevel=2)
        return called_with(self.form, parts.inputs)

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
        examples: float32, or int64 of indices, a tensor per input, a batch each.
        reference: runs a copy of it; ``None`` where there are no values to compute with.
        activations: the types that its codes will have.
        looking: hooks that only look at what they are shown run too, because the network's code reads what they keep.
    """

    net: nn.Module
    form: CallForm
    examples: tuple[Tensor, ...]
    reference: Reference | None
    activations: frozenset[str]
    looking: bool = False

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the examples, batch axis included."""
        return tuple(tuple(each.shape) for each in self.examples)

    @property
    def acting(self) -> frozenset[tuple[str, int]]:
        """Hooks of torch's own layers that change values, by layer and number."""
        return frozenset() if self.reference is None else frozenset(self.reference.acting)

    def traced(self, kind: type[Captured], *, decomposed: bool = True) -> tuple[Captured, str]:
        """The network as a graph with the shape of every tensor, in evaluation mode.

        Args:
            kind: of graph.
            decomposed: layers that the device has no kernel for are written as calls that it has.

        Returns:
            The graph; and in words what only the training form does and the graph does not, empty if nothing.

        Raises:
            UnsupportedLayer: code that can't be captured.
            BadConfiguration: the network does not run on the examples.
        """
        with undisturbed_random_numbers(), evaluating(self.net):
            try:
                return self._traced(kind, decomposed)
            except UnsupportedLayer:
                if self.looking or not self._lookers():
                    raise
                with suppress(BadInput):
                    return replace(self, looking=True)._traced(kind, decomposed)
                raise

    def _traced(self, kind: type[Captured], decomposed: bool) -> tuple[Captured, str]:
        trace = self._trace(self._inside(), kind, ())
        for name, line in trace.states.items():
            # The example may have been written there before, so that nothing changed when it came once more.
            raise state_refused("buffer" if name in dict(self.net.named_buffers()) else "parameter", name, line)
        if self.reference is None or not self._trains_otherwise(trace):
            return self._finished(trace, decomposed), _clipping(trace)
        captured, odd = self._with_training(trace, decomposed)
        # Code that writes has to see what layers hand on, so that these would be looked into once more.
        if odd and trace.identities and not trace.shown:
            # Of layers that do nothing in evaluation it does not matter what they do in training.
            opaque = self._trace(self._inside(), kind, trace.identities)
            act_in_training(opaque.graph, opaque.opaque)
            captured, odd = self._with_training(opaque, decomposed)
        if odd:
            # What is not what the network does in training had better do nothing.
            captured = self._finished(self._trace(self._inside(), kind, (), trace.shown), decomposed)
        return captured, odd or _clipping(trace)

    def _trains_otherwise(self, trace: Trace[Captured]) -> bool:
        """Whether a network's own code, or a hook, may do in training what it does not in evaluation."""
        if is_row_of_layers(self.net):
            return False
        return (
            trace.through_dropout
            or self._is_suspect(trace)
            or not trains_as_it_evaluates(self.net, self.form, self.examples)
        )

    def _is_suspect(self, trace: Trace[Captured]) -> bool:
        """Whether a network has a say in gradients, or in what training is, which its outputs alone do not show."""
        modules = list(self.net.modules())
        return trace.own_gradients or any(map(has_hooks, modules)) or any(map(_says_what_training_is, modules))

    def _with_training(self, trace: Trace[Captured], decomposed: bool) -> tuple[Captured, str]:
        """A trace with what only training does, and in words what that is not."""
        odd, differs = self._keep_training_form(trace)
        try:
            captured = self._finished(trace, decomposed)
        except ConstantInTraining as error:
            return trace.graph, f"{error.where}, {error.got}"
        if odd or not (differs or trace.opaque or self._is_suspect(trace)):
            return captured, odd
        found = training_difference(captured, self.net, self.form, self.examples, draws=bool(trace.opaque))
        return captured, f"{found} ({_OWN_GRADIENTS})" if "gradients" in found and trace.own_gradients else found

    def _finished(self, trace: Trace[Captured], decomposed: bool) -> Captured:
        """The calls of a trace as those that rows stand for, as far as that can be, with the shape of every tensor."""
        traced = trace.graph.eval()
        if decomposed:
            in_single_precision(traced)
            compute_one_of_alike_samples(traced)
            write_parts_of_complex_numbers(traced)
            traced.norm_in_parts = "" if trace.fixed_batch else put_batch_in_front(traced)
            decompose_calls(traced, self.activations)
            drop_identities(traced)
        fold_constants(traced)
        record_shapes(traced, self.examples, trace.fixed_batch)
        drop_unread_indices(traced)
        merge_slices(traced)
        detach_what_is_frozen(traced)
        traced.form, traced.outputs, traced.fixed_batch = self.form, trace.outputs, trace.fixed_batch
        traced.asked = trace.asked
        return traced

    def _trace(
        self, inside: nn.Module, kind: type[Traced], opaque: tuple[str, ...], shown: tuple[str, ...] = ()
    ) -> Trace[Traced]:
        try:
            return trace(inside.eval(), self.form, self.examples, kind, opaque, shown)
        except UnsupportedLayer as error:
            looking = self._lookers()
            if self.looking or not looking:
                raise
            raise UnsupportedLayer(
                where=error.where,
                expected=error.expected,
                got=f"{error.got} (hooks that keep what they are shown, as on {looking[0]!r}, are left out)",
                remedy=f"{error.remedy}; return from forward what a hook was to keep",
            ) from error

    def _lookers(self) -> list[str]:
        """Names of what has hooks that only look at what they are shown."""
        return [name or "the network" for name, module in self.net.named_modules() if self._looks(name, module)]

    def _looks(self, name: str, module: nn.Module) -> bool:
        numbers = (*module._forward_pre_hooks, *module._forward_hooks)
        return any((name, number) not in self.acting for number in numbers)

    def _keep_training_form(self, trace: Trace[Captured]) -> tuple[str, bool]:
        # A trace of training may write, so it has tensors of its own, but for functions that know the network's.
        replaced = any("forward" in vars(module) for module in self.net.modules())
        apart = self._inside(shared=replaced)
        try:
            # Dropout hands on what it gets in evaluation alone; these do it always.
            shown = [path for path in trace.shown if isinstance(apart.get_submodule(path), nn.Flatten | nn.Unflatten)]
            trained = training_trace(apart.train(), self.form, self.examples, trace.opaque, shown)
            # Said in any case, and no reason to leave out what else only training does.
            new = tuple(each for each in trained.writes if each not in trace.at_rest)
            return keep_training_form(trace.graph, replace(trained, writes=new), lambda: self._inside().train())
        except BadInput as error:
            return f"what can't be followed: {error}", True

    def _inside(self, *, shared: bool = True) -> nn.Module:
        """A copy of the network to be traced, over the same parameters and buffers if ``shared``."""
        tensors = (*self.net.parameters(), *self.net.buffers()) if shared else ()
        inside = copied(self.net, tensors)
        return _rooted(inside if self.looking else _without_looking(inside, self.acting))

    def require_same(self, captured: CapturedNetwork, odd: str) -> None:
        """Refuse a graph, or what was made of it, that computes something else than the network.

        Args:
            captured: it.
            odd: what it does otherwise in training, as :meth:`traced` says.

        Raises:
            UnsupportedLayer: so it does; names the first call that gives something else, and its line.
            BadConfiguration: the network does not run on batches of another size than the example's.

        Warns:
            UserWarning: it does something else in training.
        """
        if captured.fixed_batch:
            raise UnsupportedLayer(
                where=type(self.net).__name__,
                expected="code that takes batches of any size",
                got="the batch's size as a number of Python, by int(x.shape[0]) or a loop over samples",
                remedy="let samples stay in one tensor, and leave its first size what it is, a size",
            )
        if self.reference is not None:
            with undisturbed_random_numbers(), evaluating(self.net):
                require_captured(captured, self.reference, self.examples, self._again)
        if captured.norm_in_parts:
            warnings.warn(
                f"prepare: {captured.norm_in_parts!r} measures in training each part of a merged batch by itself, such "
                "as each frame, because a device computes one at a time; in evaluation it is the same. Remedy: freeze "
                "it, by qtorch.freeze_batch_norm(network), or let the network merge nothing with the batch",
                UserWarning,
                stacklevel=4,
            )
        if odd:
            warnings.warn(
                f"prepare: in training the network computes something else than in evaluation, by {odd}; what was "
                "prepared computes in training what it does in evaluation. Remedy: let a module of its own, which "
                "returns its input in evaluation, do what is for training alone, or do it in the training step",
                UserWarning,
                stacklevel=4,
            )

    def _again(self) -> fx.GraphModule:
        return self._trace(self._inside(), fx.GraphModule, ()).graph


def capture_of(net: nn.Module, example: Any, activations: frozenset[str] = frozenset({"int8"})) -> Capture:
    """A network that computes the same for the same inputs, ready to be captured.

    Args:
        net: a plain module of float32 parameters.
        example: one batch as it is called with it; see :func:`qtorch.prepare`.
        activations: the types that its codes will have.

    Raises:
        BadConfiguration: it does not run on the example.
        BadData: an example that is no tensor of real numbers.
        UnsupportedLayer: its outputs hang on more than its inputs.
    """
    form, tensors = call_form(net, arguments_of(signature_of(net), example), {name for name, _ in net.named_modules()})
    # As a captured network takes whatever comes in.
    examples = tuple(map(as_captured, tensors, index_inputs(net, form, tensors)))
    for name, each in zip(form.names, examples, strict=True):
        if each.dim() and not len(each):
            raise BadConfiguration(
                where=f"example_input {name!r}",
                expected="at least one sample",
                got=f"shape {tuple(each.shape)}",
                remedy="pass a batch that is not empty, for example x[:1]",
            )
    if any(each.is_meta for each in (*examples, *net.parameters())):
        return Capture(net, form, examples, None, activations)
    reference = Reference(net, form)
    with undisturbed_random_numbers(), evaluating(net):
        require_repeatable(reference, examples)
        require_same_as_numbers(reference, tensors, examples)
    return Capture(net, form, examples, reference, activations)


def _without_looking(net: nn.Module, acting: frozenset[tuple[str, int]]) -> nn.Module:
    """The network without those hooks that only looked at what they were shown."""
    for name, module in net.named_modules():
        for table in (module._forward_pre_hooks, module._forward_hooks):
            for number in [each for each in table if (name, each) not in acting]:
                del table[number]
    return net


def _clipping(trace: Trace[Any]) -> str:
    """In words what a trace leaves to the training step; empty if nothing."""
    return f"what its code writes into {trace.at_rest[0]!r}" if trace.at_rest else ""


def _rooted(inside: nn.Module) -> nn.Module:
    # A lone layer has to be one of a network.
    return nn.Sequential(inside) if is_leaf(inside) else inside


def _says_what_training_is(module: nn.Module) -> bool:
    """Whether a module says itself what ``train()`` means, as one that keeps its norms frozen."""
    return type(module).train is not nn.Module.train
