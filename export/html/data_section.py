"""The data: where it came from, what was dropped, and, of a table, how its columns are spread and hang together."""

from __future__ import annotations

import math

import numpy as np

from export.html.charts import Frame, points_path
from export.html.facts import Column, Facts
from export.html.markup import Markup, element, joined, shown
from export.html.statistics import DESCRIBED, described, spearman
from export.html.tables import table

__all__ = ["data_section"]

#: Points of each panel of the pair plot, evenly spaced over the rows.
_POINTS = 200
_CELL, _MARGIN = 130.0, 6.0
_BINS = 16


def data_section(facts: Facts) -> Markup:
    """Counts, how it was recorded, findings; describe table, pair plot and Spearman's correlations of a table."""
    data = facts.metrics.get("data") or {}
    if not data:
        return Markup()
    counted = (
        f"{data['source']}: {shown(data['rows'])} samples, {shown(data['train'])} for training and "
        f"{shown(data['test'])} for the test; {shown(data['dropped'])} dropped for missing values or as duplicates."
    )
    parts = [element("p", counted)]
    if data.get("recorded"):
        parts.append(element("p", "Recorded with " + ", ".join(f"{k} {v}" for k, v in data["recorded"].items()) + "."))
    if data.get("findings"):
        sentences = [element("li", f"{finding}.") for finding in data["findings"]]
        parts += [element("h3", "Odd, and perhaps meant"), element("ul", *sentences)]
    if facts.columns:
        rows = [[column.title, *map(shown, described(column.values))] for column in facts.columns]
        parts.append(table("training and test part", ["column", *DESCRIBED], rows))
    if len(facts.columns) > 1:
        parts += [element("h3", "Pairs"), _pair_plot(facts.columns), _correlations(facts.columns)]
    return joined(*parts)


def _pair_plot(columns: tuple[Column, ...]) -> Markup:
    """Every column over every other; on the diagonal the column itself as a histogram."""
    count = len(columns)
    rows = len(columns[0].values)
    at = np.unique(np.linspace(0, rows - 1, min(_POINTS, rows)).round().astype(int))
    drawn = []
    for row, vertical in enumerate(columns):
        for column, horizontal in enumerate(columns):
            x, y = column * _CELL, row * _CELL
            outline = element("rect", x=x + 2, y=y + 2, width=_CELL - 4, height=_CELL - 4, class_="frame")
            inside = _bars(horizontal, x, y) if row == column else _panel(horizontal, vertical, at, x, y)
            drawn.append(element("g", outline, inside))
    size = count * _CELL
    title = f"pair plot of {', '.join(column.name for column in columns)}"
    svg = element(
        "svg", element("title", title), joined(*drawn), viewBox=f"0 0 {size:g} {size:g}", width=size, height=size,
        role="img", aria_label=title, class_="pair",
    )  # fmt: skip
    caption = element(
        "p", f"{len(at):,} of {rows:,} rows; rows and columns in the order of the diagonal.", class_="soft"
    )
    return joined(element("div", svg, class_="scroll", role="region", tabindex="0", aria_label=title), caption)


def _panel(horizontal: Column, vertical: Column, at: np.ndarray, x: float, y: float) -> Markup:
    limits = [(float(c.values.min()), float(c.values.max())) for c in (horizontal, vertical)]
    frame = Frame(limits[0], limits[1], _CELL, _CELL, _MARGIN, _MARGIN, _MARGIN, _MARGIN)
    points = points_path(frame, horizontal.values[at], vertical.values[at], "float")
    about = f"{vertical.title} over {horizontal.title}"
    return element("g", element("title", about), points, transform=f"translate({x:g} {y:g})")


def _bars(column: Column, x: float, y: float) -> Markup:
    counts, _ = np.histogram(column.values, _BINS)
    wide, high = (_CELL - 2 * _MARGIN) / _BINS, _CELL - 2 * _MARGIN - 20
    bars = [
        element(
            "rect", x=x + _MARGIN + i * wide, y=y + _CELL - _MARGIN - n / counts.max() * high, width=wide * 0.9,
            height=n / counts.max() * high, class_="bar",
        )
        for i, n in enumerate(counts.tolist())
        if n
    ]  # fmt: skip
    # A long name would run into the next panel; the unit stands in the table too.
    title = column.title if len(column.title) <= 20 else column.name
    title = title if len(title) <= 20 else title[:19] + "…"
    name = element("text", title, x=x + _CELL / 2, y=y + 16, text_anchor="middle", class_="name")
    return element("g", element("title", column.title), *bars, name)


def _correlations(columns: tuple[Column, ...]) -> Markup:
    correlations = spearman(np.stack([column.values for column in columns], axis=1))
    rows = [
        [column.name, *("none: constant" if math.isnan(value) else f"{value:.3f}" for value in line.tolist())]
        for column, line in zip(columns, correlations, strict=True)
    ]
    return table("Spearman's rank correlations, all rows", ["column", *(column.name for column in columns)], rows)
