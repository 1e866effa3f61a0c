"""Cases drawn from a seed: one op each, with shapes, grids and codes at which kernels go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

import numpy as np

from export.c.network import portable_calls
from export.c.targets.table import KERNELS
from export.graph.interpret import interpret
from export.graph.ir import Graph, MalformedGraph
from export.rows.samples import batch_of, carried_by, sample_graph
from qtorch.errors import AccumulatorOverflow, UnsupportedLayer
from qtorch.families.convolution import weighted_sample
from qtorch.families.whole_numbers import whole_samples
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.ops import ROWS
from qtorch.row.row import Row, Sample
from qtorch.row.shape_rule import BadShape

__all__ = ["Case", "Room", "case_of", "drawn", "ops_of"]

#: Runs of a case, each on other codes.
_RUNS = 2
#: Draws until one is a case; most come from few rows' samples, and are cases at once.
_TRIES = 50


@dataclass(frozen=True)
class Room:
    """What a machine holds of a case, in bytes: of run-time tensors, and of constants."""

    tensors: int
    constants: int


@dataclass(frozen=True)
class Case:
    """One op on run-time tensors, and what it has to make of them.

    Attributes:
        seed: and ``number``, by which it is drawn again.
        number: of the case.
        label: which sample it was drawn around.
        graph: of this node alone; values are named as their roles, and what a run leaves for the next is an output.
        runs: codes of all run-time tensors by name, outputs included, of each run.
    """

    seed: int
    number: int
    label: str
    graph: Graph
    runs: tuple[Mapping[str, np.ndarray], ...]

    @property
    def op(self) -> str:
        """The row's name."""
        return self.graph.nodes[0].op

    def __str__(self) -> str:
        values = self.graph.values
        node = self.graph.nodes[0]
        roles = node.input_roles() | node.output_roles()
        shapes = ", ".join(f"{role} {values[name].dtype} {list(values[name].shape)}" for role, name in roles.items())
        attrs = ", ".join(f"{name}={value}" for name, value in node.attrs.items())
        return f"{self.op}({attrs}): {shapes} [{self.label}; --seed {self.seed} --case {self.number}]"


def drawn(seed: int, number: int, room: Room, ops: tuple[str, ...] = ()) -> Case | None:
    """Case ``number`` of a seed; ``None`` where too few draws fit the room.

    Args:
        seed: of the whole run.
        number: of the case, which is drawn alone.
        room: that it has to fit.
        ops: names of the rows that it is drawn from; all if none are named.
    """
    rng = np.random.default_rng((seed, number))
    rows = [row for name, row in ROWS.items() if not ops or name in ops]
    # Kernels with weights are many, and have most to go wrong; of all others each op has its turn.
    weighted = [row for row in rows if row.name in _DRAWERS]
    turn = number // 2
    for _ in range(_TRIES):
        row = _pick(rng, weighted) if weighted and number % 2 else rows[turn % len(rows)]
        turn += len(rows) // 2
        case = _case(rng, seed, number, row, room)
        if case is not None:
            return case
    return None


def ops_of(kernel: str) -> tuple[str, ...]:
    """Names of the rows some of whose samples call a kernel, or one in the place of which it may stand; maybe none."""
    names = {kernel}.union(*(row.replaces for row in KERNELS if row.kernel == kernel))
    return tuple(name for name in ROWS if any(names & _called(name, sample) for sample in _samples(name)))


def _called(name: str, sample: Sample) -> set[str]:
    try:
        return {call.kernel for calls in portable_calls(sample_graph(ROWS[name], sample)) for call in calls}
    except UnsupportedLayer:
        return set()


def _case(rng: np.random.Generator, seed: int, number: int, row: Row, room: Room) -> Case | None:
    drawer = _DRAWERS.get(row.name)
    try:
        sample = drawer(rng) if drawer and rng.random() < 0.7 else _near(rng, row)
        if sample is None:
            return None
        batch = 2 if rng.random() < 0.15 and batch_of(sample) >= 2 and not carried_by(row, sample) else 1
        graph = _stateless(sample_graph(row, sample, batch))
        return case_of(row, sample, rng, batch, seed, number) if _fits(graph, room) else None
    except (AccumulatorOverflow, BadShape, MalformedGraph):
        return None


def case_of(row: Row, sample: Sample, rng: np.random.Generator, batch: int = 1, seed: int = 0, number: int = 0) -> Case:
    """A sample as a case: in its first run on some of its own codes, in the second on others, extreme ones.

    Raises:
        AccumulatorOverflow, BadShape, MalformedGraph: it is none that the row takes.
    """
    graph = _stateless(sample_graph(row, sample, batch))
    runs = tuple(_run(rng, row, sample, graph, batch, which) for which in range(_RUNS))
    return Case(seed, number, sample.label, graph, runs)


def _stateless(graph: Graph) -> Graph:
    """What a run takes from the one before it as an input, what it leaves as an output."""
    return replace(
        graph,
        inputs=(*graph.inputs, *(state.value for state in graph.states)),
        outputs=(*graph.outputs, *(state.after for state in graph.states)),
        states=(),
    )


def _fits(graph: Graph, room: Room) -> bool:
    constants = sum(value.bytes for value in graph.values.values() if value.data is not None)
    tensors = sum(value.bytes for value in graph.values.values() if value.data is None)
    return tensors <= room.tensors and constants <= room.constants


def _run(
    rng: np.random.Generator, row: Row, sample: Sample, graph: Graph, batch: int, which: int
) -> dict[str, np.ndarray]:
    inputs = {}
    for name in graph.inputs:
        array, grid = sample.arrays[name], sample.qparams[name]
        first = 0 if name in row.carried else batch * int(rng.integers(len(array) // batch))
        codes = array[first : first + batch]
        if which and grid is not None and grid != INDICES and codes.dtype.name in ("int8", "int16"):
            codes = _extreme(rng, codes, CODE_RANGE[grid.dtype])
        inputs[name] = np.ascontiguousarray(codes)
    return inputs | dict(interpret(graph, tuple(inputs.values())))


def _extreme(rng: np.random.Generator, codes: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    """All at one end or the other, each at either, or any."""
    low, high = limits
    way = rng.random()
    if way < 0.2:
        return np.full_like(codes, low if rng.random() < 0.5 else high)
    if way < 0.6:
        return rng.choice(np.array([low, high], codes.dtype), codes.shape)
    return rng.integers(low, high, codes.shape, codes.dtype, endpoint=True)


@cache
def _samples(name: str) -> tuple[Sample, ...]:
    samples = list(ROWS[name].samples())
    if name in ("add", "sub", "mul"):
        for activation in ("none", "relu", "relu6"):
            samples += whole_samples(3, {"activation": activation})
    if name in ("maximum", "minimum"):
        samples += whole_samples(4, {})
    return tuple(samples)


def _near(rng: np.random.Generator, row: Row) -> Sample | None:
    """One of the row's samples, often with another size along an axis."""
    sample = _pick(rng, _samples(row.name))
    if any(grid is None for grid in sample.qparams.values()):
        return None
    if rng.random() < 0.4 or carried_by(row, sample) or row.shapes is None:
        return sample
    running = [role for role in sample.arrays if role not in sample.constants and role in _running(row, sample)]
    role = _pick(rng, running)
    shape = list(sample.arrays[role].shape)
    if len(shape) < 2:
        return sample
    axis = int(rng.integers(1, len(shape)))
    size = int(rng.choice([1, 2, 3, 5, shape[axis] + 1, 2 * shape[axis] + 1, 259]))
    arrays = dict(sample.arrays)
    # Elementwise ops want several alike, along one axis at least.
    for other in running:
        if other == role or (arrays[other].ndim == len(shape) and arrays[other].shape[axis] == shape[axis]):
            arrays[other] = np.take(arrays[other], rng.integers(0, arrays[other].shape[axis], size), axis)
    resized = replace(sample, label=f"{sample.label}, {role} resized", arrays=arrays)
    if any(prod(array.shape) > 100_000 for array in arrays.values()):
        return None
    try:
        shapes = {r: (1, *a.shape[1:]) if r in running else a.shape for r, a in arrays.items()}
        row.shapes(row.normalized(sample.attrs, shapes), shapes)
    except BadShape:
        return sample
    return resized


def _running(row: Row, sample: Sample) -> set[str]:
    return set(sample.arrays) if row.variadic else set(row.roles[: row.runtime])


def _pick(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _channels(rng: np.random.Generator) -> int:
    """Few, odd ones, multiples of what vectors hold and one more or less, and more than a byte counts."""
    way = rng.random()
    if way < 0.15:
        return 1
    if way < 0.55:
        return int(rng.integers(2, 20))
    if way < 0.95:
        return int(rng.choice([8, 16, 24, 32, 48, 64])) + int(rng.integers(-1, 2))
    return int(rng.integers(257, 310))


def _scales(rng: np.random.Generator, dtype: str) -> dict[str, Any]:
    """Grids of the input and output, biases, weights: usual ones, and such as saturate or hardly move."""
    low, high = CODE_RANGE["int8"]
    zero = _pick(rng, (low, high, 0, int(rng.integers(low, high))))
    options: dict[str, Any] = {
        "input": (float(10 ** rng.uniform(-2.5, -0.5)), zero),
        "output": (float(10 ** rng.uniform(-2.5, 0.7)), _pick(rng, (low, high, 4, int(rng.integers(low, high))))),
        "bias": _pick(rng, (0, 2**9, 2**9, 2**14, 2**20)),
        "per_channel": bool(rng.random() < 0.7),
        "extreme": bool(rng.random() < 0.15),
    }
    if rng.random() < 0.05:
        options |= {"input": (1e-12, zero), "output": (1e-12, zero)}
    if dtype == "int16":
        options |= {"dtype": "int16", "input": (1e-4, 0), "output": (float(10 ** rng.uniform(-4.5, -2.5)), 0)}
    elif rng.random() < 0.15:
        options["weights"] = "int4"
    return options


def _window(rng: np.random.Generator) -> dict[str, Any]:
    # TFLite knows dilation or strides, not both.
    dilated = rng.random() < 0.15
    strides = (1, 1) if dilated else [int(_pick(rng, (1, 1, 1, 2, 2, 3))) for _ in range(2)]
    dilation = [int(_pick(rng, (1, 2, 3))) for _ in range(2)] if dilated else (1, 1)
    return {
        **dict(zip(("stride_h", "stride_w"), strides, strict=True)),
        **dict(zip(("dilation_h", "dilation_w"), dilation, strict=True)),
        "padding": _pick(rng, ("same", "same", "valid")),
        "activation": _pick(rng, ("none", "relu", "relu6")),
    }


def _sides(rng: np.random.Generator, attrs: Mapping[str, Any], channels: int) -> tuple[int, int, int, int]:
    """Height and width of an image and of a window in it."""
    kernel = [int(_pick(rng, (1, 1, 2, 3, 3, 3, 4, 5, 7))) for _ in range(2)]
    if rng.random() < 0.3:
        kernel = [1, 1]
    most = 5 if channels > 40 else 11
    sides = [int(rng.integers(1, most)) for _ in range(2)]
    if attrs["padding"] == "valid":
        sides = [max(s, (k - 1) * attrs[f"dilation_{a}"] + 1) for s, k, a in zip(sides, kernel, "hw", strict=True)]
    return sides[0], sides[1], kernel[0], kernel[1]


def _convolution(rng: np.random.Generator) -> Sample:
    attrs, dtype = _window(rng), "int16" if rng.random() < 0.15 else "int8"
    inputs, outputs, groups = _channels(rng), _channels(rng), 1
    if rng.random() < 0.15 and dtype == "int8":
        groups = int(rng.integers(2, 5))
        inputs, outputs = groups * int(rng.integers(1, 9)), groups * int(rng.integers(1, 9))
    h, w, kernel_h, kernel_w = _sides(rng, attrs, max(inputs, outputs))
    weights = (outputs, kernel_h, kernel_w, inputs // groups)
    return weighted_sample(
        rng, "drawn", attrs, (3, h, w, inputs), weights, channel_axis=0, **_scales(rng, dtype)
    )  # fmt: skip


def _depthwise(rng: np.random.Generator) -> Sample:
    attrs, dtype = _window(rng), "int16" if rng.random() < 0.15 else "int8"
    if attrs["stride_h"] != attrs["stride_w"] and rng.random() < 0.5:
        attrs["stride_w"] = attrs["stride_h"]
    inputs = _channels(rng)
    multiplier = int(_pick(rng, (1, 1, 1, 1, 2, 3))) if inputs < 40 else 1
    h, w, kernel_h, kernel_w = _sides(rng, attrs, inputs)
    weights = (1, kernel_h, kernel_w, inputs * multiplier)
    return weighted_sample(
        rng, "drawn", {**attrs, "depth_multiplier": multiplier}, (3, h, w, inputs), weights, channel_axis=3,
        **_scales(rng, dtype),
    )  # fmt: skip


def _dense(rng: np.random.Generator) -> Sample:
    dtype = "int16" if rng.random() < 0.15 else "int8"
    attrs = {"activation": _pick(rng, ("none", "relu", "relu6")), "keep_num_dims": False}
    inputs, outputs = _channels(rng), _channels(rng)
    if rng.random() < 0.05:
        inputs = int(rng.integers(1000, 1100))
    options = _scales(rng, dtype)
    if options.get("weights") == "int4":
        options["per_channel"] = False
    return weighted_sample(rng, "drawn", attrs, (3, inputs), (outputs, inputs), channel_axis=0, **options)


def _transposed(rng: np.random.Generator) -> Sample:
    dtype = "int16" if rng.random() < 0.15 else "int8"
    stride_h, stride_w = (int(rng.integers(1, 4)) for _ in range(2))
    padding = _pick(rng, ("same", "valid"))
    inputs, outputs = (min(_channels(rng), 40) for _ in range(2))
    h, w = (int(rng.integers(1, 6)) for _ in range(2))
    window = [int(rng.integers(1, 5)) for _ in range(2)]
    size = [
        (n - 1) * s + max(k, 1) if padding == "valid" else n * s - int(rng.integers(0, s))
        for n, s, k in zip((h, w), (stride_h, stride_w), window, strict=True)
    ]
    attrs = {
        "stride_h": stride_h, "stride_w": stride_w, "padding": padding, "output_shape": (1, *size, outputs),
        "activation": _pick(rng, ("none", "relu")),
    }  # fmt: skip
    options = _scales(rng, dtype)
    options.pop("weights", None)
    return weighted_sample(
        rng, "drawn", attrs, (3, h, w, inputs), (outputs, *window, inputs), channel_axis=0, **options
    )


def _mean(rng: np.random.Generator) -> Sample:
    """Over whole images, which is also made row by row."""
    attrs = {"axes": (1, 2), "keep_dims": bool(rng.integers(2))}
    return _over_images(rng, attrs, (int(rng.integers(1, 9)), int(rng.integers(1, 9))))


def _average_pool(rng: np.random.Generator) -> Sample:
    """Over whole images, too."""
    h, w = (int(rng.integers(1, 9)) for _ in range(2))
    attrs = {
        "filter_h": h, "filter_w": w, "stride_h": h, "stride_w": w, "padding": "valid",
        "activation": _pick(rng, ("none", "relu")),
    }  # fmt: skip
    sample = _over_images(rng, attrs, (h, w))
    # Its grids are one.
    return replace(sample, qparams=dict.fromkeys(("input", "output"), sample.qparams["input"]))


def _over_images(rng: np.random.Generator, attrs: dict[str, Any], sides: tuple[int, int]) -> Sample:
    codes = rng.integers(-128, 127, (3, *sides, _channels(rng)), np.int8, endpoint=True)
    grids = {
        role: QParams((float(np.float32(10 ** rng.uniform(-2, -1))),), (int(rng.integers(-128, 128)),), "int8")
        for role in ("input", "output")
    }
    return Sample("drawn", attrs, {"input": codes}, grids)


def _rescaled(rng: np.random.Generator) -> Sample:
    """From one type to another, 32 bits among them."""
    source, sink = _pick(rng, (("int16", "int32"), ("int8", "int32"), ("int32", "int16"), ("int32", "int8")))
    scales = {"int8": -1.0, "int16": -4.0, "int32": -6.5}
    low, high = CODE_RANGE[source] if source != "int32" else (-(2**28), 2**28)
    codes = rng.integers(low, high, (4, int(rng.integers(1, 70))), source)
    grids = {
        role: QParams((float(np.float32(10 ** (scales[dtype] + rng.uniform(-0.5, 0.5)))),), (0,), dtype)
        for role, dtype in (("input", source), ("output", sink))
    }
    return Sample("drawn", {}, {"input": codes}, grids)


_DRAWERS: Mapping[str, Callable[[np.random.Generator], Sample]] = {
    "conv_2d": _convolution,
    "depthwise_conv_2d": _depthwise,
    "fully_connected": _dense,
    "transpose_conv": _transposed,
    "mean": _mean,
    "average_pool_2d": _average_pool,
    "quantize": _rescaled,
}
