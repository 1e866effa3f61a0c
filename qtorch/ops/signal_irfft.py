"""SignalIrfft of int16: real numbers of their spectrum, as SignalRfft gives it.

Source: TFLM ``signal/micro/kernels/irfft.cc``; see :mod:`qtorch.families.fixed_point_fft`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.fixed_point_fft import real_numbers, real_turns, require_transform, stages, turns
from qtorch.families.signals import NO_ONNX, on_whole_numbers, signal_cell, signal_sample
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape
from qtorch.row.shape_rule import require


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[..., fft_length + 2]``, real and imaginary parts in turn, to ``[..., fft_length]``."""
    source = codes["input"].numpy()
    numbers = real_numbers(source.reshape(-1, source.shape[-1]))
    return torch.from_numpy(numbers).reshape(*source.shape[:-1], -1)


def kernel(operands: Operands) -> KernelCall:
    """Tables of turns and stages; the output is also where it works."""
    count = operands.attrs["fft_length"] // 2
    plan = stages(count)
    return KernelCall(
        "signal_irfft",
        {
            "in": TensorArgument("input"),
            "turns": ConstantTable(turns(count, 1)),
            "real_turns": ConstantTable(real_turns(count, 1)),
            "stages": ConstantTable(np.array(plan, np.int16)),
            "out": TensorArgument("output"),
            "rows": operands.size("output") // (2 * count),
            "count": count,
            "stage_count": len(plan),
        },
    )


def shapes_of_numbers(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The last axis has as many numbers as the transform.

    Raises:
        BadShape: the kernel has no such transform, or the input is no spectrum of it.
    """
    source, length = shapes["input"], attrs["fft_length"]
    require_transform(attrs)
    require(len(source) >= 2 and source[-1] == length + 2, f"{length + 2} numbers behind the first axis", f"{source}")
    return ((*source[:-1], length),)


def samples() -> Iterable[Sample]:
    """Every radix, odd and even numbers of pairs; noise, extremes, a few frequencies."""
    rng = np.random.default_rng(0)
    for length in [512, 64, 4, 6, 10, 60, 90, 150, 8]:
        codes = rng.integers(-(2**15), 2**15, (7, length + 2))
        codes[1], codes[2], codes[3, ::2] = 2**15 - 1, -(2**15), -(2**15)
        codes[4], codes[5] = 0, codes[5] // 300
        codes[4, 2:4] = (2**15 - 1, -(2**15))
        attrs = {"type": "int16", "fft_length": length}
        yield signal_sample(f"{length} numbers", attrs, {"input": codes.astype(np.int16)}, {"output": "int16"})


ROW = Row(
    name="signal_irfft",
    roles=("input",),
    matches=(),
    forward=on_whole_numbers(reference),
    constraints=dict.fromkeys(("input", "output"), Free(("int16",))),
    reference=reference,
    tflite=signal_cell(
        "Irfft",
        "AddIrfft",
        OptionField("type", "T", "TensorType"),
        OptionField("fft_length", "fft_length"),
        vectors=False,
    ),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_of_numbers,
)
