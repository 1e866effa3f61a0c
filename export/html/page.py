"""The page: title, the sections that a run has something for, one style sheet; no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from export.html.cost_section import cost_section
from export.html.data_section import data_section
from export.html.facts import Facts
from export.html.interface_section import interface_section
from export.html.markup import Markup, element, joined
from export.html.network_sections import graph_section, memory_section, tensor_section
from export.html.prediction_sections import error_section, prediction_section
from export.html.style import STYLE
from export.html.summary_sections import layer_section, parity_section, stage_section, tiles, training_section
from export.html.verdict_section import provenance_section, verdict_banner, verdict_section

__all__ = ["document", "page"]

#: Anchor, heading, and what makes the section: nothing, if a run has nothing to say there.
_SECTIONS = (
    ("verdict", "Whether to ship", verdict_section),
    ("stages", "Float, post-training, trained quantized", stage_section),
    ("parity", "Who computes the same integers", parity_section),
    ("training", "Training", training_section),
    ("predictions", "Predictions", prediction_section),
    ("errors", "Errors", error_section),
    ("layers", "What each layer costs", layer_section),
    ("tensors", "What each tensor loses", tensor_section),
    ("interface", "What goes in and comes out", interface_section),
    ("cost", "What it costs on the device", cost_section),
    ("graph", "The graph", graph_section),
    ("memory", "Working memory", memory_section),
    ("data", "Data", data_section),
    ("provenance", "What this is of", provenance_section),
)


def page(facts: Facts) -> str:
    """A complete HTML document that is well-formed XML too. The same facts, the day among them, give the same text."""
    drawn = [(anchor, heading, section(facts)) for anchor, heading, section in _SECTIONS]
    title = f"{facts.name}: how good the quantized model is"
    return document(title, joined(verdict_banner(facts), tiles(facts)), drawn)


def document(title: str, top: Markup, sections: Sequence[tuple[str, str, Markup]]) -> str:
    """A complete HTML document.

    Args:
        title: of the page, and its heading.
        top: what stands before the sections.
        sections: anchor, heading and body of each; those without a body are left out.
    """
    sections = [(anchor, heading, body) for anchor, heading, body in sections if body]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Without it a browser asks for a picture.
        Markup('<link rel="icon" href="data:,"/>'),
        element("title", title),
        Markup(f"<style>{STYLE}</style>"),
    )
    links = element(
        "nav", *(element("a", text, href=f"#{anchor}") for anchor, text, _ in sections), aria_label="sections"
    )
    bodies = [
        element("section", element("h2", heading, id=anchor), body, aria_labelledby=anchor)
        for anchor, heading, body in sections
    ]
    main = element("main", element("h1", title), top, links, joined(*bodies))
    return f'<!DOCTYPE html>\n<html lang="en">{head}{element("body", main)}</html>\n'
