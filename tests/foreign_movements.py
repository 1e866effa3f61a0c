"""Steps of drawn files that move numbers: shapes, slices, joins, and shapes computed out of shapes."""

from __future__ import annotations

import math

import numpy as np

from tests.foreign_file import Drawing, Held

__all__ = ["concatenation", "movement", "reshape", "slice_of", "split", "transpose"]


def _factors(d: Drawing, size: int) -> list[int]:
    rank, shape = d.number(1, 4), []
    for _ in range(rank - 1):
        fits = [n for n in range(1, size + 1) if size % n == 0]
        shape.append(d.one_of(fits))
        size //= shape[-1]
    return [1, *shape, size] if d.chance(0.5) else [*shape, size]


def reshape(d: Drawing) -> None:
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


def transpose(d: Drawing) -> None:
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


def concatenation(d: Drawing) -> None:
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


def split(d: Drawing) -> None:
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


def slice_of(d: Drawing) -> None:
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


def movement(d: Drawing) -> None:
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
