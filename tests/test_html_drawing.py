"""What report.html is drawn with: charts, statistics, the graph, the memory plan, colours that can be told apart."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.c.memory_plan import Buffer, plan
from export.c.tensor_buffers import tensor_buffers
from export.graph.build import integer_graph
from export.html.charts import (
    Frame,
    bar,
    bars,
    decades,
    histogram,
    lines,
    points_path,
    scatter,
    sparkline,
    ticks,
)
from export.html.distributions import distributions
from export.html.facts import Predictions
from export.html.graph_drawing import placed
from export.html.markup import shown
from export.html.memory_drawing import drawn_memory
from export.html.prediction_sections import confusion, errors_of
from export.html.statistics import described, ranks, spearman
from export.html.style import STYLE


def test_charts_hit_known_coordinates() -> None:
    frame = Frame((0, 10), (0, 1), width=120, height=110, left=10, right=10, top=5, bottom=5)
    assert [frame.px(x) for x in (0, 5, 10)] == [10, 60, 110]
    assert [frame.py(y) for y in (0, 0.5, 1)] == [105, 55, 5]
    assert 'd="M10 105h0M110 5h0"' in points_path(frame, np.array([0, 10]), np.array([0, 1]), "float")
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-30, 65) == [-20, 0, 20, 40, 60]
    assert ticks(3, 3) == [2.6, 2.8, 3.0, 3.2, 3.4]
    # Margins 52, 12, 10 and 36 of 360 x 240: the ends of the diagonal.
    drawn = scatter(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "int8", "t", "x", "y", (0.0, 1.0))
    assert 'd="M52 204h0M348 10h0"' in drawn
    assert 'd="M52 204 348 10"' in drawn
    # On a linear axis the least value lies 5 % above the bottom: 194 * (1 - 0.05 / 1.05) above 10.
    assert 'd="M52 194.8 348 10"' in lines({"float": [(0, 1), (1, 2)]}, "t", "x", "y")
    assert 'd="M52 194.8 200 102.4 348 10"' in lines({"float": [(0, 1), (1, 10), (2, 100)]}, "t", "x", "y")


def test_few_decades_have_round_numbers() -> None:
    assert [round(10**tick, 6) for tick in decades(-1.1, 0.3)] == [0.1, 0.2, 0.5, 1.0]
    assert decades(-4.2, 2.2) == [-4, -2, 0, 2]
    assert decades(0, 3) == [0, 1, 2, 3]


def test_bars_begin_at_zero() -> None:
    # 294 pixels from 2 on.
    drawn = ElementTree.fromstring(bars([("a", "float", 1.0), ("b", "int8", 0.5)], "t"))
    assert [(r.get("x"), r.get("width")) for r in drawn.iter("rect")] == [("2", "294"), ("2", "147")]
    assert drawn.get("aria-label") == "t: a 1, b 0.5"
    below = ElementTree.fromstring(bars([("a", "float", 1.0), ("b", "int8", -1.0)], "t"))
    assert [(r.get("x"), r.get("width")) for r in below.iter("rect")] == [("149", "147"), ("2", "147")]
    _, filled = ElementTree.fromstring(bar(0.25, "float", "t")).iter("rect")
    assert filled.get("width") == "24"


def colours(scheme: str) -> dict[str, tuple[float, ...]]:
    """The style's variables in one scheme, as red, green and blue from 0 to 1."""
    found = {}
    for block in re.findall(r":root\{([^}]*)\}", STYLE)[: 1 if scheme == "light" else 2]:
        for name, digits in re.findall(r"--([a-z0-9]+):#([0-9a-f]+)", block):
            whole = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
            found[name] = tuple(int(whole[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return found


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """As WCAG 2 has it, 1 to 21."""

    def luminance(colour: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def mixed(one: tuple[float, ...], other: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(share * a + (1 - share) * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_that_of_wcag_aa(scheme: str) -> None:
    found = colours(scheme)
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    for text in ("text", "soft", "float", "good", "bad"):
        for ground in ("page", "panel"):
            assert contrast(found[text], found[ground]) >= 4.5, (text, ground)
    for ground in ("m0", "m1", "m2", "m3"):
        assert contrast(found["text"], found[ground]) >= 4.5, ground
    for tint in ("float", "bad"):
        shares = {int(n) / 100 for n in re.findall(r"var\(--tint\) (\d+)%", STYLE)}
        assert max(shares) == 0.32
        for share in shares:
            assert contrast(found["text"], mixed(found[tint], found["page"], share)) >= 4.5, (tint, share)
    # Lines and points are graphics: 3 to 1 against what they lie on.
    opacities = [
        float(re.findall(rf"\.{name}\{{[^}}]*opacity:([.\d]+)", STYLE)[0]) for name in ("points", "area", "bar")
    ]
    for line in ("float", "int8", "good", "bad", "soft"):
        assert contrast(found[line], found["page"]) >= 3, line
        for opacity in opacities:
            assert line == "soft" or contrast(mixed(found[line], found["page"], opacity), found["page"]) >= 3, line


def test_no_meaning_hangs_on_a_hue() -> None:
    """Of what is told apart by green and red one is dashed, or framed, or says so in words."""
    assert re.search(r"\.step\.anomaly\{[^}]*stroke-dasharray", STYLE)
    assert re.search(r"\.matrix \.wrong\{[^}]*outline", STYLE)


def test_a_histogram_counts() -> None:
    # Three values in the lower half, one in the upper: heights 194 and a third of it.
    drawn = histogram({"float": np.array([0.0, 0.1, 0.2, 1.0])}, "t", "x", bins=2)
    assert 'd="M52 204 52 10 200 10 200 139.3 348 139.3 348 204"' in drawn
    spark = sparkline((1, 2), (4, 0), "t")
    assert 'd="M0 24H0V13H48V2H96V24" class="step float"' in spark
    assert 'd="M0 24H0V2H48V24H96V24" class="area int8"' in spark


def test_statistics_of_known_columns() -> None:
    assert described(np.array([1.0, 2, 3, 4])) == (4, 2.5, pytest.approx(1.2909944), 1, 1.75, 2.5, 3.25, 4)
    assert ranks(np.array([10, 30, 20, 20])).tolist() == [1, 4, 2.5, 2.5]
    x = np.arange(9.0)
    found = spearman(np.stack([x, np.exp(x), -(x**3), np.ones(9)], axis=1))
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(-1)
    assert np.isnan(found[0, 3])


def test_confusion_and_margins() -> None:
    output = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    target = np.array([0, 1, 1])
    assert confusion(target, output).tolist() == [[1, 0], [1, 1]]
    found = Predictions(output, target, output, output)
    assert errors_of("classification", found, output)[1] == pytest.approx([0.8, 0.4, -0.2])
    assert errors_of("regression", replace(found, target=output - 1), output)[1] == pytest.approx([1.0] * 6)


def test_the_graph_is_drawn_from_top_to_bottom(network) -> None:
    graph = integer_graph(network)
    boxes, routes = placed(graph)
    assert [boxes[key].text[0] for key in ("in 0", "op 0", "out 0")] == ["input", "FULLY_CONNECTED", "output"]
    for route in routes:
        for upper, lower in pairwise(route):
            assert boxes[upper].y + boxes[upper].height < boxes[lower].y
    q = graph.values[graph.nodes[0].output].qparams
    assert f"scale {shown(q.scale[0], 5)}, zero {q.zero_point[0]}" in boxes["op 0"].text
    assert "weight: 6 \N{MULTIPLICATION SIGN} 3 int8, 6 scales" in boxes["op 0"].text


def test_a_line_past_an_op_has_its_own_lane() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.b(torch.relu(self.a(x)))

    torch.manual_seed(0)
    network = qtorch.prepare(Skip(), torch.zeros(1, 4))
    qtorch.calibrate(network, [torch.rand(50, 4)])
    boxes, routes = placed(integer_graph(network))
    (past,) = [route for route in routes if len(route) == 4]
    for lane in past[1:-1]:
        beside = [b for b in boxes.values() if b.y == boxes[lane].y and b.text]
        assert beside
        for box in beside:
            assert boxes[lane].x >= box.x + box.width or boxes[lane].x + boxes[lane].width <= box.x


def test_distributions_count_every_value(network) -> None:
    graph = integer_graph(network)
    x = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    found = distributions(network, graph, torch.from_numpy(x))
    assert set(found) == {name for name, value in graph.values.items() if value.qparams is not None}
    source = found[graph.inputs[0]]
    assert sum(source.float_counts) == sum(source.int8_counts) == 150
    assert source.float_counts == tuple(np.histogram(x, np.linspace(source.low, source.high, 25))[0].tolist())
    for name, each in found.items():
        # Rounding moves a value by half a step, and a bin is a step at least.
        centres = [np.average(np.arange(24), weights=counts) for counts in (each.float_counts, each.int8_counts)]
        assert abs(centres[0] - centres[1]) <= 1, name
    last = found[graph.outputs[0]]
    qtorch.set_mode(network, qtorch.Mode.FLOAT)
    output = network(torch.from_numpy(x)).detach().numpy()
    assert last.float_counts == tuple(np.histogram(output, np.linspace(last.low, last.high, 25))[0].tolist())
    weight = graph.values[graph.nodes[0].inputs[1]]
    each, scales = found[graph.nodes[0].inputs[1]], np.array(weight.qparams.scale)[:, None]
    edges = np.linspace(each.low, each.high, 25)
    assert each.int8_counts == tuple(np.histogram(weight.data * scales, edges)[0].tolist())


def test_memory_is_drawn_where_the_plan_lies(network) -> None:
    graph = integer_graph(network)
    buffers = tensor_buffers(graph)
    assert [(b.size, b.first, b.last) for b in buffers] == [(3, 0, 0), (6, 0, 1), (4, 1, 2), (1, 2, 2)]
    two = (Buffer("a", 60, 0, 1), Buffer("b", 40, 1, 1))
    drawn = ElementTree.fromstring(drawn_memory(two))
    a, b = drawn.iter("rect")
    # 149 pixels per step from 52 on, 218 pixels for 100 bytes from 226 upwards.
    assert [a.get(k) for k in ("x", "y", "width", "height")] == ["53", "95.2", "296", "130.8"]
    assert [b.get(k) for k in ("x", "y", "width", "height")] == ["202", "8", "147", "87.2"]
    assert f"in {plan(two).peak} bytes" in "".join(drawn.itertext())
