"""MEAN as a DEPTHWISE_CONV_2D of ones, whose sums are requantized by a multiplier in every edition.

MEAN's multiplier has 31 bits of which a scale of float32 gives 24, so that the convolution's is another. Every sum that
there can be is tried with both: a scale is taken that brings all of them to the same code. Where the quotient of scales
has a lesser mantissa than the count of what is summed, MEAN's multiplier lacks a bit and it rounds half a step away
before it rounds: no convolution does that, and the op stays.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, accumulator_grid, rewritten
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.ops.mean import multiplier_of_mean

__all__ = ["summed_by_convolution"]

#: Sums that are tried with each scale; scales that are tried, above and below the quotient.
_MOST, _SCALES = 2**20, 24
_PLAIN = {
    "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid", "activation": "none",
    "depth_multiplier": 1,
}  # fmt: skip


def summed_by_convolution(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Of int8, over axes that stand together behind the first one, with one axis or none behind them."""
    return rewritten(graph, outputs, _summed)


def _summed(draft: Draft, node: Node) -> bool:
    if node.op != "mean":
        return False
    source, output = draft.values[node.inputs[0]], draft.values[node.output]
    axes, shape, stem = sorted(node.attrs["axes"]), source.shape, node.output
    together = axes == list(range(axes[0], axes[-1] + 1))
    if source.dtype != "int8" or output.dtype != "int8" or axes[0] == 0 or not together:
        return False
    before, behind = math.prod(shape[1 : axes[0]]), math.prod(shape[axes[-1] + 1 :])
    count = math.prod(shape[axis] for axis in axes)
    scale = _scale(source.quantization.grid, output.quantization.grid, count)
    if scale is None:
        return False
    # Axes in front of those that are summed are rows, each with windows of its own.
    inner = (shape[axes[0]], math.prod(shape[axis] for axis in axes[1:]))
    rows, window = (inner[0], inner) if before == 1 else (before, (1, count))
    weight = draft.constant(f"{stem}.ones", np.ones((1, *window, behind), np.int8), QParams((scale,), (0,)))
    sums = accumulator_grid(source.quantization, draft.values[weight].quantization)
    if sums is None:
        return False
    bias = draft.constant(f"{stem}.zero_bias", np.zeros(behind, np.int32), sums)
    image = draft.reshape(node.inputs[0], (shape[0], rows, window[1], behind), stem=f"{stem}.image")
    made = draft.op(
        "depthwise_conv_2d", _PLAIN, [image, weight, bias], (shape[0], before, 1, behind), stem=f"{stem}.mean",
        qparams=output.quantization,
    )  # fmt: skip
    draft.reshape(made, output.shape, output=stem)
    return True


def _scale(source: Grid, output: Grid, count: int) -> float | None:
    """Of ones, by which every sum of so many codes gets the code that MEAN gives it; ``None`` if none is found."""
    low, high = source.limits
    if count * (high - low) > _MOST:
        return None
    sums = torch.arange(count * (low - int(source.zero_point)), count * (high - int(source.zero_point)) + 1)
    wanted = _codes(sums, multiplier_of_mean({"input": source, "output": output}, count), output)
    quotient = source.scale.to(torch.float64) / output.scale.to(torch.float64)
    middle = np.float32(1.0 / count)
    up, down = middle, np.nextafter(middle, np.float32(0))
    for _ in range(_SCALES // 2):
        for tried in (up, down):
            if torch.equal(_codes(sums, quantize_multiplier(quotient * float(tried)), output), wanted):
                return float(tried)
        up, down = np.nextafter(up, np.float32(1e9)), np.nextafter(down, np.float32(0))
    return None


def _codes(sums: Tensor, multiplier: Multiplier, output: Grid) -> Tensor:
    scaled = requantize(sums.clone(), multiplier, Rounding.DOUBLE)
    return (scaled + output.zero_point).clamp(*output.limits)
