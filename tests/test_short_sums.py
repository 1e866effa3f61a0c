"""Sums of two codes in 32 bits: found for all sorts of grids, and never where one pair of codes would differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from qtorch.c_cells.short_sums import ShortSum, short_sum
from qtorch.families.arithmetic import rescaled_sum
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.kernel_call import Operands


def exact_codes(grids: dict[str, QParams], sign: int) -> np.ndarray:
    every = torch.arange(-128, 128)
    codes = {"input": every[:, None], "other": every}
    views = {role: q.grid for role, q in grids.items()}
    found: np.ndarray = rescaled_sum({"activation": "none"}, codes, views, sign).numpy()
    return found


def searched(grids: dict[str, QParams], sign: int, exact: np.ndarray) -> ShortSum | None:
    (a, x), (b, y), (out, z) = ((q.scale[0], q.zero_point[0]) for q in grids.values())
    return short_sum(exact, (a / out, sign * b / out), (x, y, z), (-128, 127))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "scales", [(0.5, 0.5, 1.0), (0.5, 0.5, 2.0), (0.5, 0.5, 0.5), (0.3, 0.011, 0.29), (0.9, 0.7, 0.1)]
)
def test_a_short_sum_is_found_and_exact(scales: tuple[float, float, float], sign: int) -> None:
    """The first three end on ties, which go away from zero on either side."""
    steps = [float(np.float32(s)) for s in scales]
    roles = ("input", "other", "output")
    grids = {role: QParams((step,), (zero,)) for role, step, zero in zip(roles, steps, (-3, 17, -40), strict=True)}
    exact = exact_codes(grids, sign)
    found = searched(grids, sign, exact)
    assert found is not None
    np.testing.assert_array_equal(found.codes(-128, 127), exact)
    assert found.fits()
    for name in ("in_factor", "other_factor", "shift"):
        wrong = replace(found, **{name: getattr(found, name) + (1 if name == "shift" else 2 ** (found.shift - 5))})
        assert (wrong.codes(-128, 127) != exact).any(), name


def test_ties_that_roundings_decide_have_no_short_sum() -> None:
    """Factors next to 31/43 and 17/430: many pairs end on a tie but for the last bits. The exact arithmetic stays."""
    roles, steps = ("input", "other", "output"), (0.31, 0.017, 0.43)
    zeros = (-3, 17, -40)
    grids = {role: QParams((float(np.float32(s)),), (z,)) for role, s, z in zip(roles, steps, zeros, strict=True)}
    assert searched(grids, 1, exact_codes(grids, 1)) is None
    shapes = dict.fromkeys(roles, (1, 4))
    call = ROWS["add"].c(Operands({"activation": "none"}, shapes, grids, {}))  # type: ignore[operator]
    assert call.kernel == "add"


def test_one_pair_that_differs_rules_every_short_sum_out() -> None:
    grids = {role: QParams((0.5,), (0,)) for role in ("input", "other", "output")}
    exact = exact_codes(grids, 1)
    exact[140, 120] += 1
    assert searched(grids, 1, exact) is None


def test_a_sum_that_leaves_int32_does_not_fit() -> None:
    assert not ShortSum(2**24, 2, 0, 20).fits()
    assert not ShortSum(2**23, 2**23, 0, 20).fits()
    assert ShortSum(2**22, 2**22, 0, 20).fits()
