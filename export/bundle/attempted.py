"""Parts of an export that nobody asked for by name: made where they can be had, and left out, in words, elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from export.bundle.arguments import as_arguments
from qtorch.errors import BadInput

__all__ = ["Attempted", "reason"]


@dataclass(frozen=True)
class Attempted:
    """What is tried, and what of it could not be had.

    A part that disagrees with the integers is no part that can't be had: a
    :class:`~qtorch.errors.ParityError` is raised in any case.

    Attributes:
        parts: fields of :class:`export.options.ExportOptions`: ``"c"``, ``"tflm"``, ``"firmware"``, the forms' options.
        left_out: why some of them are not there; grows during an export.
    """

    parts: frozenset[str] = frozenset()
    left_out: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """A block that makes a part.

        Raises:
            BadInput: it can't be had, and was asked for.
        """
        try:
            yield
        except BadInput as error:
            if part not in self.parts:
                raise
            self.left_out[part] = reason(error)


def reason(error: BadInput) -> str:
    """Why a part is not there, and what to do, in one sentence of a call: a command tries nothing unasked."""
    said = error.where, error.expected, error.got, error.remedy.rstrip(".")
    where, expected, got, remedy = map(as_arguments, said)
    return f"{where}: expected {expected}, got {got}; {remedy}"
