"""What is worked out for a whole network before it is called: learned scales, and figures of sums of products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import get_ident
from typing import NamedTuple

import torch
from torch import Tensor, fx
from torch.compiler import is_compiling
from torch.nn.modules import module as all_modules

from qtorch.network.learned_scales import LearnedScales
from qtorch.network.mode import Mode
from qtorch.network.perceptron_at_once import Perceptron
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.network.sum_constants import LinearRun
from qtorch.network.sums_together import Together
from qtorch.numbers.sum_figures import LinearFigures, SumFigures
from qtorch.surroundings import require_untransformed, without_values

__all__ = ["NetworkSums"]


class NetworkSums:
    """What of one network is worked out side by side.

    Args:
        network: of :class:`qtorch.network.quantized_op.QuantizedOp`.
    """

    def __init__(self, network: fx.GraphModule) -> None:
        modules = list(network.modules())
        self._ops = tuple(op for op in modules if isinstance(op, QuantizedOp) and op.has_weight)
        learning = [each for each in modules if isinstance(each, Quantizer) and each.learned != "measured"]
        self._scales = LearnedScales(learning, [op for op in self._ops if op.constants.learned_scale is not None])
        self._input = next(each for each in modules if isinstance(each, Quantizer))
        self._next, self._runs = _followers(network), list[_Run]()
        self._perceptron, self._is_whole = Perceptron.of(network), False
        # What may be called in the middle of a call, and write to parameters.
        self._hooks = [each._forward_pre_hooks for each in modules]
        self._hooks += [each._forward_hooks for each in modules if each is not network]
        self._hooks += [all_modules._global_forward_pre_hooks, all_modules._global_forward_hooks]
        self._together = Together(())
        #: Of each layer, whether it was taken; nothing where that is to be looked at.
        self._flags: list[bool] = []
        # Threads may call one network: an element for each call that is not over.
        self._calls: list[None] = []
        #: The thread whose call was given something.
        self._giver: int | None = None

    def give(self, inputs: Sequence[Tensor]) -> Tensor | None:
        """Give quantizers and layers what they need in one call with ``inputs``, in training; figures on a CPU only.

        With hooks everyone looks at its own parameters, when it is its turn; and in a call beside others, whose memory
        is not overwritten.

        Returns:
            The result, where nothing is needed for it but the figures.

        Raises:
            BadConfiguration: in QUANTIZED, the call is within a transform of ``torch.func``, or traced.
        """
        if is_compiling():
            return None
        if self._input.mode is Mode.QUANTIZED:
            require_untransformed()
        self._calls.append(None)
        if len(self._calls) > 1 or not torch.is_grad_enabled() or any(self._hooks):
            return None
        if any(map(without_values, inputs)):
            return None
        self._giver = get_ident()
        if self._scales:
            self._scales.give()
        if not self._layers_stay() and not self._look():
            return None
        figures = self._together.compute()
        if self._is_whole and self._perceptron is not None:
            result = self._perceptron.computed(inputs[0], figures)
            if result is not None:
                return result
        for run in self._runs:
            _give(run, [figures[place] for place in run.places])
        return None

    def _layers_stay(self) -> bool:
        """Whether the same layers are worked out together as in the last call."""
        flags = [op.sums_together for op in self._ops]
        return any(flags) and flags == self._flags and self._together.stays()

    def _look(self) -> bool:
        """Find those that are now; whether there are any."""
        layers = tuple([op for op in self._ops if op.sums_together and Together.takes_now(op)])
        all_taken = len(layers) == sum(op.sums_together for op in self._ops)
        # Those that are not taken in this call may be in the next.
        self._flags = [op.sums_together for op in self._ops] if layers and all_taken else []
        if self._together.layers == layers:
            self._together.look()
        elif layers:
            self._together, self._runs = Together(layers), self._runs_of(layers)
            self._is_whole = self._perceptron is not None and self._perceptron.ops == layers
        return bool(layers)

    def _runs_of(self, layers: Sequence[QuantizedOp]) -> list[_Run]:
        """All ``layers``, those in a run behind each other."""
        places = {op: place for place, op in enumerate(layers)}
        later = {after for op, after in self._next.items() if op in places}
        runs = []
        for op in layers:
            if op in later:
                continue
            run = [op]
            while self._next.get(run[-1]) in places:
                run.append(self._next[run[-1]])
            runs.append(_Run(tuple(run), tuple(places[each] for each in run)))
        return runs

    def take_back(self) -> None:
        """What was given, when the call is over: until the next one, any code may write to parameters."""
        if is_compiling():
            return
        del self._calls[-1:]
        if self._giver == get_ident():
            self.forget()

    def forget(self) -> None:
        """What was given."""
        self._giver = None
        for op in self._ops:
            op.constants.figures = None
        self._scales.forget()


class _Run(NamedTuple):
    """Linear layers one behind the other, or any one layer.

    Attributes:
        ops: the layers.
        places: theirs among all whose figures are worked out together.
    """

    ops: tuple[QuantizedOp, ...]
    places: tuple[int, ...]


def _give(run: _Run, figures: Sequence[LinearFigures | SumFigures | None]) -> None:
    linear, thread = [each for each in figures if isinstance(each, LinearFigures)], get_ident()
    if len(linear) == len(run.ops) and (len(linear) == 1 or _unobserved(run.ops)):
        first, *others = run.ops
        first.constants.figures = LinearRun(thread, tuple(op.constants for op in run.ops), tuple(linear))
        for op in others:
            op.constants.figures = LinearRun(thread)
        return
    for op, each in zip(run.ops, figures, strict=True):
        op.constants.figures = LinearRun(thread, (op.constants,), (each,)) if isinstance(each, LinearFigures) else each


def _followers(network: fx.GraphModule) -> dict[QuantizedOp, QuantizedOp]:
    """For each linear layer whose result goes to nothing but another one, this one; both are called once."""
    calls = [node for node in network.graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in calls)
    found = {}
    for node in calls:
        if len(node.users) != 1:
            continue
        (reader,) = node.users
        if reader.op != "call_module" or times[node.target] + times[reader.target] > 2:
            continue
        first, second = (network.get_submodule(str(each.target)) for each in (node, reader))
        if isinstance(first, QuantizedOp) and isinstance(second, QuantizedOp) and first.is_linear and second.is_linear:
            found[first] = second
    return found


def _unobserved(ops: Sequence[QuantizedOp]) -> bool:
    """Whether no hook of any of them sees, or changes, its gradients; those of calls are looked for in all modules."""
    hooks = [table for op in ops for table in (op._backward_hooks, op._backward_pre_hooks)]
    return not (any(hooks) or all_modules._global_backward_hooks or all_modules._global_backward_pre_hooks)
