"""ADD_N: the sum of tensors on one grid; int8. No layer is exported as one, other converters' are.

The kernel begins its sum at code 0 instead of the zero point, which is then in the sum once too often.

Source: TFLM ``kernels/internal/reference/add_n.h``, ``micro/kernels/add_n.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.broadcasting import multiplier_arguments
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import CoarserThan, SameAs
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import KernelCall, NoKernel, Operands, TensorArgument
from qtorch.row.row import Attrs, Row, Sample, Shape, TFLite
from qtorch.row.shape_rule import require

#: The kernel shifts codes to the left by 20 bits and halves them again, which is exact.
_BITS = 19


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Of one shape."""
    return torch.stack([x[f"input_{i}"] for i in range(len(x))]).sum(0)


def _multiplier(grids: Mapping[str, Grid]) -> Multiplier:
    """From a step of the inputs, in units of 2**-19, to the output's."""
    s_input, s_output = (grids[role].scale.to(torch.float64) for role in ("input_0", "output"))
    return quantize_multiplier(2 * s_input / (2**20 * s_output))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """The sum of all codes less one zero point more than there are, requantized once."""
    source, output = grids["input_0"], grids["output"]
    total = forward(attrs, codes) - (len(codes) + 1) * source.zero_point
    scaled = requantize(total << _BITS, _multiplier(grids), Rounding.DOUBLE).add_(output.zero_point)
    return scaled.clamp_(*output.limits)


def kernel(operands: Operands) -> tuple[KernelCall, ...]:
    """Pairwise sums would round in between, so the inputs' addresses are handed over, four at most."""
    roles = [role for role in operands.shapes if role.startswith("input_")]
    if len(roles) > 4:
        raise NoKernel(f"{len(roles)} tensors, where 4 are the most")
    source, output = operands.grid("input_0"), operands.grid("output")
    low, high = output.code_range
    multiplier = _multiplier({role: operands.grid(role).grid for role in ("input_0", "output")})
    given = [roles[min(i, len(roles) - 1)] for i in range(4)]
    return (
        KernelCall(
            "add_n_s8",
            {
                **{f"in_{i}": TensorArgument(role) for i, role in enumerate(given)},
                "out": TensorArgument("output"),
                "count": len(roles),
                "size": operands.size("output"),
                "zeros": (len(roles) + 1) * source.zero_point[0],
                "zero_point": output.zero_point[0],
                **multiplier_arguments({"": multiplier}),
                "low": low,
                "high": high,
            },
        ),
    )


def samples() -> Iterable[Sample]:
    """Two to four tensors; zero points at 0, where the sum is right, and elsewhere; saturation."""
    rng = np.random.default_rng(23)
    for count, s_in, z_in, s_out, z_out in [
        (2, 0.05, 0, 0.07, 3),
        (3, 0.05, 0, 0.11, -128),
        (4, 0.02, 0, 0.01, 0),
        (2, 0.05, -128, 0.2, -100),
        (3, 0.05, 90, 0.11, 5),
    ]:
        arrays = {f"input_{i}": rng.integers(-128, 128, (4, 5, 6), dtype=np.int8) for i in range(count)}
        source, sink = (QParams((float(np.float32(s)),), (z,)) for s, z in ((s_in, z_in), (s_out, z_out)))
        # LiteRT has no kernel of int8.
        label = f"{count} of {s_in}@{z_in} to {s_out}@{z_out}, TFLM alone"
        yield Sample(label, {}, arrays, {**dict.fromkeys(arrays, source), "output": sink})


def alike(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """All inputs have one shape, and there are at least two.

    Raises:
        BadShape: so it is not.
    """
    require(
        len(shapes) >= 2 and len({*shapes.values()}) == 1, "two tensors or more, of one shape", list(shapes.values())
    )
    return (shapes["input_0"],)


ROW = Row(
    name="add_n",
    roles=("input",),
    variadic=True,
    matches=(),
    forward=forward,
    constraints={
        "input": SameAs("input_0", ("int8",)),
        "output": CoarserThan(others=("input_0",), factors={"int8": 2.0**-18}),
    },
    reference=reference,
    tflite=TFLite(operator="ADD_N", resolver="AddAddN", version=lambda qparams: 1, options="AddNOptions"),
    shapes=alike,
    rows=same_row,
    samples=samples,
    c=kernel,
)
