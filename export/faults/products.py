"""Products and quotients of scales in float32 and in double: whether an operator's very scales tell them apart.

TFLite Micro's kernels that requantize by a factor take it from scales, which are float32. Where a source multiplies or
divides them in float32, the factor may be another one in its last bits, and so may a code at a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.faults.fault import Operator
from export.faults.geometry import scales, tensor
from export.tflite.file_data import FileTensor
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize, requantize_wide
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.fused_activation import activation_limits

__all__ = [
    "batch_matmul_differs",
    "div_differs",
    "fully_connected_differs",
    "fully_connected_of_one_scale_differs",
    "hard_swish_differs",
    "leaky_relu_differs",
    "lstm_differs",
    "relu_differs",
    "rsqrt_differs",
    "sub_differs",
    "svdf_differs",
]

#: The schema's numbers of activations that kernels apply to their own output.
_ACTIVATIONS = {0: "none", 1: "relu", 3: "relu6"}
_INTEGERS = ("int8", "int16")

#: Of codes that are tried one by one.
_MOST_PAIRS = 2**16


def fully_connected_differs(operator: Operator) -> str:
    """Of one weight scale, or of several that are equal: the first sum that inputs can make whose code is another."""
    source, weight, output = _quantized(operator, 0, 1)
    if source is None or weight is None or output is None or len(set(weight.scale)) != 1:
        return ""
    return _differing_product(source, weight.scale[0], output, _reach(operator, source, 1, 2), operator.options)


def fully_connected_of_one_scale_differs(operator: Operator) -> str:
    """Of one weight scale: the first sum that inputs can make whose code is another; several are taken in double."""
    return fully_connected_differs(operator) if scales(operator, 1) == 1 else ""


def batch_matmul_differs(operator: Operator) -> str:
    """Of both factors' scales: the first sum of that many products whose code is another."""
    source, other, output = _quantized(operator, 0, 1)
    if source is None or other is None or output is None:
        return ""
    depth = source.shape[-2] if operator.options.get("AdjX") else source.shape[-1]
    most = depth * _widest(source) * _widest(other)
    return _differing_product(source, other.scale[0], output, (-most, most), {})


def lstm_differs(operator: Operator) -> str:
    """Of the eight products of a gate, from which a fixed grid of 2**-12 follows."""
    source, _, output = _quantized(operator, 0, 1)
    if source is None or output is None:
        return ""
    for position in range(1, 9):
        weight = tensor(operator, position)
        if weight is None or not weight.scale:
            continue
        read = source if position < 5 else output
        reach = _reach(operator, read, position, position + 11 if position < 5 else -1)
        words = _differing(
            *_products(read.scale[0], weight.scale[0], 2.0**-12), reach, Grid(*_grid(2.0**-12, 0), "int16"),
            CODE_RANGE["int16"], read.dtype == "int16",
        )  # fmt: skip
        if words:
            return f"scales {read.scale[0]:.9g} and {weight.scale[0]:.9g} of input {position}: {words}"
    return ""


def relu_differs(operator: Operator) -> str:
    """The first code whose output is another."""
    return _differing_codes(operator, "relu", {})


def rsqrt_differs(operator: Operator) -> str:
    """The first code whose output is another."""
    return _differing_codes(operator, "rsqrt", {})


def leaky_relu_differs(operator: Operator) -> str:
    """The first code whose output is another."""
    return _differing_codes(operator, "leaky_relu", {"alpha": float(operator.options.get("Alpha", 0.0))})


def hard_swish_differs(operator: Operator) -> str:
    """The first code whose output is another."""
    return _differing_codes(operator, "hard_swish", {})


def sub_differs(operator: Operator) -> str:
    """The first pair of codes whose difference is another; of two int16 tensors, of which too many pairs are, any."""
    source, other, output = _quantized(operator, 0, 1)
    if source is None or other is None or output is None or source.dtype != output.dtype:
        return ""
    first, second = (_codes(operator, position, each) for position, each in ((0, source), (1, other)))
    grids = {"input": _grid_of(source), "other": _grid_of(other), "output": _grid_of(output)}
    if len(first) * len(second) > _MOST_PAIRS:
        s_first, s_second, s_output = (grids[role].scale for role in ("input", "other", "output"))
        greater = torch.maximum(s_first, s_second)
        quotients = ((s_first, greater), (s_second, greater), (greater, s_output))
        # Equal in both types, it is exact, and powers of two change nothing.
        exact = all(torch.equal((a / b).to(torch.float64), a.to(torch.float64) / b) for a, b in quotients)
        return "" if exact else "quotients of scales in float32 and in double bring 16-bit codes to other sums"
    return _first_pair("sub", operator, first, second, grids)


def div_differs(operator: Operator) -> str:
    """The first pair of codes whose quotient is another."""
    source, other, output = _quantized(operator, 0, 1)
    if source is None or other is None or output is None or {source.dtype, other.dtype, output.dtype} != {"int8"}:
        return ""
    grids = {"input": _grid_of(source), "other": _grid_of(other), "output": _grid_of(output)}
    first, second = (_codes(operator, position, each) for position, each in ((0, source), (1, other)))
    return _first_pair("div", operator, first, second, grids)


def svdf_differs(operator: Operator) -> str:
    """Of the products into the state, and of those out of it: the first sum whose code is another."""
    source, feature, output = _quantized(operator, 0, 1)
    time, state = tensor(operator, 2), tensor(operator, 4)
    if source is None or feature is None or output is None or time is None or state is None:
        return ""
    if not time.scale or not state.scale or not state.zero_point:
        return ""
    ranks = int(operator.options.get("Rank", 1))
    low, high = _reach(operator, state, 2, -1)
    bias = np.frombuffer(operator.constants[3], "<i4") if 3 in operator.constants else np.zeros(1, np.int32)
    steps = (
        ("into", source, feature, state, _reach(operator, source, 1, -1)),
        ("out of", state, time, output, (ranks * low + int(bias.min()), ranks * high + int(bias.max()))),
    )
    for words, one, other, result, reach in steps:
        first, second, divisor = (np.float32(each.scale[0]) for each in (one, other, result))
        in_float32 = torch.tensor(float(first * second / divisor), dtype=torch.float64)
        in_double = torch.tensor(float(first) * float(second) / float(divisor), dtype=torch.float64)
        said = _differing(in_float32, in_double, reach, _grid_of(result), CODE_RANGE[result.dtype], False)
        if said:
            return f"{words} the state {said}"
    return ""


def _first_pair(row: str, operator: Operator, first: Tensor, second: Tensor, grids: Mapping[str, Grid]) -> str:
    """The first pair of codes that becomes another code, in words; empty if there is none."""
    codes = (first.numpy().tobytes(), second.numpy().tobytes())
    numbers = ((role, float(g.scale), int(g.zero_point), g.dtype) for role, g in grids.items())
    return _first_pair_of(row, _activation(operator), codes, tuple(numbers))


@lru_cache(maxsize=1024)  # many editions are asked of the same file, and of the one written again
def _first_pair_of(
    row: str, activation: str, codes: tuple[bytes, bytes], numbers: tuple[tuple[str, float, int, str], ...]
) -> str:
    """:func:`_first_pair` of what alone decides it: int64 codes, and scale, zero point and type by role."""
    first, second = (torch.from_numpy(np.frombuffer(each, np.int64).copy()) for each in codes)
    grids = {role: Grid(*_grid(scale, zero_point), dtype) for role, scale, zero_point, dtype in numbers}
    pairs = {"input": first[:, None], "other": second[None, :]}
    single, double = _in_both(row, {"activation": activation}, pairs, grids)
    wrong = (single != double).nonzero()
    if not len(wrong):
        return ""
    i, j = (int(index) for index in wrong[0])
    return (
        f"codes {int(first[i])} and {int(second[j])} give {int(single[i, j])} with quotients of scales in float32, "
        f"{int(double[i, j])} in double; so do {len(wrong):,} of {single.numel():,} pairs"
    )


def _differing_codes(operator: Operator, row: str, attrs: Mapping[str, Any]) -> str:
    source, _, output = _quantized(operator, 0)
    if source is None or output is None or source.dtype != output.dtype:
        return ""
    codes = _codes(operator, 0, source)
    return _first_code(
        codes, *_in_both(row, attrs, {"input": codes}, {"input": _grid_of(source), "output": _grid_of(output)})
    )


def _in_both(
    row: str, attrs: Mapping[str, Any], codes: Mapping[str, Tensor], grids: Mapping[str, Grid]
) -> tuple[Tensor, Tensor]:
    """What kernels that divide scales in float32 compute, and those that do it in double."""
    single, double = (ROWS[row].reference(attrs, codes, grids, each) for each in (Rounding.EARLIER, Rounding.DOUBLE))
    return single, double


def _quantized(operator: Operator, *positions: int) -> tuple[FileTensor | None, FileTensor | None, FileTensor | None]:
    """The inputs at one or two positions and the first output; ``None`` for all where one is no int8 or int16."""
    chosen = [tensor(operator, position) for position in positions]
    tensors = [*chosen, operator.outputs[0] if operator.outputs else None]
    if any(each is None or not each.scale or not each.zero_point for each in tensors):
        return None, None, None
    if any(each is not None and each.dtype not in (*_INTEGERS, "int4") for each in tensors):
        return None, None, None
    return tensors[0], tensors[1] if len(positions) > 1 else None, tensors[-1]


def _grid(scale: float, zero_point: int) -> tuple[Tensor, Tensor]:
    return torch.tensor(scale, dtype=torch.float32), torch.tensor(zero_point, dtype=torch.int32)


def _grid_of(tensor: FileTensor) -> Grid:
    return QParams(tensor.scale[:1], tensor.zero_point[:1], tensor.dtype).grid


def _activation(operator: Operator) -> str:
    return _ACTIVATIONS.get(operator.options.get("FusedActivationFunction", 0), "none")


def _codes(operator: Operator, position: int, tensor: FileTensor) -> Tensor:
    """The codes that a tensor can have: of a constant those that it has, ``[N]`` int64."""
    if position in operator.constants:
        held = np.frombuffer(operator.constants[position], np.dtype(tensor.dtype).newbyteorder("<"))
        return torch.from_numpy(np.unique(held).astype(np.int64))
    low, high = CODE_RANGE[tensor.dtype]
    return torch.arange(low, high + 1)


def _widest(tensor: FileTensor) -> int:
    """How far a code can lie from the zero point."""
    low, high = CODE_RANGE[tensor.dtype]
    return max(high - tensor.zero_point[0], tensor.zero_point[0] - low)


def _reach(operator: Operator, source: FileTensor, at: int, bias_at: int) -> tuple[int, int]:
    """Between which sums every output channel stays, whatever the input, of the weight and bias at two positions."""
    weight = operator.inputs[at]
    if weight is None:
        return 0, 0
    bias = np.zeros(1, np.int64)
    held_bias = tensor(operator, bias_at) if bias_at in operator.constants else None
    if held_bias is not None:
        bias = np.frombuffer(operator.constants[bias_at], np.dtype(held_bias.dtype).newbyteorder("<")).astype(np.int64)
    depth = weight.shape[-1]
    if at not in operator.constants or weight.dtype == "int4":
        most = depth * _widest(source) * _widest(weight)
        return int(bias.min()) - most, int(bias.max()) + most
    held = np.frombuffer(operator.constants[at], np.dtype(weight.dtype).newbyteorder("<"))
    rows = held.astype(np.int64).reshape(-1, depth)
    ends = [(code - source.zero_point[0]) * rows for code in CODE_RANGE[source.dtype]]
    least, most_of = np.minimum(*ends).sum(1) + bias, np.maximum(*ends).sum(1) + bias
    return int(least.min()), int(most_of.max())


def _products(first: float, second: float, output: float) -> tuple[Tensor, Tensor]:
    """The factor of sums of products with the product of scales in float32 and in double, float64 ``[]``."""
    single = float(np.float32(first) * np.float32(second)) / float(np.float32(output))
    double = float(np.float32(first)) * float(np.float32(second)) / float(np.float32(output))
    return torch.tensor(single, dtype=torch.float64), torch.tensor(double, dtype=torch.float64)


def _differing_product(
    source: FileTensor, second: float, output: FileTensor, reach: tuple[int, int], options: Mapping[str, Any]
) -> str:
    activation = _ACTIVATIONS.get(options.get("FusedActivationFunction", 0), "none")
    limits = activation_limits(activation, _grid_of(output))
    words = _differing(
        *_products(source.scale[0], second, output.scale[0]), reach, _grid_of(output), limits, source.dtype == "int16"
    )
    return f"the product of the scales {source.scale[0]:.9g} and {second:.9g}: {words}" if words else ""


def _differing(
    single: Tensor, double: Tensor, reach: tuple[int, int], output: Grid, limits: tuple[int, int], wide: bool
) -> str:
    most = int(2**30 / max(float(double), 2.0**-33))
    reach = (max(reach[0], -most), min(reach[1], most))
    return _differing_multipliers(quantize_multiplier(single), quantize_multiplier(double), reach, output, limits, wide)


def _differing_multipliers(
    single: Multiplier, double: Multiplier, reach: tuple[int, int], output: Grid, limits: tuple[int, int], wide: bool
) -> str:
    """The first sum in ``reach`` that two multipliers bring to other codes, in words; empty if there is none.

    A code never falls where a sum grows, so all that can differ is where each code begins.
    """
    if all(torch.equal(*pair) for pair in zip(single, double, strict=True)):
        return ""
    bound = 2**47 - 1 if wide else 2**31 - 1
    shift = max(0, int(single.shift), int(double.shift))
    low, high = max(reach[0], -(bound >> shift)), min(reach[1], bound >> shift)
    zero_point = int(output.zero_point)

    def codes(sums: Tensor, multiplier: Multiplier) -> Tensor:
        scaled = requantize_wide(sums, multiplier) if wide else requantize(sums.clone(), multiplier)
        return (scaled + zero_point).clamp(*limits)

    starts = [_starts(partial(codes, multiplier=each), (low, high), limits) for each in (single, double)]
    apart = (starts[0] != starts[1]).nonzero()
    if not len(apart):
        return ""
    at = torch.minimum(*starts)[apart[0]]
    one, other = (int(codes(at.clone(), each)) for each in (single, double))
    return f"a sum of {int(at):,} becomes code {one} in float32, {other} in double"


def _starts(codes: Callable[[Tensor], Tensor], reach: tuple[int, int], limits: tuple[int, int]) -> Tensor:
    """The least sum in reach from which on there is each code but the lowest; one beyond where there is none."""
    wanted = torch.arange(limits[0] + 1, limits[1] + 1)
    low, high = torch.full_like(wanted, reach[0]), torch.full_like(wanted, reach[1] + 1)
    while bool((low < high).any()):
        middle = (low + high) >> 1
        there = codes(middle.clamp(max=reach[1])) >= wanted
        high = torch.where(there & (low < high), middle, high)
        low = torch.where(~there & (low < high), middle + 1, low)
    return low


def _first_code(codes: Tensor, single: Tensor, double: Tensor) -> str:
    wrong = (single != double).nonzero()
    if not len(wrong):
        return ""
    at = int(wrong[0])
    return (
        f"code {int(codes[at])} becomes {int(single[at])} with the quotient of scales in float32, {int(double[at])} in "
        f"double; so do {len(wrong):,} of {codes.numel():,} codes"
    )
