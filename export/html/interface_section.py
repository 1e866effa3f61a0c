"""What goes into the model and comes out of it: axes in the device's order, grids, and lines of C that fill them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from export.html.facts import Facts
from export.html.markup import Markup, element, joined, shown
from export.html.tables import table
from export.interface.tensor_code import moves, variable
from export.interface.tensor_layout import TensorLayout
from export.interface.tensor_meaning import conversion, meaning

__all__ = ["interface_section"]


def interface_section(facts: Facts) -> Markup:
    """A row for each input and output, and under the table how each is filled or read."""
    layouts = _layouts(facts, "tensors")
    if not layouts:
        return Markup()
    codes = _layouts(facts, "c_tensors")
    if not codes:
        return _section(facts, layouts, "inputs and outputs")
    plain = element("p", "The plain C takes and gives codes, not these numbers:")
    return joined(
        _section(facts, layouts, "inputs and outputs of the model file"),
        plain,
        _section(facts, codes, "inputs and outputs of the plain C"),
    )


def _layouts(facts: Facts, key: str) -> list[TensorLayout]:
    return [TensorLayout.from_json(entry) for entry in facts.metrics.get(key, ())]


def _section(facts: Facts, layouts: Sequence[TensorLayout], title: str) -> Markup:
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
        "order: the accuracy merely falls. "
        f"{facts.name}_quantization.h has the macros and functions of these lines."
        if any(layout.scale is not None for layout in layouts)
        else "The device's order, last index fastest; the batch is one sample. Nothing on the device can notice "
        f"another order. {_macros_in(facts)} has the macros.",
    )
    header = ["tensor", "array in C", "axes", "scale", "zero point"]
    lines = [_lines(facts.name, layout, layouts) for layout in layouts]
    return joined(said, table(title, header, rows, kinds), *lines)


def _macros_in(facts: Facts) -> str:
    """The header that a float model comes with: another has functions too where integers lie behind its ends."""
    return f"{facts.name}_{'model_data' if 'format' in facts.metrics else 'quantization'}.h"


def _lines(name: str, layout: TensorLayout, layouts: Sequence[TensorLayout]) -> Markup:
    real = "samples" if layout.side == "input" else "results"
    word = "from" if layout.side == "input" else "into"
    text = "\n".join(
        f"// {word} float {about}\n{line}"
        for about, line in moves(
            name, layout, variable(layout), real, conversion(name, layouts)(layout), meaning(layout)
        )
    )
    about = f"{layout.label} in C"
    return element("pre", element("code", text), class_="scroll", role="region", tabindex="0", aria_label=about)
