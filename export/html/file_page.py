"""The page of a model that others made: who computes the same integers, what goes in, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from export.faults.found import Finding
from export.figures.left_out import in_sentences
from export.html.cost_section import cost_section
from export.html.facts import Facts
from export.html.interface_section import interface_section
from export.html.markup import Markup, element, joined, shown
from export.html.network_sections import graph_section, memory_section
from export.html.page import document
from export.html.tables import table
from export.html.verdict_section import provenance_section
from export.parity.outputs import EngineParity, shown_share

__all__ = ["file_page"]


def file_page(facts: Facts, engines: Mapping[str, EngineParity], faults: Sequence[Finding] = ()) -> str:
    """A complete HTML document, of what is known without the network that a model was made from.

    Args:
        facts: of the model; its graph is the one that the C computes.
        engines: who computed the same integers.
        faults: what the board's TFLite Micro would compute otherwise of the file.
    """
    sections = (
        ("parity", "Who computes the same integers", _parity(engines, faults)),
        ("interface", "What goes in and comes out", interface_section(facts)),
        ("cost", "What it costs on the device", cost_section(facts)),
        ("graph", "The graph", graph_section(facts)),
        ("memory", "Working memory", memory_section(facts)),
        ("provenance", "What this is of", provenance_section(facts)),
    )
    left_out = [element("p", sentence) for sentence in in_sentences(facts.metrics.get("left_out", {}))]
    return document(f"{facts.name}: the model as plain C", joined(*left_out), sections)


def _parity(engines: Mapping[str, EngineParity], faults: Sequence[Finding]) -> Markup:
    rows = [
        [name, shown_share(engine.exact_share), shown(engine.inputs), shown(engine.outputs), engine.version]
        for name, engine in engines.items()
    ]
    kinds: tuple[Literal["text", "number"], ...] = ("text", "number", "number", "number", "text")
    header = ["computed by", "exact", "inputs", "outputs", "version"]
    said = (
        joined(
            element("p", "The board's TFLite Micro would compute the file otherwise; the C does not:"),
            element("ul", *(element("li", str(each)) for each in faults)),
        )
        if faults
        else Markup()
    )
    return joined(table("outputs against the integers of the file, all equal", header, rows, kinds), said)
