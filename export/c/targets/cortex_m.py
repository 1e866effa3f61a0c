"""Cortex-M from M3 on: two weights and two codes in a word, three products per multiplication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from export.c.requantization import requantization
from export.c.targets.operands import accumulators, numbers, weights
from export.c.targets.windows import LEAST_WINDOW, SIZES, copied_windows, padded_window, plain_windows
from qtorch.row.kernel_call import Accumulators, Argument, ConstantTable, KernelCall, Rescaling

__all__ = ["paired_channels", "paired_pixels", "started", "unpacked_pixels"]

#: As in ``firmware/c/pairs.h``: the fields' distance, and what the two lower fields of a sum start at.
_FIELD, _OFFSET = 21, 1 << 20
#: Products in one go; their code is written out, 11 instructions for four.
_MOST = 128
#: Pairs of channels whose weights are words at a time.
_AT_ONCE = 4


def paired_pixels(call: KernelCall) -> KernelCall | None:
    """A convolution over all channels, of three pixels at least, with twice the flash for its weights."""
    found = _pixels(call)
    if found is None:
        return None
    matrix, rescaling, chunks, sizes, arguments = found
    words, blocks = _words(matrix, chunks)
    arguments = {"in": arguments["in"], "channels": _stream(words, rescaling), **arguments}
    return KernelCall(
        "conv_2d_pairs_s8",
        {**arguments, "chunks": chunks, "blocks": blocks},
        scratch=32 * chunks * blocks + copied_windows(sizes),
    )


def unpacked_pixels(call: KernelCall) -> KernelCall | None:
    """A convolution over all channels, of three pixels at least, whose weights become words at run time.

    Working memory: 24 bytes for each code in a window.
    """
    found = _pixels(call)
    if found is None:
        return None
    matrix, rescaling, chunks, sizes, arguments = found
    parts = _parts(matrix, chunks)
    pairs, blocks, channel_words = len(parts) // 2, parts.shape[2] // 4, rescaling.words.shape[1]
    words = np.pad(rescaling.words, ((0, len(parts) - len(rescaling.words)), (0, 0)))
    at_once = min(_AT_ONCE, pairs)
    arguments = {
        "in": arguments["in"],
        "weights": ConstantTable(np.stack([parts[0::2], parts[1::2]], -1).astype(np.int8)),
        "channels": replace(rescaling, words=words),
        **arguments,
    }
    filters = 4 * at_once * (chunks * (4 + 4 * blocks) + 2 * channel_words)
    return KernelCall(
        "conv_2d_unpacked_s8",
        {**arguments, "chunks": chunks, "blocks": blocks, "at_once": at_once},
        scratch=32 * chunks * blocks + filters + copied_windows(sizes),
    )


def _pixels(
    call: KernelCall,
) -> tuple[np.ndarray, Rescaling, int, dict[str, int], dict[str, Argument]] | None:
    """Weights ``[O, K]``, words of the outputs' form, chunks, sizes, and the arguments from the output on."""
    sizes = plain_windows(call)
    if sizes is None:
        return None
    table = weights(call)
    matrix = table.reshape(len(table), -1).astype(np.int64)
    chunks = _chunks(matrix)
    if chunks is None:
        return None
    # The first channel of two comes with the offset of a lower field for every chunk.
    offset = np.where(np.arange(len(matrix)) % 2, 0, _OFFSET * chunks)
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "out": call.arguments["out"],
        **{name: sizes[name] for name in SIZES},
        "padded": int(padded_window(sizes)),
    }
    return matrix, started(accumulators(call), offset), chunks, sizes, arguments


def paired_channels(call: KernelCall) -> KernelCall | None:
    """A depthwise convolution of two channels and windows of three pixels at least.

    Working memory: four bytes for each pixel that windows read.
    """
    if call.kernel != "depthwise_conv_2d_s8":
        return None
    table, sums, sizes = weights(call), accumulators(call), numbers(call)
    if sizes["dilation_h"] != 1 or sizes["dilation_w"] != 1 or sizes["multiplier"] != 1 or sizes["in_c"] < 2:
        return None
    if sizes["window_h"] * sizes["window_w"] < LEAST_WINDOW:
        return None
    if (sizes["window_h"], sizes["window_w"]) == (2, 2) and (sizes["in_c"] == 3 or _apart(sizes)):
        # A plane laid out for so few products costs more than they do.
        return None
    # [C, columns, rows]; the kernel multiplies codes, so the zero point goes to the biases.
    filters = table.reshape(table.shape[-3:]).transpose(2, 1, 0).astype(np.int64)
    folded = sums.bias - sizes["in_zero_point"] * filters.sum((1, 2))
    first = np.minimum(np.arange(0, len(filters), 2), len(filters) - 2)
    if 128 * np.abs(filters).sum((1, 2))[[first, first + 1]].sum(0).max() >= _OFFSET:
        return None
    if np.abs(folded).max() >= 2**30:
        return None
    order = np.stack([first, first + 1], 1).reshape(-1)
    rescaling = started(replace(sums, bias=folded), np.where(np.arange(len(order)) % 2, 0, _OFFSET), order)
    plane_h = (sizes["out_h"] - 1) * sizes["stride_h"] + sizes["window_h"]
    plane_w = (sizes["out_w"] - 1) * sizes["stride_w"] + sizes["window_w"]
    sizes |= {"padding_code": sizes["in_zero_point"], "plane_h": plane_h, "plane_w": plane_w}
    arguments: dict[str, Argument] = {
        "in": call.arguments["in"],
        "weights": ConstantTable(np.stack([filters[first], filters[first + 1]], -1).astype(np.int8)),
        "channels": rescaling,
        "out": call.arguments["out"],
        **{name: sizes[name] for name in (*SIZES, "plane_h", "plane_w") if name != "out_c"},
    }
    words = 4 + filters[0].size + 2 * rescaling.words.shape[1]
    return KernelCall("depthwise_conv_2d_pairs_s8", arguments, scratch=4 * (plane_h * plane_w + words))


def _apart(sizes: Mapping[str, int]) -> bool:
    """Whether no pixel is in two windows."""
    return sizes["stride_h"] >= sizes["window_h"] and sizes["stride_w"] >= sizes["window_w"]


def _chunks(matrix: np.ndarray) -> int | None:
    """Into how many parts sums of products with ``[O, K]`` must fall so that every field holds its part."""
    for chunks in range(1, -(-matrix.shape[1] // 4) + 1):
        parts = np.abs(_parts(matrix, chunks)).sum(2)  # [O, chunks]
        if 128 * (parts[0::2] + parts[1::2]).max() < _OFFSET and matrix.shape[1] <= _MOST * chunks:
            return chunks
    return None


def _parts(matrix: np.ndarray, chunks: int) -> np.ndarray:
    """``[O, K]`` as ``[even O, chunks, 4 * blocks]``, zeros behind the last."""
    outputs, inputs = matrix.shape
    blocks = -(-inputs // (4 * chunks))
    padded = np.pad(matrix, ((0, outputs % 2), (0, 4 * blocks * chunks - inputs)))
    return padded.reshape(len(padded), chunks, 4 * blocks)


def _words(matrix: np.ndarray, chunks: int) -> tuple[np.ndarray, int]:
    """Starts and weights of two channels each, int64 ``[pairs, chunks * (4 + 4 * blocks)]``, and ``blocks``."""
    parts = _parts(matrix, chunks)
    first, second = parts[0::2], parts[1::2]
    # The second code of a word is 128 too large: by that much are the middle and the upper field.
    starts = _starts(128 * ((first.sum(2) << _FIELD) + (second.sum(2) << 2 * _FIELD)))
    words = np.concatenate([starts, first + (second << _FIELD)], 2)
    return words.reshape(len(words), -1), parts.shape[2] // 4


def _starts(excess: np.ndarray) -> np.ndarray:
    """Where two sums start, low word first, so that ``excess`` is gone at the end: ``[..., 4]``."""
    total = _OFFSET + (_OFFSET << _FIELD) - excess.astype(np.int64)
    return np.stack([total, total >> 32, total, total >> 32], -1)


def _stream(words: np.ndarray, channels: Rescaling) -> Rescaling:
    """Words of two channels each, and behind each two the words of their requantization."""
    count = channels.words.shape[1]
    padded = np.zeros((2 * len(words), count), np.int64)
    padded[: len(channels.words)] = channels.words
    return replace(channels, words=_int32(np.concatenate([words, padded.reshape(len(words), 2 * count)], 1)))


def _int32(words: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((words & 0xFFFFFFFF).astype(np.uint32).view(np.int32))


def started(sums: Accumulators, offset: np.ndarray, order: np.ndarray | None = None) -> Rescaling:
    """The requantization of sums that come ``offset`` too large and without bias, of the channels in ``order``."""
    rescaling = requantization(sums)
    words = rescaling.words.astype(np.int64)
    words = words if order is None else words[order]
    limits = (sums.zero_point, sums.low, sums.high)
    if rescaling.form != "Q_POSITIVE":
        return Rescaling(
            rescaling.form, _int32(np.concatenate([words[:, :1] - offset[:, None], words[:, 1:]], 1)), *limits
        )
    bias, multiplier, fraction = words.T
    start = (bias - offset) * multiplier + (fraction & 0xFFFFFFFF) + (sums.zero_point << 32)
    return Rescaling("Q_STARTED", _int32(np.stack([multiplier, start, start >> 32], 1)), *limits)
