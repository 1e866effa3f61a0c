"""Steps of drawn files that compute: layers, arithmetic, reductions, functions of numbers."""

from __future__ import annotations

import math

import numpy as np

from tests.foreign_file import FUSED, SAME, Drawing

__all__ = [
    "convolution",
    "dense",
    "function",
    "index",
    "matmul",
    "of_two",
    "padding",
    "pool",
    "quantize",
    "reduction",
    "resize",
    "transposed",
]


def _size(size: int, window: int, stride: int, dilation: int, padding: int) -> int:
    extent = (window - 1) * dilation + 1
    return -(-size // stride) if padding == SAME else (size - extent) // stride + 1


def convolution(d: Drawing) -> None:
    x = d.source(4)
    if x is None:
        return
    n, h, w, c = x.shape
    kh, kw = d.number(1, min(3, h)), d.number(1, min(3, w))
    padding = d.number(0, 1)
    dh, dw = (d.one_of((1, 1, 2)) if h > 2 * kh else 1), (d.one_of((1, 1, 2)) if w > 2 * kw else 1)
    sh, sw = (d.number(1, 2), d.number(1, 2))
    shape = (n, _size(h, kh, sh, dh, padding), _size(w, kw, sw, dw, padding))
    options = {
        "padding": padding,
        "strideH": sh,
        "strideW": sw,
        "dilationHFactor": dh,
        "dilationWFactor": dw,
        "fusedActivationFunction": d.one_of(FUSED),
    }
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


def transposed(d: Drawing) -> None:
    x = d.source(4)
    if x is None or math.prod(x.shape) > 200:
        return
    n, h, w, c = x.shape
    kh, kw, s, padding, outs = d.number(1, 3), d.number(1, 3), d.number(1, 2), d.number(0, 1), d.number(1, 3)
    size = [
        (v * s if padding == SAME else (v - 1) * s + max(k, s) if d.chance(0.1) else (v - 1) * s + k)
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


def dense(d: Drawing) -> None:
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
        fusedActivationFunction=d.one_of(FUSED),
        keepNumDims=keep,
    )


def pool(d: Drawing) -> None:
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


def padding(d: Drawing) -> None:
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
        convolution(d)


def of_two(d: Drawing) -> None:
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
    fused = {} if shared or name == "SQUARED_DIFFERENCE" else {"fusedActivationFunction": d.one_of(FUSED)}
    inputs = [x.index, other]
    d.put(name, inputs[::-1] if d.chance(0.3) else inputs, [out], table, 2, **fused)


def _fits(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    try:
        return math.prod(np.broadcast_shapes(one, other)) <= 600
    except ValueError:
        return False


def reduction(d: Drawing) -> None:
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


def function(d: Drawing) -> None:
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


def quantize(d: Drawing) -> None:
    x = d.source()
    if x is None:
        return
    d.put("QUANTIZE", [x.index], [d.tensor(x.shape, d.one_of((x.dtype, x.dtype, "int8", "int16")))], None, 2)


def resize(d: Drawing) -> None:
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


def matmul(d: Drawing) -> None:
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


def index(d: Drawing) -> None:
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
