"""What shapes ops that are alike may have: elementwise, with broadcasting, along axes; and axes counted from the front.

Source: the preparations of TFLM's kernels, ``micro/kernels/*.cc``. The first axis counts samples, which no op mixes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtorch.row.shape_rule import Attrs, Shape, ShapeRule, refuse, require

__all__ = [
    "axes_from_front",
    "axes_once_from_front",
    "axis_from_front",
    "broadcast",
    "broadcast_shape",
    "from_front",
    "onto_input",
    "padded_shapes",
    "require_axes",
    "require_axis",
    "require_lengths",
    "same_shape",
    "same_shape_of_vectors",
]


def same_shape(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Of an op on each element alone."""
    return (shapes["input"],)


def same_shape_of_vectors(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Of an op that works along the last axis and leaves the shape.

    Raises:
        BadShape: that is the first axis.
    """
    require(len(shapes["input"]) >= 2, "an axis behind the first, which counts samples", f"shape {shapes['input']}")
    return (shapes["input"],)


def broadcast_shape(shapes: Sequence[Shape]) -> Shape:
    """The shape that all of these become.

    Raises:
        BadShape: they do not.
    """
    rank = max(map(len, shapes))
    wide = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    sizes = [{*along} - {1} for along in zip(*wide, strict=True)]
    require(all(len(each) <= 1 for each in sizes), "shapes of which each axis has one size, or 1", f"{list(shapes)}")
    return tuple(each.pop() if each else 1 for each in sizes)


def broadcast(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Of an elementwise op of two tensors.

    Raises:
        BadShape: their shapes don't go together.
    """
    return (broadcast_shape([shapes["input"], shapes["other"]]),)


def onto_input(role: str) -> ShapeRule:
    """Of an elementwise op whose constant ``role`` is repeated along the input's axes."""

    def rule(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
        source, other = shapes["input"], shapes[role]
        require(
            broadcast_shape([source, other]) == source,
            f"a {role} that goes onto the input's {source}",
            f"a {role} of {other}",
        )
        return (source,)

    return rule


def padded_shapes(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Each axis is as much longer as its pair says.

    Raises:
        BadShape: there is not one pair of numbers from 0 on for each axis.
    """
    source, paddings = shapes["input"], attrs["paddings"]
    require(
        isinstance(paddings, tuple)
        and len(paddings) == len(source)
        and all(isinstance(ends, tuple) and len(ends) == 2 and min(ends) >= 0 for ends in paddings),
        f"a pair of numbers from 0 on for each of {len(source)} axes",
        f"paddings {paddings}",
    )
    return (tuple(n + before + after for n, (before, after) in zip(source, paddings, strict=True)),)


def from_front(axis: int, rank: int) -> int:
    """An axis counted from the front; one that is outside stays so."""
    return axis + rank if -rank <= axis < 0 else axis


def axis_from_front(attrs: Attrs, shapes: Mapping[str, Shape]) -> Attrs:
    """``axis`` counted from the front, of a number or a vector of one."""
    axis = attrs["axis"]
    if isinstance(axis, tuple) and len(axis) == 1:
        axis = axis[0]
    return {**attrs, "axis": from_front(axis, _rank(shapes)) if isinstance(axis, int) else axis}


def axes_from_front(attrs: Attrs, shapes: Mapping[str, Shape]) -> Attrs:
    """``axes`` counted from the front, in ascending order; a number stands for a vector of one."""
    axes = attrs["axes"] if isinstance(attrs["axes"], tuple) else (attrs["axes"],)
    if not all(isinstance(axis, int) for axis in axes):
        return attrs
    return {**attrs, "axes": tuple(sorted(from_front(axis, _rank(shapes)) for axis in axes))}


def axes_once_from_front(attrs: Attrs, shapes: Mapping[str, Shape]) -> Attrs:
    """:func:`axes_from_front`, of a kernel that passes over those that are named again."""
    ordered = axes_from_front(attrs, shapes)
    axes = ordered["axes"]
    return {**ordered, "axes": tuple(sorted(set(axes)))} if isinstance(axes, tuple) else ordered


def _rank(shapes: Mapping[str, Shape]) -> int:
    return len(next(iter(shapes.values())))


def require_axis(axis: object, rank: int) -> None:
    """Refuse anything but an axis behind the first, counted from the front.

    Raises:
        BadShape: so it is.
    """
    if axis == 0:
        refuse("an axis behind the first, which counts samples", "axis 0")
    require(isinstance(axis, int) and 0 < axis < rank, f"an axis from 1 to {rank - 1}", f"axis {axis}")


def require_axes(axes: object, rank: int) -> None:
    """Refuse anything but at least one axis, each behind the first, in ascending order.

    Raises:
        BadShape: so it is.
    """
    require(isinstance(axes, tuple) and len(axes) > 0, "at least one axis", f"axes {axes}")
    assert isinstance(axes, tuple)
    for axis in axes:
        require_axis(axis, rank)
    require(list(axes) == sorted(set(axes)), "each axis once, in ascending order", f"axes {axes}")


def require_lengths(attrs: Attrs, names: Sequence[str], rank: int) -> None:
    """Refuse index vectors that do not have one whole number for each axis.

    Raises:
        BadShape: so it is.
    """
    for name in names:
        value = attrs[name]
        whole = isinstance(value, tuple) and all(isinstance(each, int) for each in value)
        require(whole and len(value) == rank, f"{name} with a number for each of {rank} axes", f"{name} {value}")
