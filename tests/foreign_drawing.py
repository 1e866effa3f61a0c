"""Files drawn at random as other converters write them: options left out, negative axes, odd ranks and grids.

What TFLite Micro makes of a file is what it is; nothing here knows whether it does run it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.schema_file import SchemaFile

__all__ = ["STEPS", "Drawing", "draw_file"]

_NAMES = (
    "int",
    "x",
    "x",
    "",
    "model/dense/BiasAdd;model/Relu",
    "größe",
    "a" * 300,
    "serving_default_x:0",
    "main",
    "1st",
)
#: None, RELU, RELU6 of the schema; what no kernel fuses now and then.
_FUSED = (0, 0, 0, 1, 3)
_SAME, _VALID = 0, 1


@dataclass(frozen=True)
class Held:
    """A tensor of the file, computed or an input."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    @property
    def rank(self) -> int:
        return len(self.shape)


class Drawing:
    """A file that grows; ``held`` are the tensors that a step may read."""

    def __init__(self, seed: int) -> None:
        self.rng, self.file, self.held = np.random.default_rng(seed), SchemaFile(), list[Held]()
        self.read: set[int] = set()
        self.steps: list[str] = []

    def one_of(self, choices):  # type: ignore[no-untyped-def]
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def number(self, low: int, high: int) -> int:
        """Both included."""
        return int(self.rng.integers(low, high + 1))

    def grid(self, dtype: str) -> tuple[float, int]:
        scale = float(np.float32(2.0 ** self.rng.uniform(-7, 0)))
        return (scale / 200, 0) if dtype == "int16" else (scale, self.one_of((0, -128, 127, self.number(-128, 127))))

    def tensor(self, shape, dtype: str = "int8", grid: tuple[float, int] | None = None, end: str = "") -> Held:  # type: ignore[no-untyped-def]
        shape = tuple(map(int, shape))
        scale, zero_point = grid or self.grid(dtype)
        name = f"{self.one_of(_NAMES)}{len(self.file.graph.tensors) if self.chance(0.9) else ''}"
        index = self.file.tensor(shape, dtype, scale, zero_point, name=name, end=end)
        made = Held(index, shape, dtype, scale, zero_point)
        if min(shape, default=1) > 0:
            self.held.append(made)
        return made

    def like(self, source: Held, shape, same: bool = True) -> Held:  # type: ignore[no-untyped-def]
        return self.tensor(shape, source.dtype, (source.scale, source.zero_point) if same else None)

    def ints(self, values, dtype=np.int32) -> int:  # type: ignore[no-untyped-def]
        return self.file.constant(np.array(values, dtype))

    def codes(self, shape, dtype: str = "int8") -> np.ndarray:  # type: ignore[no-untyped-def]
        low, high = (-127, 127) if dtype == "int8" else (-32767, 32767)
        return self.rng.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)

    def axis(self, source: Held, first: int = 0) -> tuple[int, int]:
        """An axis, and how a file may say it."""
        axis = self.number(min(first, source.rank - 1), source.rank - 1)
        return axis, axis - source.rank if self.chance(0.4) else axis

    def put(self, name: str, inputs, outputs, table: str | None = None, version: int = 1, **options) -> None:  # type: ignore[no-untyped-def]
        self.steps.append(name)
        self.read.update(i for i in inputs if i >= 0)
        # Converters leave a table out whose fields are all as the schema has them.
        bare = table is not None and not any(options.values()) and self.chance(0.5)
        self.file.operator(
            name, list(inputs), [each.index for each in outputs], None if bare else table, options, version
        )

    def source(self, *ranks: int, dtypes: tuple[str, ...] = ("int8", "int16")) -> Held | None:
        """A tensor to read: the newest one mostly."""
        fit = [
            h for h in self.held if (not ranks or h.rank in ranks) and h.dtype in dtypes and math.prod(h.shape) <= 600
        ]
        if not fit:
            return None
        return fit[-1] if self.chance(0.7) else self.one_of(fit)

    def weights(self, shape, axis: int, per_channel: bool | None = None) -> tuple[int, list[float]]:  # type: ignore[no-untyped-def]
        count = shape[axis] if (self.chance(0.6) if per_channel is None else per_channel) else 1
        scales = [float(np.float32(2.0 ** self.rng.uniform(-10, -5))) for _ in range(count)]
        return self.file.constant(self.codes(shape), scales, axis=axis), scales

    def bias(self, count: int, source: Held, scales: list[float]) -> list[int]:
        kind = self.number(0, 5)
        if kind == 0:
            return [-1]
        if kind == 1:
            return []
        dtype = np.int64 if source.dtype == "int16" and self.chance(0.7) else np.int32
        data = self.rng.integers(-3000, 3000, count).astype(dtype)
        if kind == 2:
            return [self.file.constant(data)]
        return [self.file.constant(data, [float(np.float32(source.scale) * np.float32(s)) for s in scales])]


def _size(size: int, window: int, stride: int, dilation: int, padding: int) -> int:
    extent = (window - 1) * dilation + 1
    return -(-size // stride) if padding == _SAME else (size - extent) // stride + 1


def _convolution(d: Drawing) -> None:
    x = d.source(4)
    if x is None:
        return
    n, h, w, c = x.shape
    kh, kw = d.number(1, min(3, h)), d.number(1, min(3, w))
    padding = d.number(0, 1)
    dh, dw = (d.one_of((1, 1, 2)) if h > 2 * kh else 1), (d.one_of((1, 1, 2)) if w > 2 * kw else 1)
    sh, sw = (d.number(1, 2), d.number(1, 2))
    shape = (n, _size(h, kh, sh, dh, padding), _size(w, kw, sw, dw, padding))
    options = dict(
        padding=padding,
        strideH=sh,
        strideW=sw,
        dilationHFactor=dh,
        dilationWFactor=dw,
        fusedActivationFunction=d.one_of(_FUSED),
    )
    if d.chance(0.5):
        m = d.number(1, 2)
        weight, scales = d.weights((1, kh, kw, c * m), 3)
        out = d.tensor((*shape, c * m), x.dtype)
        d.put(
            "DEPTHWISE_CONV_2D",
            [x.index, weight, *d.bias(c * m, x, scales)],
            [out],
            "DepthwiseConv2DOptions",
            3,
            depthMultiplier=m,
            **options,
        )
        return
    groups = d.one_of((1, 1, 1, c))
    outs = groups * d.number(1, 3)
    weight, scales = d.weights((outs, kh, kw, c // groups), 0)
    out = d.tensor((*shape, outs), x.dtype)
    d.put("CONV_2D", [x.index, weight, *d.bias(outs, x, scales)], [out], "Conv2DOptions", 3, **options)


def _transposed(d: Drawing) -> None:
    x = d.source(4)
    if x is None or math.prod(x.shape) > 200:
        return
    n, h, w, c = x.shape
    kh, kw, s, padding, outs = d.number(1, 3), d.number(1, 3), d.number(1, 2), d.number(0, 1), d.number(1, 3)
    size = [
        (v * s if padding == _SAME else (v - 1) * s + max(k, s) if d.chance(0.1) else (v - 1) * s + k)
        for v, k in ((h, kh), (w, kw))
    ]
    weight, scales = d.weights((outs, kh, kw, c), 0)
    out = d.tensor((n, *size, outs), x.dtype)
    bias = [b for b in d.bias(outs, x, scales) if b >= 0]
    d.put(
        "TRANSPOSE_CONV",
        [d.ints(out.shape), weight, x.index, *bias],
        [out],
        "TransposeConvOptions",
        3,
        padding=padding,
        strideH=s,
        strideW=s,
    )


def _dense(d: Drawing) -> None:
    x = d.source(1, 2, 3, 4)
    if x is None:
        return
    keep = d.chance(0.5)
    depth = x.shape[-1] if keep or x.rank == 2 or d.chance(0.5) else math.prod(x.shape[1:])
    rows, outs = math.prod(x.shape) // depth, d.number(1, 6)
    zero = d.number(-5, 5) if d.chance(0.15) and x.dtype == "int8" else 0
    weight, scales = d.weights((outs, depth), 0, False if zero else None)
    if zero:
        d.file.graph.tensors[weight].quantization.zeroPoint = [zero]
    shape = (*x.shape[:-1], outs) if keep and depth == x.shape[-1] else (rows, outs)
    out = d.tensor(shape, x.dtype)
    d.put(
        "FULLY_CONNECTED",
        [x.index, weight, *d.bias(outs, x, scales)],
        [out],
        "FullyConnectedOptions",
        4,
        fusedActivationFunction=d.one_of(_FUSED),
        keepNumDims=keep,
    )


def _pool(d: Drawing) -> None:
    x = d.source(4)
    if x is None:
        return
    n, h, w, c = x.shape
    fh, fw, sh, sw, padding = (
        d.number(1, min(3, h)),
        d.number(1, min(3, w)),
        d.number(1, 3),
        d.number(1, 3),
        d.number(0, 1),
    )
    shape = (n, _size(h, fh, sh, 1, padding), _size(w, fw, sw, 1, padding), c)
    fused = d.one_of((0, 0, 0, 0, 1, 3))
    out = d.like(x, shape, d.chance(0.9))
    d.put(
        d.one_of(("MAX_POOL_2D", "AVERAGE_POOL_2D")),
        [x.index],
        [out],
        "Pool2DOptions",
        2,
        padding=padding,
        filterHeight=fh,
        filterWidth=fw,
        strideH=sh,
        strideW=sw,
        fusedActivationFunction=fused,
    )


def _padding(d: Drawing) -> None:
    x = d.source(2, 3, 4)
    if x is None:
        return
    kind = d.one_of(("PAD", "PAD", "PADV2", "MIRROR_PAD"))
    first = 0 if d.chance(0.2) and kind != "MIRROR_PAD" else 1
    room = [1 if a < first else min(2, s - 1) if kind == "MIRROR_PAD" else 2 for a, s in enumerate(x.shape)]
    pads = [(0, 0) if a < first or d.chance(0.4) else (d.number(0, r), d.number(0, r)) for a, r in enumerate(room)]
    if first == 0 and d.chance(0.5):
        pads[0] = (d.number(0, 1), 0)
    out = d.like(x, [s + a + b for s, (a, b) in zip(x.shape, pads, strict=True)])
    inputs = [x.index, d.ints(pads)]
    if kind == "PADV2":
        value = d.codes((), x.dtype)
        inputs.append(d.file.constant(value, x.scale, zero_point=x.zero_point))
    table = {"PAD": "PadOptions", "PADV2": "PadV2Options", "MIRROR_PAD": "MirrorPadOptions"}[kind]
    d.put(kind, inputs, [out], table, **({"mode": d.number(0, 1)} if kind == "MIRROR_PAD" else {}))
    if x.rank == 4 and d.chance(0.5):
        _convolution(d)


def _factors(d: Drawing, size: int) -> list[int]:
    rank, shape = d.number(1, 4), []
    for _ in range(rank - 1):
        fits = [n for n in range(1, size + 1) if size % n == 0]
        shape.append(d.one_of(fits))
        size //= shape[-1]
    return [1, *shape, size] if d.chance(0.5) else [*shape, size]


def _reshape(d: Drawing) -> None:
    x = d.source()
    if x is None:
        return
    if d.chance(0.2) and 1 in x.shape:
        axes = [a for a, s in enumerate(x.shape) if s == 1 and (a or d.chance(0.3))]
        if axes and len(axes) < x.rank:
            said = [a - x.rank if d.chance(0.3) else a for a in axes]
            out = d.like(x, [s for a, s in enumerate(x.shape) if a not in axes])
            return d.put("SQUEEZE", [x.index], [out], "SqueezeOptions", squeezeDims=said)
    if d.chance(0.2) and x.rank < 4:
        at = d.number(0, x.rank)
        out = d.like(x, [*x.shape[:at], 1, *x.shape[at:]])
        return d.put(
            "EXPAND_DIMS", [x.index, d.ints(at - x.rank - 1 if d.chance(0.4) else at)], [out], "ExpandDimsOptions"
        )
    shape = _factors(d, math.prod(x.shape))
    said = list(shape)
    if d.chance(0.5):
        said[d.number(0, len(said) - 1)] = -1
    out = d.like(x, shape)
    kind = d.number(0, 3)
    if kind == 0:
        d.put("RESHAPE", [x.index], [out], "ReshapeOptions", newShape=said)
    elif kind == 1 and x.rank > 1:
        _reshape_by_shape(d, x, out)
    else:
        d.put("RESHAPE", [x.index, d.ints(said)], [out], *(["ReshapeOptions"] if kind == 2 else []))
    return None


def _reshape_by_shape(d: Drawing, x: Held, out: Held) -> None:
    """As for a dynamic batch: the shape is computed out of the input's, by number arithmetic."""
    f, rank = d.file, x.rank
    shape, first = f.tensor([rank], "int32"), f.tensor([], "int32")
    f.operator("SHAPE", [x.index], [shape], "ShapeOptions", {"outType": 2})
    one = [d.ints([v]) for v in (0, 1, 1)]
    f.operator("STRIDED_SLICE", [shape, *one], [first], "StridedSliceOptions", {"shrinkAxisMask": 1})
    if out.shape[0] == x.shape[0]:
        head = first
    else:
        head = f.tensor([], "int32")
        f.operator("ADD", [first, d.ints(out.shape[0] - x.shape[0])], [head], "AddOptions")
    packed = f.tensor([len(out.shape)], "int32")
    rest = [d.ints(s) for s in out.shape[1:]]
    f.operator("PACK", [head, *rest], [packed], "PackOptions", {"valuesCount": len(out.shape)})
    d.put("RESHAPE", [x.index, packed], [out], "ReshapeOptions")


def _transpose(d: Drawing) -> None:
    x = d.source(2, 3, 4)
    if x is None:
        return
    perm = (
        [int(p) for p in d.rng.permutation(x.rank)]
        if d.chance(0.4)
        else [0, *(1 + int(p) for p in d.rng.permutation(x.rank - 1))]
    )
    out = d.like(x, [x.shape[p] for p in perm])
    d.put("TRANSPOSE", [x.index, d.ints(perm)], [out], "TransposeOptions")
    if d.chance(0.3):
        back = d.like(out, x.shape)
        d.put("TRANSPOSE", [out.index, d.ints(np.argsort(perm))], [back], "TransposeOptions")


def _concatenation(d: Drawing) -> None:
    x = d.source(1, 2, 3, 4)
    if x is None:
        return
    axis, said = d.axis(x, 0 if d.chance(0.2) else 1)
    others = [
        h
        for h in d.held
        if h.rank == x.rank
        and h.dtype == x.dtype
        and all(a == b for i, (a, b) in enumerate(zip(h.shape, x.shape, strict=True)) if i != axis)
    ]
    same = [h for h in others if (h.scale, h.zero_point) == (x.scale, x.zero_point)]
    parts = [x] + [d.one_of(others if d.chance(0.1) else same) for _ in range(d.number(1, 3))]
    inputs = [p.index for p in parts]
    size = sum(p.shape[axis] for p in parts)
    if d.chance(0.2):
        shape = [*x.shape]
        shape[axis] = d.number(1, 2)
        inputs.insert(d.number(0, 1), d.file.constant(d.codes(shape, x.dtype), x.scale, zero_point=x.zero_point))
        size += shape[axis]
    out = d.like(x, [size if i == axis else s for i, s in enumerate(x.shape)])
    d.put(
        "CONCATENATION",
        inputs,
        [out],
        "ConcatenationOptions",
        axis=said,
        fusedActivationFunction=1 if d.chance(0.03) else 0,
    )


def _split(d: Drawing) -> None:
    x = d.source(1, 2, 3, 4)
    if x is None:
        return
    axis, said = d.axis(x)
    size = x.shape[axis]

    def cut(n: int) -> Held:
        return d.like(x, [n if i == axis else s for i, s in enumerate(x.shape)])

    kind = d.number(0, 2)
    if kind == 0:
        parts = d.one_of([n for n in range(1, min(size, 4) + 1) if size % n == 0])
        d.put(
            "SPLIT",
            [d.ints(said), x.index],
            [cut(size // parts) for _ in range(parts)],
            "SplitOptions",
            numSplits=parts,
        )
    elif kind == 1 and size > 1:
        first = d.number(1, size - 1)
        sizes = [first, -1 if d.chance(0.3) else size - first]
        d.put(
            "SPLIT_V",
            [x.index, d.ints(sizes), d.ints(said)],
            [cut(first), cut(size - first)],
            "SplitVOptions",
            numSplits=2,
        )
    elif size <= 4 and x.rank > 1:
        outs = [d.like(x, [s for i, s in enumerate(x.shape) if i != axis]) for _ in range(size)]
        d.put("UNPACK", [x.index], outs, "UnpackOptions", num=size, axis=said)
        if d.chance(0.7):
            back, at = d.number(0, x.rank - 1), [*outs[0].shape]
            at.insert(back, size)
            order = [outs[int(i)].index for i in d.rng.permutation(size)]
            d.put(
                "PACK",
                order,
                [d.like(x, at)],
                "PackOptions",
                valuesCount=size,
                axis=back - x.rank if d.chance(0.4) else back,
            )


def _slice(d: Drawing) -> None:
    x = d.source(1, 2, 3, 4)
    if x is None:
        return
    if d.chance(0.4):
        begin = [d.number(0, s - 1) if a and d.chance(0.6) else 0 for a, s in enumerate(x.shape)]
        size = [d.number(1, s - b) if a else s for a, (s, b) in enumerate(zip(x.shape, begin, strict=True))]
        said = [-1 if b + n == s and d.chance(0.5) else n for s, b, n in zip(x.shape, begin, size, strict=True)]
        return d.put("SLICE", [x.index, d.ints(begin), d.ints(said)], [d.like(x, size)], "SliceOptions")
    begins, ends, strides, shape = [], [], [], []
    masks = {"beginMask": 0, "endMask": 0, "shrinkAxisMask": 0}
    for axis, s in enumerate(x.shape):
        step = d.one_of((1, 1, 2)) if axis or d.chance(0.2) else 1
        low, high = (d.number(0, s - 1), d.number(1, s)) if axis or d.chance(0.2) else (0, s)
        if high <= low:
            low, high = 0, s
        if d.chance(0.15) and axis:
            masks["shrinkAxisMask"] |= 1 << axis
            begins.append(low - s if d.chance(0.4) else low)
            ends.append(d.one_of((low + 1, 0, s)))
            strides.append(1)
            continue
        if d.chance(0.3):
            masks["beginMask"] |= 1 << axis
            low = 0
            begins.append(d.number(-s, s))
        else:
            begins.append(low - s if d.chance(0.3) else low)
        if d.chance(0.3):
            masks["endMask"] |= 1 << axis
            high = s
            ends.append(d.number(-s, s))
        else:
            ends.append(high - s if d.chance(0.3) and high < s else high + 5 if high == s and d.chance(0.2) else high)
        strides.append(step)
        shape.append(-(-(high - low) // step))
    if shape:
        boxes = [d.ints(v) for v in (begins, ends, strides)]
        d.put("STRIDED_SLICE", [x.index, *boxes], [d.like(x, shape)], "StridedSliceOptions", **masks)
    return None


def _of_two(d: Drawing) -> None:
    x = d.source(1, 2, 3, 4)
    if x is None:
        return
    name = d.one_of(("ADD", "ADD", "SUB", "MUL", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "DIV"))
    shared = name in ("MAXIMUM", "MINIMUM")
    fit = [
        h
        for h in d.held
        if h.dtype == x.dtype
        and _fits(h.shape, x.shape)
        and (not shared or (h.scale, h.zero_point) == (x.scale, x.zero_point))
    ]
    if d.chance(0.4) or not fit:
        shape = [1 if d.chance(0.4) else s for s in x.shape][d.number(0, x.rank - 1) if d.chance(0.5) else 0 :]
        shape = [] if d.chance(0.15) else shape
        scale, zero = (x.scale, x.zero_point) if shared else d.grid(x.dtype)
        other, other_shape = d.file.constant(d.codes(shape, x.dtype), scale, zero_point=zero), tuple(shape)
    else:
        y = d.one_of(fit)
        other, other_shape = y.index, y.shape
    shape = np.broadcast_shapes(x.shape, other_shape)
    out = d.like(x, shape, same=shared)
    table = {
        "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
        "MAXIMUM": "MaximumMinimumOptions",
        "MINIMUM": "MaximumMinimumOptions",
    }.get(name, f"{name.title()}Options")
    fused = {} if shared or name == "SQUARED_DIFFERENCE" else {"fusedActivationFunction": d.one_of(_FUSED)}
    inputs = [x.index, other]
    d.put(name, inputs[::-1] if d.chance(0.3) else inputs, [out], table, 2, **fused)


def _fits(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    try:
        return math.prod(np.broadcast_shapes(one, other)) <= 600
    except ValueError:
        return False


def _reduction(d: Drawing) -> None:
    x = d.source(2, 3, 4)
    if x is None:
        return
    axes = sorted({d.axis(x, 0 if d.chance(0.1) else 1)[0] for _ in range(d.number(1, 3))})
    said = [a - x.rank if d.chance(0.4) else a for a in axes]
    keep = d.chance(0.5)
    name = d.one_of(("MEAN", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"))
    shape = [1 if a in axes else s for a, s in enumerate(x.shape) if keep or a not in axes]
    out = d.like(x, shape, same=name.startswith("REDUCE"))
    given = d.ints(said[0]) if len(said) == 1 and d.chance(0.3) else d.ints(said)
    d.put(name, [x.index, given], [out], "ReducerOptions", 2, keepDims=keep)


def _function(d: Drawing) -> None:
    x = d.source()
    if x is None:
        return
    name = d.one_of(
        (
            "RELU",
            "RELU6",
            "LEAKY_RELU",
            "LOGISTIC",
            "TANH",
            "HARD_SWISH",
            "ELU",
            "ABS",
            "SOFTMAX",
            "LOG_SOFTMAX",
            "L2_NORMALIZATION",
            "PRELU",
            "REVERSE_V2",
        )
    )
    inputs, options, table, grid = [x.index], {}, None, None
    wide = x.dtype == "int16"
    if name == "LEAKY_RELU":
        options, table = {"alpha": d.one_of((0.01, 0.3, 0.0, 1.5, -0.2))}, "LeakyReluOptions"
    elif name == "LOGISTIC":
        grid = (1 / 32768, 0) if wide else (1 / 256, -128)
    elif name == "TANH":
        grid = (1 / 32768, 0) if wide else (1 / 128, 0)
    elif name == "SOFTMAX":
        options, table, grid = (
            {"beta": d.one_of((1.0, 1.0, 0.5, 2.0))},
            "SoftmaxOptions",
            (1 / 32768, 0) if wide else (1 / 256, -128),
        )
    elif name == "LOG_SOFTMAX":
        table, grid = "LogSoftmaxOptions", (16 / 256, 127)
    elif name == "L2_NORMALIZATION":
        table, grid = "L2NormOptions", (1 / 128, 0)
    elif name == "PRELU":
        shape = x.shape[1:] if d.chance(0.5) else (1,) * (x.rank - 2) + x.shape[-1:]
        inputs.append(d.file.constant(d.codes(shape, x.dtype), 0.01))
    elif name == "REVERSE_V2":
        inputs.append(d.ints([d.axis(x, 1)[0]]))
        grid = (x.scale, x.zero_point)
    elif d.chance(0.5):
        grid = (x.scale, x.zero_point)
    d.put(name, inputs, [d.tensor(x.shape, x.dtype, grid)], table, 2, **options)


def _quantize(d: Drawing) -> None:
    x = d.source()
    if x is None:
        return
    d.put("QUANTIZE", [x.index], [d.tensor(x.shape, d.one_of((x.dtype, x.dtype, "int8", "int16")))], None, 2)


def _resize(d: Drawing) -> None:
    x = d.source(4)
    if x is None or math.prod(x.shape) > 150:
        return
    n, h, w, c = x.shape
    size = d.number(1, 2 * h), d.number(1, 2 * w)
    name, table = d.one_of(
        (("RESIZE_BILINEAR", "ResizeBilinearOptions"), ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"))
    )
    corners = d.chance(0.3)
    d.put(
        name,
        [x.index, d.ints(size)],
        [d.like(x, (n, *size, c))],
        table,
        3,
        alignCorners=corners,
        halfPixelCenters=not corners and d.chance(0.5),
    )


def _movement(d: Drawing) -> None:
    kind = d.one_of(("SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "GATHER", "BROADCAST_TO"))
    x = d.source(*((4,) if kind.endswith(("DEPTH", "SPACE")) else (1, 2, 3)), dtypes=("int8",))
    if x is None:
        return
    if kind == "SPACE_TO_DEPTH" and not x.shape[1] % 2 and not x.shape[2] % 2:
        n, h, w, c = x.shape
        d.put(kind, [x.index], [d.like(x, (n, h // 2, w // 2, 4 * c))], "SpaceToDepthOptions", blockSize=2)
    elif kind == "DEPTH_TO_SPACE" and not x.shape[3] % 4:
        n, h, w, c = x.shape
        d.put(kind, [x.index], [d.like(x, (n, 2 * h, 2 * w, c // 4))], "DepthToSpaceOptions", blockSize=2)
    elif kind == "GATHER":
        axis, said = d.axis(x, 1)
        indices = d.rng.integers(0, x.shape[axis], () if d.chance(0.3) and x.rank > 1 else d.number(1, 3))
        shape = (
            (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
            if isinstance(indices, np.ndarray)
            else (*x.shape[:axis], *x.shape[axis + 1 :])
        )
        d.put(kind, [x.index, d.ints(indices)], [d.like(x, shape)], "GatherOptions", axis=said)
    elif kind == "BROADCAST_TO" and 1 in x.shape and math.prod(x.shape) <= 60:
        shape = [d.number(1, 3) if s == 1 and a else s for a, s in enumerate(x.shape)]
        d.put(kind, [x.index, d.ints(shape)], [d.like(x, shape)], "BroadcastToOptions")


def _matmul(d: Drawing) -> None:
    x = d.source(2, 3, 4)
    if x is None:
        return
    adj_x, adj_y = d.chance(0.3), d.chance(0.3)
    rows, depth = x.shape[-2:] if not adj_x else x.shape[:-3:-1]
    columns = d.number(1, 4)
    shape = (*x.shape[:-2], columns, depth) if adj_y else (*x.shape[:-2], depth, columns)
    scale, zero = d.grid(x.dtype)
    if d.chance(0.5):
        shape = (*((1,) * d.number(0, x.rank - 2)), *shape[-2:])
        if len(shape) < x.rank:
            shape = (1,) * (x.rank - len(shape)) + shape
    other = d.file.constant(d.codes(shape, x.dtype), scale, zero_point=zero)
    d.put(
        "BATCH_MATMUL",
        [x.index, other],
        [d.tensor((*x.shape[:-2], rows, columns), x.dtype)],
        "BatchMatMulOptions",
        adjX=adj_x,
        adjY=adj_y,
    )


def _index(d: Drawing) -> None:
    x = d.source(2, 3, 4, dtypes=("int8",))
    if x is None:
        return
    axis, said = d.axis(x, 1)
    name = d.one_of(("ARG_MAX", "ARG_MIN"))
    out = d.file.tensor([s for a, s in enumerate(x.shape) if a != axis], "int32", end="output")
    d.steps.append(name)
    d.read.add(x.index)
    d.file.operator(
        name, [x.index, d.ints(said)], [out], f"{'ArgMax' if name == 'ARG_MAX' else 'ArgMin'}Options", {"outputType": 2}
    )


#: What may be put behind what is there; the likely ones more than once.
STEPS: tuple[Callable[[Drawing], None], ...] = (
    _convolution, _convolution, _convolution, _transposed, _dense, _dense, _pool, _padding, _reshape, _reshape,
    _transpose, _concatenation, _concatenation, _split, _slice, _slice, _of_two, _of_two, _of_two, _reduction,
    _function, _function, _quantize, _resize, _movement, _matmul,
)  # fmt: skip

_SHAPES = (
    (1, 6, 5, 2),
    (1, 4, 4, 4),
    (2, 4, 3, 2),
    (1, 8),
    (3, 4),
    (1, 5, 3),
    (2, 3, 4),
    (1, 7, 1, 3),
    (6,),
    (1, 1, 9, 1),
)


def draw_file(seed: int, steps: int | None = None) -> Drawing:
    """The file of a seed.

    Args:
        seed: any; a fourth of them are of 16 bits.
        steps: fewer of them, which are the first of the same file.
    """
    d = Drawing(seed)
    dtype = "int16" if seed % 4 == 3 else "int8"
    for _ in range(d.number(1, 2)):
        d.tensor(d.one_of(_SHAPES), dtype, end="input")
    count = d.number(1, 8)
    # Of its own, so that fewer steps are the first ones.
    ends = np.random.default_rng(seed + 1)
    for _ in range(min(count, steps or count)):
        d.one_of(STEPS)(d)
    if d.chance(0.1):
        _index(d)
    _end(d, ends)
    return d


def _end(d: Drawing, rng: np.random.Generator) -> None:
    """Outputs: all that nothing reads, mostly; one that something reads, one twice, an input, now and then."""
    computed = [h.index for h in d.held if h.index not in d.file.graph.inputs]
    outputs = [i for i in computed if i not in d.read]
    if rng.random() < 0.15 and computed:
        outputs.append(int(rng.choice(computed)))
    if rng.random() < 0.05 and len(outputs) > 1:
        outputs.pop(0)
    if rng.random() < 0.04:
        outputs.append(d.file.graph.inputs[0])
    d.file.graph.outputs = [*d.file.graph.outputs, *(outputs or d.file.graph.inputs[:1])]
    d.file.model.description = "MLIR Converted." if rng.random() < 0.5 else None
