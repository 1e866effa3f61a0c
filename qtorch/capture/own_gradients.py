"""Functions that say themselves what their gradient is: captured as the calls that they make, trained by what they say.

Of ``torch.autograd.Function`` a device gets the forward pass. In training its result goes through one call more, which
changes no value and hands the gradient to the function's own backward pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.numbers.straight_through import replace_value

__all__ = ["OwnGradient", "functions_as_calls"]


class _Place:
    """Where a tensor stands among a function's arguments."""


class OwnGradient(nn.Module):
    """A value as it is, with the gradient of the function that it came of.

    Args:
        function: a class of ``torch.autograd.Function``.
        arguments: of the call.
    """

    def __init__(self, function: Any, arguments: Sequence[Any]) -> None:
        super().__init__()
        self.function = function
        self.arguments = tuple(_Place() if isinstance(each, Tensor) else each for each in arguments)

    def forward(self, value: Tensor, *tensors: Tensor) -> Tensor:
        """``value``; its gradient goes to ``tensors``, which the function was called with."""
        rest = iter(tensors)
        arguments = (next(rest) if isinstance(each, _Place) else each for each in self.arguments)
        return replace_value(self.function.apply(*arguments), value.detach())


#: Hands on the value of a function, with a module for its gradient and the tensors that it was called with.
Keep = Callable[[OwnGradient, Tensor, Sequence[Tensor]], Any]


@contextmanager
def functions_as_calls(seen: Callable[[], None], keep: Keep | None) -> Iterator[None]:
    """A block in which this thread's functions with a gradient of their own are the calls that they make.

    Torch runs them without gradients, which are theirs to give.

    Args:
        seen: called where there is one.
        keep: gives what is read in place of a function's value; ``None`` where nothing is trained.
    """
    plain, thread = torch.autograd.Function.__dict__["apply"], threading.get_ident()

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            # What others call meanwhile is not captured.
            return plain.__get__(None, cls)(*args, **kwargs)
        seen()
        apart = cls.setup_context is not torch.autograd.function._SingleLevelFunction.setup_context
        value = cls.forward(*args, **kwargs) if apart else cls.forward(_NoContext(), *args, **kwargs)
        tensors = [each for each in args if isinstance(each, Tensor)]
        if keep is None or kwargs or not tensors or not isinstance(value, Tensor):
            return value
        return keep(OwnGradient(cls, args), value, tensors)

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
