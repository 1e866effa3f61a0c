"""SignalRfft of int16: the spectrum of real numbers, of which zeros fill up what the transform is longer.

Source: TFLM ``signal/micro/kernels/rfft.cc``; see :mod:`qtorch.families.fixed_point_fft`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.fixed_point_fft import real_spectrum, real_turns, require_transform, stages, turns
from qtorch.families.signals import NO_ONNX, on_whole_numbers, signal_cell, signal_sample
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free
from qtorch.row.kernel_call import ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape
from qtorch.row.shape_rule import require


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[..., size]`` to ``[..., fft_length + 2]``: real and imaginary parts in turn."""
    source = codes["input"].numpy()
    rows = source.reshape(-1, source.shape[-1])
    filled = np.pad(rows, ((0, 0), (0, attrs["fft_length"] - rows.shape[1])))
    return torch.from_numpy(real_spectrum(filled)).reshape(*source.shape[:-1], -1)


def kernel(operands: Operands) -> KernelCall:
    """Tables of turns and stages; the output is also where it works."""
    size, count = operands.shapes["input"][-1], operands.attrs["fft_length"] // 2
    plan = stages(count)
    return KernelCall(
        "signal_rfft",
        {
            "in": TensorArgument("input"),
            "turns": ConstantTable(turns(count)),
            "real_turns": ConstantTable(real_turns(count)),
            "stages": ConstantTable(np.array(plan, np.int16)),
            "out": TensorArgument("output"),
            "rows": operands.size("input") // size,
            "size": size,
            "count": count,
            "stage_count": len(plan),
        },
    )


def shapes_of_spectrum(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The last axis has two numbers for each frequency from 0 to half of all.

    Raises:
        BadShape: the kernel has no such transform, or it is shorter than the input.
    """
    source, length = shapes["input"], attrs["fft_length"]
    require_transform(attrs)
    require(len(source) >= 2 and source[-1] <= length, f"at most {length} numbers behind the first axis", f"{source}")
    return ((*source[:-1], length + 2),)


def samples() -> Iterable[Sample]:
    """Every radix, odd and even numbers of pairs, zeros behind; noise, tones, extremes."""
    rng = np.random.default_rng(0)
    for size, length in [(480, 512), (64, 64), (4, 4), (6, 6), (10, 10), (50, 60), (90, 90), (100, 150), (7, 8)]:
        codes = rng.integers(-(2**15), 2**15, (7, size))
        codes[1], codes[2], codes[3, ::2] = 2**15 - 1, -(2**15), -(2**15)
        codes[4], codes[5] = 32767 * np.sin(np.arange(size)), codes[5] // 300
        attrs = {"type": "int16", "fft_length": length}
        yield signal_sample(f"{size} in {length}", attrs, {"input": codes.astype(np.int16)}, {"output": "int16"})


ROW = Row(
    name="signal_rfft",
    roles=("input",),
    matches=(),
    forward=on_whole_numbers(reference),
    constraints=dict.fromkeys(("input", "output"), Free(("int16",))),
    reference=reference,
    tflite=signal_cell(
        "Rfft",
        "AddRfft",
        OptionField("type", "T", "TensorType"),
        OptionField("fft_length", "fft_length"),
        vectors=False,
    ),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_of_spectrum,
)
