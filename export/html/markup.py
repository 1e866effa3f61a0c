"""HTML and SVG as text that is escaped by construction: plain strings are data, only :class:`Markup` is markup."""

from __future__ import annotations

import html

__all__ = ["Markup", "element", "joined", "shown"]

#: Characters that XML forbids, escaped or not.
_FORBIDDEN = dict.fromkeys(
    (*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}"
)


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: str | Markup, **attributes: str | float) -> Markup:
    """One element, well-formed as HTML and as XML.

    >>> element("td", "a < b", class_="wide")
    '<td class="wide">a &lt; b</td>'

    Args:
        name: of the tag.
        children: plain strings are escaped.
        attributes: a trailing underscore is dropped, others become hyphens; numbers get two decimals at most.
    """
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"' for key, value in attributes.items())
    inside = joined(*children)
    return Markup(f"<{name}{pairs}>{inside}</{name}>" if inside or name not in _VOID else f"<{name}{pairs}/>")


#: What has no end tag in HTML, and what SVG may close at once.
_VOID = {"meta", "br", "path", "line", "rect", "circle"}


def joined(*children: str | Markup) -> Markup:
    """Children in a row; plain strings escaped."""
    return Markup("".join(child if isinstance(child, Markup) else _escaped(child) for child in children))


def shown(value: float, digits: int = 4) -> str:
    """A figure as a person reads it: significant digits, thousands of whole numbers separated.

    >>> shown(1234.0), shown(0.000123456), shown(2.50)
    ('1,234', '0.0001235', '2.5')
    """
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def _escaped(text: str) -> str:
    return html.escape(text.translate(_FORBIDDEN), quote=True)


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return _escaped(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if "." in f"{value:.2f}" else f"{value}"
