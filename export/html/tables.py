"""Tables that scroll in their own box where a screen is too narrow for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from export.html.markup import Markup, element, joined

__all__ = ["table"]


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str | Markup]],
    text_columns: int | Sequence[Literal["text", "number"]] = 1,
) -> Markup:
    """A table whose first column names its rows.

    Args:
        caption: what it shows.
        header: one per column; what is empty heads nothing.
        rows: cells; plain strings are escaped.
        text_columns: how many columns are text, or the kind of each; numbers align at the right.
    """
    kinds: Sequence[str]
    if isinstance(text_columns, int):
        kinds = ["text" if index < text_columns else "number" for index in range(len(header))]
    else:
        kinds = text_columns
    head = element(
        "tr",
        *(
            element("th", name, scope="col", class_=kind) if name else element("td", class_=kind)
            for name, kind in zip(header, kinds, strict=True)
        ),
    )
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    ]
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", joined(*body)))
    return element("div", whole, class_="scroll", role="region", tabindex="0", aria_label=caption)
