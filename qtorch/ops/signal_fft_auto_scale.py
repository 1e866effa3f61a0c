"""SignalFftAutoScale: int16 numbers shifted to the left until the largest fills its bits, and by how many bits.

Of -32768 the kernel keeps a largest magnitude that is itself negative, so that the next number, whatever it is, is the
largest so far; shifts may then lose bits. So it is here.
Source: TFLM ``signal/micro/kernels/fft_auto_scale_kernel.cc``, ``signal/src/{fft_auto_scale,max_abs,msb_32}.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.signals import NO_ONNX, on_whole_numbers, require_vectors, signal_cell, signal_sample
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.row.kernel_call import KernelCall, Operands, TensorArgument
from qtorch.row.row import Attrs, Row, Sample, Shape

_LEAST = CODE_RANGE["int16"][0]


def largest(numbers: list[int]) -> int:
    """The largest magnitude as the kernel finds it, in int16."""
    after = len(numbers) - numbers[::-1].index(_LEAST) - 1 if _LEAST in numbers else None
    if after is None:
        return max(max(numbers), -min(numbers))
    found = _LEAST
    for number in numbers[after + 1 :]:
        found = number if number > found else max(found, -number)
    return found


def reference(
    attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding
) -> tuple[Tensor, Tensor]:
    """``[N, size]`` to the same, and the shifts, ``[N]``."""
    source = codes["input"]
    magnitudes = [largest(row) for row in source.tolist()]
    # Without any bit the kernel counts 32 of them.
    shifts = torch.tensor([15 - each.bit_length() if each > 0 else 0 for each in magnitudes])
    scaled = source << shifts[:, None]
    return (scaled - _LEAST) % 2**16 + _LEAST, shifts


def kernel(operands: Operands) -> KernelCall:
    """Twice over the numbers."""
    return KernelCall(
        "signal_fft_auto_scale",
        {
            "in": TensorArgument("input"),
            "out": TensorArgument("output_0"),
            "shifts": TensorArgument("output_1"),
            "rows": operands.shapes["input"][0],
            "size": operands.shapes["input"][1],
        },
        in_place=frozenset({"input"}),
    )


def shapes_scaled(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """The input's, and a number for each sample.

    Raises:
        BadShape: there are other axes.
    """
    require_vectors(shapes, {"input": 2})
    return shapes["input"], shapes["input"][:1]


def samples() -> Iterable[Sample]:
    """Every number of leading bits, silence, and -32768 at the beginning, in the middle and at the end."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(-(2**bits), 2**bits, 21) for bits in range(16)]
    rows += [np.zeros(21, np.int64), *(np.where(np.arange(21) == at, _LEAST, rows[3]) for at in (0, 9, 20))]
    rows += [np.where(np.arange(21) < 20, _LEAST, last) for last in (-5, 0, 700)]
    rows += [np.r_[_LEAST, -np.arange(1, 21)], np.r_[_LEAST, -np.arange(20, 0, -1)]]
    codes = np.array(rows).astype(np.int16)
    yield signal_sample("every shift", {}, {"input": codes}, {"output_0": "int16", "output_1": "int32"})


class _Scaled:
    """int16, and int32 of the shifts."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`qtorch.row.constraints.Constraint`."""
        got = qparams[role]
        if role == "output_1":
            return None if got == INDICES else f"expected int32 of whole numbers, got {got}"
        fine = got is not None and got.dtype == "int16" and got == qparams["input"]
        return None if fine else f"expected int16, one grid for input and output, got {got}"


ROW = Row(
    name="signal_fft_auto_scale",
    roles=("input",),
    many=True,
    matches=(),
    forward=on_whole_numbers(reference),
    constraints=dict.fromkeys(("input", "output"), _Scaled()),
    reference=reference,
    tflite=signal_cell("FftAutoScale", "AddFftAutoScale"),
    samples=samples,
    onnx=NO_ONNX,
    c=kernel,
    shapes=shapes_scaled,
    most_axes=2,
)
