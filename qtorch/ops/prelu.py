"""PRELU: a slope for each channel, or one for all.

Source: TFLM ``kernels/internal/reference/prelu.h``, ``micro/kernels/prelu_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.c_cells.broadcasting import call_for_each_pair, multiplier_arguments, table_or, zero_points
from qtorch.families.shape_rules import onto_input
from qtorch.families.steps import rounded_products, within
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.rescaling import rescale_any, rescaling
from qtorch.row.constraints import RESCALED, CoarserThan, Free
from qtorch.row.fused_activation import step_ends
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode
from qtorch.row.row import Attrs, Match, Row, Sample, TFLite, homogeneous_anywhere


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Input ``[N, C, H, W]``, weight ``[C]`` or ``[1]``."""
    return F.prelu(x["input"], x["weight"])


def _multipliers(grids: Mapping[str, Grid]) -> dict[str, Multiplier]:
    return {name: quantize_multiplier(factor) for name, factor in _factors(grids).items()}


def _factors(grids: Mapping[str, Grid]) -> dict[str, Tensor]:
    """Of codes from the zero point on, and of products of those below with slopes."""
    s_in, s_w, s_out = (grids[role].scale.to(torch.float64) for role in ("input", "weight", "output"))
    return {"above": s_in / s_out, "below": s_in * s_w / s_out}


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Input ``[N, H, W, C]``; factors in double."""
    source, weight, output = (grids[role] for role in ("input", "weight", "output"))
    multipliers = _multipliers(grids)
    centred = codes["input"] - source.zero_point
    # LiteRT's kernel rounds twice here too.
    above = requantize(centred.clone(), multipliers["above"], Rounding.DOUBLE)
    products = centred * (codes["weight"] - weight.zero_point)
    below = requantize(products, multipliers["below"], Rounding.DOUBLE)
    return torch.where(centred >= 0, above, below).add_(output.zero_point).clamp_(*output.limits)


def in_steps(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """``reference`` in floating point: products of 16 bits, of 23 where the input has 16; 0 is brought to 0."""
    x, slopes, factors = steps["input"], steps["weight"], _factors(grids)
    real = F.prelu(x, slopes * grids["weight"].scale) * factors["above"].to(torch.float32)
    with torch.no_grad():
        above, below = (rescaling(factors[name]) for name in ("above", "below"))
        products = x.clamp_max(0) * slopes.reshape(-1, *[1] * (x.dim() - 2))
        whole = rounded_products(x.clamp_min(0), above)
        if grids["input"].dtype == "int8":
            whole += rounded_products(products, below)
        else:
            whole += rescale_any(products.to(torch.float64), below)
    return within(real, whole, step_ends("none", grids["output"]))


def kernel(operands: Operands) -> KernelCall:
    """One of two requantizations."""
    grids = {role: operands.grid(role).grid for role in ("input", "weight", "output")}
    low, high = operands.grid("output").code_range
    numbers = {**multiplier_arguments(_multipliers(grids)), **zero_points(operands, "weight"), "low": low, "high": high}
    return call_for_each_pair("prelu", operands, numbers, "weight")


def samples() -> Iterable[Sample]:
    """Every code against slopes of either sign."""
    codes = np.arange(-128, 128, dtype=np.int8).reshape(4, 4, 4, 4)
    for label, weight, s_w, z_w, output in [
        ("a slope each", np.array([-100, 3, 50, 127], np.int8), 0.01, 3, (0.04, -20)),
        ("one slope", np.array([77], np.int8), 0.003, -128, (0.03, 5)),
        ("zero points at the ends", np.array([-128, -3, 9, 20], np.int8), 0.02, 127, (0.1, -128)),
    ]:
        qparams = {
            "input": QParams((float(np.float32(0.05)),), (-7,)),
            "weight": QParams((float(np.float32(s_w)),), (z_w,)),
            "output": QParams((float(np.float32(output[0])),), (output[1],)),
        }
        yield Sample(label, {}, {"input": codes, "weight": weight}, qparams)
        wide = np.linspace(-(2**15), 2**15 - 1, 1024).astype(np.int16).reshape(4, 8, 8, 4)
        fine = {
            role: QParams((float(np.float32(qparams[role].scale[0] / 256)),), (0,), "int16")
            for role in ("input", "output")
        }
        yield Sample(f"int16, {label}, TFLM alone", {}, {"input": wide, "weight": weight}, {**qparams, **fine})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """Slopes along the first axis of an image."""
    slopes = OnnxNode("Reshape", ("weight", np.array((-1, 1, 1), np.int64)), ("slopes",))
    return [slopes, OnnxNode("PRelu", ("input", "slopes"))]


ROW = Row(
    name="prelu",
    roles=("input", "weight"),
    matches=(
        Match("module", nn.PReLU),
        Match("aten", "prelu", tensors=2),
    ),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16")),
        "weight": Free(),
        "output": CoarserThan(
            ("int8", "int16"),
            others=("input", "weight"),
            factors={"int8": 2.0**-14, "int16": 2.0**-6},
            combine="product",
            also=RESCALED,
        ),
    },
    reference=reference,
    tflite=TFLite(operator="PRELU", resolver="AddPrelu", version=lambda qparams: 1),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=onto_input("weight"),
    rows=same_row,
    samples=samples,
    c=table_or(reference, kernel, "weight"),
    in_steps=in_steps,
    channels_last=True,
    homogeneous=homogeneous_anywhere,
)
