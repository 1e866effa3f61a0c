"""SignalFilterBankLog: the natural logarithm of numbers of 32 bits, in int16.

The binary logarithm between two powers of two is the fraction itself and a correction out of a table, with straight
lines between its entries.
Source: TFLM ``signal/micro/kernels/filter_bank_log.cc``, ``signal/src/{filter_bank_log,log}.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.signals import (
    NO_ONNX,
    UINT32,
    bit_lengths,
    bits_32,
    in_range,
    on_whole_numbers,
    require_vectors,
    signal_cell,
    signal_sample,
)
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape

_SEGMENTS = 128
#: By how much the binary logarithm of 1 to 2 is above the fraction, at the segments' ends, in Q0.16.
_ABOVE = np.array(
    [math.floor(2**16 * (math.log2(1 + i / _SEGMENTS) - i / _SEGMENTS) + 0.5) for i in range(_SEGMENTS + 1)], np.int16
)
#: The natural logarithm of 2 in Q0.16.
_LOG_2 = 45426
_HALF = 2**15
_MOST = CODE_RANGE["int16"][1]


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, channels]``; of 0 and 1 the logarithm is 0."""
    x = (codes["input"].numpy() << attrs["input_correction_bits"]) & UINT32
    positive = np.maximum(x, 1)
    power = bit_lengths(positive) - 1
    rest = positive - (1 << power)
    fraction = np.where(power < 16, rest << np.maximum(16 - power, 0), rest >> np.maximum(power - 16, 0))
    segment, above = fraction // (2**16 // _SEGMENTS), _ABOVE.astype(np.int64)
    inside = fraction - segment * (2**16 // _SEGMENTS)
    slope = ((above[segment + 1] - above[segment]) * inside) >> 16
    binary = (power << 16) + fraction + above[segment] + slope
    natural = (_LOG_2 * binary + _HALF) >> 16
    scaled = ((bits_32(attrs["output_scale"]) * natural + _HALF) & UINT32) >> 16
    return torch.from_numpy(np.where(x > 1, np.minimum(scaled, _MOST), 0))


def kernel(operands: Operands) -> KernelCall:
    """Number by number."""
    scale = bits_32(operands.attrs["output_scale"])
    return KernelCall(
        "signal_filter_bank_log",
        {
            "in": TensorArgument("input"),
            "above": ConstantTable(_ABOVE),
            "out": TensorArgument("output"),
            "count": operands.size("input"),
            "left": operands.attrs["input_correction_bits"],
            "scale": scale - 2**32 * (scale >= 2**31),
        },
    )


def shapes_of_logarithms(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's.

    Raises:
        BadShape: there are other axes, or a shift beyond 32 bits.
    """
    require_vectors(shapes, {"input": 2})
    in_range(attrs, {"input_correction_bits": range(32)})
    return (shapes["input"],)


def samples() -> Iterable[Sample]:
    """Numbers of every length, powers of two and their neighbours; scales that saturate and wrap."""
    rng = np.random.default_rng(0)
    powers = 2 ** np.arange(32)[None]
    rows = [powers, powers - 1, powers + 1, *(rng.integers(0, powers * 2) for _ in range(9))]
    codes = (np.concatenate(rows) & UINT32).astype(np.uint32)
    for bits, scale in [(3, 64), (0, 1600), (9, 1), (0, -7), (0, 2**31 - 1), (31, 300)]:
        attrs = {"input_correction_bits": bits, "output_scale": scale}
        yield signal_sample(f"{bits} bits, {scale}", attrs, {"input": codes}, {"output": "int16"})


ROW = Row(
    name="signal_filter_bank_log",
    roles=("input",),
    matches=(),
    forward=on_whole_numbers(reference),
    constraints={"input": Free(("uint32",)), "output": Free(("int16",))},
    reference=reference,
    tflite=signal_cell(
        "FilterBankLog",
        "AddFilterBankLog",
        OptionField("input_correction_bits", "input_correction_bits"),
        OptionField("output_scale", "output_scale"),
    ),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_of_logarithms,
    most_axes=2,
)
