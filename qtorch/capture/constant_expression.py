"""A constant that is computed from a network's parameters, whenever it is asked for: ``2 * w``, a normalized weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["ConstantExpression", "HeldTensor", "Step"]


@dataclass(frozen=True)
class HeldTensor:
    """A parameter or buffer of a module, looked up there at every use, because it may be replaced.

    Attributes:
        path: in the network, for people and for :meth:`ConstantExpression.hold`.
        holder: the module that has it.
        name: that it has there.
    """

    path: str
    holder: nn.Module
    name: str

    @property
    def tensor(self) -> Tensor:
        """As it is now."""
        found: Tensor = getattr(self.holder, self.name)
        return found


@dataclass(frozen=True)
class Step:
    """One call of an expression.

    Attributes:
        call: a function, an operator of ATen or a module; a text where it is a method of the first argument.
        args: positional arguments; what stands for tensors in them, at any depth, are :class:`HeldTensor` and
            :class:`Result`.
        kwargs: likewise, by name.
    """

    call: Callable[..., Any] | str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def of(self, results: Sequence[Any]) -> Any:
        """What the call gives, after the steps that gave ``results``."""

        def value(argument: Any) -> Any:
            if isinstance(argument, Result):
                return results[argument.step]
            return argument.tensor if isinstance(argument, HeldTensor) else argument

        args, kwargs = (fx.node.map_aggregate(each, value) for each in (self.args, self.kwargs))
        call: Any = getattr(args[0], self.call) if isinstance(self.call, str) else self.call  # type: ignore[index]
        return call(*(args[1:] if isinstance(self.call, str) else args), **kwargs)  # type: ignore[index, arg-type]


@dataclass(frozen=True)
class Result:
    """What an earlier step gave, by its number."""

    step: int


class ConstantExpression(nn.Module):
    """A tensor that depends on parameters and on no input.

    It holds the modules that have the parameters where :class:`torch.nn.Module` does not look: they are the network's,
    under their own names, and are saved, moved and copied with it.

    Args:
        steps: calls in the order of execution; the last gives the tensor.

    Attributes:
        shape: of the tensor.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.steps = tuple(steps)
        with torch.no_grad():
            self.shape: torch.Size = self().shape

    def forward(self) -> Tensor:
        """The tensor, with gradients to the parameters where they are asked for."""
        results: list[Any] = []
        for step in self.steps:
            results.append(step.of(results))
        tensor: Tensor = results[-1]
        # A view of a parameter says that it has a gradient even there, and who counts operations asks for its node.
        return tensor if torch.is_grad_enabled() else tensor.detach()

    def dim(self) -> int:
        """How many axes the tensor has."""
        return len(self.shape)

    def held(self) -> Iterator[HeldTensor]:
        """The parameters and buffers that it reads itself, each as often as it does."""
        found: list[HeldTensor] = []
        for step in self.steps:
            for argument in (step.args, step.kwargs):
                fx.node.map_aggregate(argument, lambda each: found.append(each) if isinstance(each, HeldTensor) else 0)
        yield from found

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Everything that it is computed from, parameters of modules that it calls among it, by name."""
        yield from ((each.path, each.tensor) for each in self.held())
        for module in self.called():
            yield from module.tensors() if isinstance(module, ConstantExpression) else ()
            yield from module.named_parameters()
            yield from module.named_buffers()

    def called(self) -> Iterator[nn.Module]:
        """The modules that it calls."""
        yield from (step.call for step in self.steps if isinstance(step.call, nn.Module))

    def hold(self, network: nn.Module) -> None:
        """Look tensors up in ``network`` from here on, in whichever of its modules each is.

        A layer that was replaced by another over the same parameters is not kept alive so, and who replaces a parameter
        by name is heard.
        """
        names: dict[int, str] = {}
        for name, tensor in (
            *network.named_parameters(remove_duplicate=False),
            *network.named_buffers(remove_duplicate=False),
        ):
            names.setdefault(id(tensor), name)

        def found(each: Any) -> Any:
            if not isinstance(each, HeldTensor) or id(each.tensor) not in names:
                return each
            path = each.path if _at(network, each.path) is each.tensor else names[id(each.tensor)]
            owner, _, name = path.rpartition(".")
            return HeldTensor(path, network.get_submodule(owner), name)

        self.steps = tuple(
            Step(step.call, *(fx.node.map_aggregate(each, found) for each in (step.args, step.kwargs)))  # type: ignore[arg-type]
            for step in self.steps
        )
        for module in self.called():
            if isinstance(module, ConstantExpression):
                module.hold(network)

    def extra_repr(self) -> str:
        """What it is computed from, for ``print(network)``."""
        return ", ".join(dict.fromkeys(name for name, _ in self.tensors()))


def _at(network: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    try:
        return getattr(network.get_submodule(owner), name, None)
    except AttributeError:
        return None
