"""What a firmware author copies: lines of C that fill an input and read an output, whatever the order of their axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from export.interface.tensor_layout import TensorLayout, brackets

__all__ = [
    "SUFFIX",
    "described",
    "generic_code",
    "index_macro",
    "interpreter_arrays",
    "moves",
    "summary",
    "tensor_macro",
    "variable",
]

#: What an axis is called in a loop; ``axis 2`` is ``a2``.
_LETTERS = {"height": "h", "width": "w", "channels": "c", "time": "t", "features": "i", "value": "i"}

#: What tells the shared function of a type from that of int8.
SUFFIX = {"int8": "", "int16": "16", "int32": "32"}


def tensor_macro(name: str, side: str, index: int, count: int) -> str:
    """``MODEL_INPUT``, or ``MODEL_INPUT_0`` where there are several."""
    macro = f"{name.upper()}_{side.upper()}"
    return macro if count == 1 else f"{macro}_{index}"


def variable(layout: TensorLayout) -> str:
    """The array of codes: ``in``, or ``in_0`` where there are several, as the plain C names its arguments."""
    stem = {"input": "in", "output": "out"}[layout.side]
    return stem if layout.count == 1 else f"{stem}_{layout.index}"


def index_macro(name: str, layout: TensorLayout) -> str:
    """``#define MODEL_INPUT_INDEX(t, c) ((t) * 3 + (c))``; empty of a tensor with one axis, which needs none.

    Args:
        name: the model's, an identifier.
        layout: of the tensor.
    """
    if len(layout.shape) == 1:
        return ""
    letters = _letters(layout)
    text = f"({letters[0]})"
    for position, (letter, size) in enumerate(zip(letters[1:], layout.shape[1:], strict=True)):
        text = f"{f'({text})' if position else text} * {size} + ({letter})"
    return f"#define {_macro(name, layout)}_INDEX({', '.join(letters)}) ({text})"


def moves(
    name: str, layout: TensorLayout, array: str, real: str, convert: Callable[[str], str] | str, are: str = ""
) -> tuple[tuple[str, str], ...]:
    """Lines of C between an array of codes and one of real numbers, each with a sentence on the latter's order.

    The first takes the real numbers as a recording has them, channels last; the second, where it differs, in the order
    of PyTorch's tensor.

    Args:
        name: the model's, an identifier.
        layout: of the tensor.
        array: variable of the device's array, flat.
        real: variable of the real numbers, which have their axes.
        convert: an element's expression to that of the other array; or a statement that moves a whole tensor of one
            axis.
        are: what the real numbers are, in words; empty if that is said elsewhere.
    """
    are = are and f", {are}"
    if isinstance(convert, str):
        return ((f"{real}{brackets(layout.shape)}{are}: {layout.axes[0]}", convert),)
    orders = [(layout.recorded_order, "as they are recorded"), (layout.network_order, f"in {layout.whose} order")]
    letters = _letters(layout)
    index = letters[0] if len(letters) == 1 else f"{_macro(name, layout)}_INDEX({', '.join(letters)})"
    place = f"{array}[{index}]"
    by_order: dict[tuple[int, ...], tuple[str, str]] = {}
    for order, which in orders:
        if order in by_order:
            continue
        element = f"{real}{''.join(f'[{letters[i]}]' for i in order)}"
        loops = " ".join(f"for (int {letters[i]} = 0; {letters[i]} < {layout.shape[i]}; ++{letters[i]})" for i in order)
        done = f"{place} = {convert(element)};" if layout.side == "input" else f"{element} = {convert(place)};"
        declared = f"{real}{brackets(tuple(layout.shape[i] for i in order))}"
        if len(order) == 1:
            which = ""
        elif layout.recorded_order == layout.network_order:
            which = f", as they are recorded and in {layout.whose} order"
        else:
            which = f", {which}"
        axes = ", ".join(layout.axes[i] for i in order)
        by_order[order] = (f"{declared}{are}{which}: {axes}", f"{loops} {done}")
    return tuple(by_order.values())


def generic_code(name: str, layout: TensorLayout) -> Callable[[str], str]:
    """From an element's expression to the other side's, by the macros and functions of ``<name>_quantization.h``."""
    macro = _macro(name, layout)
    if layout.scale is None:
        return lambda element: element
    if layout.side == "input":
        function = f"{name}_code{SUFFIX[layout.dtype]}_of"
        return lambda element: f"{function}({element} / {macro}_SCALE, {macro}_ZERO_POINT)"
    return lambda element: f"(float)((double){macro}_SCALE * ({element} - {macro}_ZERO_POINT))"


def summary(layout: TensorLayout) -> str:
    """One sentence without a full stop: the array in C, its axes, scale and zero point."""
    grid = "" if layout.scale is None else f"; scale {layout.scale:.9g}, zero point {layout.zero_point}"
    grid = "; indices as they are" if layout.of_indices else grid
    note = layout.note and f"; {layout.note}"
    return f"{layout.declaration(variable(layout))}: {layout.order_in_words}{grid}{note}"


def interpreter_arrays(layouts: Sequence[TensorLayout]) -> str:
    """What TFLite Micro calls the arrays: ``interpreter.input(0)->data, ... and interpreter.output(0)->data``."""
    *most, last = [f"interpreter.{layout.side}({layout.index})->data" for layout in layouts]
    return f"{', '.join(most)} and {last}" if most else last


def described(
    name: str,
    layouts: Sequence[TensorLayout],
    converts: Callable[[TensorLayout], Callable[[str], str] | str],
    are: Callable[[TensorLayout], str],
) -> str:
    """Comments and macros of a header: for each tensor its order, and the lines that fill or read it.

    Args:
        name: the model's, an identifier.
        layouts: of the tensors.
        converts: see :func:`moves`, like the next.
        are: as above.
    """
    blocks = []
    for layout in layouts:
        convert = converts(layout)
        lines = [f"// {layout.title}: {summary(layout)}."]
        macro = index_macro(name, layout)
        if macro:
            lines.append(macro)
        verb, real = ("Filled from", "samples") if layout.side == "input" else ("Read into", "results")
        for about, line in moves(name, layout, variable(layout), real, convert, are(layout)):
            kind = f"{layout.dtype}_t" if layout.of_indices else "float"
            lines += [f"// {verb} {kind} {about}", f"//   {line}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _macro(name: str, layout: TensorLayout) -> str:
    return tensor_macro(name, layout.side, layout.index, layout.count)


def _letters(layout: TensorLayout) -> tuple[str, ...]:
    return tuple(_LETTERS.get(axis) or axis.replace("axis ", "a") for axis in layout.axes)
