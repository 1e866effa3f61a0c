"""Plain C's memory plan as the report shows it: drawn where the plan lies, rows marked, both ways on one scale."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from torch import Tensor, nn

from export.c.network import CNetwork, RowLoop, c_network
from export.graph.ir import Graph
from export.html.facts import Facts
from export.html.network_sections import memory_section
from export.html.plan_drawing import contents_of, drawn_plans, spans_of
from tests.test_profile import graph_of

pytestmark = pytest.mark.usefixtures("one_thread")


class Chain(nn.Module):
    """So many convolutions, the first of which makes the image smaller."""

    def __init__(self, convolutions: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(8, 8, 3, 1, 1) for _ in range(convolutions - 1)]
        self.layers = nn.Sequential(nn.Conv2d(2, 8, 3, 2, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(Chain(3), 2, 24, 24)


def sections(network: CNetwork) -> list[tuple[int, int]]:
    return [(i.part.section.first, i.part.section.last) for i in network.run if isinstance(i, RowLoop)]


def corners(shape: ElementTree.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, point.split(","))) for point in shape.attrib["points"].split()]  # type: ignore[misc]


def test_every_step_has_its_place_among_the_operators(graph: Graph) -> None:
    for network in (c_network(graph), c_network(graph, optimize="ram")):
        begins, ends = spans_of(network.placement)
        assert begins[0] == 0
        assert ends[-1] == len(graph.nodes) + 1
        assert begins[1:] == pytest.approx(ends[:-1])
        starts = network.placement.lifetimes.starts
        for first, last in sections(network):
            assert (begins[starts[first]], ends[network.placement.lifetimes.ends[last]]) == (first, last + 1)


def test_tensors_are_drawn_where_the_plan_has_them(graph: Graph) -> None:
    network = c_network(graph, optimize="ram")
    assert sections(network)
    drawn = ElementTree.fromstring(drawn_plans(graph, {"plan": network.placement}, sections(network)))
    shapes = {"".join(shape.itertext()).split(":")[0]: corners(shape) for shape in drawn.iter("polygon")}
    (axis,) = (float(line.attrib["y1"]) for line in drawn.iter("line") if line.attrib["class"] == "axis")
    (guide,) = (float(line.attrib["y1"]) for line in drawn.iter("line") if line.attrib["class"] == "guide")
    scale = (axis - guide) / network.plan.peak
    said = contents_of(graph, network.placement)
    assert len(set(said.values())) == len(said)
    for buffer in network.placement.lifetimes.buffers:
        held = buffer.bytes_held(buffer.first, buffer.last)
        held = held[held[:, 0] < held[:, 1]] + network.plan.offsets[buffer.name]
        ys = [y for _, y in shapes[said[buffer.name]]]
        assert max(ys) == pytest.approx(axis - held.min() * scale, abs=0.1)
        assert min(ys) == pytest.approx(axis - held.max() * scale, abs=0.1)
    marked = [rectangle for rectangle in drawn.iter("rect") if rectangle.attrib["class"] == "rows"]
    assert len(marked) == len(sections(network))
    # What is given up row by row becomes less from left to right.
    source = shapes[said[graph.inputs[0]]]
    assert len(source) > 8
    left, right = (pick(x for x, _ in source) for pick in (min, max))
    heights = [max(ys) - min(ys) for at in (left, right) if (ys := [y for x, y in source if x == at])]
    assert heights[0] > 2 * heights[1]


def test_the_section_shows_both_ways_where_rows_are_taken(graph: Graph) -> None:
    size, ram = (c_network(graph, optimize=optimize) for optimize in ("size", "ram"))  # type: ignore[arg-type]

    def section(network: CNetwork | None) -> str:
        return memory_section(Facts("net", "other", {}, {}, graph=graph, plain_c=network))

    def captions(page: str) -> list[str]:
        root = ElementTree.fromstring(f"<div>{page}</div>")
        return [each.text or "" for each in root.iter("text") if each.get("class") == "name"]

    assert captions(section(size)) == [f"plain C: {size.plan.peak:,} bytes"]
    assert captions(section(ram)) == [
        f"operator by operator: {size.plan.peak:,} bytes", f"row by row: {ram.plan.peak:,} bytes",
    ]  # fmt: skip
    assert "overwrites its input" in section(ram)
    assert captions(section(None)) == []
    assert "interpreter" in section(None)


def test_sixty_tensors_can_be_read() -> None:
    graph = graph_of(Chain(60), 2, 16, 16)
    drawn = ElementTree.fromstring(drawn_plans(graph, {"plan": c_network(graph).placement}, ()))
    shapes = list(drawn.iter("polygon"))
    assert len(shapes) >= 60
    widths = [max(x for x, _ in each) - min(x for x, _ in each) for each in map(corners, shapes)]
    assert min(widths) >= 15
    labels = sorted(
        float(text.attrib["x"]) for text in drawn.iter("text") if (text.text or "").isdigit() and text.text != "0"
    )
    assert min(b - a for a, b in pairwise(labels)) >= 24
