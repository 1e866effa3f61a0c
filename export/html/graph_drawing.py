"""A graph drawn from top to bottom: one box per op, one row per depth, lines where tensors flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from export.graph.ir import Graph, Value
from export.graph.names import speaking_names
from export.html.markup import Markup, element, joined, shown

__all__ = ["NodeBox", "drawn_graph", "placed"]

_WIDTH, _LINE, _PAD = 250.0, 15.0, 8.0
_GAP_X, _GAP_Y = 24.0, 26.0
#: Of a slot that only lets a line through.
_LANE = 16.0
#: Of a line of text in a box.
_LETTERS = 34
_TIMES = " \N{MULTIPLICATION SIGN} "


@dataclass(frozen=True)
class NodeBox:
    """One op, input or output: its lines of text and where it stands, in pixels."""

    key: str
    text: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


def placed(graph: Graph) -> tuple[dict[str, NodeBox], list[list[str]]]:
    """Boxes by key (``in 0``, ``op 0``, ``out 0``, ``lane ...``), and every line as the keys that it runs through."""
    texts = _texts(graph)
    parents = _parents(graph)
    depth: dict[str, int] = {}
    for key in texts:
        depth[key] = max((depth[parent] + 1 for parent in parents[key]), default=0)
    rows: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for key in texts:
        rows[depth[key]].append(key)
    routes = []
    for key, sources in parents.items():
        for source in sources:
            lanes = [f"lane {source} to {key} at {row}" for row in range(depth[source] + 1, depth[key])]
            for row, lane in enumerate(lanes, depth[source] + 1):
                rows[row].append(lane)
            routes.append([source, *lanes, key])
    return _boxes(rows, texts, routes), routes


def drawn_graph(graph: Graph) -> Markup:
    """The drawing as SVG of a fixed size, with a description of every op for those who do not see it."""
    boxes, routes = placed(graph)
    width = max(box.x + box.width for box in boxes.values()) + 1
    height = max(box.y + box.height for box in boxes.values()) + 1
    lines = [element("path", d=_route([boxes[key] for key in route]), class_="flow") for route in routes]
    drawn = [_drawn(box) for box in boxes.values() if box.text]
    spoken = "; ".join(", ".join(box.text) for box in boxes.values() if box.text)
    title = f"the network's {len(graph.nodes)} ops from input to output"
    svg = element(
        "svg", element("title", title), element("desc", spoken), joined(*lines), joined(*drawn),
        viewBox=f"0 0 {width:g} {height:g}", width=width, height=height, role="img", aria_label=title, class_="graph",
    )  # fmt: skip
    return element("div", svg, class_="scroll", role="region", tabindex="0", aria_label="graph")


def _texts(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Keys in an order in which everything follows what it reads."""
    texts = {f"in {i}": ("input", *_described(graph.values[name])) for i, name in enumerate(graph.inputs)}
    called = speaking_names(graph)
    for index, node in enumerate(graph.nodes):
        constants = [
            f"{role}: {_shape(graph.values[name])}"
            for role, name in node.input_roles().items()
            if graph.values[name].data is not None
        ]
        named = _fitting(called[node.output])
        texts[f"op {index}"] = (node.op.upper(), named, *constants, *_described(graph.values[node.output]))
    return texts | {f"out {i}": ("output", *_described(graph.values[n])[:1]) for i, n in enumerate(graph.outputs)}


def _fitting(name: str) -> str:
    """A tensor's name; of one too long for a box its end, which tells it from others."""
    return name if len(name) <= _LETTERS else "\N{HORIZONTAL ELLIPSIS}" + name[1 - _LETTERS :]


def _described(value: Value) -> tuple[str, ...]:
    q = value.qparams
    return (_shape(value),) if q is None else (_shape(value), f"scale {shown(q.scale[0], 5)}, zero {q.zero_point[0]}")


def _shape(value: Value) -> str:
    channels = "" if value.qparams is None or len(value.qparams.scale) < 2 else f", {len(value.qparams.scale)} scales"
    return f"{_TIMES.join(map(str, value.shape)) or 'scalar'} {value.dtype}{channels}"


def _parents(graph: Graph) -> dict[str, list[str]]:
    makers: dict[str, str] = {name: f"in {i}" for i, name in enumerate(graph.inputs)}
    makers |= {name: f"op {i}" for i, node in enumerate(graph.nodes) for name in node.outputs}

    def sources(names: tuple[str, ...]) -> list[str]:
        return list(dict.fromkeys(makers[name] for name in names if name in makers))

    parents: dict[str, list[str]] = {f"in {i}": [] for i in range(len(graph.inputs))}
    parents |= {f"op {i}": sources(node.inputs) for i, node in enumerate(graph.nodes)}
    return parents | {f"out {i}": sources((name,)) for i, name in enumerate(graph.outputs)}


def _boxes(rows: list[list[str]], texts: Mapping[str, tuple[str, ...]], routes: list[list[str]]) -> dict[str, NodeBox]:
    above: dict[str, list[str]] = {}
    for route in routes:
        for upper, lower in pairwise(route):
            above.setdefault(lower, []).append(upper)
    widths = {key: _WIDTH if key in texts else _LANE for row in rows for key in row}
    whole = max(sum(widths[key] + _GAP_X for key in row) - _GAP_X for row in rows)
    boxes: dict[str, NodeBox] = {}
    y = 1.0
    for row in rows:

        def middle(key: str) -> float:
            uppers = [boxes[upper] for upper in above.get(key, [])]
            return sum(box.x + box.width / 2 for box in uppers) / len(uppers) if uppers else 0.0

        # Each stands near those above it, so that fewer lines cross.
        ordered = sorted(row, key=middle)
        tallest = max(_PAD * 2 + _LINE * len(texts.get(key, ())) for key in row)
        x = 1 + (whole - sum(widths[key] + _GAP_X for key in row) + _GAP_X) / 2
        for key in ordered:
            text = texts.get(key, ())
            boxes[key] = NodeBox(key, text, x, y, widths[key], _PAD * 2 + _LINE * len(text) if text else tallest)
            x += widths[key] + _GAP_X
        y += tallest + _GAP_Y
    return boxes


def _route(boxes: list[NodeBox]) -> str:
    first = boxes[0]
    drawn = f"M{first.x + first.width / 2:.1f} {first.y + first.height:.1f}"
    end = first.y + first.height
    x = first.x + first.width / 2
    for box in boxes[1:]:
        to, half = box.x + box.width / 2, (box.y + end) / 2
        drawn += f"C{x:.1f} {half:.1f} {to:.1f} {half:.1f} {to:.1f} {box.y:.1f}"
        x, end = to, box.y + box.height
        if not box.text:
            drawn += f"V{end:.1f}"
    return drawn


def _drawn(box: NodeBox) -> Markup:
    lines = [
        element(
            "text", line, x=box.x + box.width / 2, y=box.y + _PAD + _LINE * (index + 0.75), text_anchor="middle",
            class_="op" if index == 0 else "detail",
        )
        for index, line in enumerate(box.text)
    ]  # fmt: skip
    kind = box.key.split(" ")[0]
    frame = element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=6, class_=f"box {kind}")
    return element("g", frame, *lines)
