"""Charts as SVG: pure functions from numbers to markup, colours by class, so that the page's theme decides them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.html.markup import Markup, element, joined, shown

__all__ = [
    "Frame",
    "bar",
    "bars",
    "decades",
    "figure",
    "histogram",
    "lines",
    "points_path",
    "scatter",
    "sparkline",
    "ticks",
]

Range = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """Where data lies in a drawing: its ranges, and the drawing's size in pixels with the margins for the axes.

    A range of no width is widened by half a unit to both sides.
    """

    x: Range
    y: Range
    width: float = 360
    height: float = 240
    left: float = 52
    right: float = 12
    top: float = 10
    bottom: float = 36

    def px(self, x: float) -> float:
        """Horizontal position of a value."""
        low, high = _wide(self.x)
        return self.left + (x - low) / (high - low) * (self.width - self.left - self.right)

    def py(self, y: float) -> float:
        """Vertical position of a value; larger ones lie higher."""
        low, high = _wide(self.y)
        return self.height - self.bottom - (y - low) / (high - low) * (self.height - self.top - self.bottom)


def _wide(limits: Range) -> Range:
    low, high = limits
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers within a range, about as many as wanted.

    >>> ticks(0, 10)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    low, high = _wide((low, high))
    rough = (high - low) / wanted
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.75)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def decades(low: float, high: float, wanted: int = 6) -> list[float]:
    """Logarithms of round numbers within a range of logarithms to base 10: 1, 2 and 5 where few decades are shown.

    >>> [round(10 ** tick, 3) for tick in decades(-1.1, 0.3)]
    [0.1, 0.2, 0.5, 1.0]
    """
    first, last = math.floor(low), math.ceil(high)
    if high - low <= 2:
        marks = [index + math.log10(factor) for index in range(first, last + 1) for factor in (1, 2, 5)]
    else:
        step = -(-(last - first) // wanted)
        marks = [float(index) for index in range(first, last + 1) if index % step == 0]
    return [mark for mark in marks if low - 1e-9 <= mark <= high + 1e-9]


def points_path(frame: Frame, x: np.ndarray, y: np.ndarray, name: str) -> Markup:
    """Points as one path: a line of no length with round ends each, which takes a third of the bytes of circles."""
    drawn = "".join(f"M{_px(frame.px(a))} {_px(frame.py(b))}h0" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return element("path", d=drawn, class_=f"points {name}")


def scatter(
    x: np.ndarray, y: np.ndarray, name: str, title: str, x_label: str, y_label: str, limits: Range | None = None
) -> Markup:
    """Points ``y`` over ``x``; with ``limits`` both axes have them, and the diagonal is drawn.

    Points that are not finite are left out.
    """
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if limits is not None and not all(map(math.isfinite, limits)):
        limits = _limits(np.concatenate([x, y]))
    frame = Frame(limits or _limits(x), limits or _limits(y))
    diagonal = [] if limits is None else [_line(frame, [(limits[0], limits[0]), (limits[1], limits[1])], "guide")]
    return _chart(frame, title, [*_axes(frame, x_label, y_label), *diagonal, points_path(frame, x, y, name)])


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    x_label: str,
    y_label: str,
    mark: float | None = None,
) -> Markup:
    """Polylines by class name, on a logarithmic axis where all values are positive and span more than a decade.

    Args:
        series: ``(x, y)`` in the order of ``x``.
        title: for those who do not see the drawing.
        x_label: below the axis.
        y_label: beside the axis.
        mark: an ``x`` at which a dashed line stands.
    """
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    logarithmic = min(ys) > 0 and max(ys) > 10 * min(ys)
    scaled = {n: [(x, math.log10(y) if logarithmic else y) for x, y in points] for n, points in series.items()}
    heights = [y for points in scaled.values() for _, y in points]
    # A curve that ends on the axis is hard to tell from it.
    low, high = min(heights), max(heights)
    frame = Frame((min(xs), max(xs)), (low - 0.05 * (high - low), high))
    drawn = [_line(frame, points, f"curve {name}") for name, points in scaled.items()]
    marked = [] if mark is None else [_line(frame, [(mark, frame.y[0]), (mark, frame.y[1])], "guide")]
    return _chart(frame, title, [*_axes(frame, x_label, y_label, logarithmic), *marked, *drawn])


def histogram(samples: Mapping[str, np.ndarray], title: str, x_label: str, bins: int = 30) -> Markup:
    """Counts of each series as an outline over common bins."""
    together = np.concatenate([np.asarray(each, np.float64).ravel() for each in samples.values()])
    edges = np.linspace(*_wide(_limits(together)), bins + 1)
    counts = {name: np.histogram(each, edges)[0] for name, each in samples.items()}
    frame = Frame((float(edges[0]), float(edges[-1])), (0.0, float(max(c.max() for c in counts.values()))))
    drawn = []
    for name, count in counts.items():
        steps = [(float(edges[0]), 0.0)]
        for index, height in enumerate(count.tolist()):
            steps += [(float(edges[index]), float(height)), (float(edges[index + 1]), float(height))]
        drawn.append(_line(frame, [*steps, (float(edges[-1]), 0.0)], f"step {name}"))
    zero = [_line(frame, [(0, frame.y[0]), (0, frame.y[1])], "guide")] if edges[0] < 0 < edges[-1] else []
    return _chart(frame, title, [*_axes(frame, x_label, "count"), *zero, *drawn])


def sparkline(float_counts: Sequence[int], int8_counts: Sequence[int], title: str) -> Markup:
    """Two distributions over the same bins, each of its own height: the quantized filled, the float as a line."""
    width, height = 96.0, 24.0

    def outline(counts: Sequence[int]) -> str:
        top, each = max(max(counts), 1), width / len(counts)
        steps = (f"H{_px(i * each)}V{_px(height - n / top * (height - 2))}" for i, n in enumerate(counts))
        return f"M0 {_px(height)}{''.join(steps)}H{_px(width)}V{_px(height)}"

    return element(
        "svg",
        element("title", title),
        element("path", d=outline(int8_counts), class_="area int8"),
        element("path", d=outline(float_counts), class_="step float"),
        viewBox=f"0 0 {width:g} {height:g}", width=width, height=height, role="img", aria_label=title,
    )  # fmt: skip


def bars(values: Sequence[tuple[str, str, float]], title: str) -> Markup:
    """Horizontal bars from zero, one below the other, each under its label and with its figure.

    Args:
        values: label, class name and value of each.
        title: for those who do not see the drawing.
    """
    width, row, left, right = 360.0, 36.0, 2.0, 64.0
    low, high = _wide((min(0.0, *(value for *_, value in values)), max(0.0, *(value for *_, value in values))))

    def px(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - right)

    drawn = []
    for index, (label, name, value) in enumerate(values):
        y, (a, b) = index * row, sorted((px(0.0), px(value)))
        drawn.append(element("text", label, x=left, y=y + 12, class_="name"))
        drawn.append(element("rect", x=a, y=y + 17, width=max(1.0, b - a), height=12, class_=f"fill {name}"))
        drawn.append(element("text", shown(value), x=b + 5, y=y + 27))
    return element(
        "svg", element("title", title), joined(*drawn), viewBox=f"0 0 {width:g} {row * len(values):g}", role="img",
        aria_label=f"{title}: " + ", ".join(f"{label} {shown(value)}" for label, _, value in values), class_="chart",
    )  # fmt: skip


def bar(share: float, name: str, title: str) -> Markup:
    """One bar for a table's cell: ``share`` of its width, 0 to 1."""
    width, height = 96.0, 12.0
    filled = element("rect", x=0, y=0, width=share * width, height=height, class_=f"fill {name}")
    frame = element("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, class_="frame")
    return element(
        "svg", element("title", title), frame, filled,
        viewBox=f"0 0 {width:g} {height:g}", width=width, height=height, role="img", aria_label=title,
    )  # fmt: skip


def figure(drawing: Markup, caption: str, legend: Mapping[str, str] | None = None) -> Markup:
    """A drawing with its caption; ``legend`` is text by class name."""
    keys = [
        element("span", element("i", class_=f"key {name}", aria_hidden="true"), text, class_="legend")
        for name, text in (legend or {}).items()
    ]
    return element("figure", drawing, element("figcaption", caption, *keys))


def _limits(values: np.ndarray) -> Range:
    """Of what is finite; 0 where nothing is."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _line(frame: Frame, points: Sequence[tuple[float, float]], name: str) -> Markup:
    drawn = " ".join(f"{_px(frame.px(x))} {_px(frame.py(y))}" for x, y in points)
    return element("path", d=f"M{drawn}", class_=name)


def _axes(frame: Frame, x_label: str, y_label: str, logarithmic: bool = False) -> list[Markup]:
    bottom, right = frame.height - frame.bottom, frame.width - frame.right
    drawn = []
    for tick in decades(*frame.y) if logarithmic else ticks(*frame.y):
        y, text = frame.py(tick), shown(10**tick if logarithmic else tick, 3)
        drawn.append(element("line", x1=frame.left, x2=right, y1=y, y2=y, class_="grid"))
        drawn.append(element("text", text, x=frame.left - 5, y=y + 4, text_anchor="end"))
    for tick in ticks(*frame.x):
        x = frame.px(tick)
        drawn.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
        drawn.append(element("text", shown(tick, 3), x=x, y=bottom + 16, text_anchor="middle"))
    drawn.append(element("line", x1=frame.left, x2=right, y1=bottom, y2=bottom, class_="axis"))
    middle = (frame.left + right) / 2
    drawn.append(element("text", x_label, x=middle, y=frame.height - 4, text_anchor="middle", class_="label"))
    at = (frame.top + bottom) / 2
    drawn.append(
        element("text", y_label, transform=f"translate(11 {_px(at)}) rotate(-90)", text_anchor="middle", class_="label")
    )
    return drawn


def _chart(frame: Frame, title: str, parts: Sequence[Markup]) -> Markup:
    size = f"0 0 {frame.width:g} {frame.height:g}"
    return element(
        "svg", element("title", title), joined(*parts), viewBox=size, role="img", aria_label=title, class_="chart"
    )
