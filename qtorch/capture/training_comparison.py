"""What a capture does in training is what the network does: outputs, gradients, what is written, by the same seeds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from qtorch.capture.attention_layers import batch_in_front
from qtorch.capture.call_form import CallForm, tensors_in
from qtorch.capture.constant_expression import ConstantExpression
from qtorch.capture.lifting import CalledNorm
from qtorch.capture.reference import copied, probes, same_values
from qtorch.capture.tracing import is_leaf, trace
from qtorch.capture.training_form import TrainingTrace

__all__ = ["training_difference", "training_trace", "trains_as_it_evaluates"]

#: Samples of a step, and steps: what counts steps shows at the second, what draws at one of three.
_SAMPLES, _STEPS = 8, 3
#: Of the largest, by which outputs and gradients may differ; and by how many times what a change of the inputs in the
#: last place of float32 makes.
_NEAR, _TIMES = 1e-3, 64.0
_DRAWN = "numbers that its own code draws, other than by torch"


def training_trace(
    net: nn.Module, form: CallForm, examples: Sequence[Tensor], opaque: Sequence[str], shown: Sequence[str] = ()
) -> TrainingTrace:
    """A network's training form, with what its code did while it was captured.

    Args:
        net: in training.
        form: how it is called.
        examples: a tensor per input.
        opaque: layers that are not looked into.
        shown: layers that have to be; see :func:`qtorch.capture.tracing.trace`.

    Raises:
        UnsupportedLayer: code that can't be captured.
    """
    drawn = _generators()
    captured = trace(net, form, examples, fx.GraphModule, opaque, shown)
    return TrainingTrace(captured.graph, _generators() != drawn, (*captured.writes, *captured.at_rest))


def trains_as_it_evaluates(net: nn.Module, form: CallForm, examples: Sequence[Tensor]) -> bool:
    """Whether a network's own code does in training what it does in evaluation: what its layers do apart.

    It is called in both, on copies, with layers that are kept whole in evaluation: outputs, gradients, what is written
    and the numbers that are drawn have to be the same to the last.
    """
    inputs = probes(examples, _SAMPLES)
    steps = []
    for training in (True, False):
        alone = copied(net, ()).train(training)
        for module in alone.modules():
            if is_leaf(module):
                module.eval()
        try:
            steps.append(_step(alone, form, inputs, 0))
        except Exception:
            return False
    one, other = steps
    if len(one.outputs) != len(other.outputs) or one.generators != other.generators:
        return False
    pairs: list[tuple[Tensor | None, Tensor | None]] = [*zip(one.outputs, other.outputs, strict=True)]
    pairs += [(one.tensors[name], other.tensors.get(name)) for name in one.tensors]
    return one.drawn == other.drawn and all(
        a is b is None or (a is not None and b is not None and same_values(a, b)) for a, b in pairs
    )


def _generators() -> Any:
    """The states of Python's and NumPy's generators of random numbers."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), kind, np.asarray(keys).tolist(), rest


def training_difference(
    captured: fx.GraphModule, net: nn.Module, form: CallForm, examples: Sequence[Tensor], *, draws: bool
) -> str:
    """In words what ``captured`` does otherwise in training than ``net``; empty where nothing is.

    Both are copied before they run.

    Args:
        captured: over the parameters of ``net``, in float.
        net: that it was made of.
        form: how it is called.
        examples: a tensor per input.
        draws: layers that were not looked into may draw numbers otherwise than by torch; then nothing can be compared.
    """
    names = {id(tensor): name for name, tensor in (*captured.named_parameters(), *captured.named_buffers())}
    pairs = {name: names.get(id(tensor)) for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    # As calls alone: what a kind of graph says of itself comes later.
    graph = fx.Graph()
    graph.output(graph.graph_copy(captured.graph, {}))
    calls = fx.GraphModule(captured, graph)
    _hold_what_is_computed_with(calls)
    mine = _alone(copied(calls, ())).train()
    theirs = _drawing_alike(_alone(copied(net, ()))).train()
    grads = [(parameter, parameter.grad) for parameter in net.parameters()]
    for parameter, _ in grads:
        # Functions that were put into the network may know its own parameters, whose gradients are not to be touched.
        parameter.grad = None
    try:
        odd = _first_difference(mine, theirs, form, probes(examples, _SAMPLES), pairs)
        return "" if odd == _DRAWN and draws else odd
    finally:
        for parameter, grad in grads:
            parameter.grad = grad


def _hold_what_is_computed_with(calls: fx.GraphModule) -> None:
    """Let a graph have the tensors that its constant expressions read, which none of its nodes names."""
    for place, expression in [each for each in calls.named_modules() if isinstance(each[1], ConstantExpression)]:
        for held in expression.held():
            owner: nn.Module = calls
            *above, name = held.path.split(".")
            for each in above:
                if not hasattr(owner, each):
                    owner.add_module(each, nn.Module())
                owner = getattr(owner, each)
            if isinstance(held.tensor, nn.Parameter):
                owner.register_parameter(name, held.tensor)
            elif name not in owner._buffers:
                owner.register_buffer(name, held.tensor)
        # One of its own, because the other stays what it is.
        alone = ConstantExpression(expression.steps)
        alone.hold(calls)
        calls.set_submodule(place, alone)


def _first_difference(
    mine: nn.Module, theirs: nn.Module, form: CallForm, inputs: Sequence[Tensor], pairs: dict[str, str | None]
) -> str:
    nudged = [x * (1 + 2**-22) if x.is_floating_point() else x for x in inputs]
    others = copied(theirs, ()), copied(theirs, ())
    for seed in range(_STEPS):
        try:
            wanted, again = _step(theirs, form, inputs, seed), _step(others[0], form, inputs, seed)
            moved = _step(others[1], form, nudged, seed)
        except Exception:
            return ""
        if any(_far(*pair) for pair in zip(wanted.outputs, wanted.outputs, again.outputs, strict=False)):
            return _DRAWN
        try:
            ours = _step(mine, None, inputs, seed)
        except Exception as error:
            return f"a step that fails: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        odd = _different(wanted, moved, ours, pairs)
        if odd:
            return odd
    return ""


def _alone(net: nn.Module) -> nn.Module:
    """``net`` with norms that wait for no other process, which may not compare at all."""
    for module in net.modules():
        if isinstance(module, nn.SyncBatchNorm):
            module.__class__ = CalledNorm  # type: ignore[assignment]
    return net


def _drawing_alike(net: nn.Module) -> nn.Module:
    """``net`` with attention that lays its tensors out as the captured one does: a dropout draws in memory's order."""
    for module in net.modules():
        front = batch_in_front(module)
        if front is not None:
            module.forward = front
    return net


class _Step:
    """One step: outputs, gradients of parameters and values of buffers, by name, and what generators are at then.

    ``drawn`` is what torch's own is at, as numbers.
    """

    def __init__(self, outputs: tuple[Tensor, ...], tensors: dict[str, Tensor | None], generators: Any) -> None:
        self.outputs, self.tensors, self.generators = outputs, tensors, generators
        self.drawn = torch.get_rng_state().tolist()


def _step(net: nn.Module, form: CallForm | None, inputs: Sequence[Tensor], seed: int) -> _Step:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    net.zero_grad()
    copies = [each.clone() for each in inputs]
    with torch.enable_grad():
        if form is None:
            outputs = tensors_in(net(*copies))
        else:
            call = form.arguments(copies)
            outputs = tensors_in(net(*call.args, **call.kwargs))
        generator = torch.Generator().manual_seed(seed)
        loss = sum((y * torch.randn(y.shape, generator=generator).to(y.device)).sum() for y in outputs)
        if isinstance(loss, Tensor) and loss.requires_grad:
            loss.backward()
    tensors: dict[str, Tensor | None] = {name: each.grad for name, each in net.named_parameters()}
    tensors |= {name: each.detach().clone() for name, each in net.named_buffers()}
    return _Step(tuple(each.detach() for each in outputs), tensors, _generators())


def _different(wanted: _Step, moved: _Step, ours: _Step, pairs: dict[str, str | None]) -> str:
    if len(wanted.outputs) != len(ours.outputs):
        return f"{len(wanted.outputs)} outputs instead of {len(ours.outputs)}"
    for index, (a, b, c) in enumerate(zip(wanted.outputs, moved.outputs, ours.outputs, strict=True)):
        if _far(a, b, c):
            return f"other values of output {index}"
    for name, mine in pairs.items():
        if mine is None:
            # Nothing that was captured computes with it.
            continue
        three = wanted.tensors.get(name), moved.tensors.get(name), ours.tensors.get(mine)
        like = next((each for each in three if each is not None), None)
        if like is not None and _far(*(torch.zeros_like(like) if each is None else each for each in three)):
            return f"other gradients, or values, of {name!r}"
    # Numbers of Python and NumPy are constants in what was traced.
    return "" if wanted.generators == ours.generators else _DRAWN


def _far(wanted: Tensor, moved: Tensor, ours: Tensor) -> bool:
    if wanted.shape != ours.shape:
        return True
    if not wanted.is_floating_point() or not wanted.numel():
        return not torch.equal(wanted, ours)
    known = torch.isfinite(wanted) & torch.isfinite(moved)
    size = torch.where(known, wanted, 0).abs().amax()
    own = torch.where(known, wanted - moved, 0).abs().amax()
    gap = torch.where(known, wanted - ours, 0).abs().amax()
    return not bool(gap <= _NEAR * size + _TIMES * own + 1e-12)
