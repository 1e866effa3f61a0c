"""What quantized training computes in floating point: to the last the rows' integer references, with gradients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from qtorch.network.axis_order import from_device
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.ops import ROWS
from qtorch.row.row import Row, Sample
from qtorch.row.steps_by_table import looked_up, tables_of

BY_TABLE = [row for row in ROWS.values() if row.by_table]
IN_STEPS = [row for row in ROWS.values() if row.in_steps]


def samples_of(rows: list[Row]) -> list[object]:
    """Those with integer inputs, named."""
    return [
        pytest.param(row, sample, id=f"{row.name}: {sample.label}")
        for row in rows
        for sample in row.samples()
        if None not in sample.qparams.values()
    ]


def grids_of(sample: Sample) -> dict[str, Grid]:
    """By role, of a sample whose tensors all have one."""
    return {role: q.grid for role, q in sample.qparams.items() if q is not None}


def codes_of(sample: Sample) -> dict[str, Tensor]:
    """As the reference takes them."""
    return {role: torch.from_numpy(array.astype(np.int64)) for role, array in sample.arrays.items()}


def steps_of(row: Row, codes: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> dict[str, Tensor]:
    """As training has them: less the zero point, in PyTorch's order, with gradients."""
    steps = {role: (c - grids[role].zero_point).to(torch.float32) for role, c in codes.items()}
    lifted = {role: from_device(s, row.channels_last, s.dim()) if s.dim() > 1 else s for role, s in steps.items()}
    return {role: s.contiguous().requires_grad_() for role, s in lifted.items()}


def reference_steps(row: Row, sample: Sample) -> Tensor:
    """What the device computes, in PyTorch's order."""
    grids = grids_of(sample)
    codes = row.reference(sample.attrs, codes_of(sample), grids, Rounding.DOUBLE)
    return from_device(codes - grids["output"].zero_point, row.channels_last, codes.dim()).to(torch.float32)


@pytest.mark.parametrize(("row", "sample"), samples_of(BY_TABLE))
def test_tables_hold_the_reference(row: Row, sample: Sample) -> None:
    grids = grids_of(sample)
    steps = steps_of(row, codes_of(sample), grids)["input"]
    tables = tables_of(row, sample.attrs, grids["input"], grids["output"])
    assert torch.equal(looked_up(steps, tables, grids["input"].zero_point), reference_steps(row, sample))


@pytest.mark.parametrize(("row", "sample"), samples_of(IN_STEPS))
def test_steps_are_the_reference_to_the_last(row: Row, sample: Sample) -> None:
    assert row.in_steps is not None
    grids = grids_of(sample)
    steps = steps_of(row, codes_of(sample), grids)
    assert torch.equal(row.in_steps(sample.attrs, steps, grids), reference_steps(row, sample))
