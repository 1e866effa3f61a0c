"""A call that was refused, and how a remedy says that there is another form of it, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

__all__ = ["CHANGES", "CLIPPED", "NO_FORM", "PRODUCT", "RANDOM", "Always", "Asked", "Remedy", "always", "none", "same"]

#: How a remedy begins where there is none.
NO_FORM = "no form of it can be exported"
#: Of a form that is not exact.
CHANGES = "which changes the network"
#: Of tables whose rows are clipped where they are looked up.
CLIPPED = (
    "leave max_norm out, and clip the table's rows behind every step of training, which gives the same numbers: with "
    "torch.no_grad(): table.weight.copy_(table.weight.renorm(2, 0, max_norm))"
)


@dataclass(frozen=True)
class Asked:
    """A call that was refused.

    Attributes:
        name: of its module's class, its function or method.
        module: ``None`` for functions and methods.
        args: positional, the tensor first.
        kwargs: by name.
        shape: of that tensor, the batch axis included; empty if it is not known.
    """

    name: str
    module: nn.Module | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()

    def get(self, name: str, position: int, default: Any) -> Any:
        """A module's attribute or a function's argument; the default where none was given."""
        if self.module is not None:
            return getattr(self.module, name, default)
        value = self.kwargs.get(name, self.args[position] if position < len(self.args) else None)
        return default if value is None else value

    def pair(self, name: str, position: int, default: Any) -> tuple[int, ...]:
        """The same, of what may be one number for all axes."""
        value = self.get(name, position, default)
        return tuple(value) if isinstance(value, tuple | list) else (value,)


#: A call that was refused to what to write instead of it.
Remedy = Callable[[Asked], str]


@dataclass(frozen=True)
class Always:
    """A remedy that says the same of a call whatever its arguments.

    Attributes:
        text: it.
    """

    text: str

    def __call__(self, ask: Asked) -> str:
        """The text."""
        return self.text


def always(text: str) -> Always:
    """The same for whatever call."""
    return Always(text)


def same(form: str, note: str = "") -> str:
    """That a form computes the same."""
    return f"write `{form}`, which computes the same" + (f", {note}" if note else "")


def none(why: str) -> str:
    """That there is no form, and why."""
    return f"{NO_FORM}: {why}"


#: Reasons that several calls have.
PRODUCT = none(
    "the device multiplies matrices of one sample, with the batch's axis in front of both; of any other product one "
    "side is a layer's"
)
RANDOM = none("it is random, and a device computes the same for the same input")
