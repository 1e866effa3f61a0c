"""What the numbers of a model's inputs and outputs are: physical quantities, or the network's own values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from export.c_language.names import c_identifier
from export.c_language.text import double_literal, quoted
from export.interface.tensor_code import generic_code, variable
from export.interface.tensor_layout import TensorLayout
from qtorch.features import Feature, Interface

__all__ = [
    "conversion",
    "distinct",
    "element_names",
    "meaning",
    "output_names",
    "whole_function",
    "with_meaning",
]

#: Quantities that a sentence lists.
_MOST_LISTED = 4


def with_meaning(
    layouts: Sequence[TensorLayout],
    interface: Interface,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> tuple[TensorLayout, ...]:
    """The layouts with what is known of them.

    Args:
        layouts: of all inputs and outputs.
        interface: its quantities lie in the first tensor of either side. Of several tensors each that has none gets one
            by its name, a pure number, so that each has functions of its own. Indices have none.
        inputs: names of several inputs, in order.
        outputs: likewise; none where they have no names.
    """
    names, features = {"input": inputs, "output": outputs}, {"input": interface.inputs, "output": interface.outputs}
    meant = []
    for layout in layouts:
        named = names[layout.side]
        name = named[layout.index] if len(named) == layout.count > 1 else layout.name
        quantities = layout.quantities or (() if layout.index else tuple(features[layout.side]))
        if layout.of_indices:
            quantities = ()
        elif not quantities and layout.count > 1:
            quantities = (Feature(name or f"{layout.side} {layout.index} value"),)
        meant.append(replace(layout, name=name, quantities=quantities, axes=_axes(layout, interface)))
    return tuple(meant)


def _axes(layout: TensorLayout, interface: Interface) -> tuple[str, ...]:
    """Names of its axes: of recordings that have a rate the first of two is time, if no op gave it a name."""
    timed = layout.side == "input" and any(key == "rate" for key, _ in interface.recorded)
    if not timed or len(layout.axes) != 2 or "time" in layout.axes:
        return layout.axes
    return tuple("time" if axis == "axis 1" else axis for axis in layout.axes)


def output_names(returned: object) -> tuple[str, ...]:
    """What a network's outputs are called in the dict that it returns; empty where it returns another thing.

    Args:
        returned: it, with anything in the place of a tensor; ``None`` is no output.
    """
    return tuple(_paths(returned, ())) if isinstance(returned, Mapping) else ()


def _paths(whole: object, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(whole, Mapping):
        for key, each in whole.items():
            yield from _paths(each, (*path, str(key)))
    elif isinstance(whole, list | tuple):
        for index, each in enumerate(whole):
            yield from _paths(each, (*path, str(index)))
    elif whole is not None:
        yield ".".join(path)


def distinct(names: Iterable[str], taken: Collection[str] = ()) -> tuple[str, ...]:
    """Identifiers in order, later ones numbered from 2 where an earlier one, or one of ``taken``, is the same."""
    used: list[str] = []
    for name in names:
        identifier = stem = c_identifier(name)
        number = 2
        while identifier in used or identifier in taken:
            identifier, number = f"{stem}_{number}", number + 1
        used.append(identifier)
    return tuple(used)


def element_names(layouts: Sequence[TensorLayout]) -> dict[tuple[str, int], tuple[str, ...]]:
    """By side and index of a tensor: identifiers of its quantities, each once on a side."""
    names_of: dict[tuple[str, int], tuple[str, ...]] = {}
    for side in ("input", "output"):
        mine = [layout for layout in layouts if layout.side == side]
        wholes = {f"{side}_{layout.index}" for layout in mine} if len(mine) > 1 else set()
        names = [[feature.name for feature in layout.quantities] for layout in mine]
        identifiers = iter(distinct((name for each in names for name in each), wholes))
        names_of |= {(side, layout.index): tuple(next(identifiers) for _ in each)
                  for layout, each in zip(mine, names, strict=True)}  # fmt: skip
    return names_of


def whole_function(name: str, side: str, index: int, count: int) -> str:
    """The C function that converts a whole tensor."""
    verb = {"input": "quantize", "output": "dequantize"}[side]
    return f"{name}_{verb}_{side}" + (f"_{index}" if count > 1 else "")


def conversion(name: str, layouts: Sequence[TensorLayout]) -> Callable[[TensorLayout], Callable[[str], str] | str]:
    """How each tensor's elements become codes and back, in the physical values of its quantities.

    Where :func:`meaning` says that values are the network's own, in those.

    Args:
        name: the model's, an identifier.
        layouts: of all inputs and outputs, those that are converted among them.

    Returns:
        Of a layout what :func:`export.interface.tensor_code.described` takes.
    """
    names = element_names(layouts)

    def of(layout: TensorLayout) -> Callable[[str], str] | str:
        quantities = layout.quantities
        plain = generic_code(name, layout)
        alone = len(quantities) == 1
        each = len(quantities) == layout.elements and len(layout.shape) == 1
        if layout.scale is not None and alone:
            verb = {"input": "quantize", "output": "dequantize"}[layout.side]
            (feature,) = names[layout.side, layout.index]
            return lambda element: f"{name}_{verb}_{feature}({element})"
        if layout.scale is not None and each:
            array, function = variable(layout), whole_function(name, layout.side, layout.index, layout.count)
            return f"{function}({f'samples, {array}' if layout.side == 'input' else f'{array}, results'});"
        scalings = {(feature.offset, feature.span) for feature in quantities}
        if len(scalings) == 1:
            scaled = _scaled(layout.side, quantities[0])
            return (lambda element: plain(scaled(element))) if layout.side == "input" else (
                lambda element: scaled(plain(element)))  # fmt: skip
        if layout.scale is None and each and scalings:
            array = variable(layout)
            ends = (array, "samples") if layout.side == "input" else ("results", array)
            return " ".join(
                f"{ends[0]}[{i}] = {_scaled(layout.side, feature)(f'{ends[1]}[{i}]')};"
                for i, feature in enumerate(quantities)
            )
        return plain

    return of


def _scaled(side: str, feature: Feature) -> Callable[[str], str]:
    """Physical value to the network's, or back, with the constants as numbers."""
    offset, span = double_literal(feature.offset), double_literal(feature.span)
    if (feature.offset, feature.span) == (0, 1):
        return lambda element: element
    if side == "output":
        return lambda element: f"(float)((double)({element}) * {span} + {offset})"
    return lambda element: f"(float)(((double){element} - {offset}) / {span})"


def meaning(layout: TensorLayout) -> str:
    """What the real numbers are that the lines of code take or give, in words."""
    own = "values as the network takes them" if layout.side == "input" else "values as the network gives them"
    if all((feature.offset, feature.span, feature.unit) == (0, 1, "") for feature in layout.quantities):
        return own
    alike = len({(feature.offset, feature.span) for feature in layout.quantities}) == 1
    if not alike and (len(layout.quantities) != layout.elements or len(layout.shape) > 1):
        return f"{own}: (physical value - offset) / span"
    said = [
        f"{quoted(feature.name)} {f'in {quoted(feature.unit)}' if feature.unit else 'without a unit'}"
        for feature in layout.quantities[:_MOST_LISTED]
    ]
    more = len(layout.quantities) - len(said)
    return f"physical values, {', '.join(said)}" + (f" and {more} more" if more else "")
