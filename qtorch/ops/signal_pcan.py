"""SignalPCAN: automatic gain control per channel, by a table of the noise estimate's logarithm.

Source: TFLM ``signal/micro/kernels/pcan.cc``, ``signal/src/pcan_argc_fixed.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.fixed_point_fft import wrapped_16
from qtorch.families.signals import (
    NO_ONNX,
    UINT32,
    bit_lengths,
    in_range,
    on_whole_numbers,
    require_vectors,
    signal_cell,
    signal_sample,
)
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape
from qtorch.row.shape_rule import require

#: Three numbers for 0, 1 and 2, then the coefficients of a parabola, and one more, for each length of 3 to 32 bits.
_TABLE = 4 * 32 - 6 + 3
#: Bits behind the point of what is multiplied, and of the result.
_BITS, _OUTPUT_BITS = 12, 6


def _gain(noise: np.ndarray, table: np.ndarray) -> np.ndarray:
    """int16 for each number of 32 bits."""
    bits = bit_lengths(noise)
    start = np.maximum(4 * bits - 6, 0)
    fraction = np.where(bits < 11, noise << np.maximum(11 - bits, 0), noise >> np.maximum(bits - 11, 0)) & 0x3FF
    slope = ((table[start + 2] * fraction) >> 5) + (table[start + 1] << 5)
    smooth = ((slope * fraction + 2**14) >> 15) + table[start]
    return wrapped_16(np.where(noise <= 2, table[np.minimum(noise, 2)], smooth))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, channels]``, the estimates of their noise, and the table."""
    gain = _gain(codes["noise_estimate"].numpy(), codes["gain_lut"].numpy()) & UINT32
    products = codes["input"].numpy().astype(np.uint64) * gain.astype(np.uint64)
    ratio = ((products >> np.uint64(attrs["snr_shift"])) & np.uint64(UINT32)).astype(np.int64)
    small = ((ratio * ratio) & UINT32) >> (2 + 2 * _BITS - _OUTPUT_BITS)
    large = (ratio >> (_BITS - _OUTPUT_BITS)) - (1 << _OUTPUT_BITS)
    return torch.from_numpy(np.where(ratio < 2 << _BITS, small, large))


def kernel(operands: Operands) -> KernelCall:
    """Channel by channel, in place."""
    return KernelCall(
        "signal_pcan",
        {
            "in": TensorArgument("input"),
            "noise": TensorArgument("noise_estimate"),
            "gains": ConstantTable(operands.constants["gain_lut"]),
            "out": TensorArgument("output"),
            "count": operands.size("input"),
            "right": operands.attrs["snr_shift"],
        },
        in_place=frozenset({"input"}),
    )


def shapes_of_gained(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's.

    Raises:
        BadShape: the estimates have another, the table is too short, or the shift is none of 64 bits.
    """
    require_vectors(shapes, {"input": 2, "noise_estimate": 2, "gain_lut": 1})
    source = shapes["input"]
    require(shapes["noise_estimate"] == source, f"estimates of {source}", f"{shapes['noise_estimate']}")
    require(shapes["gain_lut"][0] >= _TABLE, f"a gain_lut of at least {_TABLE} numbers", f"{shapes['gain_lut']}")
    in_range(attrs, {"snr_shift": range(64)})
    return (source,)


def samples() -> Iterable[Sample]:
    """Estimates of every length, gains of any sign, both sides of the bend."""
    rng = np.random.default_rng(0)
    noise: np.ndarray = np.concatenate([rng.integers(0, 2**bits, (1, 9)) for bits in range(33)])
    noise[:3] = np.arange(27).reshape(3, 9)
    energies: np.ndarray = rng.integers(0, 2 ** rng.integers(2, 33, (33, 1)), (33, 9))
    cases: list[tuple[str, np.ndarray, int]] = [
        ("falling gains", np.linspace(32767, 0, _TABLE).astype(np.int64), 6),
        ("any gains", rng.integers(-(2**15), 2**15, _TABLE + 2), 12),
        ("the largest coefficients", np.full(_TABLE, 2**15 - 1), 40),
        ("the least coefficients", np.full(_TABLE, -(2**15)), 0),
    ]
    for label, table, shift in cases:
        arrays: dict[str, np.ndarray] = {
            "input": energies.astype(np.uint32),
            "noise_estimate": noise.astype(np.uint32),
            "gain_lut": table.astype(np.int16),
        }
        yield signal_sample(label, {"snr_shift": shift}, arrays, {"output": "uint32"})


ROW = Row(
    name="signal_pcan",
    roles=("input", "noise_estimate", "gain_lut"),
    runtime=2,
    matches=(),
    forward=on_whole_numbers(reference),
    constraints={
        **dict.fromkeys(("input", "noise_estimate", "output"), Free(("uint32",))),
        "gain_lut": Free(("int16",)),
    },
    reference=reference,
    tflite=signal_cell("PCAN", "AddPCAN", OptionField("snr_shift", "snr_shift")),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_of_gained,
    most_axes=2,
)
