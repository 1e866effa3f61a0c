"""What shapes an op's tensors may have: the type of the cell, and the error that says what was expected.

Rules are pure functions of attributes and shapes as the device stores them. They are as strict as the preparation of
TFLM's kernel, which refuses or aborts, and as the row's reference, which keeps samples apart along the first axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

__all__ = ["Attrs", "BadShape", "Normalized", "Shape", "ShapeRule", "as_they_are", "refuse", "require"]

#: An op's attributes: plain values (numbers, strings, tuples of them), compared and written as they are.
Attrs = Mapping[str, Any]

#: Sizes of a tensor's axes.
Shape = tuple[int, ...]


class BadShape(ValueError):
    """Attributes or shapes that an op can't have; the message is a sentence of what was expected and what came."""


#: (attrs, shapes of the inputs by role) to the outputs' shapes in their order; raises :class:`BadShape`.
ShapeRule = Callable[[Attrs, Mapping[str, Shape]], tuple[Shape, ...]]

#: (attrs as a file has them, shapes of the inputs by role) to attrs as every cell of the row reads them.
Normalized = Callable[[Attrs, Mapping[str, Shape]], Attrs]


def as_they_are(attrs: Attrs, shapes: Mapping[str, Shape]) -> Attrs:
    """Of a row whose attributes a file can say in one way alone."""
    return attrs


def refuse(expected: str, got: object) -> NoReturn:
    """The error in its one form.

    Raises:
        BadShape: always.
    """
    raise BadShape(f"expected {expected}, got {got}")


def require(holds: bool, expected: str, got: object) -> None:
    """:func:`refuse` what does not hold.

    Raises:
        BadShape: so it is.
    """
    if not holds:
        refuse(expected, got)
