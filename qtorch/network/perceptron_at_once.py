"""A network that is nothing but small linear layers, one behind the other, computed at once in training.

Its modules are not called: that takes longer than what they compute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, fx, nn
from torch.nn.modules import module as all_modules

from qtorch.network.conversions import ToReals
from qtorch.network.mode import Mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.network.routes import sums_route
from qtorch.network.sum_constants import linear_parameters
from qtorch.numbers.linear_in_steps import RealEnds, linears_in_steps
from qtorch.numbers.sum_figures import LinearFigures, SumFigures
from qtorch.surroundings import undisturbed

__all__ = ["Perceptron"]


class Perceptron:
    """The modules of such a network.

    Args:
        network: see above.
        nodes: its calls: the input's quantizer, layers, and what makes real numbers of their steps.

    Attributes:
        ops: the layers.
    """

    def __init__(self, network: fx.GraphModule, nodes: Sequence[fx.Node]) -> None:
        self._network, self._forward = network, type(network).forward
        self._places = []
        for node in nodes:
            path, _, name = str(node.target).rpartition(".")
            parent = network.get_submodule(path)
            self._places.append((parent._modules, name, network.get_submodule(str(node.target))))
        quantizer, *layers, reals = (module for *_, module in self._places)
        assert isinstance(quantizer, Quantizer)
        assert isinstance(reals, ToReals)
        self._reals = reals
        self._quantizer, self.ops = quantizer, tuple(each for each in layers if isinstance(each, QuantizedOp))
        #: What was read of the grids, together with figures that are made anew when one of these changes.
        self._read: tuple[LinearFigures, int, RealEnds] | None = None
        modules = [network, *(module for *_, module in self._places)]
        # What is called around a call, and in the backward pass.
        self._hooks = [network._forward_hooks]
        self._hooks += [table for each in modules for table in (each._backward_hooks, each._backward_pre_hooks)]
        self._hooks += [all_modules._global_backward_hooks, all_modules._global_backward_pre_hooks]

    @staticmethod
    def of(network: fx.GraphModule) -> Perceptron | None:
        """``None`` of a network that has anything else."""
        first, *nodes, last = network.graph.nodes
        if first.op != "placeholder" or len(nodes) < 3 or last.args != (nodes[-1],):
            return None
        modules: list[nn.Module] = []
        for before, node in zip([first, *nodes], nodes, strict=False):
            if node.op != "call_module" or node.args != (before,) or len(node.users) != 1:
                return None
            modules.append(network.get_submodule(str(node.target)))
        quantizer, *layers, reals = modules
        linear = all(isinstance(each, QuantizedOp) and each.is_linear for each in layers)
        if not linear or len(set(layers)) < len(layers):
            return None
        return Perceptron(network, nodes) if isinstance(quantizer, Quantizer) and isinstance(reals, ToReals) else None

    def computed(self, x: Tensor, figures: Sequence[LinearFigures | SumFigures | None]) -> Tensor | None:
        """The network's result, real numbers; ``None`` where its modules have to be called.

        Args:
            x: the input; of float32, on a CPU, without gradient and few, to be taken.
            figures: of all layers.
        """
        plain = type(x) is Tensor and x.dtype is self._quantizer.measured.dtype and x.is_cpu and x.dim() == 2
        if not plain or x.requires_grad or not self._calls_nothing_else():
            return None
        linear = [each for each in figures if isinstance(each, LinearFigures)]
        if len(linear) < len(self.ops):
            return None
        if self._read is None or self._read[0] is not linear[0]:
            self._read = linear[0], min(each.most for each in linear), self._read_ends(x.shape[1])
        _, most, ends = self._read
        if len(x) > most or x.shape[1] != linear[0].weight.shape[1]:
            return None
        parameters = [linear_parameters(op.constants) for op in self.ops]
        learned = self._quantizer._parameters
        own = learned.get("log_scale"), learned.get("zero_share")
        return self._reals.looked_at(linears_in_steps(x, parameters, linear, ends, own))

    def _calls_nothing_else(self) -> bool:
        """Whether a call of the modules would do nothing but what they compute in training, in numbers as they are."""
        quantizer, network = self._quantizer, self._network
        if any(self._hooks) or not undisturbed() or type(network).forward is not self._forward:
            return False
        for modules, name, module in self._places:
            if modules.get(name) is not module or "forward" in module.__dict__:
                return False
        if any(op.route is not sums_route for op in self.ops) or "forward" in network.__dict__:
            return False
        # In evaluation, what is no number is named.
        known = quantizer.learned == "measured" or quantizer.learned_scale.now is not None
        return quantizer.mode is Mode.QUANTIZED and quantizer.training and known

    def _read_ends(self, width: int) -> RealEnds:
        quantizer, ends = self._quantizer, self._quantizer.ends()
        numbers = quantizer.step, ends.low, ends.high, self.ops[-1].output.step
        source, low, high, output = (np.array(each, np.float32) for each in numbers)
        now = quantizer.learned_scale.now
        if now is None:
            return RealEnds(source, low, high, output)
        return RealEnds(source, low, high, output, quantizer.learned, quantizer.share(width, now.free))
