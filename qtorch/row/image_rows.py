"""Which rows of its inputs a row of an op's output is made of: what a network needs that is computed row by row.

An image is a tensor ``[1, H, W, ...]``, or, along axis 2, ``[1, 1, L, ...]``, where each step of the sequence is a row.
Every row of the output is then the op itself on the rows that are named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qtorch.row.shape_rule import Attrs, Shape

__all__ = ["ImageRows", "RowWindow", "RowsRule", "along", "padded_rows", "same_row"]


@dataclass(frozen=True)
class RowWindow:
    """The rows of an input that are read: row ``r`` of the output needs ``window`` of them from ``first(r)`` on.

    Attributes:
        window: how many, those between the first and the last that a dilation leaves out among them.
        stride: rows from the first of one window to the first of the next; 0 of an input that is read as a whole.
        padding: how many rows are missing above the first window; below the last one too, some may be.
    """

    window: int = 1
    stride: int = 1
    padding: int = 0

    def first(self, row: int) -> int:
        """Where the window of a row of the output begins; below 0 in the padding."""
        return row * self.stride - self.padding


#: Of each input that is computed at run time, by role.
ImageRows = Mapping[str, RowWindow]

#: (attrs, shapes by role with the outputs', axis of the rows) to what a row is made of, or ``None`` where the rows of
#: the outputs can't be computed one by one.
RowsRule = Callable[[Attrs, Mapping[str, Shape], int], ImageRows | None]


def same_row(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Of an op whose element depends on elements of the same row alone: on one number, one pixel, or part of it.

    Shapes broadcast: an input that has one row, or fewer axes, is read as a whole.
    """
    outputs = [shape for role, shape in shapes.items() if role.startswith("output")]
    rank = len(outputs[0])
    # The last axis is what vectors lie along, and no rows.
    if axis >= rank - 1 or any(len(shape) != rank or shape[axis] != outputs[0][axis] for shape in outputs):
        return None
    found: dict[str, RowWindow] = {}
    for role, shape in shapes.items():
        if role.startswith("output"):
            continue
        aligned = (1,) * (rank - len(shape)) + shape
        if len(aligned) != rank or aligned[axis] not in (1, outputs[0][axis]):
            return None
        found[role] = RowWindow() if aligned[axis] == outputs[0][axis] > 1 else RowWindow(stride=0)
    return found


def padded_rows(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Of an op that puts rows around an image: those inside hang on one row, those around on none."""
    before, _ = attrs["paddings"][axis]
    output = shapes["output"]
    inside = (*output[:axis], shapes["input"][axis], *output[axis + 1 :])
    found = same_row(attrs, {**shapes, "output": inside}, axis)
    return found and {**found, "input": RowWindow(padding=before)}


def along(attr: str) -> RowsRule:
    """:func:`same_row` of an op that puts together or takes apart along the axis that is its attribute."""

    def rule(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
        return None if attrs[attr] == axis else same_row(attrs, shapes, axis)

    return rule
