"""When CMSIS-NN and its wrappers compute an operator otherwise: conditions on its geometry, as their code has them."""

from __future__ import annotations

from math import prod

from export.faults.fault import Operator
from export.faults.geometry import (
    Axis,
    Spread,
    Window,
    c_quotient,
    convolution,
    dtype,
    rows,
    scales,
    shape,
    spread,
)

__all__ = [
    "any_int8",
    "any_int16",
    "as_1x1",
    "broadcast_transposed",
    "few_rows",
    "few_windows",
    "few_windows_of_four_bits",
    "four_bits_each",
    "four_bits_of_odd_channels",
    "grouped",
    "grouped_1x1",
    "grouped_of_four_bits",
    "grouped_of_sixteen_bits",
    "grouped_row",
    "last_window",
    "left_not_square",
    "long_rows",
    "narrow_bias",
    "padding_off_strides",
    "per_channel_int8",
    "per_channel_not_int8",
    "rank_above_four",
    "rank_not_four",
    "row_refused",
    "rows_past_output",
    "several_samples",
    "several_softmax_rows",
    "sides_above_four",
    "taken_for_a_scalar",
    "tall_row",
    "wide_stride",
]


def _row(operator: Operator) -> Window | None:
    """The convolution if it takes the path of a row: one row in, a kernel of one row of several taps."""
    window = convolution(operator)
    if window is None or window.is_1x1 or dtype(operator, 0) != "int8" or window.groups != 1:
        return None
    is_row = window.height.input == window.height.kernel == window.width.dilation == 1
    return window if is_row and window.width.stride * window.channels % 4 == 0 else None


def _asymmetric(axis: Axis) -> int:
    """What the path of a row takes for the padding behind less that in front: a remainder as C has it."""
    return axis.total - 2 * c_quotient(axis.total, 2)


def _padded_windows(axis: Axis) -> tuple[int, int]:
    """How many windows the path of a row takes for padded: at the beginning, at the end."""
    ends = axis.before + _asymmetric(axis)
    stride = axis.stride
    right = max(1, c_quotient(ends + stride - 1, stride)) if ends else 0
    left = max(1, (axis.before + stride - 1) // stride) if axis.before else 0
    return left, right


def _words(axis: Axis) -> str:
    padding = f", padding {axis.before} and {axis.after}" if axis.total > 0 else ""
    return f"1x{axis.kernel} on {axis.input} columns with stride {axis.stride}{padding}"


def row_refused(operator: Operator) -> str:
    """1xN on a map of one row, with two or more columns behind the last window."""
    window = _row(operator)
    if window is None:
        return ""
    axis = window.width
    if 2 * axis.before + _asymmetric(axis) == axis.total:
        return ""
    return f"{_words(axis)}: {axis.unread} columns behind the last window"


def few_windows(operator: Operator) -> str:
    """1xN on a map of one row, with so few windows that some would be padded on both sides."""
    window = _row(operator)
    if window is None or row_refused(operator):
        return ""
    axis = window.width
    left, right = _padded_windows(axis)
    if left + right <= axis.output:
        return ""
    return f"{_words(axis)}: {left} and {right} padded windows of {axis.output}"


def few_windows_of_four_bits(operator: Operator) -> str:
    """1xN with weights of four bits on a map of one row, with windows that would be padded on both sides."""
    return few_windows(operator) if dtype(operator, 1) == "int4" else ""


def last_window(operator: Operator) -> str:
    """1xN on a map of one row whose last windows have none, or several, of their columns behind the map.

    They are computed in a copy: taps but one from the input, then as many zeros as are padded.
    """
    window = _row(operator)
    if window is None or row_refused(operator) or dtype(operator, 1) != "int8":
        return ""
    axis = window.width
    left, right = _padded_windows(axis)
    if left + right > axis.output or not right:
        return ""
    start = axis.stride * (axis.output - right) - axis.before
    zeros = right if _asymmetric(axis) else axis.before
    for column in range((right - 1) * axis.stride + axis.kernel):
        in_input = start + column < axis.input
        if column < axis.kernel - 1:
            if not in_input:
                return f"{_words(axis)}: the last windows read past the end of the input"
        elif in_input:
            return f"{_words(axis)}: a column behind the last window, whose last tap is taken for padding"
        elif column >= axis.kernel - 1 + zeros:
            return f"{_words(axis)}: the last windows read what an earlier one left in scratch memory"
    return ""


def tall_row(operator: Operator) -> str:
    """Several rows of taps on a map of one row, and 4, 8, 12, ... columns out."""
    window = convolution(operator)
    if window is None or dtype(operator, 0) != "int8" or window.height.kernel == 1:
        return ""
    axis = window.width
    if window.height.input != 1 or axis.output % 4 or axis.dilation != 1:
        return ""
    return f"a kernel of {window.kernel} on one row, with {axis.output} columns out"


def grouped(operator: Operator) -> str:
    """Groups of channels."""
    window = convolution(operator)
    if window is None or window.groups == 1 or dtype(operator, 0) != "int8":
        return ""
    return f"{window.groups} groups of channels"


def grouped_of_sixteen_bits(operator: Operator) -> str:
    """Groups of channels, int16."""
    window = convolution(operator)
    if window is None or window.groups == 1 or dtype(operator, 0) != "int16":
        return ""
    return f"{window.groups} groups of channels"


def grouped_1x1(operator: Operator) -> str:
    """1x1 in groups of channels."""
    window = convolution(operator)
    if window is None or not window.is_1x1 or window.dilated:
        return ""
    return f"1x1 in {grouped(operator)}" if grouped(operator) else ""


def grouped_row(operator: Operator) -> str:
    """1xN in groups of channels, on a map of one row."""
    window = convolution(operator)
    if window is None or window.is_1x1 or not grouped(operator):
        return ""
    is_row = window.height.input == window.height.kernel == window.width.dilation == 1
    if not is_row or window.width.stride * window.channels % 4:
        return ""
    return f"{_words(window.width)} in {window.groups} groups"


def four_bits_each(operator: Operator) -> str:
    """Weights of four bits, one output per channel, without dilation, of one sample.

    Of 32 such geometries on QEMU's Cortex-M55 31 were wrong; what the one has was not found out.
    """
    window = convolution(operator)
    if window is None or dtype(operator, 1) != "int4" or not _one_output(operator, window):
        return ""
    return f"{window.kernel} of four bits on {window.channels} channels"


def four_bits_of_odd_channels(operator: Operator) -> str:
    """Weights of four bits on an odd number of channels: several outputs of each, dilation, or several samples."""
    window = convolution(operator)
    if window is None or dtype(operator, 1) != "int4" or window.channels % 2 == 0 or _one_output(operator, window):
        return ""
    return f"{window.kernel} of four bits, {window.multiplier} outputs of each of {window.channels} channels"


def _one_output(operator: Operator, window: Window) -> bool:
    """What goes to the kernel for one output per channel."""
    return window.multiplier == 1 and not window.dilated and shape(operator, 0)[0] == 1


def _rolling(operator: Operator) -> Spread | None:
    """The transposed convolution if it is computed row by row into a buffer that rolls, and not as a convolution."""
    window = spread(operator)
    if window is None or dtype(operator, 2) != "int8":
        return None
    as_convolution = window.channels > 16 and window.height.stride <= 2 and window.width.stride <= 2
    return None if as_convolution else window


def _rows_in(operator: Operator) -> int:
    return shape(operator, 2)[1]


def padding_off_strides(operator: Operator) -> str:
    """Padding above that the stride does not divide, with up to 16 channels in or a stride above 2."""
    window = _rolling(operator)
    if window is None or window.height.before % window.height.stride == 0:
        return ""
    return (
        f"padding {window.height.before} above with stride {window.height.stride}, {window.channels} channels: "
        "no multiple, and computed row by row"
    )


def few_rows(operator: Operator) -> str:
    """More padding above than rows times the stride, with up to 16 channels in or a stride above 2."""
    window = _rolling(operator)
    if window is None or _rows_in(operator) * window.height.stride >= window.height.before:
        return ""
    return f"padding {window.height.before} above of {_rows_in(operator)} rows with stride {window.height.stride}"


def rows_past_output(operator: Operator) -> str:
    """Fewer rows out than the input's times the stride, less padding above; up to 16 channels or a stride above 2."""
    window = _rolling(operator)
    if window is None:
        return ""
    axis = window.height
    written = _rows_in(operator) * axis.stride - axis.before
    if written <= axis.input:
        return ""
    return f"{written} rows are written of {axis.input}: stride {axis.stride} on {_rows_in(operator)}"


def wide_stride(operator: Operator) -> str:
    """A stride across above that down and the kernel's width, with up to 16 channels in or a stride above 2."""
    window = _rolling(operator)
    if window is None:
        return ""
    kernel, down, across = window.width.kernel, window.height.stride, window.width.stride
    if max(kernel, across) <= max(kernel, down):
        return ""
    return f"stride {down}x{across} with a kernel {kernel} wide"


def rank_above_four(operator: Operator) -> str:
    """More than four axes."""
    rank = len(shape(operator, 0))
    return f"rank {rank}" if dtype(operator, 0) == "int8" and rank > 4 else ""


def sides_above_four(operator: Operator) -> str:
    """A side of more than four axes."""
    rank = max(len(shape(operator, 0)), len(shape(operator, 1)))
    return f"rank {rank}" if rank > 4 else ""


def rank_not_four(operator: Operator) -> str:
    """Other than four axes."""
    rank = len(shape(operator, 0))
    return f"rank {rank}" if dtype(operator, 0) == "int8" and 0 < rank != 4 else ""


def taken_for_a_scalar(operator: Operator) -> str:
    """A tensor of one axis, or of five, with more than one element."""
    if dtype(operator, 0) != "int8":
        return ""
    for tensor in (*operator.inputs, *operator.outputs):
        if tensor is not None and len(tensor.shape) not in (2, 3, 4) and prod(tensor.shape) != 1:
            return f"rank {len(tensor.shape)}, {prod(tensor.shape)} elements"
    return ""


def several_samples(operator: Operator) -> str:
    """A batch of several samples."""
    sizes = shape(operator, 0)
    return f"a batch of {sizes[0]}" if sizes and sizes[0] != 1 else ""


def several_softmax_rows(operator: Operator) -> str:
    """Several rows."""
    sizes = shape(operator, 0)
    if dtype(operator, 0) != "int8" or prod(sizes[:-1]) <= 1:
        return ""
    return f"{prod(sizes[:-1])} rows"


def _per_channel(operator: Operator) -> str:
    return f"{scales(operator, 1)} scales of the weights, where one is taken" if scales(operator, 1) > 1 else ""


def per_channel_int8(operator: Operator) -> str:
    """Weights with a scale for every output."""
    return _per_channel(operator) if dtype(operator, 0) == dtype(operator, 1) == "int8" else ""


def per_channel_not_int8(operator: Operator) -> str:
    """Weights with a scale for every output, of four bits or under int16."""
    words = _per_channel(operator)
    if not words or (dtype(operator, 0), dtype(operator, 1)) not in (("int16", "int8"), ("int8", "int4")):
        return ""
    return f"{words}, of {dtype(operator, 1)} on {dtype(operator, 0)}"


def as_1x1(operator: Operator) -> str:
    """More than two axes out, rows of a multiple of 4, one scale of all weights."""
    found = rows(operator)
    if found is None or dtype(operator, 0) != "int8" or dtype(operator, 1) != "int8" or scales(operator, 1) > 1:
        return ""
    return f"output of rank {found.rank} and rows of {found.depth}" if found.rank > 2 and not found.depth % 4 else ""


def long_rows(operator: Operator) -> str:
    """Rows of more than 512 int16."""
    found = rows(operator)
    if found is None or dtype(operator, 0) != "int16" or found.depth <= 512:
        return ""
    return f"rows of {found.depth} int16"


def narrow_bias(operator: Operator) -> str:
    """A bias of other than int64 under int16."""
    if dtype(operator, 0) != "int16" or dtype(operator, 2) not in ("int16", "int32"):
        return ""
    return f"a bias of {dtype(operator, 2)} under int16"


def broadcast_transposed(operator: Operator) -> str:
    """A transposed left side over a right one that stands for several."""
    left, right = shape(operator, 0), shape(operator, 1)
    if not operator.options.get("AdjX") or min(len(left), len(right)) < 3 or right[-3] != 1:
        return ""
    return f"a transposed left side of {list(left)} over a right one of {list(right)}"


def left_not_square(operator: Operator) -> str:
    """A left side of other than as many rows as columns."""
    left = shape(operator, 0)
    if dtype(operator, 0) not in ("int8", "int16") or len(left) < 2 or left[-1] == left[-2]:
        return ""
    return f"a left side of {left[-2]}x{left[-1]}"


def any_int8(operator: Operator) -> str:
    """All of int8."""
    return "one of int8" if dtype(operator, 0) == "int8" else ""


def any_int16(operator: Operator) -> str:
    """All of int16."""
    return "int16" if dtype(operator, 0) == "int16" else ""


def grouped_of_four_bits(operator: Operator) -> str:
    """Groups of channels, with weights of four bits."""
    return grouped(operator) if dtype(operator, 1) == "int4" else ""


def softmax_of_one(operator: Operator) -> str:
    """A last axis of one element, of int16."""
    sizes = shape(operator, 0)
    return "one element of int16" if dtype(operator, 0) == "int16" and sizes and sizes[-1] == 1 else ""
