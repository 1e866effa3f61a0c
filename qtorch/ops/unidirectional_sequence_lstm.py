"""UNIDIRECTIONAL_SEQUENCE_LSTM: one layer in one direction, from a state of zeros, or from where the last run ended.

The kernel goes on from where it stopped. Where a sequence begins anew in every run, as in PyTorch, the file sets both
states to zeros before the op; files of other writers do not, and both are carried.
Source: TFLM ``micro/kernels/unidirectional_sequence_lstm.cc``, ``lstm_eval.h``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor

from qtorch.families.long_short_term_memory import (
    BIASES,
    CELL_EXPONENTS,
    INPUT_WEIGHTS,
    STATE_WEIGHTS,
    lstm_codes,
    lstm_of_floats,
    sequence_lstm,
)
from qtorch.families.lstm_kernels import lstm_kernel
from qtorch.families.window_rules import require_bias, require_rank
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import BiasFromAccumulator, Free, PowerOfTwo, SameAs, SymmetricWeight
from qtorch.row.row import Attrs, Call, Match, OptionField, Row, Sample, Shape, TFLite, Unsupported
from qtorch.row.shape_rule import require
from qtorch.row.states import FileState, GateSums, ObservedState, States


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Input ``[N, T, I]``, output ``[N, T, H]``; in PyTorch with axes of a sample's sequences in front of ``T``."""
    return lstm_of_floats(x)[0]


def traced(attrs: Attrs, x: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
    """``forward``, and the cell states."""
    hidden, cell = lstm_of_floats(x)
    return hidden, {"cell": cell}


def attributes(call: Call) -> dict[str, object]:
    """What the kernel is told."""
    return {"cell_activation": "tanh", "time_major": False, "cell_clip": 0.0}


def reference(
    attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """See :func:`qtorch.families.long_short_term_memory.lstm_codes`; with both states carried, the last of each too."""
    hidden, cell = lstm_codes(codes, grids, attrs["cell_exponent"], rounding, attrs["cell_clip"])
    if "hidden" not in codes:
        return hidden
    return hidden, hidden[:, -1].reshape(codes["hidden"].shape), cell[:, -1].reshape(codes["cell"].shape)


def macs(shapes: Mapping[str, Shape]) -> int:
    """Four gates of each step, of the input and of the hidden state."""
    _, inputs = shapes["weight_ii"]
    return 4 * (inputs + shapes["weight_hi"][1]) * math.prod(shapes["output"])


def version(qparams: Mapping[str, QParams | None]) -> int:
    """1 computes in floats, 3 in integers of 8 and 16 bits."""
    return 1 if qparams["input"] is None else 3


def samples() -> Iterable[Sample]:
    """One step and many, scales from flat to saturated, zero points at the ends, cell states that saturate."""
    rng = np.random.default_rng(0)
    cases = [
        # label, steps, inputs, width, (s_in, z_in), s_w, (s_out, z_out), exponent, bias, type
        ("one of each", 1, 1, 1, (0.05, -3), 0.02, (1 / 128, 0), -12, 2**9, "int8"),
        ("plain", 5, 3, 4, (0.05, -3), 0.01, (1 / 128, 4), -12, 2**9, "int8"),
        ("long", 30, 2, 3, (0.02, 20), 0.02, (0.006, -7), -11, 2**9, "int8"),
        ("zero points at the ends", 6, 4, 5, (0.03, -128), 0.01, (0.004, 127), -13, 2**8, "int8"),
        ("and the other way", 6, 4, 5, (0.03, 127), 0.01, (0.004, -128), -14, 2**8, "int8"),
        ("fine cell state, saturating", 12, 3, 4, (0.05, 3), 0.03, (1 / 128, 0), -17, 2**9, "int8"),
        ("coarse cell state", 9, 3, 4, (0.05, 3), 0.02, (1 / 128, 0), -8, 2**9, "int8"),
        ("gates that saturate", 9, 8, 8, (0.5, 3), 0.5, (1 / 128, 1), -12, 2**9, "int8"),
        ("flat gates", 9, 8, 8, (0.001, 3), 0.001, (0.0002, 1), -15, 2**9, "int8"),
        ("fine output, saturating", 5, 3, 4, (0.05, -3), 0.02, (0.001, 30), -12, 2**9, "int8"),
        ("hundred numbers", 3, 100, 7, (0.05, -3), 0.004, (1 / 128, 4), -12, 2**12, "int8"),
        ("int16", 7, 3, 4, (2e-4, 0), 0.01, (2.0**-15, 0), -12, 2**12, "int16"),
        ("int16, wide", 7, 40, 9, (3e-4, 0), 0.01, (3e-5, 0), -11, 2**20, "int16"),
        ("tiny gates in a tiny cell state", 12, 3, 20, (0.001, 3), 0.001, (2e-5, 0), -22, 2**9, "int8"),
    ]  # fmt: skip
    for label, steps, inputs, width, source, weight, sink, exponent, bias, dtype in cases:
        yield _sample(rng, label, (20, steps, inputs, width), source, weight, sink, exponent, bias, dtype)
    # Seeds of which outputs tell one rounding from two behind the output gate, and a product of scales in float32 from
    # one in double.
    for seed, exponent in ((683, -12), (804, -16)):
        rng = np.random.default_rng(seed)
        sizes = (60, 8, 3, 8)
        yield _sample(rng, f"seed {seed}", sizes, (0.05, -3), 0.02, (1 / 256, 0), exponent, 2**9, "int8")
    rng = np.random.default_rng(1)
    clipped = (("clip", 8, (0.05, -3), (1 / 128, 4), "int8"), ("clip, int16", 8, (2e-4, 0), (2.0**-15, 0), "int16"))
    for label, steps, source, sink, dtype in clipped:
        for clip, exponent in ((0.3, -12), (10.0, -11), (1e-5, -12)):
            sizes, said = (20, steps, 3, 5), f"{label} {clip}" + (", alike" if clip < 1e-4 else "")
            yield _sample(rng, said, sizes, source, 0.02, sink, exponent, 2**9, dtype, clip)
    for label, steps, source, sink, dtype in (
        ("carried, one step", 1, (0.05, -3), (1 / 128, 4), "int8"),
        ("carried", 4, (0.05, 12), (1 / 128, -9), "int8"),
        ("carried, int16, one step", 1, (2e-4, 0), (2.0**-15, 0), "int16"),
        ("carried, int16", 3, (2e-4, 0), (2.0**-15, 0), "int16"),
    ):
        yield _sample(rng, label, (40, steps, 3, 5), source, 0.02, sink, -12, 2**9, dtype, carried=True)
        sizes = (40, steps, 4, 2)
        yield _sample(rng, f"{label}, clip", sizes, source, 0.02, sink, -12, 2**9, dtype, 0.2, carried=True)


def _sample(
    rng: np.random.Generator, label: str, sizes: tuple[int, int, int, int], source: tuple[float, int], weight: float,
    sink: tuple[float, int], exponent: int, bias: int, dtype: str, clip: float = 0.0, carried: bool = False,
) -> Sample:  # fmt: skip
    count, steps, inputs, width = sizes
    arrays = {"input": rng.integers(*CODE_RANGE[dtype], (count, steps, inputs), dtype=dtype, endpoint=True)}
    qparams: dict[str, QParams | None] = {"input": _qparams(*source, dtype)}
    for roles, columns in ((INPUT_WEIGHTS, inputs), (STATE_WEIGHTS, width)):
        for role in roles:
            arrays[role] = rng.integers(-127, 128, (width, columns), dtype=np.int8)
            qparams[role] = _qparams(weight * rng.uniform(0.5, 1.0), 0, "int8")
    wide = "int64" if dtype == "int16" else "int32"
    for role, of in zip(BIASES, INPUT_WEIGHTS, strict=True):
        arrays[role] = rng.integers(-bias, bias, width, dtype=wide)
        scales = (qparams["input"], qparams[of])
        product = np.prod([np.float32(each.scale[0]) for each in scales if each is not None], dtype=np.float32)
        qparams[role] = QParams((float(product),), (0,), wide)
    qparams["output"] = _qparams(*sink, dtype)
    attrs = {
        "cell_activation": "tanh",
        "time_major": False,
        "cell_clip": float(np.float32(clip)),
        "cell_exponent": exponent,
    }
    if carried:
        qparams |= {"hidden": qparams["output"], "cell": _qparams(2.0**exponent, 0, "int16")}
        arrays["hidden"] = np.full((1, width), sink[1], dtype)
        arrays["cell"] = np.zeros((1, width), np.int16)
    return Sample(f"{label}, no float form, TFLM alone", attrs, arrays, qparams)


def _qparams(scale: float, zero_point: int, dtype: str) -> QParams:
    return QParams((float(np.float32(scale)),), (zero_point,), dtype)


_STATES = States(
    traced,
    observed=(ObservedState("cell", "int16", "cell_exponent", CELL_EXPONENTS),),
    sums=(
        *(GateSums("input", weight, bias) for weight, bias in zip(INPUT_WEIGHTS, BIASES, strict=True)),
        *(GateSums("output", weight) for weight in STATE_WEIGHTS),
    ),
    gate_scale=2.0**-12,
)


def shapes_of_steps(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Input ``[N, T, I]``, weights ``[H, I]`` and ``[H, H]``, biases ``[H]``; output ``[N, T, H]``; states ``[N, H]``.

    Raises:
        BadShape: they do not go together, or the kernel's steps are along another axis or end in another function.
    """
    require_rank(shapes, {"input": 3})
    require(not attrs["time_major"], "steps along axis 1, time_major=False", "time_major=True")
    require(attrs["cell_activation"] == "tanh", "TANH at the cell state", str(attrs["cell_activation"]).upper())
    least, most = CELL_EXPONENTS
    exponent = attrs.get("cell_exponent", least)  # floats have none
    require(least <= exponent <= most, f"a cell state in steps of 2**{least} to 2**{most}", f"2**{exponent}")
    count, steps, inputs = shapes["input"]
    width = shapes[STATE_WEIGHTS[0]][0]
    for roles, columns in ((INPUT_WEIGHTS, inputs), (STATE_WEIGHTS, width)):
        for role in roles:
            require(shapes[role] == (width, columns), f"{role} of {(width, columns)}", f"{shapes[role]}")
    for role in BIASES:
        require_bias(shapes, width, role)
    carried = [role for role in ("hidden", "cell") if role in shapes]
    for role in carried:
        require(shapes[role] == (count, width), f"{role} state of {(count, width)}", f"{shapes[role]}")
    return ((count, steps, width), *[(count, width)] * len(carried))


ROW = Row(
    name="unidirectional_sequence_lstm",
    roles=("input", *INPUT_WEIGHTS, *STATE_WEIGHTS, *BIASES, "hidden", "cell"),
    carried=("hidden", "cell"),
    matches=(
        Match(
            "function",
            sequence_lstm,
            attributes,
            parameters=("input", *INPUT_WEIGHTS, *STATE_WEIGHTS, *BIASES),
            tensors=13,
            written=("LSTM",),
        ),
    ),
    forward=forward,
    merged_axes=3,
    constraints={
        "input": Free(("int8", "int16")),
        **dict.fromkeys((*INPUT_WEIGHTS, *STATE_WEIGHTS), SymmetricWeight(axis=0, per_tensor=("int8",))),
        **{bias: BiasFromAccumulator(weight=weight) for bias, weight in zip(BIASES, INPUT_WEIGHTS, strict=True)},
        # Finer, and products of numbers below 1 would be shifted out of int32.
        "output": Free(("int8", "int16"), smallest=2.0**-29),
        "hidden": SameAs("output"),
        "cell": PowerOfTwo(("int16",), CELL_EXPONENTS),
    },
    reference=reference,
    tflite=TFLite(
        operator="UNIDIRECTIONAL_SEQUENCE_LSTM",
        resolver="AddUnidirectionalSequenceLSTM",
        version=version,
        options="UnidirectionalSequenceLSTMOptions",
        fields=(
            OptionField("cell_activation", "FusedActivationFunction", "ActivationFunctionType"),
            OptionField("time_major", "TimeMajor"),
            OptionField("cell_clip", "CellClip"),
        ),
        # A projection there is none of, and float activations beside integer weights.
        unread=frozenset({"ProjClip", "AsymmetricQuantizeInputs"}),
        # Peepholes, a projection, and norms in the layer.
        absent=(9, 10, 11, 16, 17, 20, 21, 22, 23),
        states=(FileState("hidden", 18), FileState("cell", 19, "int16", "cell_exponent")),
    ),
    shapes=shapes_of_steps,
    samples=samples,
    onnx=Unsupported(
        "it has gates and a cell state on grids of their own, and ONNX's LSTM computes all of it in floats"
    ),
    c=lstm_kernel,
    states=_STATES,
    macs=macs,
)
