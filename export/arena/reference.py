"""What TFLite Micro's reference kernels ask for: structures on 32-bit processors, rounded up, and scratch buffers.

Read in the kernels' ``Init`` and ``Prepare`` (``tensorflow/lite/micro/kernels``, to August 2026). Structures grew a
little over the years: each is given as the largest of them. What isn't in :data:`RULES` is taken to be
:data:`OTHER_STRUCTURES` bytes, which no kernel that this project writes files for exceeds.
"""

from __future__ import annotations

from collections.abc import Mapping

from export.arena.kernels import Call, Needs, Rule, elements

__all__ = ["OTHER_STRUCTURES", "PARAMETERS", "RULES", "reference_needs"]

#: An operator's options as TFLite Micro unpacks them (``builtin_data``): at most, but for :data:`PARAMETERS`.
_MOST_PARAMETERS = 8
#: Bytes of the larger ones: convolutions 28, pools 40, and so on.
PARAMETERS: Mapping[str, int] = {
    "CONV_2D": 28,
    "DEPTHWISE_CONV_2D": 28,
    "AVERAGE_POOL_2D": 40,
    "MAX_POOL_2D": 40,
    "L2_POOL_2D": 40,
    "RESHAPE": 36,
    "FULLY_CONNECTED": 16,
    "STRIDED_SLICE": 24,
    "TRANSPOSE_CONV": 20,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 16,
    "SVDF": 12,
    "SQUEEZE": 36,
}
OTHER_STRUCTURES = 64
#: Operators whose kernels keep nothing, in any library.
_STATELESS = (
    "RESHAPE", "SQUEEZE", "SLICE", "SPLIT", "SPLIT_V", "PACK", "UNPACK", "GATHER", "TRANSPOSE", "REVERSE_V2",
    "ARG_MAX", "ARG_MIN", "EXPAND_DIMS", "SHAPE", "FILL", "CAST", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
    "MAXIMUM", "MINIMUM", "BROADCAST_TO",
)  # fmt: skip
#: Entries of the tables that SOFTMAX of int16 keeps, two of 16 bits each.
_SOFTMAX_TABLE = 513


def parameters(call: Call) -> int:
    """Bytes of an operator's options."""
    return PARAMETERS.get(call.name, _MOST_PARAMETERS)


def per_channel(call: Call, channels: int, structure: int, *scratch: int) -> Needs:
    """A structure, with a multiplier and a shift for each channel."""
    return Needs((structure, 4 * channels, 4 * channels), scratch)


def unpacked_weights(call: Call) -> tuple[int, ...]:
    """Weights of 4 bits become bytes while the operator runs."""
    weights = call.input(1)
    return (elements(weights),) if weights.dtype == "int4" else ()


def _convolution(call: Call) -> Needs:
    return per_channel(call, call.output.shape[3], 64, *unpacked_weights(call))


def _fully_connected(call: Call) -> Needs:
    # A multiplier and a shift for each output, where there is a scale for each.
    weights = call.input(1)
    if len(weights.scale) > 1:
        return per_channel(call, weights.shape[0], 64, *unpacked_weights(call))
    return Needs((64,), unpacked_weights(call))


def wide_bias(call: Call) -> tuple[int, ...]:
    """A bias of 16 bits is widened to 64 in TRANSPOSE_CONV."""
    bias = call.inputs[3] if len(call.inputs) > 3 else None
    return (8 * elements(bias),) if bias is not None and bias.dtype == "int16" else ()


def _transpose_conv(call: Call) -> Needs:
    sums = elements(call.output) * (8 if call.output.dtype == "int16" else 4)
    return per_channel(call, call.output.shape[3], 64, *wide_bias(call), sums)


def _reduced(call: Call) -> Needs:
    axes = elements(call.input(1))
    sums = (4 * elements(call.output),) if call.name in ("MEAN", "SUM") else ()
    return Needs((64,), (*sums, 4 * len(call.input(0).shape), 4 * axes))


def softmax_tables(call: Call) -> tuple[int, ...]:
    """What SOFTMAX of int16 keeps."""
    return (2 * _SOFTMAX_TABLE,) * 2 if call.input(0).dtype == "int16" else ()


def _softmax(call: Call) -> Needs:
    return Needs((64, *softmax_tables(call)))


def transposed_operands(call: Call) -> tuple[int, ...]:
    """Copies that BATCH_MATMUL keeps: of a left operand that is turned, and of a right one that is not."""
    turned = []
    for position, copied in ((0, call.options.get("AdjX", False)), (1, not call.options.get("AdjY", False))):
        if copied:
            operand = call.input(position)
            turned += [16, 4 + 4 * len(operand.shape), elements(operand) * (2 if operand.dtype == "int16" else 1)]
    return tuple(turned)


def _batch_matmul(call: Call) -> Needs:
    # The shape of what comes out is copied where it isn't the file's.
    return Needs((64, 48, *transposed_operands(call), 4 + 4 * len(call.output.shape)))


def lstm_state(call: Call) -> int:
    """Numbers of the cell's state."""
    return elements(call.input(19))


def _lstm(call: Call) -> Needs:
    return Needs((640,), (2 * lstm_state(call),) * 4)


def svdf_sums(call: Call) -> tuple[int, int]:
    """Scratch of SVDF: a sum for each filter, and for each unit."""
    batch, filters = call.input(0).shape[0], call.input(1).shape[0]
    return 4 * batch * filters, 4 * batch * (filters // max(1, int(call.options.get("Rank", 1))))


def _svdf(call: Call) -> Needs:
    return Needs((64,), svdf_sums(call))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_STATELESS, lambda call: Needs()),
    "ADD": lambda call: Needs((64,)),
    "AVERAGE_POOL_2D": lambda call: Needs((48,)),
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": lambda call: Needs((4 + 4 * len(call.output.shape),)),
    "LOGISTIC": lambda call: Needs((32,)),
    "MAX_POOL_2D": lambda call: Needs((48,)),
    "MEAN": _reduced,
    "MUL": lambda call: Needs((64,)),
    "REDUCE_MAX": _reduced,
    "REDUCE_MIN": _reduced,
    "RELU": lambda call: Needs((32,)),
    "RELU6": lambda call: Needs((16,)),
    "RESHAPE": lambda call: Needs((4 + 4 * len(call.output.shape),)),
    "SOFTMAX": _softmax,
    "STRIDED_SLICE": lambda call: Needs((128,)),
    "SUM": _reduced,
    "SVDF": _svdf,
    "TANH": lambda call: Needs((32,)),
    "TRANSPOSE_CONV": _transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
}


def reference_needs(call: Call) -> Needs:
    """Of any operator."""
    rule = RULES.get(call.name)
    return Needs((OTHER_STRUCTURES,)) if rule is None else rule(call)
