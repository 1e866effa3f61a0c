"""What the rows of two-operand arithmetic share: PyTorch's spellings, the rescaled sum, and samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from qtorch.c_cells.broadcasting import all_int8, call_for_each_pair, multiplier_arguments, table_or, zero_points
from qtorch.c_cells.short_sums import ShortSum, short_sum
from qtorch.families.steps import rounded_products, within
from qtorch.numbers.fixedpoint import Multiplier, quantize_multiplier, requantize
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.rescaling import rescale_any, rescaling
from qtorch.row.constraints import CoarserThan
from qtorch.row.fused_activation import activation_limits, step_ends
from qtorch.row.kernel_call import Argument, KernelCall, KernelCell, Operands
from qtorch.row.row import Attrs, Call, InSteps, Match, Reference, Refused, Sample

__all__ = [
    "binary_matches",
    "binary_samples",
    "extremum_kernel",
    "extremum_matches",
    "rescaled_sum",
    "shared_grid_samples",
    "squared_difference",
    "sum_in_steps",
    "sum_kernel",
    "sum_output",
    "summand_shift",
]


_PAIR = ("input", "other", "output")


def squared_difference(input: Tensor, other: Tensor) -> Tensor:
    """``(input - other) ** 2``, shapes broadcast; one op on the device."""
    if has_torch_function((input, other)):
        # One call to whoever looks, as a function of torch is.
        return handle_torch_function(squared_difference, (input, other), input, other)
    return torch.square(input - other)


def _attributes(call: Call) -> dict[str, Any]:
    if call.get("alpha", 1) != 1:
        raise Refused(expected="alpha=1", got=f"alpha={call.get('alpha')}", remedy="multiply first")
    return {"activation": "none"}


def binary_matches(*operators: str) -> tuple[Match, ...]:
    """Matches of operators of two tensors, either of which may be a number."""
    return tuple(Match("aten", name, _attributes, tensors=2) for name in operators)


def extremum_matches(*operators: str) -> tuple[Match, ...]:
    """Matches of the larger or smaller of two tensors."""
    return tuple(Match("aten", name, _of_two_tensors, tensors=2) for name in operators)


def _of_two_tensors(call: Call) -> dict[str, Any]:
    """``torch.max(x, 1)`` is the largest along an axis: its number is no tensor."""
    if not call.shapes.get("other"):
        raise Refused(expected="two tensors", got="one", remedy="use a max pooling for the largest along an axis")
    return {}


def summand_shift(dtype: str) -> int:
    """How many bits a code is shifted to the left before it is rescaled."""
    return 15 if dtype == "int16" else 20


def sum_output() -> CoarserThan:
    """What the kernels demand of a sum's grid."""
    factors = {dtype: 2.0 ** (1 - summand_shift(dtype)) for dtype in ("int8", "int16")}
    return CoarserThan(("int8", "int16"), others=("input", "other"), factors=factors, whole=True)


def rescaled_sum(
    attrs: Attrs,
    codes: Mapping[str, Tensor],
    grids: Mapping[str, Grid],
    sign: int,
    of_scales: torch.dtype = torch.float64,
) -> Tensor:
    """``input + sign * other``: both on a grid 2**20 times finer (2**15 for int16), added, brought to the output's.

    Two roundings in LiteRT as well.

    Args:
        attrs: ``"activation"``.
        codes: int64, shapes broadcast.
        grids: by role.
        sign: 1 or -1.
        of_scales: in which type quotients of scales are taken.

    Source: TFLM ``integer_ops/add.h`` and ``sub.h``, ``micro/kernels/add_common.cc`` and ``sub_common.cc``.
    """
    output = grids["output"]
    shift, multipliers = summand_shift(output.dtype), _multipliers(grids, of_scales)

    def finer(role: str) -> Tensor:
        return requantize((codes[role] - grids[role].zero_point) << shift, multipliers[role])

    total = finer("input") + sign * finer("other")
    scaled = requantize(total, multipliers["output"]).add_(output.zero_point)
    return scaled.clamp_(*activation_limits(attrs["activation"], output))


def _multipliers(grids: Mapping[str, Grid], of_scales: torch.dtype = torch.float64) -> dict[str, Multiplier]:
    return {role: quantize_multiplier(factor) for role, factor in _factors(grids, of_scales).items()}


def _factors(grids: Mapping[str, Grid], of_scales: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Of the two summands and of the sum."""
    s_input, s_other, s_output = (grids[role].scale.to(of_scales) for role in ("input", "other", "output"))
    twice = 2 * torch.maximum(s_input, s_other)
    shift = summand_shift(grids["output"].dtype)
    return {"input": s_input / twice, "other": s_other / twice, "output": twice / (2**shift * s_output)}


def sum_in_steps(sign: int) -> InSteps:
    """:func:`rescaled_sum` in floating point.

    The finer summands are whole numbers of 8 (16) bits times 2**20 (2**15), and stay below 2**28 (2**30) once they are
    brought to half of the coarser's grid or less; their sum is below 2**29 (2**31).
    """

    def cell(attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
        output = grids["output"]
        a, b = (steps[role] * _to_output(grids, role) for role in ("input", "other"))
        with torch.no_grad():
            factors = {role: rescaling(factor) for role, factor in _factors(grids).items()}
            shift = summand_shift(output.dtype)
            finer = (rounded_products(steps[role], factors[role], shift) for role in ("input", "other"))
            total = next(finer).add(next(finer), alpha=sign)
            whole = rescale_any(total, factors["output"])
        return within(a + b if sign > 0 else a - b, whole, step_ends(attrs["activation"], output))

    return cell


def _to_output(grids: Mapping[str, Grid], role: str) -> Tensor:
    """How many steps of the output one of ``role`` is, float32."""
    return (grids[role].scale.to(torch.float64) / grids["output"].scale.to(torch.float64)).to(torch.float32)


def sum_kernel(sign: int) -> KernelCell:
    """The cell of a sum or difference: 32-bit arithmetic where it is proven, else three requantizations."""

    def cell(operands: Operands) -> KernelCall:
        views = {role: operands.grid(role).grid for role in _PAIR}
        low, high = activation_limits(operands.attrs["activation"], views["output"])
        limits: dict[str, Argument] = {"low": low, "high": high}
        if all_int8(operands):
            grids = (operands.grid("input"), operands.grid("other"), operands.grid("output"))
            short = _shortened(operands.attrs["activation"], grids, sign, (low, high))
            if short is not None:
                return call_for_each_pair("add_short_s8", operands, {**short.arguments(), **limits})
        multipliers = {{"input": "in", "output": "out"}.get(role, role): m for role, m in _multipliers(views).items()}
        numbers = {**multiplier_arguments(multipliers), **zero_points(operands), **limits, "sign": sign}
        return call_for_each_pair("add", operands, {**numbers, "bits": summand_shift(views["output"].dtype)})

    return cell


#: The same node is asked for a whole image and for a row of it, and the search takes milliseconds.
@lru_cache(1024)
def _shortened(
    activation: str, grids: tuple[QParams, QParams, QParams], sign: int, limits: tuple[int, int]
) -> ShortSum | None:
    every, views = torch.arange(-128, 128), dict(zip(_PAIR, (each.grid for each in grids), strict=True))
    codes = {"input": every[:, None], "other": every}
    exact = rescaled_sum({"activation": activation}, codes, views, sign).numpy()
    s_input, s_other, s_output = (float(views[role].scale) for role in _PAIR)
    zeros = tuple(int(views[role].zero_point) for role in _PAIR)
    return short_sum(exact, (s_input / s_output, sign * s_other / s_output), (zeros[0], zeros[1], zeros[2]), limits)


def extremum_kernel(reference: Reference, largest: bool) -> KernelCell:
    """The cell of the larger or smaller of two codes."""
    return table_or(reference, lambda operands: call_for_each_pair("extremum", operands, {"largest": int(largest)}))


def binary_samples(seed: int, *, tiny: float = 3e-9, dtypes: Iterable[str] = ("int8", "int16")) -> Iterable[Sample]:
    """Both operands at run time or one constant, broadcasting, scales far apart, every fused activation."""
    rng = np.random.default_rng(seed)
    both, constant = frozenset[str](), frozenset({"other"})
    cases: list[tuple[str, Any, Any, tuple[float, int], tuple[float, int], tuple[float, int], str, frozenset[str]]] = [
        ("alike shapes", (4, 5, 6), (4, 5, 6), (0.05, -3), (0.03, 7), (0.08, 1), "none", both),
        ("broadcast", (3, 2, 4, 5), (3, 1, 1, 5), (0.05, -128), (0.03, 127), (0.08, 1), "none", both),
        ("broadcast the other way", (3, 1, 1, 5), (3, 2, 4, 5), (0.05, 127), (0.03, -128), (0.08, 1), "none", both),
        ("constant vector", (3, 2, 4, 5), (1, 1, 1, 5), (0.05, 0), (0.03, 4), (0.08, -9), "relu", constant),
        ("constant number", (6, 7), (1, 1), (0.05, 0), (0.03, 4), (0.08, -9), "none", constant),
        ("constant first", (1, 7), (6, 7), (0.05, 0), (0.03, 4), (0.08, -9), "none", frozenset({"input"})),
        ("scales far apart", (9, 40), (9, 40), (1.3, 11), (0.0021, 7), (1.1, 1), "none", both),
        ("saturating", (9, 40), (9, 40), (0.7, 11), (0.9, 7), (0.004, 1), "none", both),
        ("tiny scales", (9, 40), (9, 40), (1e-9, 11), (2e-9, 7), (tiny, 1), "none", both),
        ("relu6", (9, 40), (9, 40), (0.1, 0), (0.08, 2), (0.05, -20), "relu6", both),
        ("relu at the end", (9, 40), (9, 40), (0.1, 0), (0.08, 2), (0.05, -128), "relu", both),
    ]
    for dtype in dtypes:
        low, high = CODE_RANGE[dtype]
        for label, shape, other_shape, *scales, activation, constants in cases:
            grids = [
                QParams(
                    (float(np.float32(s / (1 if dtype == "int8" else 256))),), (z if dtype == "int8" else 0,), dtype
                )
                for s, z in scales
            ]
            qparams = dict(zip(("input", "other", "output"), grids, strict=True))
            arrays = {
                role: rng.integers(low, high, size, dtype=dtype, endpoint=True)
                for role, size in (("input", shape), ("other", other_shape))
            }
            yield Sample(f"{dtype} {label}", {"activation": activation}, arrays, qparams, constants)


def shared_grid_samples(seed: int) -> Iterable[Sample]:
    """Two operands and a result on one grid: alike shapes, broadcasting, a constant."""
    rng = np.random.default_rng(seed)
    for dtype in ("int8", "int16"):
        grid = QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        low, high = CODE_RANGE[dtype]
        for label, shape, other_shape, constants in [
            ("alike shapes", (4, 5, 6), (4, 5, 6), frozenset[str]()),
            ("broadcast", (3, 2, 4, 5), (3, 1, 1, 5), frozenset[str]()),
            ("constant", (3, 2, 4, 5), (1, 1, 1, 5), frozenset({"other"})),
        ]:
            arrays = {
                role: rng.integers(low, high, size, dtype=dtype, endpoint=True)
                for role, size in (("input", shape), ("other", other_shape))
            }
            yield Sample(f"{dtype} {label}", {}, arrays, dict.fromkeys(("input", "other", "output"), grid), constants)
