"""Graphs of one op drawn at random, for every other form those that it rewrites; ``draw(form, seed)``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from export.graph.ir import Graph
from export.rows.samples import sample_graph
from qtorch.families.convolution import weighted_sample
from qtorch.families.windows import explicit_padding as amounts_of
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import Sample

__all__ = ["DRAWN", "draw"]

_Rng = np.random.Generator

_DTYPES = ("int8", "int8", "int16")
_ACTIVATIONS = ("none", "relu", "relu6")


def draw(form: str, seed: int) -> Graph:
    """A graph whose one op, ``output``, the form rewrites."""
    rng = np.random.default_rng([seed, len(form)])
    op, sample = DRAWN[form](rng)
    return sample_graph(ROWS[op], sample)


def _one_of(rng: _Rng, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _numbers(rng: _Rng, dtype: str) -> dict[str, Any]:
    """Grids of an op with a weight, now and then saturating, at the ends of the codes or without a bias."""
    fine = 256 if dtype == "int16" else 1
    zeros = [0, 0] if dtype == "int16" else [int(_one_of(rng, (-128, -3, 0, 17, 127))) for _ in range(2)]
    step = float(_one_of(rng, (0.02, 0.2, 1.5)))
    return {
        "input": (0.05 / fine, zeros[0]),
        "output": (step / fine, zeros[1]),
        "bias": int(_one_of(rng, (0, 2**9, 2**14))),
        "per_channel": bool(rng.integers(4)),
        "extreme": not rng.integers(5),
        "dtype": dtype,
    }


def _dense(rng: _Rng, *, ranks: tuple[int, ...], rows: int = 6) -> tuple[str, Sample]:
    dtype, rank = _one_of(rng, _DTYPES), int(_one_of(rng, ranks))
    middle = tuple(int(n) for n in rng.integers(1, 4, rank - 2))
    depth, channels = (int(n) for n in rng.integers(1, 20, 2))
    attrs = {"activation": _one_of(rng, _ACTIVATIONS), "keep_num_dims": rank > 2}
    numbers = _numbers(rng, dtype)
    if dtype == "int8" and not rng.integers(4):
        numbers |= {"weights": "int4", "per_channel": False}
    shape = (rows, *middle, depth)
    return "fully_connected", weighted_sample(rng, "", attrs, shape, (channels, depth), channel_axis=0, **numbers)


def _of_rows(rng: _Rng) -> tuple[str, Sample]:
    if rng.integers(2):
        return _dense(rng, ranks=(3, 4, 5))
    dtype = _one_of(rng, _DTYPES)
    middle = tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(1, 4))))
    codes = rng.integers(*CODE_RANGE[dtype], (6, *middle, int(rng.integers(1, 40))), dtype=dtype, endpoint=True)
    source = QParams((float(np.float32(0.05 if dtype == "int8" else 2e-4)),), (3 if dtype == "int8" else 0,), dtype)
    output = QParams((1 / 256,), (-128,)) if dtype == "int8" else QParams((1 / 32768,), (0,), "int16")
    return "softmax", Sample("", {"beta": 1.0}, {"input": codes}, {"input": source, "output": output})


def _sliding(
    rng: _Rng, paddings: tuple[str, ...], *, height: int = 9, strides: int = 4, op: str = "", grouped: bool = False
) -> tuple[str, Sample]:
    """A convolution, depthwise one or pooling; images of one row if ``height`` is 1."""
    op = op or _one_of(rng, ("conv_2d", "conv_2d", "depthwise_conv_2d", "average_pool_2d", "max_pool_2d"))
    dtype, flat = _one_of(rng, _DTYPES), height == 1 or not rng.integers(3)
    kernel = (1 if flat else int(rng.integers(1, 5)), int(rng.integers(1, 6)))
    stride = (1 if height == 1 else int(rng.integers(1, strides + 1)), int(rng.integers(1, strides + 1)))
    dilation = (1, 1)
    if "conv" in op and stride == (1, 1) and rng.integers(2):
        dilation = (1 if flat else int(rng.integers(1, 3)), int(rng.integers(1, 4)))
    size = (1 if flat else int(rng.integers(4, height + 1)), int(rng.integers(4, 20)))
    window = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    padding = _one_of(rng, paddings)
    if any(n < w for n, w in zip(size, window, strict=True)):
        padding = "same"
    attrs: dict[str, Any] = {
        "stride_h": stride[0], "stride_w": stride[1], "padding": padding, "activation": _one_of(rng, _ACTIVATIONS)
    }  # fmt: skip
    channels, depth = (int(n) for n in rng.integers(1, 7, 2))
    if "pool" in op:
        image = rng.integers(*CODE_RANGE[dtype], (4, *size, depth), dtype=dtype, endpoint=True)
        grid = QParams((0.0625,), (7 if dtype == "int8" else 0,), dtype)
        attrs["activation"] = "none"
        attrs |= {"filter_h": kernel[0], "filter_w": kernel[1]}
        return op, Sample("", attrs, {"input": image}, {"input": grid, "output": grid})
    attrs |= {"dilation_h": dilation[0], "dilation_w": dilation[1]}
    numbers = _numbers(rng, dtype)
    if op == "depthwise_conv_2d":
        multiplier = int(rng.integers(1, 3))
        attrs["depth_multiplier"] = multiplier
        weight, axis = (1, *kernel, depth * multiplier), 3
    else:
        groups = int(rng.integers(2, 14)) if grouped else 1
        weight, axis, depth = (channels * groups, *kernel, depth), 0, depth * groups
    return op, weighted_sample(rng, "", attrs, (4, *size, depth), weight, channel_axis=axis, **numbers)


def _grouped(rng: _Rng) -> tuple[str, Sample]:
    return _sliding(rng, ("same", "valid"), op="conv_2d", grouped=True)


def _close_taps(rng: _Rng) -> tuple[str, Sample]:
    """A convolution without dilation."""
    while True:
        op, sample = _sliding(rng, ("same", "valid"), op=_one_of(rng, ("conv_2d", "depthwise_conv_2d")))
        if sample.attrs["dilation_h"] == sample.attrs["dilation_w"] == 1:
            return op, sample


def _left_over(rng: _Rng) -> tuple[str, Sample]:
    """Until some row or column is left over."""
    while True:
        op, sample = _sliding(rng, ("valid",))
        attrs, image = sample.attrs, sample.arrays["input"].shape[1:3]
        axes = "hw"
        if "pool" in op:
            window = tuple(attrs[f"filter_{a}"] for a in axes)
        else:
            kernel = sample.arrays["weight"].shape[1:3]
            window = tuple((k - 1) * attrs[f"dilation_{a}"] + 1 for k, a in zip(kernel, axes, strict=True))
        stride = tuple(attrs[f"stride_{a}"] for a in axes)
        unread = [(n - w) % s for n, w, s in zip(image, window, stride, strict=True)]
        if attrs["padding"] == "valid" and any(unread):
            return op, sample


def _padded(rng: _Rng) -> tuple[str, Sample]:
    """SAME, but for averages only where it pads nothing."""
    while True:
        op, sample = _sliding(rng, ("same",))
        attrs, image = sample.attrs, sample.arrays["input"].shape[1:3]
        if op != "average_pool_2d":
            return op, sample
        window, stride = ((attrs[f"{each}_h"], attrs[f"{each}_w"]) for each in ("filter", "stride"))
        if not any(n for ends in amounts_of("same", image, window, stride) for n in ends):
            return op, sample


def _one_row(rng: _Rng) -> tuple[str, Sample]:
    return _sliding(rng, ("same", "valid"), height=1)


def _transposed(rng: _Rng) -> tuple[str, Sample]:
    """Sizes that a convolution in the other direction brings back to the input's."""
    dtype, flat = _one_of(rng, _DTYPES), not rng.integers(3)
    size = tuple(int(n) for n in rng.integers(1, 7, 2))
    kernel, stride = (tuple(int(n) for n in rng.integers(1, 6, 2)) for _ in range(2))
    if flat:
        size, kernel, stride = (1, size[1]), (1, kernel[1]), (1, stride[1])
    padding, over = _one_of(rng, ("same", "valid")), [int(rng.integers(s)) for s in stride]
    sizes = list(zip(size, kernel, stride, over, strict=True))
    result = [(n - 1) * s + (k if padding == "valid" else 1) + o for n, k, s, o in sizes]
    depth, channels = (int(n) for n in rng.integers(1, 6, 2))
    attrs = {
        "stride_h": stride[0], "stride_w": stride[1], "padding": padding, "activation": _one_of(rng, _ACTIVATIONS),
        "output_shape": (1, *result, channels),
    }  # fmt: skip
    image, weight = (4, *size, depth), (channels, *kernel, depth)
    return "transpose_conv", weighted_sample(rng, "", attrs, image, weight, channel_axis=0, **_numbers(rng, dtype))


def _codes(rng: _Rng, shape: tuple[int, ...]) -> tuple[np.ndarray, QParams]:
    dtype = _one_of(rng, _DTYPES)
    codes = rng.integers(*CODE_RANGE[dtype], shape, dtype=dtype, endpoint=True)
    return codes, QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)


def _resized(rng: _Rng) -> tuple[str, Sample]:
    size = tuple(int(n) for n in rng.integers(1, 8, 2))
    if rng.integers(2):
        result = tuple(int(n * rng.integers(1, 13)) for n in size)
    else:
        result = tuple(int(n) for n in rng.integers(1, 16, 2))
    flags = _one_of(rng, ((False, False), (True, False), (False, True), (True, True)))
    attrs = {"size": result, "align_corners": flags[0], "half_pixel_centers": flags[1]}
    codes, grid = _codes(rng, (4, *size, int(rng.integers(1, 5))))
    return "resize_nearest_neighbor", Sample("", attrs, {"input": codes}, {"input": grid, "output": grid})


def _of_any_rank(rng: _Rng) -> tuple[str, Sample]:
    op = _one_of(rng, ("pad", "padv2", "minimum", "maximum"))
    rank = int(_one_of(rng, (2, 3, 5)))
    shape = (4, *(int(n) for n in rng.integers(1, 4, rank - 1)))
    codes, grid = _codes(rng, shape)
    if op.startswith("pad"):
        ends = [(0, 0), *(tuple(int(n) for n in rng.integers(0, 3, 2)) for _ in shape[1:])]
        arrays = {"input": codes}
        if op == "padv2":
            arrays["value"] = np.array([-7], codes.dtype)
        names = ROWS[op].input_roles(len(arrays))
        arrays = dict(zip(names, arrays.values(), strict=True))
        qparams = dict.fromkeys((*names, "output"), grid)
        return op, Sample("", {"paddings": tuple(ends)}, arrays, qparams, frozenset(names[1:]))
    other = tuple(int(_one_of(rng, (1, n))) for n in shape[1:])
    constant = bool(rng.integers(2))
    arrays = {"input": codes, "other": rng.choice(codes.reshape(-1), (1 if constant else 4, *other))}
    constants = frozenset({"other"}) if constant else frozenset[str]()
    return op, Sample("", {}, arrays, dict.fromkeys(("input", "other", "output"), grid), constants)


def _permuted(rng: _Rng) -> tuple[str, Sample]:
    """Of five axes, the most that the judge's kernel takes."""
    codes, grid = _codes(rng, (4, *(int(n) for n in rng.integers(1, 5, 4))))
    perm = (0, *(int(axis) for axis in rng.permutation(4) + 1))
    return "transpose", Sample("", {"perm": perm}, {"input": codes}, {"input": grid, "output": grid})


def _activated(rng: _Rng) -> tuple[str, Sample]:
    while True:
        op, sample = _one_of(rng, (_transposed, lambda rng: _dense(rng, ranks=(2, 3))))(rng)
        if sample.attrs["activation"] != "none":
            return op, sample


def _of_four_bits(rng: _Rng) -> tuple[str, Sample]:
    while True:
        op, sample = _dense(rng, ranks=(2, 3))
        weight = sample.qparams["weight"]
        if weight is not None and weight.dtype == "int4":
            return op, sample


def _dividing(rng: _Rng) -> tuple[str, Sample]:
    """Grids of any scales, among them those on which float32 and double part."""
    op = _one_of(rng, ("relu", "hard_swish", "leaky_relu", "sub", "sub", "sub"))
    dtype = _one_of(rng, _DTYPES) if op == "relu" else "int8"
    zeros = [0, 0, 0] if dtype == "int16" else [int(z) for z in rng.integers(-128, 128, 3)]
    scales = [float(np.float32(0.05 * 2 ** rng.uniform(-2, 2))) for _ in range(3)]
    first, second, output = (QParams((s,), (z,), dtype) for s, z in zip(scales, zeros, strict=True))
    shape = (6, *(int(n) for n in rng.integers(1, 6, int(rng.integers(1, 4)))))

    def drawn(*shape: int) -> np.ndarray:
        return rng.integers(*CODE_RANGE[dtype], shape, dtype=dtype, endpoint=True)

    if op != "sub":
        attrs = {"alpha": float(np.float32(rng.uniform(0, 2)))} if op == "leaky_relu" else {}
        return op, Sample("", attrs, {"input": drawn(*shape)}, {"input": first, "output": output})
    constant = _one_of(rng, ("", "", "input", "other"))
    arrays = {role: drawn(*((1, *shape[1:]) if role == constant else shape)) for role in ("input", "other")}
    qparams = {"input": first, "other": second, "output": output}
    return op, Sample("", {"activation": _one_of(rng, _ACTIVATIONS)}, arrays, qparams, frozenset({constant} - {""}))


def _looked_up(rng: _Rng) -> tuple[str, Sample]:
    shape = tuple(int(n) for n in rng.integers(1, 6, int(rng.integers(1, 4))))
    codes = rng.integers(-128, 128, (24, *shape)).astype(np.int8)
    grids = [
        QParams((float(np.float32(0.05 * 2 ** rng.uniform(-2, 2))),), (int(_one_of(rng, (-128, -3, 0, 127))),))
        for _ in range(2)
    ]
    steps = _one_of(rng, ((("gelu", "none"),), (("silu",),), (("exp",),), (("sin",),)))
    return "table", Sample("", {"steps": steps}, {"input": codes}, {"input": grids[0], "output": grids[1]})


def _averaged(rng: _Rng) -> tuple[str, Sample]:
    """Over some axes that stand together, on one grid or from one to another, until the factor has all its bits."""
    while True:
        op, sample = _any_average(rng)
        source, output = (sample.qparams[role] for role in ("input", "output"))
        assert source is not None
        assert output is not None
        count = math.prod(sample.arrays["input"].shape[axis] for axis in sample.attrs["axes"])
        if 2 * math.frexp(source.scale[0] / output.scale[0])[0] >= count / 2 ** (count.bit_length() - 1):
            return op, sample


def _of_many_axes(rng: _Rng) -> tuple[str, Sample]:
    """Of four or five axes, two at least that stand together are reduced."""
    rank, dtype = int(rng.integers(4, 6)), _one_of(rng, _DTYPES)
    first = int(rng.integers(1, rank - 1))
    axes = {first, first + 1, *(axis for axis in range(1, rank) if rng.integers(2))}
    fine = 256 if dtype == "int16" else 1
    grids = {
        role: QParams(
            (float(np.float32(scale / fine)),), (0 if fine > 1 else int(_one_of(rng, (-128, -3, 127))),), dtype
        )
        for role, scale in (("input", 0.05), ("output", 0.3))
    }
    codes = rng.integers(*CODE_RANGE[dtype], (6, *rng.integers(1, 5, rank - 1)), dtype=dtype, endpoint=True)
    attrs = {"axes": tuple(sorted(axes)), "keep_dims": bool(rng.integers(2)) or len(axes) == rank - 1}
    return _one_of(rng, ("mean", "sum")), Sample("", attrs, {"input": codes}, grids)


def _any_average(rng: _Rng) -> tuple[str, Sample]:
    rank = int(rng.integers(2, 5))
    shape = tuple(int(n) for n in rng.integers(1, 9, rank - 1))
    first = int(rng.integers(1, rank))
    axes = tuple(range(first, int(rng.integers(first, rank)) + 1))
    codes = rng.integers(-128, 128, (8, *shape)).astype(np.int8)
    codes[0], codes[1] = -128, 127
    source = QParams((0.0625,), (int(_one_of(rng, (-128, -3, 0, 127))),))
    output = source
    if rng.integers(3):
        output = QParams((float(np.float32(0.05 * 2 ** rng.uniform(-2, 1))),), (int(_one_of(rng, (-128, 5, 0))),))
    attrs = {"axes": axes, "keep_dims": bool(rng.integers(2)) or len(axes) == rank - 1}
    return "mean", Sample("", attrs, {"input": codes}, {"input": source, "output": output})


def _moved(rng: _Rng) -> tuple[str, Sample]:
    """Axes that are turned, or change places."""
    if rng.integers(2):
        codes, grid = _codes(rng, (4, *(int(n) for n in rng.integers(1, 14, int(rng.integers(1, 4))))))
        axis = int(rng.integers(1, codes.ndim))
        return "reverse_v2", Sample("", {"axes": (axis,)}, {"input": codes}, {"input": grid, "output": grid})
    codes, grid = _codes(rng, (4, *(int(n) for n in rng.integers(1, 9, int(rng.integers(2, 5))))))
    perm = (0, *(int(axis) for axis in rng.permutation(codes.ndim - 1) + 1))
    return "transpose", Sample("", {"perm": perm}, {"input": codes}, {"input": grid, "output": grid})


def _extremes(rng: _Rng) -> tuple[str, Sample]:
    codes = rng.integers(-128, 128, (4, *(int(n) for n in rng.integers(1, 12, int(rng.integers(1, 4))))))
    axes = tuple(sorted(int(axis) + 1 for axis in rng.permutation(codes.ndim - 1)[: int(rng.integers(1, codes.ndim))]))
    attrs = {"axes": axes, "keep_dims": bool(rng.integers(2)) or len(axes) == codes.ndim - 1}
    grid = QParams((0.5,), (3,))
    return _one_of(rng, ("reduce_min", "reduce_max")), Sample(
        "", attrs, {"input": codes.astype(np.int8)}, {"input": grid, "output": grid}
    )


def _of_16_bits(rng: _Rng) -> tuple[str, Sample]:
    op = _one_of(rng, ("relu", "relu6"))
    scales = [float(np.float32(2e-4 * 2 ** rng.uniform(-1, 2))) for _ in range(2)]
    source, other = (QParams((scale,), (0,), "int16") for scale in scales)
    output = source if op == "relu6" or rng.integers(2) else other
    shape = (24, *(int(n) for n in rng.integers(1, 6, int(rng.integers(1, 4)))))
    codes = rng.integers(-(2**15), 2**15, shape).astype(np.int16)
    codes[0], codes[1] = -(2**15), 2**15 - 1
    return op, Sample("", {}, {"input": codes}, {"input": source, "output": output})


#: By form a function that draws an op's name and a sample of it.
DRAWN: dict[str, Callable[[_Rng], tuple[str, Sample]]] = {
    "convolution": lambda rng: _dense(rng, ranks=(2, 2, 3, 4)),
    "rank_2": _of_rows,
    "one_row": _of_rows,
    "explicit_padding": _padded,
    "trimmed": _left_over,
    "time_on_height": _one_row,
    "ungrouped": _grouped,
    "spread_input": _transposed,
    "copied_rows": _resized,
    "rank_4": _of_any_rank,
    "low_rank": _permuted,
    "separate_activation": _activated,
    "whole_quotients": _dividing,
    "eight_bits": _of_four_bits,
    "quantized_index": _looked_up,
    "summed_by_convolution": _averaged,
    "pieces": _moved,
    "halves": _extremes,
    "fused_with_zero": _of_16_bits,
    "joined_axes": _of_many_axes,
    "room_between_taps": _close_taps,
    "behind_quantize": lambda rng: _sliding(rng, ("same", "valid"), op="conv_2d"),
}
