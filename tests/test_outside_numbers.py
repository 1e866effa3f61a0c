"""Numbers that no grid holds, sums that float32 does not, and steps that an optimizer leaves out."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

import qtorch
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from qtorch import Mode, QuantizationConfig
from qtorch.errors import NotFinite
from qtorch.numbers.fixedpoint import quantize_multiplier, requantize
from qtorch.numbers.functional import dequantize, quantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.rescaled_sums import rescale_and_hold
from qtorch.numbers.rescaling import rescaling
from qtorch.numbers.straight_through import Ends, round_and_hold
from tests.device_cases import quantized_step, started

pytestmark = pytest.mark.usefixtures("one_thread")

HUGE = (1e38, 3.4028234663852886e38, math.inf)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("scale", [2.0**-60, 1e-3, 1.0, 2.0**60])
def test_huge_numbers_end_at_the_ends(dtype: str, scale: float) -> None:
    grid = Grid(torch.tensor(scale), torch.tensor(3 if dtype == "int8" else 0, dtype=torch.int32), dtype)
    low, high = grid.limits
    x = torch.tensor([*HUGE, *(-each for each in HUGE)])
    expected = torch.tensor([high] * 3 + [low] * 3)
    assert torch.equal(quantize(x, grid, low, high), expected)
    assert np.array_equal(QParams.of(grid).quantize(x.numpy()), expected.numpy())
    zero = int(grid.zero_point)
    for even in (False, True):
        steps = round_and_hold(x / scale, Ends(float(low - zero), float(high - zero)), even=even)
        assert torch.equal(steps + zero, expected.to(torch.float32))


@pytest.mark.parametrize("name", ["perceptron", "residual", "curves", "int16", "lsq+"])
def test_a_network_takes_huge_inputs_for_the_ends_of_its_range(name: str) -> None:
    qat, x = started(name)
    qtorch.freeze_batch_norm(qat)
    modules = (qat.get_submodule(str(node.target)) for node in qat.graph.nodes if node.op == "call_module")
    first = next(module for module in modules if isinstance(module, qtorch.Quantizer))
    low, high = first.qparams().code_range
    ends = [float(each) for each in dequantize(torch.tensor([low, high]), first.grid)]
    for huge in HUGE:
        for sign, end in ((-1, ends[0]), (1, ends[1])):
            assert torch.equal(qat(torch.full_like(x[:2], sign * huge)), qat(torch.full_like(x[:2], end)))


def test_nan_is_named_where_numbers_are_asked_for() -> None:
    qat, x = started("residual")
    x[3] = math.nan
    with torch.no_grad(), pytest.raises(NotFinite, match="NaN"):
        qat.eval()(x)
    with pytest.raises(NotFinite, match="finite activations"):
        qtorch.calibrate(qat, [x])
    with pytest.raises(NotFinite, match=r"batch 1, counted from 0: .*'x_quantizer': .*in sample 3, counted from 0"):
        qtorch.calibrate(qat, [x.nan_to_num(), x])
    # A training step is not looked at, but its loss says so, as a float network's does.
    assert quantized_step(qat.train(), x).isnan().any()


def test_a_factor_without_axes_is_applied_in_double() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        real = torch.rand((), dtype=torch.float64, generator=generator) * 2.0 ** -float(
            torch.randint(0, 14, (), generator=generator)
        )
        # Next to every tie that int8 has.
        sums = ((torch.arange(-128, 128, dtype=torch.float64)[:, None] + 0.5) / real).round()
        sums = (sums + torch.arange(-1, 2))[sums.abs().amax(1) < 2**21]
        expected = requantize(sums.to(torch.int64), quantize_multiplier(real)).clamp(-128, 127)
        for chunk in (sums, sums.repeat(200, 1)):
            for any_sum in (False, True):
                found = rescale_and_hold(chunk.to(torch.float32), rescaling(real), Ends(-128.0, 127.0), any_sum=any_sum)
                assert torch.equal(found.to(torch.int64)[: len(sums)], expected)


def test_the_gradient_at_zero_is_one_on_every_route() -> None:
    """A fused ReLU's, but for sums as near to a tie as the device's first rounding goes."""
    real = torch.tensor([0.3, 0.011, 0.0007], dtype=torch.float64)
    grads = []
    for any_sum in (False, True):
        sums = torch.arange(-3000.0, 3000.0)[:, None].repeat(1, 3).requires_grad_()
        rescale_and_hold(sums.clone(), rescaling(real), Ends(0.0, 127.0, True), any_sum=any_sum).sum().backward()
        grads.append(sums.grad)
    near = ((sums.detach() * real + 0.5).abs() <= 2 * rescaling(real).inner).nonzero()
    assert len(near) < 20
    for grad in grads:
        assert grad is not None
        grad[near.unbind(1)] = 0.0
    assert torch.equal(*grads)


def test_infinite_gradients_leave_ranges_alone() -> None:
    """A step that a GradScaler leaves out moves no parameter, and no range but by what went through it."""
    for name in ("lsq", "lsq+", "pact", "observing"):
        qat, x = started(name)
        optimizer = torch.optim.SGD(qat.parameters(), 1e-2)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
        finite = copy.deepcopy(qat)
        with torch.no_grad():
            finite(x)
        before = {key: value.clone() for key, value in qat.named_parameters()}
        loss = 1e30 * qat(x).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() < 2.0**127, "the gradients should have been infinite"
        assert all(torch.equal(value, before[key]) for key, value in qat.named_parameters())
        expected = {key: each.qparams() for key, each in qtorch.quantizers(finite).items()}
        assert {key: each.qparams() for key, each in qtorch.quantizers(qat).items()} == expected


def in_int64(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Sums of products over the last axis, in integers."""
    return np.asarray(np.einsum("nk,ok->no", x.astype(np.int64), weight.astype(np.int64)) + bias)


def extreme(network: nn.Module, shape: tuple[int, ...], **config: str) -> tuple[fx.GraphModule, Tensor]:
    """A network whose sums are as large as its weights and inputs allow, and inputs."""
    torch.manual_seed(0)
    x = torch.rand(6, *shape)
    x[0], x[1], x[2] = 1.0, 0.0, (x[2] > 0.5).to(torch.float32)
    with torch.no_grad():
        for each in network.parameters():
            each.copy_(each.sign() * (0.5 + 0.5 * torch.rand_like(each)))
    qat = qtorch.prepare(network, x[:1], QuantizationConfig(**config))  # type: ignore[arg-type]
    qtorch.calibrate(qat, [x])
    return qat.eval(), x


@pytest.mark.parametrize("memory", ["contiguous", "channels_last"])
@pytest.mark.parametrize("kind", ["linear of 70,000", "7 x 7 of 512"])
def test_sums_beyond_float32_are_whole(kind: str, memory: str) -> None:
    """Against NumPy's integers; with all signs alike they pass 2**24 many times over."""
    if kind.startswith("linear"):
        if memory == "channels_last":
            pytest.skip("features have no channels")
        net, shape = nn.Sequential(nn.Linear(70_000, 3)), (70_000,)
    else:
        net, shape = nn.Sequential(nn.Conv2d(512, 3, 7)), (512, 7, 7)
    with torch.no_grad():
        net[0].weight.abs_()
    qat, x = extreme(net, shape)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    graph = integer_graph(qat)
    (source,), (sink,) = graph.inputs, graph.outputs
    node = next(each for each in graph.nodes if each.row.name in ("fully_connected", "conv_2d"))
    weight, bias = (graph.values[name] for name in node.inputs[1:])
    assert weight.data is not None
    assert bias.data is not None
    grids = {"input": graph.values[source].qparams, "weight": weight.qparams, "output": graph.values[sink].qparams}
    codes = grids["input"].quantize(x.numpy()).astype(np.int64) - grids["input"].zero_point[0]  # type: ignore[union-attr]
    if codes.ndim == 4:
        codes = codes.transpose(0, 2, 3, 1)
    sums = in_int64(codes.reshape(len(x), -1), weight.data.reshape(3, -1), bias.data.reshape(-1))
    assert np.abs(sums).max() > 2**26
    scales = {role: torch.tensor(grid.scale, dtype=torch.float64) for role, grid in grids.items() if grid is not None}
    factor = quantize_multiplier(scales["input"] * scales["weight"] / scales["output"])
    zero = grids["output"].zero_point[0]  # type: ignore[union-attr]
    expected = (requantize(torch.from_numpy(sums), factor) + zero).clamp(-128, 127)
    real = torch.from_numpy(grids["output"].dequantize(expected.numpy()))  # type: ignore[union-attr]
    given = x.contiguous(memory_format=torch.channels_last) if memory == "channels_last" else x
    if memory == "channels_last":
        qat = qat.to(memory_format=torch.channels_last)
    found = qat(given.requires_grad_())
    assert torch.equal(found.detach().reshape(6, 3), real)
    with torch.no_grad():
        assert torch.equal(qat(given).reshape(6, 3), real)
    assert len(set(expected.flatten().tolist())) > 3
    stored = (codes + grids["input"].zero_point[0]).astype(np.int8)  # type: ignore[union-attr]
    interpreted = interpret(graph, (stored,))[sink]
    assert np.array_equal(interpreted.reshape(6, 3), expected.numpy())


def test_one_batch_with_nan_spoils_a_batch_norm_and_the_batch_norm_is_named() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    x = torch.rand(8, 1, 6, 6)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    qat.train()(torch.where(x > 0.9, math.nan, x))
    calls = (
        lambda: integer_graph(qat),
        lambda: qtorch.calibrate(qat, [x]),
        lambda: qtorch.set_mode(qat, Mode.QUANTIZED),
        lambda: qtorch.prepare(net, x[:1]),
    )
    for call in calls:
        with pytest.raises(NotFinite, match=r"running statistics of batch norm '1': .*Remedy: .*reset_running_stats"):
            call()
    with torch.no_grad(), pytest.raises(NotFinite, match="running statistics of a conv_2d layer's batch norm"):
        qat.eval()(x)
    net[1].reset_running_stats()
    qat.train()(x)
    integer_graph(qat)
