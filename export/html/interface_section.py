"""What goes into the model and comes out of it: axes in the device's order, grids, and lines of C that fill them."""

from __future__ import annotations

from typing import Literal

from export.html.facts import Facts
from export.html.markup import Markup, element, joined, shown
from export.html.tables import table
from export.tensor_code import generic_code, moves, variable
from export.tensor_layout import TensorLayout

__all__ = ["interface_section"]


def interface_section(facts: Facts) -> Markup:
    """A row for each input and output, and under the table how each is filled or read."""
    layouts = [TensorLayout.from_json(entry) for entry in facts.metrics.get("tensors", ())]
    if not layouts:
        return Markup()
    rows: list[list[str | Markup]] = [
        [
            layout.label,
            element("code", layout.declaration(variable(layout))),
            layout.order_in_words,
            "" if layout.scale is None else shown(layout.scale, 9),
            "" if layout.zero_point is None else str(layout.zero_point),
        ]
        for layout in layouts
    ]
    kinds: tuple[Literal["text", "number"], ...] = ("text", "text", "text", "number", "number")
    said = element(
        "p",
        "The device's order, last index fastest; the batch is one sample. Nothing on the device can notice another "
        "order: the accuracy merely falls. samples and results are what the network itself takes and gives; "
        f"{facts.name}_quantization.h has the macros, and functions for physical values."
        if any(layout.scale is not None for layout in layouts)
        else "The device's order, last index fastest; the batch is one sample. Nothing on the device can notice "
        f"another order. {facts.name}_model_data.h has the macros.",
    )
    header = ["tensor", "array in C", "axes", "scale", "zero point"]
    lines = [_lines(facts.name, layout) for layout in layouts]
    return joined(said, table("inputs and outputs", header, rows, kinds), *lines)


def _lines(name: str, layout: TensorLayout) -> Markup:
    real = "samples" if layout.side == "input" else "results"
    word = "from" if layout.side == "input" else "into"
    text = "\n".join(
        f"// {word} float {about}\n{line}"
        for about, line in moves(name, layout, variable(layout), real, generic_code(name, layout))
    )
    about = f"{layout.label} in C"
    return element("pre", element("code", text), class_="scroll", role="region", tabindex="0", aria_label=about)
