"""Numbers that a person hands in, held against what can be done with them."""

from __future__ import annotations

import math
import operator
from typing import Any

from qtorch.errors import BadConfiguration

__all__ = ["LARGEST_SEED", "require_number", "require_seed", "require_whole", "shown"]

#: What PyTorch and NumPy both take: 64 bits without a sign.
LARGEST_SEED = 2**64 - 1


def require_whole(where: str, value: Any, least: int, most: int, remedy: str) -> None:
    """See that a value is a whole number within bounds; ``True`` and ``3.0`` are none.

    Example:
        >>> require_whole("data.rows", 3, 10, 1000, "try 638")
        Traceback (most recent call last):
        ...
        qtorch.errors.BadConfiguration: data.rows: expected at least 10, got 3. Remedy: try 638.

    Args:
        where: the option, as its owner knows it.
        value: anything.
        least: that is allowed.
        most: that is allowed.
        remedy: what to do.

    Raises:
        BadConfiguration: it is none, or lies outside.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        expected = f"a whole number from {least} to {most}"
    elif number < least:
        expected = f"at least {least}"
    elif number > most:
        expected = f"at most {most}"
    else:
        return
    raise BadConfiguration(where=where, expected=expected, got=shown(value), remedy=remedy)


def require_number(where: str, value: Any, least: float, most: float, remedy: str) -> None:
    """See that a value is a number within bounds, and so neither NaN nor infinite.

    Args:
        where: as :func:`require_whole` has it, like the others.
        value: anything.
        least: that is allowed; finite.
        most: that is allowed; finite.
        remedy: what to do.

    Raises:
        BadConfiguration: it is none, or lies outside.
    """
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most:
        raise BadConfiguration(
            where=where, expected=f"a number from {least:g} to {most:g}", got=shown(value), remedy=remedy
        )


def require_seed(where: str, value: Any) -> None:
    """See that a value is a seed: a whole number of at most 64 bits, without a sign.

    Args:
        where: the option.
        value: anything.

    Raises:
        BadConfiguration: it is none.
    """
    require_whole(where, value, 0, LARGEST_SEED, "choose another seed, such as 0")


def shown(value: Any) -> str:
    """The value as it was written; of a number with hundreds of digits, the first."""
    # Python refuses to print whole numbers of thousands of digits.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value).bit_length() > 128:
        return f"{'-' if value < 0 else ''}a number of {abs(value).bit_length()} bits"
    try:
        written = str(value) if isinstance(value, (int, float)) else repr(value)
    except ValueError:  # a number like that inside of a tuple
        written = f"a {type(value).__name__} of large numbers"
    return written if len(written) <= 60 else written[:60] + "..."
