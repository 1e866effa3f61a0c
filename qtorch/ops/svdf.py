"""SVDF: a layer of one number per filter, and a second one over what each filter gave in the last runs.

Each run appends the filters' newest numbers to the state, whose oldest go, and reads all of it. Nothing of PyTorch is
written so; files of other writers have it. The kernel of integers has no activation but the limits of int8. Its sums
over time wrap around in int32, as TFLM's own benchmark with scrambled weights has them.
Source: TFLM ``micro/kernels/svdf_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qtorch.families.accumulator import exact_products
from qtorch.families.whole_numbers import wrapped
from qtorch.families.window_rules import require_bias, require_rank
from qtorch.numbers.fixedpoint import Multiplier, Rounding, fits_int32, quantize_multiplier, requantize
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Free, SymmetricWeight
from qtorch.row.kernel_call import ConstantTable, KernelCall, NoKernel, Operands, TensorArgument
from qtorch.row.row import Attrs, OptionField, Row, Sample, Shape, TFLite, Unsupported
from qtorch.row.shape_rule import require
from qtorch.row.states import FileState

#: How far the bias' scale may lie from the product of the other two; the kernel refuses more.
_NEAR = 1e-5


@dataclass(frozen=True)
class _OfTime:
    """Zero point 0, per tensor, of a type, and near the scale that the state and its weights give."""

    dtype: str

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`qtorch.row.constraints.Constraint`."""
        got, state, time = (qparams[name] for name in (role, "state", "weight_time"))
        if got is None or state is None or time is None or got.dtype != self.dtype or any(got.zero_point):
            return f"expected {self.dtype} with a zero point of 0, got {got}"
        product = float(np.float32(state.scale[0]) * np.float32(time.scale[0]))
        if len(got.scale) > 1 or abs(float(np.float32(got.scale[0])) - product) >= _NEAR:
            return f"expected one scale, near {product}, got {got.scale}"
        return None


@dataclass(frozen=True)
class _AsTheState:
    """Zero point 0, per tensor, of the state's type, by which the kernel reads both."""

    def violation(self, role: str, qparams: Mapping[str, QParams | None]) -> str | None:
        """See :class:`qtorch.row.constraints.Constraint`."""
        got, state = qparams[role], qparams["state"]
        if got is None or state is None or got.dtype != state.dtype or any(got.zero_point) or len(got.scale) > 1:
            return f"expected the state's type, per tensor with a zero point of 0, got {got} beside {state}"
        return None


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Input ``[N, I]``, weight_feature ``[F, I]``, weight_time ``[F, M]``, bias ``[U]``, state ``[N, F * M]``, where
    ``F`` is ``U`` times the rank; output ``[N, U]``, and the next state."""
    filters, memory = x["weight_time"].shape
    newest = F.linear(x["input"], x["weight_feature"])[..., None]
    state = torch.cat([x["state"].reshape(-1, filters, memory)[..., 1:], newest], -1)
    sums = (state * x["weight_time"]).sum(-1).reshape(len(state), -1, attrs["rank"]).sum(-1) + x["bias"]
    return F.relu(sums) if attrs["activation"] == "relu" else sums, state.reshape(len(state), -1)


def reference(
    attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding
) -> tuple[Tensor, Tensor]:
    """int64 codes of the output and of the next state."""
    state, output = grids["state"], grids["output"]
    filters, memory = codes["weight_time"].shape
    to_state, to_output = _multipliers(grids, rounding)
    sums = exact_products(F.linear, codes["input"], grids["input"], codes["weight_feature"], 0)
    newest = requantize(fits_int32(sums, "accumulator"), to_state, rounding).clamp(*CODE_RANGE[state.dtype])
    newest = _wrapped(newest + state.zero_point, state.dtype)[..., None]
    kept = torch.cat([codes["state"].reshape(-1, filters, memory)[..., 1:], newest], -1)
    over_time = ((kept - state.zero_point) * codes["weight_time"]).sum(-1)
    units = wrapped(over_time.reshape(len(kept), -1, attrs["rank"]).sum(-1) + codes["bias"])
    result = requantize(units, to_output, rounding) + output.zero_point
    return result.clamp(*CODE_RANGE[output.dtype]), kept.reshape(len(kept), -1)


def _multipliers(grids: Mapping[str, Grid], rounding: Rounding = Rounding.DOUBLE) -> tuple[Multiplier, Multiplier]:
    """To the state, and to the output: products and quotients of scales in double, in float32 in earlier kernels."""
    scale = {role: grid.scale.to(rounding.of_scales) for role, grid in grids.items()}
    to_state = scale["input"] * scale["weight_feature"] / scale["state"]
    to_output = scale["state"] * scale["weight_time"] / scale["output"]
    return quantize_multiplier(to_state), quantize_multiplier(to_output)


def _wrapped(codes: Tensor, dtype: str) -> Tensor:
    """Whole numbers in a code's bits: the kernel adds the zero point to what it has held to the type's limits."""
    low, high = CODE_RANGE[dtype]
    return (codes - low) % (high - low + 1) + low


def kernel(operands: Operands) -> KernelCall:
    """Zero points in the sums' beginnings.

    Raises:
        NoKernel: a sum of products with the input leaves int32, or one over time where it is shifted to the left.
    """
    weight, time, bias = (
        operands.constants[role].astype(np.int64) for role in ("weight_feature", "weight_time", "bias")
    )
    filters, memory = time.shape
    rank, state = operands.attrs["rank"], operands.grid("state")
    low, high = CODE_RANGE[state.dtype]
    grids = {role: operands.grid(role).grid for role in ("input", "weight_feature", "state", "weight_time", "output")}
    to_state, to_output = _multipliers(grids)
    starts = -operands.grid("input").zero_point[0] * weight.sum(1)
    biases = bias - state.zero_point[0] * time.sum(1).reshape(-1, rank).sum(1)
    largest = (np.abs(starts) + 128 * np.abs(weight).sum(1)).max()
    largest_of_time = (np.abs(biases) - low * np.abs(time).sum(1).reshape(-1, rank).sum(1)).max()
    for sum_, by, wraps in ((largest, to_state, False), (largest_of_time, to_output, True)):
        if int(sum_) << max(0, int(by.shift)) >= 2**31 and not (wraps and by.shift <= 0):
            raise NoKernel(f"sums of up to {int(sum_)}, shifted by {int(by.shift)}, which int32 does not hold")
    return KernelCall(
        "svdf",
        {
            "in": TensorArgument("input"),
            "weights": ConstantTable(operands.constants["weight_feature"]),
            "starts": ConstantTable(starts.astype(np.int32)),
            "time_weights": ConstantTable(operands.constants["weight_time"]),
            "biases": ConstantTable(biases.astype(np.int32)),
            "state": TensorArgument("state"),
            "next": TensorArgument("next_state"),
            "out": TensorArgument("output"),
            "batch": operands.shapes["input"][0],
            "in_size": operands.shapes["input"][1],
            "units": filters // rank,
            "rank": rank,
            "memory": memory,
            "width": 1 if state.dtype == "int8" else 2,
            "mantissa": int(to_state.mantissa),
            "shift": int(to_state.shift),
            "low": low,
            "high": high,
            "state_zero_point": state.zero_point[0],
            "out_mantissa": int(to_output.mantissa),
            "out_shift": int(to_output.shift),
            "zero_point": operands.grid("output").zero_point[0],
        },
    )


def macs(shapes: Mapping[str, Shape]) -> int:
    """Each filter over the input, and over its numbers in the state."""
    (filters, inputs), (_, memory), (count, _) = (shapes[role] for role in ("weight_feature", "weight_time", "output"))
    return count * filters * (inputs + memory)


def shapes_of_a_run(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """See :func:`forward`.

    Raises:
        BadShape: they do not go together, or filters are no whole number of units.
    """
    require_rank(shapes, {"input": 2, "weight_feature": 2, "weight_time": 2, "bias": 1})
    (count, inputs), (filters, memory), rank = shapes["input"], shapes["weight_time"], attrs["rank"]
    require(rank >= 1 and filters % rank == 0, f"{filters} filters, a whole number of units", f"a rank of {rank}")
    units = filters // rank
    weight = shapes["weight_feature"]
    require(weight == (filters, inputs), f"weights of {(filters, inputs)}", f"{weight}")
    require_bias(shapes, units)
    require(
        shapes["state"] == (count, filters * memory), f"a state of {(count, filters * memory)}", f"{shapes['state']}"
    )
    return (count, units), shapes["state"]


def version(qparams: Mapping[str, QParams | None]) -> int:
    """3 is the first of integers, 4 that with an int8 state."""
    state = qparams["state"]
    return 1 if state is None else 4 if state.dtype == "int8" else 3


def samples() -> Iterable[Sample]:
    """Each a sequence of runs: ranks, memories of one number and of many, states that saturate and wrap."""
    rng = np.random.default_rng(0)
    cases = [
        # label, runs, inputs, units, rank, memory, (s_in, z_in), weight, state, time weight, (s_out, z_out), bias
        ("plain", 30, 5, 4, 1, 6, (0.05, -3), 0.02, ("int16", 0.001, 0), 0.01, (0.03, 4), 2**10),
        ("rank 2", 30, 7, 3, 2, 5, (0.03, 12), 0.01, ("int16", 0.0008, 0), 0.01, (0.02, -20), 2**12),
        ("one number", 30, 3, 4, 1, 1, (0.05, -128), 0.02, ("int16", 0.001, 0), 0.01, (0.002, -128), 2**9),
        ("saturating", 30, 9, 4, 1, 8, (0.5, 3), 0.5, ("int16", 0.001, 0), 0.02, (0.1, 1), 2**10),
        ("one of each", 12, 1, 1, 1, 2, (0.05, 0), 0.02, ("int16", 1e-4, 0), 0.001, (2e-5, 0), 2**6),
        ("int8", 30, 5, 4, 1, 6, (0.05, -3), 0.02, ("int8", 0.06, 0), 0.01, (0.03, 4), 2**8),
        ("int8, rank 3", 30, 6, 2, 3, 4, (0.02, 127), 0.01, ("int8", 0.03, 0), 0.02, (0.03, -9), 2**8),
        ("int8, zero point", 30, 5, 4, 1, 6, (0.05, -3), 0.02, ("int8", 0.1, 17), 0.01, (0.03, 4), 2**8),
        ("shared, as many units as inputs", 30, 4, 4, 1, 3, (0.03, 4), 0.02, ("int8", 0.06, 3), 0.02, (0.03, 4), 2**8),
        ("int8, wraps", 40, 5, 4, 1, 6, (0.05, -3), 0.02, ("int8", 0.01, -60), 0.01, (0.03, 4), 2**8),
    ]  # fmt: skip
    for label, runs, inputs, units, rank, memory, source, weight, state, time, sink, bias in cases:
        sizes = (runs, inputs, units, rank, memory)
        yield _sample(rng, label, sizes, source, weight, state, time, sink, bias)


def _sample(
    rng: np.random.Generator, label: str, sizes: tuple[int, int, int, int, int], source: tuple[float, int],
    weight: float, state: tuple[str, float, int], time: float, sink: tuple[float, int], bias: int,
) -> Sample:  # fmt: skip
    runs, inputs, units, rank, memory = sizes
    dtype, scale, zero_point = state
    filters, width = units * rank, CODE_RANGE[dtype][1]
    arrays = {
        "input": rng.integers(-128, 128, (runs, inputs), dtype=np.int8),
        "weight_feature": rng.integers(-127, 128, (filters, inputs), dtype=np.int8),
        "weight_time": rng.integers(-width, width, (filters, memory), dtype=dtype, endpoint=True) // (width // 127),
        "bias": rng.integers(-bias, bias, units, dtype=np.int32),
        "state": np.full((1, filters * memory), zero_point, dtype),
    }
    qparams: dict[str, QParams | None] = {
        "input": _qparams(*source, "int8"),
        "weight_feature": _qparams(weight, 0, "int8"),
        "weight_time": _qparams(time, 0, dtype),
        "bias": _qparams(float(np.float32(scale) * np.float32(time)), 0, "int32"),
        "state": _qparams(scale, zero_point, dtype),
        "output": _qparams(*sink, "int8"),
    }
    attrs = {"rank": rank, "activation": "none"}
    return Sample(f"{label}, no float form, TFLM alone", attrs, arrays, qparams)


def _qparams(scale: float, zero_point: int, dtype: str) -> QParams:
    return QParams((float(np.float32(scale)),), (zero_point,), dtype)


ROW = Row(
    name="svdf",
    roles=("input", "weight_feature", "weight_time", "bias", "state"),
    carried=("state",),
    matches=(),
    forward=forward,
    constraints={
        "input": Free(),
        "weight_feature": SymmetricWeight(axis=0, per_tensor=("int8",)),
        "weight_time": _AsTheState(),
        "bias": _OfTime("int32"),
        "state": Free(("int8", "int16")),
        "output": Free(),
    },
    reference=reference,
    tflite=TFLite(
        operator="SVDF",
        resolver="AddSvdf",
        version=version,
        options="SVDFOptions",
        fields=(
            OptionField("rank", "Rank"),
            OptionField("activation", "FusedActivationFunction", "ActivationFunctionType"),
        ),
        states=(FileState("state", 4, always_carried=True),),
    ),
    samples=samples,
    onnx=Unsupported("ONNX has no operator of it"),
    c=kernel,
    macs=macs,
    divides_scales=True,
    shapes=shapes_of_a_run,
)
