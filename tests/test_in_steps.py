"""What quantized training computes in floating point: to the last the rows' integer references, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

import qtorch
from qtorch.network.axis_order import from_device
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.routes import twice_route
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.ops import ROWS
from qtorch.row.fused_activation import activation_limits
from qtorch.row.row import Row, Sample
from qtorch.row.steps_by_table import StepTables, looked_up, tables_of

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


@pytest.mark.parametrize(("row", "sample"), samples_of([*BY_TABLE, *IN_STEPS]))
def test_gradients_are_the_float_function_s_and_zero_where_it_saturates(row: Row, sample: Sample) -> None:
    """In real numbers; outputs nearer to a bound than the kernel's own error count for neither."""
    if "no float form" in sample.label:
        pytest.skip("PyTorch has no such function")
    grids, rng = grids_of(sample), torch.Generator().manual_seed(1)
    steps = steps_of(row, codes_of(sample), grids)
    computed = steps_in_training(row, sample, steps)
    s_out = grids["output"].scale.double()
    reals = {r: (s.detach().double() * grids[r].scale).requires_grad_() for r, s in steps.items()}
    expected = float_result(row, sample, reals) / s_out
    low, high = limits(sample, grids["output"])
    error = float((expected.clamp(low, high) - computed).detach().abs().max()) + 1
    inside = (expected > low + error) & (expected < high - error)
    beyond = (expected < low - error) | (expected > high + error)
    weights = torch.randn(computed.shape, generator=rng) * (inside | beyond)
    computed.backward(weights)
    (expected * (weights * inside)).sum().backward()
    for role, real in reals.items():
        assert real.grad is not None
        # An inverse root has no slope at 0.
        wanted = real.grad.nan_to_num(0.0, 0.0, 0.0) * grids[role].scale
        got = steps[role].grad
        assert got is not None
        assert torch.allclose(got.double(), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max())), role


def float_result(row: Row, sample: Sample, reals: Mapping[str, Tensor]) -> Tensor:
    """Of the float function; what has a length divides by a step at least, as no code but zero's is shorter."""
    if row.name == "l2_normalization":
        return functional.normalize(reals["input"], dim=-1, eps=float(grids_of(sample)["input"].scale))
    return row.forward(sample.attrs, reals)


def steps_in_training(row: Row, sample: Sample, steps: Mapping[str, Tensor]) -> Tensor:
    """By the row's cell."""
    grids = grids_of(sample)
    if row.in_steps:
        return row.in_steps(sample.attrs, steps, grids)
    tables = tables_of(row, sample.attrs, grids["input"], grids["output"])
    return looked_up(steps["input"], tables, grids["input"].zero_point)


def limits(sample: Sample, grid: Grid) -> tuple[int, int]:
    """Lowest and highest output step."""
    low, high = activation_limits(sample.attrs.get("activation", "none"), grid)
    return low - int(grid.zero_point), high - int(grid.zero_point)


def one_each() -> list[object]:
    """The first sample of each row and type."""
    first: dict[tuple[str, str], Sample] = {}
    for row in [*BY_TABLE, *IN_STEPS]:
        for sample in row.samples():
            if None not in sample.qparams.values():
                first.setdefault((row.name, grids_of(sample)["input"].dtype), sample)
    return [pytest.param(ROWS[name], sample, id=f"{name} {dtype}") for (name, dtype), sample in first.items()]


def moved(
    row: Row, sample: Sample, there: Callable[[Tensor], Tensor]
) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
    """A sample's steps somewhere else, and what the row's cell computes there, its tables made here."""
    grids = grids_of(sample)
    x = {role: there(s.detach()).requires_grad_() for role, s in steps_of(row, codes_of(sample), grids).items()}
    others = {role: Grid(there(g.scale), there(g.zero_point), g.dtype) for role, g in grids.items()}
    if row.in_steps:
        return x, partial(row.in_steps, sample.attrs, x, others)
    tables = StepTables(*map(there, tables_of(row, sample.attrs, grids["input"], grids["output"])))
    return x, partial(looked_up, x["input"], tables, others["input"].zero_point)


@pytest.mark.parametrize(("row", "sample"), one_each())
def test_nothing_waits_for_a_device_or_leaves_it(row: Row, sample: Sample) -> None:
    """Tensors that have a device and no numbers refuse both."""
    x, computed = moved(row, sample, lambda t: t.to("meta"))
    y = computed()
    y.backward(torch.ones_like(y))
    assert all(s.grad is not None and s.grad.is_meta for s in x.values())
    if row.name == "average_pool_2d":
        # Of a pooling on a GPU even the shape is not known where PyTorch has no CUDA.
        return
    mode = FakeTensorMode()

    def on_gpu(t: Tensor) -> Tensor:
        with mode:
            return torch.empty(t.shape, dtype=t.dtype, device="cuda")

    _, computed = moved(row, sample, on_gpu)
    with mode, torch.no_grad():
        assert computed().device.type == "cuda"


@pytest.mark.parametrize("name", [row.name for row in BY_TABLE])
def test_tables_without_numbers_have_their_shapes(name: str) -> None:
    """For networks that are looked through on the meta device or by a tracer."""
    grid = Grid(torch.ones((), device="meta"), torch.zeros((), dtype=torch.int32, device="meta"))
    tables = tables_of(ROWS[name], {"alpha": 0.1}, grid, grid)
    assert [t.shape for t in tables] == [(257,), (257,)]
    assert looked_up(torch.ones(3, 2, device="meta"), tables, grid.zero_point).shape == (3, 2)


@pytest.mark.parametrize("layer", [nn.AvgPool1d(2), nn.PReLU(4)])
def test_rows_of_images_take_lines(layer: nn.Module) -> None:
    """As a network has them: ``[N, C, L]``."""
    torch.manual_seed(0)
    x = torch.randn(8, 4, 6)
    net = qtorch.prepare(nn.Sequential(nn.Conv1d(4, 4, 1), layer), x)
    qtorch.calibrate(net, [x])
    qtorch.set_mode(net, qtorch.Mode.QUANTIZED)
    trained = net(x)
    assert trained.requires_grad
    for module in net.modules():
        if isinstance(module, QuantizedOp) and module.row.in_steps:
            module.route = twice_route
    with torch.no_grad():
        assert torch.equal(trained, net(x))
