"""When ESP-NN and its wrappers compute an operator otherwise: conditions on its geometry, as their code has them."""

from __future__ import annotations

from math import prod

from export.faults.fault import Operator
from export.faults.geometry import Rows, Window, convolution, dtype, rows, scales, shape

__all__ = [
    "depthwise_3x3_padding",
    "depthwise_scratch",
    "depthwise_tiles",
    "first_record",
    "four_bits",
    "grouped",
    "more_padding_behind",
    "no_bias",
    "odd_blocks",
    "padding_behind_alone",
    "padding_not_of_one_row",
    "padding_on_two_sides",
    "per_channel",
    "rank_above_two",
    "several_long_rows",
    "short_rows",
    "sixteen_bits",
    "softmax_scratch",
    "thirty_two_bits",
    "three_vectors",
    "unaligned_constant",
    "unaligned_rows",
]

#: Operators whose Init asks for a record, in esp-tflite-micro 1.3.1 and 1.3.3.
_RECORDS = frozenset({
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "ADD", "SUB", "MUL", "PAD", "PADV2",
    "QUANTIZE", "DEQUANTIZE", "SOFTMAX", "AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "LOGISTIC", "TANH",
    "LEAKY_RELU", "HARD_SWISH", "PRELU", "RELU", "RELU6", "MEAN", "STRIDED_SLICE",
})  # fmt: skip
#: Elements that its vectors hold.
_VECTOR = 16
#: Of so many elements on, its sums and products are computed with vectors.
_ADDED_AT_ONCE = 8


def _kernel(operator: Operator) -> Window | None:
    """The convolution if ESP-NN computes it, and not the reference kernel: int8 without dilation."""
    if dtype(operator, 0) != "int8" or dtype(operator, 1) != "int8":
        return None
    window = convolution(operator)
    return None if window is None or window.dilated else window


def _by_rows(operator: Operator) -> Window | None:
    """The convolution if an ESP32-S3 computes it by rows of the kernel, on a copy with padding."""
    window = _kernel(operator)
    if window is None or operator.name != "CONV_2D":
        return None
    return None if window.is_1x1 and window.height.stride == window.width.stride == 1 else window


def _sides(window: Window) -> str:
    (top, left), (bottom, right) = window.before, window.after
    return f"{window.kernel} with padding {top} above, {bottom} below, {left} left and {right} right"


def first_record(operator: Operator) -> str:
    """Of int8, where no operator before it has a record in memory.

    A record begins at a multiple of 16 bytes, and one of 56 bytes leaves 8 free behind it where the next one does so
    too. Of the first record the next thing in memory are the options of an operator, which begin at any multiple of 4.
    """
    window = convolution(operator)
    if window is None or dtype(operator, 0) != "int8" or operator.before & _RECORDS:
        return ""
    return (
        f"a kernel of {window.kernel}, whose record in memory is 4 bytes short, and the first one: what may go are the "
        "options of another operator"
    )


def three_vectors(operator: Operator) -> str:
    """Rows of the kernel that are three vectors and more."""
    window = _by_rows(operator)
    weight = operator.inputs[1] if len(operator.inputs) > 1 else None
    if window is None or weight is None:
        return ""
    length = weight.shape[2] * weight.shape[3]
    return f"rows of the kernel of {length} codes, more than {2 * _VECTOR}" if length > 2 * _VECTOR else ""


def padding_not_of_one_row(operator: Operator) -> str:
    """Padding of other than one row above."""
    window = _by_rows(operator)
    return "" if window is None or not any(window.before) or window.before[0] == 1 else _sides(window)


def more_padding_behind(operator: Operator) -> str:
    """More padding below than above, or right than left."""
    window = _by_rows(operator)
    return "" if window is None or window.before == window.after else _sides(window)


def padding_on_two_sides(operator: Operator) -> str:
    """More padding below than above, or right than left, and some above or left."""
    window = _by_rows(operator)
    if window is None or window.before == window.after or not any(window.before):
        return ""
    row = window.width.kernel * window.channels
    return "" if row < _VECTOR <= row * window.height.kernel else _sides(window)


def padding_behind_alone(operator: Operator) -> str:
    """Padding below or right, and none above and left."""
    window = _by_rows(operator)
    return "" if window is None or any(window.before) or not any(window.after) else _sides(window)


def grouped(operator: Operator) -> str:
    """Groups of channels."""
    window = _kernel(operator)
    return "" if window is None or window.groups == 1 else f"{window.groups} groups of {window.channels} channels"


def no_bias(operator: Operator) -> str:
    """No bias."""
    window = _kernel(operator)
    return (
        ""
        if window is None or (len(operator.inputs) > 2 and operator.inputs[2] is not None)
        else f"a kernel of {window.kernel} without a bias"
    )


def depthwise_scratch(operator: Operator) -> str:
    """4, 8, 12, ... outputs per channel and a kernel of 0 to 7 bytes above a multiple of 16.

    The widened map begins 2 to 32 bytes behind the widened kernel; memory is asked for with 16. 3x3
    on 8 channels and their odd multiples, which are widened too, come to 16.
    """
    window = _kernel(operator)
    if window is None or window.multiplier % 4:
        return ""
    taps = window.height.kernel * window.width.kernel * window.outputs
    over = 2 * (_VECTOR - taps % _VECTOR) - 16
    return f"{window.kernel}, {window.multiplier} outputs per channel: {over} bytes" if over > 0 else ""


def depthwise_3x3_padding(operator: Operator) -> str:
    """3x3 on a multiple of 16 channels, with padding of 1 above and none left, or the other way round."""
    window = _kernel(operator)
    if window is None or window.kernel != "3x3" or window.multiplier != 1 or window.channels % _VECTOR:
        return ""
    return "" if window.before in ((0, 0), (1, 1)) else f"{_sides(window)} on {window.channels} channels"


def depthwise_tiles(operator: Operator) -> str:
    """Other than 3x3 on a multiple of 8 channels, rows of padding, a zero point, above 48 KiB in 16 bits."""
    window = _kernel(operator)
    if window is None or window.multiplier != 1 or window.channels % 8 or window.kernel == "3x3":
        return ""
    taps = window.height.kernel * window.width.kernel * window.channels
    size = 2 * (taps + window.map_elements)
    tensor = operator.inputs[0]
    zero = tensor.zero_point[0] if tensor is not None and tensor.zero_point else 0
    if size <= 48 * 1024 or not (window.before[0] or window.after[0]) or not zero:
        return ""
    return f"{_sides(window)}, {size} bytes of 16-bit map and kernel, zero point {zero}"


def _dense(operator: Operator) -> Rows | None:
    return rows(operator) if dtype(operator, 0) == dtype(operator, 1) == "int8" else None


def short_rows(operator: Operator) -> str:
    """Fewer than 8 inputs."""
    found = _dense(operator)
    return f"rows of {found.depth}" if found is not None and found.depth < 8 else ""


def odd_blocks(operator: Operator) -> str:
    """Inputs that are an odd number of whole 16s, three at least, and a rest."""
    found = _dense(operator)
    if found is None or found.depth % _VECTOR == 0:
        return ""
    blocks = found.depth // _VECTOR
    return f"rows of {found.depth}: {blocks} vectors and a rest" if blocks >= 3 and blocks % 2 else ""


def unaligned_rows(operator: Operator) -> str:
    """Several rows of other than a multiple of 8 inputs."""
    found = _dense(operator)
    return f"{found.count} rows of {found.depth}" if found is not None and found.count > 1 and found.depth % 8 else ""


def per_channel(operator: Operator) -> str:
    """Weights with a scale for every output."""
    found = scales(operator, 1)
    return f"{found} scales of the weights, where one is taken" if _dense(operator) is not None and found > 1 else ""


def per_channel_int16(operator: Operator) -> str:
    """Weights with a scale for every output, under int16."""
    found = scales(operator, 1)
    return f"{found} scales of the weights" if dtype(operator, 0) == "int16" and found > 1 else ""


def rank_above_two(operator: Operator) -> str:
    """More than two axes out."""
    found = _dense(operator)
    return f"output of rank {found.rank}" if found is not None and found.rank > 2 else ""


def softmax_scratch(operator: Operator) -> str:
    """A last axis longer than the second, or one axis alone."""
    sizes = shape(operator, 0)
    if dtype(operator, 0) != "int8" or any(tensor.dtype != "int8" for tensor in operator.outputs) or not sizes:
        return ""
    if len(sizes) == 1:
        return f"{list(sizes)}, which has no second axis"
    return f"{list(sizes)}: {4 * sizes[1]} bytes for {4 * sizes[-1]}" if sizes[-1] > sizes[1] else ""


def several_long_rows(operator: Operator) -> str:
    """Several rows of 32 and more, and no multiple of 16."""
    sizes = shape(operator, 0)
    if dtype(operator, 0) != "int8" or prod(sizes[:-1]) <= 1 or sizes[-1] < 32 or sizes[-1] % _VECTOR == 0:
        return ""
    return f"{prod(sizes[:-1])} rows of {sizes[-1]}"


def unaligned_constant(operator: Operator) -> str:
    """A constant that does not begin at a multiple of 16 in the file, and a vector of elements at least.

    Shapes that differ are computed by the reference kernel, element by element. Where the file itself lies in memory is
    up to the program: at a multiple of 16, or more of its constants are met.
    """
    sizes = shape(operator, 0)
    if dtype(operator, 0) != "int8" or sizes != shape(operator, 1) or prod(sizes) < _ADDED_AT_ONCE:
        return ""
    begins = [offset for offset in operator.offsets.values() if offset % _VECTOR]
    if not begins:
        return ""
    return f"a constant of {prod(sizes)} codes at byte {begins[0]:,} of the file, which is no multiple of {_VECTOR}"


def sixteen_bits(operator: Operator) -> str:
    """A first input of int16."""
    return "int16" if dtype(operator, 0) == "int16" else ""


def thirty_two_bits(operator: Operator) -> str:
    """A first input of int32."""
    return "int32" if dtype(operator, 0) == "int32" else ""


def four_bits(operator: Operator) -> str:
    """Weights of int4."""
    return "weights of int4" if dtype(operator, 1) == "int4" else ""
