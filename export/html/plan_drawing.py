"""Plain C's own memory plan as a picture: which bytes each tensor takes while which operator is computed.

Operators stand to the right, addresses upwards. What is made or given up row by row grows and shrinks inside the span
of the operators that are computed so, which is shaded. Plans that are compared share both scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from export.c.memory_plan import Buffer
from export.c.placement import Placement, scratch_of, sums_of
from export.graph.ir import Graph
from export.graph.names import speaking_names
from export.html.markup import Markup, element, joined, shown

__all__ = ["contents_of", "drawn_plans", "spans_of"]

_LEFT, _RIGHT, _TOP, _BETWEEN, _BOTTOM = 62.0, 12.0, 22.0, 40.0, 34.0
#: Pixels of a plan: the highest one's, and what the lowest is given if that does not make the other too high.
_HEIGHT, _LEAST, _MOST = 240.0, 110.0, 520.0
#: Pixels of an operator, between which all of them fit a page if there are not too many.
_NARROW, _WIDE, _PAGE = 18.0, 60.0, 1080.0
_LETTER = 5.6
#: Corners that a shape has on either side, at most; rows in between are drawn as what all of them need.
_CORNERS = 48


def contents_of(graph: Graph, placement: Placement) -> dict[str, str]:
    """By buffer, what lies in it: tensors as the file calls them, or which operator's kernel works there."""
    called = speaking_names(graph)
    found: dict[str, list[str]] = {}
    for name, buffer in placement.lifetimes.names.items():
        found.setdefault(buffer, []).append(called[name])
    said = {buffer: ", then ".join(names) for buffer, names in found.items()}
    for index, node in enumerate(graph.nodes):
        said |= {
            scratch_of(index): f"kernel of {called[node.output]}",
            sums_of(index): f"sums of {called[node.output]}",
        }
    said |= {f"output {index}": f"output {index}" for index in range(len(graph.outputs))}
    return {buffer.name: said[buffer.name] for buffer in placement.lifetimes.buffers}


def spans_of(placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Where each step of a plan begins and ends, counted in operators: float ``[steps]`` each."""
    lives = placement.lifetimes
    begins, ends = np.zeros(lives.ends[-1] + 1), np.zeros(lives.ends[-1] + 1)
    index = 0
    while index < len(lives.starts):
        first, last = lives.starts[index], lives.ends[index]
        nodes = sum(start == first for start in lives.starts)
        each = np.arange(last - first + 2) * nodes / (last - first + 1) + index
        begins[first : last + 1], ends[first : last + 1] = each[:-1], each[1:]
        index += nodes
    return begins, ends


def drawn_plans(graph: Graph, plans: Mapping[str, Placement], sections: Sequence[tuple[int, int]]) -> Markup:
    """One SVG, a plan below the other.

    Args:
        graph: of all of them.
        plans: by their captions.
        sections: first and last operator of what is computed row by row in the last of the plans.
    """
    operators = len(graph.nodes)
    each = min(_WIDE, max(_NARROW, _PAGE / max(1, operators)))
    width = max(360.0, _LEFT + (operators + 1) * each + _RIGHT)
    most = max(1, *(placement.plan.peak for placement in plans.values()), 1)
    least = max(1, min(placement.plan.peak for placement in plans.values()))
    high = min(_MOST, max(_HEIGHT, _LEAST * most / least))
    drawn, top = list[Markup](), _TOP
    for number, (caption, placement) in enumerate(plans.items()):
        tall = max(1.0, placement.plan.peak / most * high)
        drawn += _panel(graph, placement, sections if number == len(plans) - 1 else (), (top, tall, each, width))
        drawn.append(element("text", caption, x=_LEFT, y=top - 7, class_="name"))
        top += tall + _BETWEEN
    bottom = top - _BETWEEN
    height = bottom + _BOTTOM
    every = max(1, int(np.ceil(24 / each)))
    numbers = [
        element("text", str(index), x=_LEFT + (index + 0.5) * each, y=bottom + 14, text_anchor="middle")
        for index in range(0, operators, every)
    ]
    axes = [
        *numbers,
        element("text", "operator", x=_LEFT + operators * each / 2, y=height - 4, text_anchor="middle", class_="label"),
    ]
    title = "; ".join(f"{caption}: {shown(placement.plan.peak)} bytes" for caption, placement in plans.items())
    svg = element(
        "svg", element("title", title), joined(*drawn), joined(*axes), viewBox=f"0 0 {width:g} {height:g}",
        width=width, height=height, role="img", aria_label=title, class_="plan",
    )  # fmt: skip
    return element("div", svg, class_="scroll", role="region", tabindex="0", aria_label="memory plan of plain C")


def _panel(
    graph: Graph, placement: Placement, sections: Sequence[tuple[int, int]], at: tuple[float, float, float, float]
) -> Iterator[Markup]:
    top, tall, each, width = at
    bottom, scale = top + tall, tall / max(1, placement.plan.peak)
    for first, last in sections:
        about = (
            f"row by row: operators {first} to {last} of the C"
            if first != last
            else f"row by row: operator {first} of the C"
        )
        yield element(
            "rect", element("title", about), x=_LEFT + first * each, y=top - 4, width=(last + 1 - first) * each,
            height=tall + 4, class_="rows",
        )  # fmt: skip
    begins, ends = spans_of(placement)
    said = contents_of(graph, placement)
    for number, buffer in enumerate(placement.lifetimes.buffers):
        yield _shape(buffer, number, said[buffer.name], placement.plan.offsets[buffer.name],
                     (_LEFT + begins * each, _LEFT + ends * each), (bottom, scale))  # fmt: skip
    yield element("line", x1=_LEFT, x2=width - _RIGHT, y1=bottom, y2=bottom, class_="axis")
    yield element("line", x1=_LEFT, x2=width - _RIGHT, y1=top, y2=top, class_="guide")
    yield element("text", shown(placement.plan.peak), x=_LEFT - 5, y=top + 9, text_anchor="end")
    yield element("text", "0", x=_LEFT - 5, y=bottom, text_anchor="end")


def _shape(
    buffer: Buffer, number: int, said: str, offset: int, steps: tuple[np.ndarray, np.ndarray],
    bytes_at: tuple[float, float],
) -> Markup:  # fmt: skip
    bottom, scale = bytes_at
    held = buffer.bytes_held(buffer.first, buffer.last)
    needed = np.flatnonzero(held[:, 0] < held[:, 1])
    if not len(needed):
        return Markup()
    first, last = int(needed[0]), int(needed[-1])
    changes = bool((held[needed] != held[needed[0]]).any())
    if changes:
        runs = _runs(held[first : last + 1])
    else:
        low, high = held[first].tolist()
        runs = [(0, last - first, low, high)]
    above, below = list[str](), list[str]()
    for begin, end, low, high in runs:
        left = steps[0][buffer.first + first + begin]
        right = steps[1][buffer.first + first + end]
        y_low, y_high = (bottom - (offset + each) * scale for each in (low, high))
        above += [f"{left:.1f},{y_high:.1f}", f"{right:.1f},{y_high:.1f}"]
        below += [f"{left:.1f},{y_low:.1f}", f"{right:.1f},{y_low:.1f}"]
    how = ", row by row" if changes else ""
    about = f"{said}: {buffer.size:,} bytes at {offset:,}{how}"
    shape = element(
        "polygon", element("title", about), points=" ".join([*above, *below[::-1]]), class_=f"memory m{number % 4}"
    )
    left, right = steps[0][buffer.first + first], steps[1][buffer.first + last]
    middle = runs[len(runs) // 2]
    tall = (middle[3] - middle[2]) * scale
    size = f"{shown(buffer.size)} bytes"
    fitting = [label for label in (f"{said}, {size}", said, size) if len(label) * _LETTER <= right - left - 4]
    text = [
        element(
            "text", label, x=float(left + right) / 2, y=bottom - (offset + (middle[2] + middle[3]) / 2) * scale + 4,
            text_anchor="middle",
        )
        for label in fitting[:1]
        if tall >= 13
    ]  # fmt: skip
    return element("g", shape, *text)


def _runs(held: np.ndarray) -> list[tuple[int, int, int, int]]:
    """First and last step of what stays as it is, and its bytes; neighbours put together where there are too many."""
    starts = np.flatnonzero(np.r_[True, (np.diff(held, axis=0) != 0).any(1)])
    parts = np.array_split(starts, min(_CORNERS, len(starts)))
    firsts = [int(part[0]) for part in parts]
    lasts = [*(first - 1 for first in firsts[1:]), len(held) - 1]
    found = []
    for first, last in zip(firsts, lasts, strict=True):
        part = held[first : last + 1]
        part = part[part[:, 0] < part[:, 1]]
        if len(part):
            found.append((first, last, int(part[:, 0].min()), int(part[:, 1].max())))
    return found
