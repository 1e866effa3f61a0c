"""Room in an accumulator: the largest layer that is taken, and one product or one step of a bias more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qtorch.errors import AccumulatorOverflow
from qtorch.families.accumulator import require_room, weighted_sums
from qtorch.numbers.qparams import QParams
from qtorch.row.kernel_call import NoKernel, Operands

#: Their factor is 4, so that sums are shifted to the left by 3 bits.
GRIDS = {role: QParams((scale,), (0,)).grid for role, scale in (("input", 1.0), ("weight", 1.0), ("output", 0.25))}
#: Products of 255 and 127 that 2**31 - 1 holds after that shift, and what is left for a bias.
MOST = (2**31 - 1) // 8 // (255 * 127)
LEFT = (2**31 - 1) // 8 - MOST * 255 * 127


def full(inputs: int) -> torch.Tensor:
    return torch.full((1, inputs), -127)


def test_products_have_room_up_to_the_shift() -> None:
    require_room("layer", full(MOST), 0, None, GRIDS)
    with pytest.raises(AccumulatorOverflow, match="layer: expected accumulators up to 2147483647"):
        require_room("layer", full(MOST + 1), 0, None, GRIDS)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bias_takes_its_room(sign: int) -> None:
    require_room("layer", full(MOST), 0, torch.tensor([sign * LEFT]), GRIDS)
    with pytest.raises(AccumulatorOverflow, match="accumulators"):
        require_room("layer", full(MOST), 0, torch.tensor([sign * (LEFT + 1)]), GRIDS)


def operands(inputs: int) -> Operands:
    """A layer whose weights are as large as weights are."""
    grid = QParams((1.0,), (0,))
    weight = np.full((1, inputs), 127, np.int8)
    shapes = {"input": (1, inputs), "weight": (1, inputs), "output": (1, 1)}
    return Operands({"activation": "none"}, shapes, dict.fromkeys(shapes, grid), {"weight": weight})


@pytest.mark.parametrize(("folded", "reach"), [(True, 128), (False, 255)])
def test_sums_of_a_kernel_stay_in_int32(folded: bool, reach: int) -> None:
    most = (2**31 - 1) // (reach * 127)
    assert weighted_sums(operands(most), 0, folded=folded).zero_point == 0
    with pytest.raises(NoKernel, match="which int32 does not hold"):
        weighted_sums(operands(most + 1), 0, folded=folded)
