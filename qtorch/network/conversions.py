"""Where steps become real numbers, and real numbers steps: at the outputs, and around what only training does."""

from __future__ import annotations

from torch import Tensor, nn

from qtorch.network.mode import Mode
from qtorch.network.quantizer import Quantizer
from qtorch.network.stuck_outputs import StuckOutputs
from qtorch.numbers.functional import whole_steps
from qtorch.numbers.straight_through import replace_value

__all__ = ["Rounded", "ToReals", "ToSteps"]


#: Of a step: fractions that no step is wrong by, after a product with its scale and a quotient.
_FRACTION = {"int8": 2.0**-12, "int16": 2.0**-7}


class _Conversion(nn.Module):
    """A conversion of one tensor; does nothing but in QUANTIZED mode.

    Args:
        quantizer: of the tensor. It belongs to the op that computes it, and is not registered here.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        # In a container that nn.Module does not look into: each quantizer is saved once, by its owner.
        self._quantizer = (quantizer,)

    @property
    def quantizer(self) -> Quantizer:
        """Of the tensor."""
        return self._quantizer[0]


class ToReals(_Conversion):
    """Steps to real numbers; of an output it is looked in training whether they can still be learned from.

    Args:
        quantizer: of the tensor.
        output: whether it is an output of the network.
    """

    def __init__(self, quantizer: Quantizer, output: bool = False) -> None:
        super().__init__(quantizer)
        self.stuck = StuckOutputs() if output else None

    def forward(self, x: Tensor) -> Tensor:
        """The real numbers that ``x`` stands for."""
        return self.looked_at(self.quantizer.real(x))

    def looked_at(self, reals: Tensor) -> Tensor:
        """What it gave in a training step, whoever computed it."""
        if self.training and self.stuck is not None:
            self.stuck.look(reals, self.quantizer)
        return reals


class ToSteps(_Conversion):
    """Real numbers to steps, for the next op, of what only training does to a tensor on its grid.

    Args:
        quantizer: of the tensor.
        whole: whether the next op needs whole steps in training.
    """

    def __init__(self, quantizer: Quantizer, whole: bool = True) -> None:
        super().__init__(quantizer)
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        """``x`` in steps, on the grid again where it has to be."""
        quantizer = self.quantizer
        if quantizer.mode is not Mode.QUANTIZED:
            return x
        if self.whole or not self.training:
            return quantizer.steps_of(x, known=True)
        steps = x / quantizer.scale
        # Behind autograd's back: whole again where nothing was done to them.
        fraction = _FRACTION[quantizer.dtype]
        steps.detach().div_(fraction).round_().mul_(fraction)
        return steps


class Rounded(_Conversion):
    """Steps that dropout, which only multiplies, has left between whole ones."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` on the grid again; the gradient is dropout's own.

        What it makes larger may end beyond the grid, half of all codes with a probability of one half. None of that
        saturates on the device, so that all of it is to be learned from.
        """
        quantizer = self.quantizer
        if quantizer.mode is not Mode.QUANTIZED or not self.training:
            return x
        ends = quantizer.ends()
        return replace_value(x, whole_steps(x.detach()).clamp_(ends.low, ends.high))
