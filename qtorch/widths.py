"""The widths of a network, held against what an option may say."""

from __future__ import annotations

from typing import Any

from qtorch.bounds import require_whole, shown
from qtorch.errors import BadConfiguration

__all__ = ["require_classes", "require_width", "require_widths"]

#: A layer from so many units to as many has weights of 256 MiB.
_WIDEST = 8192
_MOST_LAYERS = 64
_MOST_CLASSES = 1000


def require_width(name: str, width: Any, least: int = 1, most: int = _WIDEST) -> None:
    """See that an option of the model is a whole number of units, channels or pixels.

    Args:
        name: of the option.
        width: its value.
        least: that is allowed.
        most: that is allowed.

    Raises:
        BadConfiguration: it is none, or too small or large.
    """
    require_whole(f"model.{name}", width, least, most, "leave it out for the default")


def require_widths(name: str, widths: Any, count: int | None = None, most: int = _WIDEST) -> None:
    """See that an option of the model is a sequence of widths.

    Args:
        name: of the option.
        widths: its value.
        count: of widths; any up to 64 if ``None``.
        most: that each may be.

    Raises:
        BadConfiguration: it is none, or a width is none.
    """
    if not isinstance(widths, (tuple, list)) or len(widths) > _MOST_LAYERS or len(widths) != (count or len(widths)):
        raise BadConfiguration(
            where=f"model.{name}",
            expected=f"{count or 'up to ' + str(_MOST_LAYERS)} whole numbers",
            got=shown(widths),
            remedy="leave it out for the default",
        )
    for at, width in enumerate(widths):
        require_width(f"{name}[{at}]", width, most=most)


def require_classes(classes: Any) -> None:
    """See that there are classes to tell apart, as :func:`require_width` does.

    Args:
        classes: their number.

    Raises:
        BadConfiguration: there are fewer than two, or more than a thousand.
    """
    require_width("classes", classes, 2, _MOST_CLASSES)
