"""A layer's constants that are computed from parameters of other modules, until they are made permanent."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.capture.constant_expression import ConstantExpression

__all__ = ["ComputedConstants"]


class ComputedConstants:
    """Those of one layer, by role.

    Args:
        holder: the layer. It has none of them, until it gets a parameter of a role's name, which then stands in the
            place of the expression.
        expressions: what they are.
    """

    def __init__(self, holder: nn.Module, expressions: Mapping[str, ConstantExpression]) -> None:
        self.holder, self.expressions = holder, dict(expressions)
        #: What they gave in calls of the layer that are not over, by thread.
        self._given: dict[int, dict[str, Tensor]] = {}

    def __bool__(self) -> bool:
        return bool(self.expressions)

    def __getstate__(self) -> dict[str, Any]:
        # What a call computed is that call's, and no copy's.
        return {**self.__dict__, "_given": {}}

    def held_by(self, holder: nn.Module) -> ComputedConstants:
        """The same of another module."""
        constants = copy.copy(self)
        constants.holder = holder
        return constants

    def now(self) -> dict[str, Tensor]:
        """All, float32: in a call of the layer what was computed for it; parameters where they were made permanent."""
        given = self._given.get(get_ident())
        return self._compute() if given is None else given

    @contextmanager
    def once(self) -> Iterator[None]:
        """A block, of one call of the layer, in which each is computed once for all who ask for it."""
        here = get_ident()
        self._given[here] = self._compute()
        try:
            yield
        finally:
            del self._given[here]

    def make_permanent(self, role: str) -> None:
        """Put a parameter of its value in the place of an expression, so that it can be written to.

        The parameters that it was computed from stay in the network and no longer have an effect on this layer. A state
        dict brings the layer's own parameter; one without it lets the layer compute the constant again.
        """
        if role in self.expressions and role not in self.holder._parameters:
            with torch.no_grad():
                value = self.now()[role].detach().clone()
            self.holder.register_parameter(role, nn.Parameter(value))

    def follow(self, names: Container[str]) -> None:
        """Make permanent what is so in a state dict, given the layer's names in it, and compute all else again."""
        for role in self.expressions:
            if role in names:
                self.make_permanent(role)
            else:
                self.holder._parameters.pop(role, None)

    def reads(self, tensor: Any) -> bool:
        """Whether one is computed from ``tensor``."""
        return any(read is tensor for each in self.expressions.values() for _, read in each.tensors())

    def _compute(self) -> dict[str, Tensor]:
        own: Any = self.holder._parameters
        return {role: own[role] if role in own else each().to(torch.float32) for role, each in self.expressions.items()}
