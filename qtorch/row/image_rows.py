"""Which rows of its inputs a row of an op's output is made of: what a network needs that is computed row by row.

An image is a tensor ``[1, H, W, ...]``, or, along axis 2, ``[1, 1, L, ...]``, where each step of the sequence is a row.
Every row of the output is then the op itself on the rows that are named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qtorch.row.shape_rule import Attrs, Shape

__all__ = ["ImageRows", "RowWindow", "RowsRule", "along", "cut_rows", "padded_rows", "same_row"]


@dataclass(frozen=True)
class RowWindow:
    """The rows of an input that are read: row ``r`` of the output needs ``window`` of them from ``first(r)`` on.

    Attributes:
        window: how many, those between the first and the last that a dilation leaves out among them.
        stride: rows from the first of one window to that of the window ``per`` rows of the output further on; 0 of an
            input that is read as a whole.
        padding: how many rows are missing above the first window, ``per`` times as many with it; below 0 that many are
            left out. Below the last window too, some may be missing.
        per: rows of the output for one stride, more than one where an image grows.
    """

    window: int = 1
    stride: int = 1
    padding: int = 0
    per: int = 1

    def first(self, row: int) -> int:
        """Where the window of a row of the output begins; below 0 in the padding."""
        return (row * self.stride - self.padding) // self.per

    @property
    def advance(self) -> int:
        """Rows from one window to the next, at most."""
        return -(-self.stride // self.per)

    def leaves(self, rows_made: int, rows_read: int) -> bool:
        """Whether so many rows of an output ask for one that an input of so many does not have."""
        return self.first(0) < 0 or self.first(rows_made - 1) + self.window > rows_read


@dataclass(frozen=True)
class ImageRows:
    """What a row of an op's output is made of.

    Attributes:
        reads: of each input that is computed at run time, by role.
        attrs: in which the op on those rows differs from the op on the image.
        numbers: parameters of the kernel that are known for each row only, as C in terms of ``{step}``, the row, and of
            its window in ``input``: where it begins, ``{top}``, and which of its rows there are, ``{from}`` up to
            ``{to}``.
        whole_image: whether the kernel is called as for the whole image but for those numbers.
    """

    reads: Mapping[str, RowWindow]
    attrs: Attrs = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    whole_image: bool = False


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
    return ImageRows(found)


def padded_rows(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Of an op that puts rows around an image: those inside hang on one row, those around on none."""
    before, _ = attrs["paddings"][axis]
    found = _as_high(attrs, shapes, axis)
    paddings = tuple((0, 0) if i == axis else ends for i, ends in enumerate(attrs["paddings"]))
    window = RowWindow(padding=before)
    return found and ImageRows({**found.reads, "input": window}, {"paddings": paddings})


def cut_rows(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Of an op that takes a box out of an image, its ``begin`` and ``size``, or its ``end`` and ``strides``."""
    found = _as_high(attrs, shapes, axis)
    if found is None or attrs.get("shrink_axis_mask"):
        return None

    def with_axis(name: str, number: int) -> tuple[int, ...]:
        return tuple(number if i == axis else n for i, n in enumerate(attrs[name]))

    one = {"end": with_axis("end", 1), "strides": with_axis("strides", 1)} if "end" in attrs else {
        "size": with_axis("size", 1)}  # fmt: skip
    steps = attrs["strides"][axis] if "end" in attrs else 1
    return ImageRows(
        {"input": RowWindow(stride=steps, padding=-attrs["begin"][axis])}, {"begin": with_axis("begin", 0), **one}
    )


def _as_high(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """:func:`same_row` as if the output had as many rows as the input."""
    output, image = shapes["output"], shapes["input"]
    if len(output) != len(image) or axis >= len(image):
        return None
    return same_row(attrs, {**shapes, "output": (*output[:axis], image[axis], *output[axis + 1 :])}, axis)


def along(attr: str) -> RowsRule:
    """:func:`same_row` of an op that puts together or takes apart along the axis that is its attribute."""

    def rule(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
        return None if attrs[attr] == axis else same_row(attrs, shapes, axis)

    return rule
