"""Cortex-M55 and M85: sixteen products per instruction, eight sums at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from export.c.remembered import remembered
from export.c.targets.operands import accumulators, number, numbers, weights
from export.c.targets.windows import window_sizes
from qtorch.row.kernel_call import Accumulators, Argument, ConstantTable, KernelCall, Rescaling

__all__ = ["UNPACKED_BYTES", "hardly_grows", "in_vectors"]

#: Inputs that a vector holds, and output channels whose sums become codes together.
_INPUTS, _OUTPUTS = 16, 4
#: Bytes that a fully connected layer's tables may grow by for each code: filled up, eight inputs become sixteen.
_DENSE_CODES = 8
#: Q_RECORDS of ``firmware/c/depthwise_mve.h``.
UNPACKED_BYTES = 272


def in_vectors(kernel: str, call: KernelCall) -> KernelCall | None:
    """The call of a kernel of these; ``None`` of what it does not take, or another of them does."""
    found = _vectors(call)
    return found if found is not None and found.kernel == kernel else None


@remembered  # several rows of the table ask for it
def _vectors(call: KernelCall) -> KernelCall | None:
    return vectors_of_sum(call) or vectors_of_convolution(call) or vectors_of_depthwise(call) or vectors_of_dense(call)


def vectors_of_convolution(call: KernelCall) -> KernelCall | None:
    """A convolution without groups, two pixels at a time; ``None`` of anything else."""
    sizes = window_sizes(call)
    if sizes is None or sizes["groups"] != 1:
        return None
    arguments = dict(call.arguments)
    bits = number(call, "weight_bits")
    if (found := _stream(weights(call), bits, accumulators(call))) is None:
        return None
    stream, blocks = found
    for name in ("weights", "groups"):
        arguments.pop(name, None)
    arguments |= {"channels": stream, "blocks": blocks}
    if call.kernel == "pointwise_s8" and arguments["in_c"] == _INPUTS * blocks:
        del arguments["in_c"]
        if arguments["stride_h"] == arguments["stride_w"] == 1:  # one long row, of which at most one pixel is alone
            arguments["in_w"] = arguments["out_w"] = sizes["out_h"] * sizes["out_w"]
            arguments["out_h"] = 1
        return replace(call, kernel="pointwise_mve_s8", arguments=arguments)
    arguments |= {name: size for name, size in sizes.items() if name != "groups"}
    return replace(call, kernel="conv_2d_mve_s8", arguments=arguments, scratch=2 * _INPUTS * blocks)


def vectors_of_sum(call: KernelCall) -> KernelCall | None:
    """A sum of two tensors of one shape, four codes at a time; ``None`` of anything else."""
    if call.kernel != "add_short_s8" or number(call, "width") != 1:
        return None
    size = 1
    for axis in reversed(range(4)):
        count = number(call, f"n_{axis}")
        if count > 1 and any(number(call, f"{side}_{axis}") != size for side in ("in", "other")):
            return None
        size *= count
    names = ("in_factor", "other_factor", "addend", "shift", "low", "high")
    ends = {name: call.arguments[name] for name in ("in", "other", "out")}
    rest = {name: call.arguments[name] for name in names}
    return replace(call, kernel="add_short_mve_s8", arguments={**ends, "size": size, **rest})


def vectors_of_dense(call: KernelCall) -> KernelCall | None:
    """A fully connected layer of eight outputs or more, eight at a time; ``None`` of anything else."""
    if call.kernel != "fully_connected_s8" or number(call, "out_size") < 2 * _OUTPUTS:
        return None
    arguments = dict(call.arguments)
    if (found := _stream(weights(call), number(call, "weight_bits"), accumulators(call))) is None:
        return None
    stream, blocks = found
    del arguments["weights"]
    arguments |= {"channels": stream, "blocks": blocks}
    if number(call, "in_size") == _INPUTS * blocks:
        return replace(call, kernel="fully_connected_mve_s8", arguments=arguments)
    return replace(call, kernel="fully_connected_padded_mve_s8", arguments=arguments, scratch=_INPUTS * blocks)


def vectors_of_depthwise(call: KernelCall) -> KernelCall | None:
    """A depthwise convolution, four windows of a channel at a time; ``None`` of anything else."""
    if call.kernel != "depthwise_conv_2d_s8" or call.arguments["multiplier"] != 1:
        return None
    sizes = numbers(call)
    if sizes["dilation_h"] != 1 or sizes["dilation_w"] != 1:
        return None
    sizes["padding_code"] = sizes["in_zero_point"]
    filters = _filters(call)
    return (
        _sequence(call, sizes, filters, "h", "w")
        or _sequence(call, sizes, filters, "w", "h")
        or _squares(call, sizes, filters)
        or _rows(call, sizes, filters)
    )


def _sequence(
    call: KernelCall, sizes: Mapping[str, int], filters: np.ndarray, along: str, across: str
) -> KernelCall | None:
    """Windows of pixels of a sequence. Of a single one it is not told how many pixels there are."""
    window, out_size = sizes[f"window_{along}"], sizes[f"out_{along}"]
    if any(sizes[f"{name}_{across}"] != 1 for name in ("in", "window")) or sizes[_PADDING[across]]:
        return None
    if sizes[f"stride_{along}"] != 1 or not 4 <= window <= 13 or out_size < 2:
        return None
    depth = sizes["in_c"]
    records = np.zeros((depth, 16), np.int8)
    records[:, 3 : 3 + window] = filters.reshape(depth, -1)
    more = {
        **{"in_size": sizes[f"in_{along}"], "in_c": depth, "out_size": out_size},
        **{"padding": sizes[_PADDING[along]], "padding_code": sizes["padding_code"]},
    }
    scratch = 64 * (-(-out_size // 4) + 3) + 16
    return _depthwise(call, "depthwise_sequence_mve_s8", records, 3, more, scratch)


def _squares(call: KernelCall, sizes: Mapping[str, int], filters: np.ndarray) -> KernelCall | None:
    """Two by two windows of at most 3x3 pixels, with rows for columns where that takes fewer instructions."""
    if sizes["stride_h"] != 1 or sizes["stride_w"] != 1:
        return None
    if max(sizes["window_h"], sizes["window_w"]) > 3 or min(sizes["out_h"], sizes["out_w"]) < 2:
        return None
    depth = sizes["in_c"]
    sizes = {
        **sizes,
        **{"in_row": sizes["in_w"] * depth, "in_column": depth},
        **{"out_row": sizes["out_w"] * depth, "out_column": depth},
    }
    if _square_cost(sizes["out_w"], sizes["out_h"]) < _square_cost(sizes["out_h"], sizes["out_w"]):
        sizes |= {one: sizes[other] for one, other in _TURNED.items()}
        filters = filters.transpose(0, 2, 1)
    records = np.zeros((depth, 16), np.int8)
    records[:, 5:] = _by_columns(filters)[:, :11]
    more = {name: sizes[name] for name in _SQUARE_SIZES}
    scratch = 64 * (sizes["out_w"] + 2) + 16
    return _depthwise(call, "depthwise_square_mve_s8", records, 5, more, scratch)


def _rows(call: KernelCall, sizes: Mapping[str, int], filters: np.ndarray) -> KernelCall | None:
    """Four windows of a row, of at most 4x4 pixels."""
    if sizes["stride_w"] > 2 or max(sizes["window_h"], sizes["window_w"]) > 4:
        return None
    more = {name: sizes[name] for name in _ROW_SIZES}
    scratch = 64 * (-(-sizes["out_w"] // 4) * 4 * sizes["stride_w"] + 3) + 16
    return _depthwise(call, "depthwise_rows_mve_s8", _by_columns(filters), 0, more, scratch)


def _by_columns(filters: np.ndarray) -> np.ndarray:
    """``[C, 16]``: four weights of each of four columns."""
    depth, height, width = filters.shape
    columns = np.zeros((depth, 4, 4), np.int8)
    columns[:, :width, :height] = filters.transpose(0, 2, 1)
    return columns.reshape(depth, 16)


def _depthwise(
    call: KernelCall, kernel: str, records: np.ndarray, behind: int, sizes: Mapping[str, int], scratch: int
) -> KernelCall:
    """A call that reads a record of 16 weights of each channel, and so many zeros behind the last.

    Of 4 bits two channels' records are one, which is unpacked in working memory.
    """
    bits, table = number(call, "weight_bits"), np.append(records.reshape(-1), np.zeros(behind, np.int8))
    if bits == 4:
        pairs = np.pad(records, [(0, len(records) % 2), (0, 0)])
        table, scratch = pairs[::2] & 15 | pairs[1::2] << 4, scratch + UNPACKED_BYTES
    arguments: dict[str, Argument] = {
        **{"in": call.arguments["in"], "weights": ConstantTable(table), "weight_bits": bits, "channels": _folded(call)},
        **{"out": call.arguments["out"], **sizes},
    }
    return replace(call, kernel=kernel, arguments=arguments, scratch=scratch)


_PADDING = {"h": "padding_top", "w": "padding_left"}
_ROW_SIZES = (
    *("in_h", "in_w", "in_c", "out_h", "out_w", "window_h", "window_w", "stride_h", "stride_w"),
    *("padding_top", "padding_left", "padding_code"),
)
_SQUARE_SIZES = (
    *("in_h", "in_w", "in_c", "out_h", "out_w", "padding_top", "padding_left", "padding_code"),
    *("in_row", "in_column", "out_row", "out_column"),
)
#: Rows for columns.
_TURNED = {
    **{"in_h": "in_w", "in_w": "in_h", "out_h": "out_w", "out_w": "out_h"},
    **{"padding_top": "padding_left", "padding_left": "padding_top"},
    **{"in_row": "in_column", "in_column": "in_row", "out_row": "out_column", "out_column": "out_row"},
}


def _square_cost(out_h: int, out_w: int) -> int:
    """Instructions of one channel."""
    return -(-out_h // 2) * (17 * -(-out_w // 2) + 4 * (out_w + 2) + 18)


def _filters(call: KernelCall) -> np.ndarray:
    """``[C, h, w]``."""
    table = weights(call)
    return table.reshape(table.shape[-3:]).transpose(2, 0, 1)


def _folded(call: KernelCall) -> Rescaling:
    """Constants channel by channel; sums are of codes, so the zero point goes to the biases."""
    sums = accumulators(call)
    bias = sums.bias - number(call, "in_zero_point") * _filters(call).astype(np.int64).sum((1, 2))
    form, constants = _constants(replace(sums, bias=_wrapped(bias)))
    return Rescaling(form, constants, sums.zero_point, sums.low, sums.high)


def _wrapped(biases: np.ndarray) -> np.ndarray:
    """As 32 bits hold them: what is beyond them comes back when products are added."""
    return (biases + 2**31) % 2**32 - 2**31


def hardly_grows(call: KernelCall, chosen: KernelCall) -> bool:
    """Whether a layer's tables grow by a tenth at most, or by less than a byte for each code that it makes,
    or a few of a fully connected layer.

    Of a depthwise convolution a code takes a tenth of the instructions: there more than one pixel is enough. It may be
    one row of many.
    """
    if call.kernel == "add_short_s8":
        return True
    if call.kernel == "depthwise_conv_2d_s8":
        return number(call, "out_h") * number(call, "out_w") > 1
    before = weights(call).nbytes * number(call, "weight_bits") // 8 + 12 * len(accumulators(call).bias)
    growth = _table_bytes(chosen) - before
    sizes = numbers(call)
    if "rows" in sizes:
        return growth <= max(before // 10, _DENSE_CODES * sizes["rows"] * sizes["out_size"])
    return growth <= max(before // 10, sizes["out_h"] * sizes["out_w"] * sizes["out_c"])


def _table_bytes(call: KernelCall) -> int:
    tables = (argument.data if isinstance(argument, ConstantTable) else argument.words
              for argument in call.arguments.values() if isinstance(argument, ConstantTable | Rescaling))  # fmt: skip
    return sum(table.nbytes for table in tables)


def _stream(table: np.ndarray, bits: int, sums: Accumulators) -> tuple[Rescaling, int] | None:
    """Weights ``[O, ...]`` and constants as ``firmware/c/mve.h`` reads them, and how many blocks a channel has.

    ``None`` where a byte does not hold a pair of 4 bits, -8 above a negative one, or 32 bits not 16 times a sum.
    """
    matrix = table.reshape(len(table), -1)
    blocks, groups = -(-matrix.shape[1] // _INPUTS), -(-len(matrix) // _OUTPUTS)
    padded = np.zeros((groups * _OUTPUTS, blocks * _INPUTS), np.int8)
    padded[: len(matrix), : matrix.shape[1]] = matrix
    form, constants = _constants(sums)
    vectors = np.zeros((groups * _OUTPUTS, constants.shape[1]), np.int32)
    vectors[: len(constants)] = constants
    if bits == 4:
        pairs = 16 * padded[1::2].astype(np.int64) + padded[::2]
        most = 128 * np.abs(padded.astype(np.int64)).sum(1) + np.abs(vectors[:, 0].astype(np.int64))
        if pairs.min() < -128 or 17 * most.max() >= 2**31:
            return None
        padded = pairs.astype(np.int8)
        vectors[1::2, 0] = 16 * vectors[1::2, 0] + vectors[::2, 0]
        vectors[::2, 0] *= 16
    rows = padded.reshape(groups, -1, blocks, _INPUTS).transpose(0, 2, 1, 3)
    vectors = vectors.reshape(groups, _OUTPUTS, -1).transpose(0, 2, 1).reshape(groups, -1)
    weight_words = np.ascontiguousarray(rows).reshape(groups, -1).view("<i4")
    words = np.concatenate([vectors[:, :_OUTPUTS], weight_words, vectors[:, _OUTPUTS:]], 1)
    return Rescaling(form, np.ascontiguousarray(words, np.int32), sums.zero_point, sums.low, sums.high), blocks


def _constants(sums: Accumulators) -> tuple[str, np.ndarray]:
    """The form, and int32 ``[C, vectors]``: all are exact, the first that serves is the shortest."""
    mantissa, shift = (t.numpy() for t in sums.multiplier)
    # Nothing is left of a mantissa of 0, however it is shifted.
    shift = np.where(mantissa == 0, -1, shift)
    if shift.max() <= 0 and sums.low >= sums.zero_point:
        return "Q_TIES_UP", _int32(sums.bias, mantissa, shift)
    if shift.max() < 0:
        return "Q_TIES_AWAY", _int32(sums.bias, mantissa, shift)
    return "Q_LEFT_TOO", _int32(sums.bias, mantissa, shift.clip(max=0), shift.clip(0))


def _int32(*columns: np.ndarray) -> np.ndarray:
    table = np.stack(columns, 1).astype(np.int64)
    assert (table == table.astype(np.int32)).all()
    return table.astype(np.int32)
