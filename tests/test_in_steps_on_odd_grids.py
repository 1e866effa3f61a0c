"""Rows' ``in_steps`` against their references where it is hard: all pairs of codes, ties, ends, wide sums."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from qtorch.network.axis_order import from_device
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.constraints import Indices
from qtorch.row.row import Attrs, Row
from qtorch.row.steps_by_table import looked_up, tables_of

#: Rows that quantized training computes twice, the value by ``reference`` and the gradient by ``forward``, and why.
COMPUTED_TWICE = {
    "softmax": "31 by 31 bits in each product of the kernel, and one vector of classes at the end of a network",
    "log_softmax": "as softmax",
    "dequantize": "its result is real",
    "unidirectional_sequence_lstm": "its gradients are those of the float layer",
}


#: Rows that no module matches and that training computes all the same, between grids.
BETWEEN_GRIDS = {"quantize", "dequantize"}


def test_every_row_says_how_training_computes_it() -> None:
    for name, row in ROWS.items():
        ways = ["weight" in row.constraints and row.runtime == 1 and row.norm_axis is not None]
        ways += [
            row.selects or isinstance(row.constraints["output"], Indices),
            row.by_table,
            row.in_steps is not None,
            name in COMPUTED_TWICE,
        ]
        # What stands in files of other writers alone is never trained.
        trained = bool(row.matches) or name in BETWEEN_GRIDS
        assert sum(ways) == 1 or (not trained and not any(ways)), name


def grid_of(scale: float, zero_point: int, dtype: str = "int8") -> QParams:
    """With the scale as float32 has it."""
    return QParams((float(np.float32(scale)),), (zero_point,), dtype)


def grids_with_ties(seed: int, dtype: str, roles: tuple[str, ...]) -> Iterator[dict[str, QParams]]:
    """Powers of two and few-bit multiples, alike and far apart, and any; zero points inside and at both ends."""
    rng = np.random.default_rng(seed)
    low, high = CODE_RANGE[dtype]
    for case in range(24):
        grids = {}
        for role in roles:
            few_bits = float(rng.choice([1, 3, 5, 7, 255])) * 2.0 ** int(rng.integers(-9, -3))
            scale = few_bits if case % 3 else float(10.0 ** rng.uniform(-3, 0))
            zero_point = int(rng.choice([low, high, 0, int(rng.integers(low, high))])) if dtype == "int8" else 0
            grids[role] = grid_of(scale, zero_point, dtype)
        yield grids


def require_alike(row: Row, attrs: Attrs, arrays: dict[str, np.ndarray], qparams: dict[str, QParams]) -> bool:
    """Compare the row's cell with its reference on ``arrays``; whether the kernel has such grids."""
    if row.violations(qparams):
        return False
    grids = {role: q.grid for role, q in qparams.items()}
    codes = {role: torch.from_numpy(array.astype(np.int64)) for role, array in arrays.items()}
    expected = row.reference(attrs, codes, grids, Rounding.DOUBLE) - grids["output"].zero_point
    expected = from_device(expected, row.channels_last, expected.dim())
    steps = {role: (c - grids[role].zero_point).to(torch.float32) for role, c in codes.items()}
    steps = {role: from_device(s, row.channels_last, s.dim()) if s.dim() > 1 else s for role, s in steps.items()}
    assert row.in_steps is not None
    computed = row.in_steps(attrs, steps, grids)
    assert computed.dtype is torch.float32
    assert torch.equal(computed, expected.to(torch.float32)), (row.name, attrs, qparams)
    return True


BINARY = ("add", "sub", "mul", "squared_difference")


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("name", BINARY)
def test_every_pair_of_codes(name: str, dtype: str) -> None:
    """All 65,536 of int8; of int16 the ends and any."""
    rng, row = np.random.default_rng(5), ROWS[name]
    low, high = CODE_RANGE[dtype]
    every = np.arange(low, high + 1)
    if dtype == "int16":
        every = np.concatenate([every[:20], every[-20:], rng.choice(every, 160), np.arange(-20, 20)])
    arrays = {"input": every[:, None].astype(dtype), "other": rng.permutation(every)[None].astype(dtype)}
    seen = 0
    for case, qparams in enumerate(grids_with_ties(BINARY.index(name), dtype, ("input", "other", "output"))):
        activation = ("none", "relu", "relu6")[case % 3]
        attrs = {} if name == "squared_difference" else {"activation": activation}
        # On the grid as it is drawn, and on one that the results fill, which the kernels have room for.
        seen += require_alike(row, attrs, arrays, qparams)
        reach = qparams["input"].scale[0] * qparams["other"].scale[0] if name == "mul" else 1.0
        wide = grid_of(qparams["output"].scale[0] * (1 + 100 * reach), 0, dtype)
        seen += require_alike(row, attrs, arrays, {**qparams, "output": wide})
    assert seen > 20


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_every_code_by_every_slope(dtype: str) -> None:
    """Ties among them."""
    codes = np.arange(-128, 128) if dtype == "int8" else np.linspace(-(2**15), 2**15 - 1, 300).round()
    images = np.broadcast_to(codes.astype(dtype)[:, None, None, None], (len(codes), 1, 1, 256))
    arrays = {"input": np.ascontiguousarray(images), "weight": np.arange(-128, 128, dtype=np.int8)}
    seen, slope_grids = 0, grids_with_ties(8, "int8", ("weight",))
    for grids, slopes in zip(grids_with_ties(7, dtype, ("input", "output")), slope_grids, strict=True):
        seen += require_alike(ROWS["prelu"], {}, arrays, {**grids, **slopes})
    assert seen > 12


def shaped(values: np.ndarray, dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Codes of these values in any order."""
    return rng.choice(values, shape).astype(dtype)


@pytest.mark.parametrize(("dtype", "shape", "axes"), [
    ("int8", (5, 6, 8), (1,)), ("int8", (3, 7, 9, 2), (1, 2)), ("int8", (2, 9000, 3), (1,)),
    ("int8", (2, 70_000), (1,)), ("int16", (5, 6, 8), (1, 2)), ("int16", (2, 511, 3), (1,)),
    ("int16", (2, 3, 600), (2,)), ("int16", (2, 9000), (1,)),
])  # fmt: skip
def test_means_of_few_and_of_many(dtype: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    rng, seen = np.random.default_rng(11), 0
    low, high = CODE_RANGE[dtype]
    for case, qparams in enumerate(grids_with_ties(9, dtype, ("input", "output"))):
        values = np.array([low, high]) if case % 4 == 0 else np.arange(low, high + 1)
        if case % 4 == 1:
            values = values[-3:]
        attrs = {"axes": axes, "keep_dims": bool(case % 2)}
        seen += require_alike(ROWS["mean"], attrs, {"input": shaped(values, dtype, shape, rng)}, qparams)
    assert seen > 15


@pytest.mark.parametrize(("dtype", "size", "window", "stride", "padding"), [
    ("int8", 9, 2, 1, "valid"), ("int8", 8, 3, 2, "same"), ("int8", 7, 4, 2, ((1, 1), (1, 1))),
    ("int8", 16, 16, 16, "valid"), ("int8", 260, 260, 1, "valid"), ("int16", 9, 2, 1, "same"),
    ("int16", 22, 22, 1, "valid"), ("int16", 23, 23, 1, "valid"),
])  # fmt: skip
def test_averages_at_ties(dtype: str, size: int, window: int, stride: int, padding: object) -> None:
    """Windows whose sums lie half way between two means, one below and one above; all codes low, all high."""
    rng, (low, high) = np.random.default_rng(12), CODE_RANGE[dtype]
    attrs = {"filter_h": window, "filter_w": window, "stride_h": stride, "stride_w": stride, "padding": padding}
    attrs["activation"] = "none"
    for zero_point in (low, -5, 0, high) if dtype == "int8" else (0,):
        grid = grid_of(0.03, zero_point, dtype)
        for values in (np.arange(low, high + 1), np.arange(low, low + 2), np.arange(high - 1, high + 1)):
            codes = shaped(values, dtype, (2, size, size, 3), rng).astype(np.int64)
            if window == size:
                wanted = window * window // 2 + np.arange(-1, 2)[None]
                change = (wanted - codes.sum((1, 2))) % (window * window)
                spread = np.arange(window * window)[None, :, None] < change[:, None]
                codes = np.clip(codes + spread.reshape(2, window, window, 3), low, high)
            assert require_alike(ROWS["average_pool_2d"], attrs, {"input": codes}, {"input": grid, "output": grid})


@pytest.mark.parametrize("flags", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize(("image", "size"), [((2, 2), (4, 4)), ((3, 5), (6, 7)), ((8, 8), (3, 5)), ((1, 1), (4, 2))])
def test_images_between_pixels(image: tuple[int, int], size: tuple[int, int], flags: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(13)
    attrs = {"size": size, "align_corners": flags[0], "half_pixel_centers": flags[1]}
    for zero_point in (-128, -1, 0, 127):
        grid = grid_of(0.5, zero_point)
        codes = rng.integers(-128, 128, (40, *image, 2), dtype=np.int8)
        assert require_alike(ROWS["resize_bilinear"], attrs, {"input": codes}, {"input": grid, "output": grid})


@pytest.mark.parametrize("length", [1, 2, 100, 258, 259, 2000])
def test_short_and_long_vectors(length: int) -> None:
    rng = np.random.default_rng(14)
    for zero_point in (-128, 0, 127):
        qparams = {"input": grid_of(0.07, zero_point), "output": grid_of(1 / 128, 0)}
        for values in (np.arange(-128, 128), np.array([zero_point]), np.array([-128, 127])):
            codes = shaped(values, "int8", (20, length), rng)
            assert require_alike(ROWS["l2_normalization"], {}, {"input": codes}, qparams)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.by_table])
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_nan_stays_nan_and_has_no_slope_that_is_a_number(name: str, dtype: str) -> None:
    row = ROWS[name]
    if dtype not in getattr(row.constraints["input"], "dtypes", ()):
        pytest.skip(f"{name} has no {dtype}")
    sample = next(s for s in row.samples() if s.qparams["input"] is not None and s.qparams["input"].dtype == dtype)
    source, output = (q.grid for q in (sample.qparams["input"], sample.qparams["output"]) if q is not None)
    steps = torch.tensor([torch.nan, 1.0]).requires_grad_()
    y = looked_up(steps, tables_of(row, sample.attrs, source, output), source.zero_point)
    y.sum().backward()
    assert steps.grad is not None
    assert y.isnan().tolist() == steps.grad.isnan().tolist() == [True, False]
