"""The quantized network itself: every tensor's loss, the graph, and where its tensors lie in memory."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from export.c.memory_plan import lower_bound, plan
from export.c.network import CNetwork, RowLoop, c_network, rows_that_do_not_help
from export.c.tensor_buffers import tensor_buffers
from export.figures.quantization_advice import SUSPECT
from export.graph.names import speaking_names
from export.html.charts import sparkline
from export.html.distributions import Distribution
from export.html.facts import Facts
from export.html.graph_drawing import drawn_graph
from export.html.markup import Markup, element, joined, shown
from export.html.memory_drawing import drawn_memory
from export.html.plan_drawing import contents_of, drawn_plans, spans_of
from export.html.tables import table

__all__ = ["graph_section", "memory_section", "tensor_section"]


def tensor_section(facts: Facts) -> Markup:
    """The figures of quantization_report.csv with the distributions beside them."""
    if not facts.errors or facts.graph is None:
        return Markup()
    names = {called: name for name, called in speaking_names(facts.graph).items()}
    rows: list[list[str | Markup]] = []
    for error in facts.errors:
        ratio = shown(error.rmse_over_scale, 3)
        flagged = element("b", ratio, class_="bad") if error.rmse_over_scale > SUSPECT else ratio
        drawn = facts.distributions.get(names.get(error.tensor_name, ""))
        said = element("b", error.finding, class_="bad") if error.finding else Markup("")
        # What a reader looks for comes first: a phone shows the first columns.
        rows.append([
            error.tensor_name, "" if drawn is None else _spark(drawn, error.tensor_name),
            _decibels(error.snr_db), flagged, f"{error.saturation:.2%}", said,
            shown(error.scale, 5), shown(error.zero_point), error.op_name,
        ])  # fmt: skip
    header = ["tensor", "values", "SNR", "rmse/scale", "saturated", "finding", "scale", "zero point", "op"]
    legend = element(
        "p",
        "Distributions: the line is float arithmetic, the area the dequantized codes, over the test set and the "
        "constants. rmse/scale is the error in steps of the grid that the op itself adds: 0.289 is rounding alone, "
        f"more than {SUSPECT} is flagged.",
    )
    advice = [
        element("li", element("b", f"{error.tensor_name}: {error.finding}"), f": {error.advice}")
        for error in facts.errors
        if error.finding
    ]
    todo = element("ul", *advice) if advice else element("p", "No tensor has a finding.")
    kinds: tuple[Literal["text", "number"], ...] = (
        "text", "text", "number", "number", "number", "text", "number", "number", "text",
    )  # fmt: skip
    return joined(legend, table("tensors", header, rows, kinds), element("h3", "Advice", id="advice"), todo)


def _decibels(ratio: float) -> str:
    if math.isfinite(ratio):
        return f"{shown(ratio, 3)} dB"
    return "no error" if ratio > 0 else "no signal"


def _spark(distribution: Distribution, name: str) -> Markup:
    about = f"{name}: {shown(distribution.low, 3)} to {shown(distribution.high, 3)}"
    return sparkline(distribution.float_counts, distribution.int8_counts, about)


def graph_section(facts: Facts) -> Markup:
    """Ops from top to bottom, with shapes, scales and zero points of what they make."""
    return Markup() if facts.graph is None else drawn_graph(facts.graph)


def memory_section(facts: Facts) -> Markup:
    """When which tensor lies where, and what any plan needs at least: plain C's own plan where that is written."""
    if facts.plain_c is not None:
        return _plan_of_c(facts.plain_c)
    if facts.graph is None:
        return Markup()
    buffers = tensor_buffers(facts.graph)
    placed = plan(buffers)
    about = (
        f"The network's tensors for one sample, inputs and outputs included, in {shown(placed.peak)} bytes; no plan "
        f"can do with less than {shown(lower_bound(buffers))}. What interpreter and kernels need beside them is not in "
        "it."
    )
    rows = [
        [
            buffer.name, shown(buffer.size), shown(placed.offsets[buffer.name]),
            f"{buffer.first}" if buffer.first == buffer.last else f"{buffer.first} to {buffer.last}",
        ]
        for buffer in buffers
    ]  # fmt: skip
    listed = table("the same in figures", ["tensor", "bytes", "address", "steps"], rows)
    return joined(element("p", about), drawn_memory(buffers, placed), listed)


def _plan_of_c(network: CNetwork) -> Markup:
    graph, placement = network.graph, network.placement
    sections = [(item.part.section.first, item.part.section.last) for item in network.run if isinstance(item, RowLoop)]
    plans = {f"plain C: {shown(network.plan.peak)} bytes": placement}
    kept = [network.survives(index) for index in range(len(graph.inputs))]
    about = (
        f"Plain C's working memory for one sample, {shown(network.plan.peak)} bytes, inputs, outputs and what kernels "
        f"need in it; its tensors can't do with less than {shown(network.bound)} in this order. A run "
        f"{'leaves' if all(kept) else 'overwrites'} its {'input' if len(kept) == 1 else 'inputs'}"
        f"{(' as it is' if len(kept) == 1 else ' as they are') if all(kept) else ''}."
    )
    if network.optimize == "ram":
        before = c_network(graph, network.cpu, "size")
        plans = {
            f"operator by operator: {shown(before.plan.peak)} bytes": before.placement,
            f"row by row: {shown(network.plan.peak)} bytes": placement,
        }
        about += (
            " Above what it would be operator by operator; below, operators in the shaded spans are computed row by "
            "row, so that tensors grow and shrink there."
            if sections
            else f" Computing row by row takes no less here: {rows_that_do_not_help(network.by_rows)}."
        )
        plans = plans if sections else {f"plain C: {shown(network.plan.peak)} bytes": placement}
    said, (begins, ends) = contents_of(graph, placement), spans_of(placement)
    rows = []
    for buffer in placement.lifetimes.buffers:
        first, last = int(begins[buffer.first]), int(np.ceil(ends[buffer.last])) - 1
        rows.append([
            said[buffer.name], shown(buffer.size), shown(network.plan.offsets[buffer.name]),
            f"{first}" if first == last else f"{first} to {last}", "" if buffer.held is None else "yes",
        ])  # fmt: skip
    listed = table("the same in figures", ["what", "bytes", "address", "operators", "row by row"], rows)
    return joined(element("p", about), drawn_plans(graph, plans, sections), listed)
