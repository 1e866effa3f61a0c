"""Cortex-M55 and M85: sixteen products per instruction, eight sums at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from qtorch.row.kernel_call import Accumulators, Argument, ConstantTable, KernelCall, Rescaling

__all__ = ["convolution_in_vectors", "pointwise_in_vectors"]

#: Inputs that a vector holds, and output channels whose sums become codes together.
_INPUTS, _OUTPUTS = 16, 4


def pointwise_in_vectors(call: KernelCall) -> KernelCall | None:
    """A convolution of single pixels whose channels fill vectors."""
    return _only("pointwise_mve_s8", _in_vectors(call))


def convolution_in_vectors(call: KernelCall) -> KernelCall | None:
    """Any other convolution without groups; working memory grows by a second window."""
    return _only("conv_2d_mve_s8", _in_vectors(call))


def _only(kernel: str, call: KernelCall | None) -> KernelCall | None:
    return call if call is not None and call.kernel == kernel else None


def _in_vectors(call: KernelCall) -> KernelCall | None:
    """Two pixels at a time; ``None`` of what is no such convolution."""
    if call.kernel not in ("pointwise_s8", "conv_2d_s8") or call.arguments.get("groups", 1) != 1:
        return None
    arguments = dict(call.arguments)
    stream, blocks = _stream(_table(arguments, "weights"), _sums(arguments))
    for name in ("weights", "weight_bits", "groups"):
        arguments.pop(name, None)
    arguments |= {"channels": stream, "blocks": blocks}
    if call.kernel == "pointwise_s8" and arguments["in_c"] == _INPUTS * blocks:
        del arguments["in_c"]
        if arguments["stride_h"] == arguments["stride_w"] == 1:  # one long row, of which at most one pixel is alone
            arguments["in_w"] = arguments["out_w"] = _number(arguments, "out_h") * _number(arguments, "out_w")
            arguments["out_h"] = 1
        return replace(call, kernel="pointwise_mve_s8", arguments=arguments)
    if call.kernel == "pointwise_s8":
        in_h = (_number(arguments, "out_h") - 1) * _number(arguments, "stride_h") + 1
        arguments |= {"in_h": in_h, **_ONE_PIXEL}
    return replace(call, kernel="conv_2d_mve_s8", arguments=arguments, scratch=2 * _INPUTS * blocks)


_ONE_PIXEL = {
    **{"window_h": 1, "window_w": 1, "dilation_h": 1, "dilation_w": 1},
    **{"padding_top": 0, "padding_left": 0, "padding_code": 0},
}


def _table(arguments: Mapping[str, Argument], name: str) -> np.ndarray:
    table = arguments[name]
    assert isinstance(table, ConstantTable)
    return table.data


def _number(arguments: Mapping[str, Argument], name: str) -> int:
    number = arguments[name]
    assert isinstance(number, int)
    return number


def _sums(arguments: Mapping[str, Argument]) -> Accumulators:
    sums = arguments["channels"]
    assert isinstance(sums, Accumulators)
    return sums


def _stream(weights: np.ndarray, sums: Accumulators) -> tuple[Rescaling, int]:
    """Weights ``[O, ...]`` and constants as ``firmware/c/mve.h`` reads them, and how many blocks a channel has."""
    matrix = weights.reshape(len(weights), -1)
    blocks, groups = -(-matrix.shape[1] // _INPUTS), -(-len(matrix) // _OUTPUTS)
    padded = np.zeros((groups * _OUTPUTS, blocks * _INPUTS), np.int8)
    padded[: len(matrix), : matrix.shape[1]] = matrix
    rows = padded.reshape(groups, _OUTPUTS, blocks, _INPUTS).transpose(0, 2, 1, 3)
    form, constants = _constants(sums)
    vectors = np.zeros((groups * _OUTPUTS, constants.shape[1]), np.int32)
    vectors[: len(constants)] = constants
    vectors = vectors.reshape(groups, _OUTPUTS, -1).transpose(0, 2, 1).reshape(groups, -1)
    words = np.concatenate([np.ascontiguousarray(rows).reshape(groups, -1).view("<i4"), vectors], 1)
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
