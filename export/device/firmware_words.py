"""What a project's pages say of a model's inputs and outputs: a section of its README, and comments of its sketch."""

from __future__ import annotations

from collections.abc import Sequence

from export.boards import Arduino, Board
from export.interface.tensor_code import moves, summary, variable
from export.interface.tensor_layout import TensorLayout
from export.interface.tensor_meaning import conversion, meaning

__all__ = ["beginnings", "board_package", "comments", "readme_section"]


def board_package(board: Board) -> str:
    """A sentence: what Arduino's IDE needs to know the board."""
    package = board.ecosystem.package if isinstance(board.ecosystem, Arduino) else ""
    named = f"*{package}*" if package else "that knows your board"
    return f"Install the board package {named} with the Boards Manager (*Tools > Board > Boards Manager*)."


def comments(name: str, layouts: Sequence[TensorLayout]) -> str:
    """A ``//`` line for each tensor, without codes: what an application hands in and gets; no line feed at the end."""
    if not layouts:
        return f"// The order of the axes stands in {name}_quantization.h."
    return "\n".join(
        f"// {layout.title}, [{']['.join(map(str, layout.shape))}], last index fastest: {layout.order_in_words}."
        for layout in layouts
    )


def beginnings(name: str, layouts: Sequence[TensorLayout], side: str, array: str) -> tuple[str, ...]:
    """Where each input or output begins in an array of all of them, one after another as in a row of test vectors.

    Example:
        >>> beginnings("m", (), "output", "out")
        ('out',)
    """
    count = sum(layout.side == side for layout in layouts)
    if count < 2:
        return (array,)
    return tuple(f"{array} + {name.upper()}_TEST_{side.upper()}_{index}_BEGIN" for index in range(count))


def readme_section(name: str, layouts: Sequence[TensorLayout], physical: bool, figures: Sequence[str] = ()) -> str:
    """What the model takes; axes, shape, scale and zero point of each tensor, and lines of code for that order.

    Args:
        name: the model's, an identifier.
        layouts: of its inputs and outputs.
        physical: whether the application takes real numbers, and quantizes them itself; else codes.
        figures: a sentence each.
    """
    listed = [f"- {each}" for each in figures if each]
    takes = ["## What it takes", "\n".join(listed)] if listed else []
    if not layouts:
        return "\n\n".join([*takes, f"The order of the axes stands in `{name}_quantization.h`."])
    parts = [
        *takes,
        "## What goes in and comes out",
        "The order of the axes is the device's, last index fastest. The self-test can't notice another one: "
        f"fill the input by these lines (`{name}_quantization.h` has their macros).",
    ]
    converts = conversion(name, layouts)
    arrays = {
        "input": beginnings(name, layouts, "input", "physical"),
        "output": beginnings(name, layouts, "output", "results"),
    }
    for layout in layouts:
        parts.append(f"{layout.title}, `{summary(layout)}`:")
        real = "samples" if layout.side == "input" else "values" if physical else "results"
        flat = variable(layout)
        if physical:
            flat = arrays[layout.side][layout.index]
            flat = f"({flat})" if "+" in flat else flat
        convert = (lambda element: element) if physical else converts(layout)
        lines = [
            each
            for about, line in moves(name, layout, flat, real, convert, meaning(layout))
            for each in (f"    // {'from' if layout.side == 'input' else 'into'} float {about}", f"    {line}")
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
