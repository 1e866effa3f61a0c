"""Forms that no kernel has, behind a convolution: the module's own numbers in float, and the device's to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import UnsupportedLayer
from tests.module_oracle import difference, outputs
from tests.test_indices import Layers

#: What follows the first layer: a function of the network and its result, a layer for it, and the shape of a sample.
Form = tuple[Callable[[Any, Tensor], Any], Callable[[], nn.Module] | None, tuple[int, ...]]

IMAGE, SEQUENCE, VECTOR = (4, 8, 8), (4, 8), (8,)


class Limit(nn.Module):
    """One number in a buffer, which may be loaded with another."""

    limit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("limit", torch.tensor(0.1))


class Behind(nn.Module):
    """A layer with weights, and a form."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.call, layer, shape = form
        channels = shape[0]
        first = {3: nn.Conv2d, 2: nn.Conv1d}
        self.first = first[len(shape)](channels, channels, 3, padding=1) if len(shape) > 1 else nn.Linear(8, 8)
        self.layer = layer() if layer is not None else nn.Identity()

    def forward(self, x: Tensor) -> Any:
        return self.call(self, self.first(x))


def layer(make: Callable[[], nn.Module], shape: tuple[int, ...] = IMAGE) -> Form:
    return (lambda s, x: s.layer(x)), make, shape


def call(function: Callable[[Tensor], Any], shape: tuple[int, ...] = IMAGE) -> Form:
    return (lambda s, x: function(x)), None, shape


def volume(make: Callable[[], nn.Module], sizes: tuple[int, int] = (2, 2), axis: int = 1) -> Form:
    return (lambda s, x: s.layer(x.unflatten(axis, sizes))), make, IMAGE


def written(change: Callable[[Tensor, Tensor], object], shape: tuple[int, ...] = IMAGE) -> Form:
    def function(x: Tensor) -> Tensor:
        y = x.clone()
        change(y, x)
        return y

    return call(function, shape)


def assigned(*index: Any, value: Callable[[Tensor], Any]) -> Form:
    return written(lambda y, x: y.__setitem__((slice(None), *index), value(x)))


_TURN = torch.tensor([[[0.8, 0.2, 0.0], [-0.2, 0.9, 0.1]]])
_NEARLY_ONE = torch.linspace(1, 1.05, 64).reshape(8, 8)
_EACH_ROW = torch.linspace(-1, 1, 4 * 3 * 8).reshape(4, 3, 8)
_OF_ROWS = torch.linspace(-1, 1, 192).cos().reshape(8, 8, 3)
_PLACES = torch.tensor([[[0, 3, 1, 1], [2, 2, 0, 3], [1, 0, 3, 2], [3, -1, 2, 0]]])
_MASK = torch.tensor([True, False, True, False])
#: Two places of each line, others in each.
_SCATTERED = (torch.arange(4 * 8 * 2).view(1, 4, 8, 2) * 5 + torch.tensor([0, 1])) % 8


def _sampled(x: Tensor) -> Tensor:
    grid = F.affine_grid(_TURN, [1, 4, 5, 5], align_corners=False)
    return F.grid_sample(x, grid.expand(x.shape[0], -1, -1, -1), align_corners=False)


FORMS: dict[str, Form] = {
    "adaptive average": call(lambda x: F.adaptive_avg_pool2d(x, 3)),
    "adaptive average, layer": layer(lambda: nn.AdaptiveAvgPool2d((3, None))),
    "adaptive average, larger": call(lambda x: F.adaptive_avg_pool2d(x, (12, 16))),
    "adaptive average, many": call(lambda x: F.adaptive_avg_pool2d(x, 5)),
    "adaptive average of a sequence": call(lambda x: F.adaptive_avg_pool1d(x, 3), SEQUENCE),
    "adaptive average of a volume": call(lambda x: F.adaptive_avg_pool3d(x.unflatten(1, (2, 2)), (1, 3, 3))),
    "adaptive maximum": call(lambda x: F.adaptive_max_pool2d(x, (3, 5))),
    "adaptive maximum of a sequence": layer(lambda: nn.AdaptiveMaxPool1d(5), SEQUENCE),
    "adaptive maximum of a volume": call(lambda x: F.adaptive_max_pool3d(x.unflatten(2, (4, 2)), (3, 1, 3))),
    "average, ceil_mode": layer(lambda: nn.AvgPool2d(3, 2, ceil_mode=True)),
    "average, ceil_mode, padded": layer(lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
    "average, ceil_mode, padding not counted": layer(lambda: nn.AvgPool2d(3, 2, 1, True, count_include_pad=False)),
    "average, padding not counted": layer(lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "average, wide padding": layer(lambda: nn.AvgPool2d((5, 3), (2, 1), (2, 1), count_include_pad=False)),
    "average, divisor": layer(lambda: nn.AvgPool2d(2, divisor_override=3)),
    "average, divisor, ceil_mode": layer(lambda: nn.AvgPool2d(3, 2, 1, True, divisor_override=1)),
    "average of a sequence, ceil_mode": layer(lambda: nn.AvgPool1d(3, 2, ceil_mode=True), SEQUENCE),
    "average of a sequence": layer(lambda: nn.AvgPool1d(3, 2, 1, count_include_pad=False), SEQUENCE),
    "average of a volume": volume(lambda: nn.AvgPool3d(2)),
    "average of a volume, divisor": volume(lambda: nn.AvgPool3d(2, 1, divisor_override=3)),
    "maximum, holes": layer(lambda: nn.MaxPool2d(3, 2, 1, dilation=2)),
    "maximum of a sequence, holes": layer(lambda: nn.MaxPool1d(3, 1, 1, dilation=2), SEQUENCE),
    "maximum of a volume": volume(lambda: nn.MaxPool3d(3, 1, 1), (4, 2), 2),
    "bicubic": call(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic")),
    "bicubic, aligned": call(lambda x: F.interpolate(x, (5, 11), mode="bicubic", align_corners=True)),
    "bilinear, any factor": layer(lambda: nn.Upsample(scale_factor=1.3, mode="bilinear")),
    "bilinear, smoothed": call(lambda x: F.interpolate(x, (4, 5), mode="bilinear", antialias=True)),
    "bicubic, smoothed": call(lambda x: F.interpolate(x, (3, 5), mode="bicubic", antialias=True)),
    "linear, any factor": call(lambda x: F.interpolate(x, scale_factor=1.3, mode="linear"), SEQUENCE),
    "trilinear": call(lambda x: F.interpolate(x.unflatten(2, (4, 2)), scale_factor=2, mode="trilinear")),
    "trilinear, aligned": call(
        lambda x: F.interpolate(x.unflatten(2, (4, 2)), (5, 3, 9), mode="trilinear", align_corners=True)
    ),
    "nearest of a sequence": layer(lambda: nn.Upsample(scale_factor=2), SEQUENCE),
    "nearest, any factor": call(lambda x: F.interpolate(x, scale_factor=1.3)),
    "nearest of a volume": call(lambda x: F.interpolate(x.unflatten(2, (4, 2)), scale_factor=2)),
    "nearest-exact, any factor": call(lambda x: F.interpolate(x, scale_factor=1.3, mode="nearest-exact")),
    "nearest-exact of a sequence": call(lambda x: F.interpolate(x, 11, mode="nearest-exact"), SEQUENCE),
    "area": call(lambda x: F.interpolate(x, (5, 3), mode="area")),
    "constant places": call(_sampled),
    "products up to each place": call(lambda x: x.sigmoid().cumprod(3)),
    "extrema up to each place": call(lambda x: x.cummax(1)[0] + x.cummin(2)[0], (3, 5, 4)),
    "places by place": call(lambda x: torch.take_along_dim(x, _PLACES, 2), SEQUENCE),
    "places of a part": call(lambda x: x.gather(1, _PLACES[:, :2, :3].expand(x.shape[0], -1, -1)), SEQUENCE),
    "product over axes": call(lambda x: torch.tensordot(x, _OF_ROWS, dims=([3, 2], [0, 1]))),
    "norm by running statistics": (
        lambda s, x: F.instance_norm(x, s.layer.running_mean, s.layer.running_var, s.layer.weight, s.layer.bias, False),
        lambda: nn.BatchNorm2d(4),
        IMAGE,
    ),
    "transposed, groups": layer(lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2)),
    "transposed, holes": layer(lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, dilation=2, groups=2, output_padding=1)),
    "transposed, holes, more at the end": layer(
        lambda: nn.ConvTranspose2d(4, 6, 2, 1, 1, 1, 2, dilation=(2, 3)),
    ),
    "transposed, stride one": layer(lambda: nn.ConvTranspose2d(4, 8, 3, 1, 1, groups=4)),
    "transposed sequence, holes": layer(lambda: nn.ConvTranspose1d(4, 6, 3, 2, 1, dilation=2), SEQUENCE),
    "transposed, many groups": layer(lambda: nn.ConvTranspose2d(6, 12, (3, 4), (2, 3), 1, 1, 6), (6, 5, 4)),
    "transposed sequence, many groups": layer(lambda: nn.ConvTranspose1d(6, 6, 4, 2, 1, groups=6), (6, 5)),
    "convolution of a volume": volume(lambda: nn.Conv3d(4, 3, (2, 1, 3)), (4, 2), 2),
    "convolution of a volume, stride": volume(lambda: nn.Conv3d(1, 3, 3, 2, 1), (1, 4)),
    "convolution of a volume, holes": volume(lambda: nn.Conv3d(1, 3, 2, padding="same", dilation=2), (1, 4)),
    "convolution of a volume, groups": volume(lambda: nn.Conv3d(2, 4, 3, padding=1, groups=2, bias=False)),
    "transposed volume": volume(lambda: nn.ConvTranspose3d(2, 3, (3, 2, 2), 2, (1, 0, 0), output_padding=1)),
    "norm of a volume": volume(
        lambda: nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2)), (1, 4)
    ),
    "slopes of a volume": volume(lambda: nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.PReLU(4)), (1, 4)),
    "log-softmax of channels": layer(lambda: nn.LogSoftmax(1)),
    "logsumexp of several axes": call(lambda x: x.logsumexp((1, 3), keepdim=True)),
    "arithmetic of six axes": call(lambda x: ((x.reshape(-1, 2, 2, 4, 2, 8) + 1) * x[:, :2, None, None, :2]).relu()),
    "axes of six, one by one": call(
        lambda x: (
            torch.cat([x.reshape(-1, 2, 2, 4, 2, 2, 4), x.reshape(-1, 2, 2, 4, 2, 2, 4).flip(2)], 3)
            .softmax(4)[:, :, :, 1:]
            .amax((2, 3))
            .sum(1)
        )
    ),
    "six axes, one of them copied": call(
        lambda x: x.reshape(-1, 2, 2, 1, 8, 8).expand(-1, -1, -1, 3, -1, -1).permute(0, 1, 2, 4, 3, 5)
    ),
    "pooling of powers": layer(lambda: nn.LPPool2d(2, 3, 2)),
    "pooling of powers of a volume": volume(lambda: nn.LPPool3d(2, 2)),
    "mean of six axes": call(lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))),
    "cosine_similarity": call(lambda x: F.cosine_similarity(x, x.relu(), 1)),
    "bilinear form": ((lambda s, x: s.layer(x, x.relu())), lambda: nn.Bilinear(8, 8, 3), IMAGE),
    "three factors": call(lambda x: torch.einsum("bchw,bdhw,bc->bdw", x, x.relu(), x.mean((2, 3)))),
    "a matrix for each row": call(lambda x: torch.einsum("bchw,hwk->bhck", x, _OF_ROWS)),
    "product": call(lambda x: x[:, :, :3, 0].prod(2) + x.clamp(0.5, 1).prod(1)[:, :4, 0]),
    "length and larger one": call(lambda x: torch.hypot(x, x.relu()) + torch.logaddexp(x, -x) + 2**x),
    "quantiles": call(lambda x: torch.quantile(x, 0.3, 2) + x.quantile(torch.tensor(0.8), 2, interpolation="nearest")),
    "limits in tensors": call(
        lambda x: torch.maximum(x, torch.tensor(-0.2)).minimum(torch.tensor(0.5)) + torch.max(torch.zeros_like(x), x)
    ),
    "a held limit": ((lambda s, x: torch.max(x, s.layer.limit)), Limit, IMAGE),
    "unpooled": call(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)),
    # Which of two that nearly tie is larger may be another one on the device: they weigh nearly the same.
    "unpooled, ties and oblong windows": call(
        lambda x: F.avg_pool2d(
            F.max_unpool2d(*F.max_pool2d(x.relu(), (2, 4), return_indices=True), (2, 4)) * _NEARLY_ONE, (2, 4)
        )
    ),
    "unpooled, with a rest that no window has": call(
        lambda x: F.avg_pool2d(
            F.max_unpool2d(*F.max_pool2d(x[:, :, :7, :5], (2, 3), return_indices=True), (2, 3), output_size=(7, 5)),
            (2, 3),
            ceil_mode=True,
        )
    ),
    "unpooled, rounded up where nothing is left": call(
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, ceil_mode=True, return_indices=True), 2)
    ),
    "unpooled layers": (
        (lambda s, x: F.max_unpool2d(*s.layer(x), 2)),
        lambda: nn.MaxPool2d(2, return_indices=True),
        IMAGE,
    ),
    "normal distribution": call(lambda x: torch.special.ndtr(x) + torch.distributions.Normal(x, x.exp()).mean),
    "a step": call(lambda x: torch.heaviside(x, torch.tensor(0.5)) * x + torch.deg2rad(torch.rad2deg(x))),
    "powers": call(
        lambda x: torch.float_power(x, 2).float() + torch.ldexp(x, torch.tensor(1)) + torch.xlogy(2, x.exp())
    ),
    "where no number is": call(lambda x: torch.where(x.isnan() | x.isinf(), 0, x) + x.isfinite() * x),
    "without what is no number": call(lambda x: x.nansum(2) + x.nan_to_num().nanmean(2)),
    "for every sample": call(lambda x: x * torch.linspace(0, 1, 8).reshape(1, 1, 1, 8).repeat(x.shape[0], 1, 1, 1)),
    "F.unfold": call(lambda x: F.unfold(x, 3, padding=1, stride=2)),
    "einsum beside a matrix for each channel": call(lambda x: torch.einsum("bhwc,hkc->bkhw", x, _EACH_ROW)),
    "F.unfold of one patch": call(lambda x: F.unfold(F.pad(x, (0, 8, 0, 8)), 16, stride=16)),
    "F.unfold of patches": call(lambda x: F.unfold(x, (2, 4), stride=(2, 4))),
    "F.fold": call(lambda x: F.fold(F.unfold(x, 3, padding=1), (8, 8), 3, padding=1)),
    "F.fold, stride": call(lambda x: F.fold(F.unfold(x, 3, 2, 1, 3), (8, 8), 3, 2, 1, 3)),
    "F.fold of patches": call(lambda x: F.fold(x.reshape(-1, 16, 16), (8, 8), 2, stride=2)),
    "unfold": call(lambda x: x.unfold(1, 3, 1) + x.unfold(-1, 3, 3).sum(-1)[:, :2, :, None, :1]),
    "repeat_interleave": call(lambda x: x.repeat_interleave(torch.tensor([1, 2, 3, 1]), 1)),
    "tril and triu": call(lambda x: torch.cat([x.tril(), x.triu(1), x[:, :, :3].tril(-1)], 2)),
    "diagonal": call(lambda x: x.diagonal(1, 2, 3) + x[:, :, :, :3].diagonal(0, 2, 1)[:, :1, :1]),
    "rot90": call(lambda x: x.rot90(1, (2, 3)) + x.rot90(3, (3, 2)) + x.rot90(2, (1, 2))),
    "diff": call(lambda x: x.diff(2, 2)),
    "gather": call(lambda x: x.gather(1, torch.tensor([2, 0]).reshape(1, 2, 1, 1).expand(x.shape[0], -1, 8, 8))),
    "mask as an index": call(lambda x: x[:, _MASK] + x[:, torch.tensor([True, False, True, False])]),
    "one more axis": call(lambda x: x[:, True]),
    "two indices": call(lambda x: x[:, :, [0, 1, 7], [1, 0, 3]]),
    "indices of shapes": call(lambda x: x[:, [[0], [1]], [1, 2]]),
    "every other channel": assigned(slice(None, None, 2), value=lambda x: x[:, :2]),
    "every other row": assigned(slice(None), slice(1, None, 2), value=lambda x: x[:, :, :4]),
    "every third row": assigned(slice(None), slice(None, None, 3), value=lambda x: x[:, :, :3]),
    "every other pixel": assigned(slice(None), slice(0, 7, 2), slice(1, 8, 2), value=lambda x: x[:, :, :4, 4:]),
    "every other column, a number": assigned(slice(None), slice(None), slice(None, None, 2), value=lambda x: 0.5),
    "every other column, added": written(lambda y, x: y[..., 1:6:2].add_(1)),
    "list of channels": assigned([0, 2], value=lambda x: x[:, :2]),
    "list of channels, a number": assigned([0, 3], value=lambda x: 0.25),
    "list of rows, broadcast": assigned(slice(None), [1, 4, 5], value=lambda x: x[:, :, :1]),
    "mask of channels": assigned(_MASK, value=lambda x: x[:, 2:]),
    "index_fill": call(lambda x: x.index_fill(2, torch.tensor([1, 2]), 0.5)),
    "index_copy": call(lambda x: x.index_copy(1, torch.tensor([3, 1]), x[:, :2])),
    "index_add": call(lambda x: x.index_add(1, torch.tensor([3, 1]), x[:, :2], alpha=2)),
    "index_add at one place": call(
        lambda x: (
            x.new_zeros(x.shape).index_add(1, torch.tensor([3, 1, 3]), x[:, :3])
            + x.scatter_add(
                2, torch.tensor([0, 2, 2]).view(1, 1, 3, 1).expand(x.shape[0], 4, 3, x.shape[3]), x[:, :, :3]
            )
        )
    ),
    "scatter along one axis": call(
        lambda x: x.scatter(1, torch.tensor([3, 1]).view(1, 2, 1, 1).expand(x.shape[0], -1, *x.shape[2:]), x[:, :3])
    ),
    "scatter, a number": call(lambda x: x.scatter(3, _SCATTERED.expand(x.shape[0], -1, -1, -1), 0.25)),
    "scatter one by one": call(
        lambda x: x.flatten(1).scatter(1, torch.tensor([[7, 3, 4]]).expand(x.shape[0], -1), x[:, 0, 0, :4])
    ),
    "scatter_reduce": call(
        lambda x: x.scatter_reduce(
            1, torch.tensor([2, 0]).view(1, 2, 1, 1).expand(x.shape[0], -1, *x.shape[2:]), x[:, :2], "sum"
        )
    ),
    "slice_scatter": call(lambda x: torch.slice_scatter(x, x[:, :, :2], 2, 1, 7, 3)),
    "select_scatter": call(lambda x: torch.select_scatter(x, x[:, 0], 1, -2)),
    "diagonal written": written(lambda y, x: y.diagonal(0, 2, 3).copy_(x[:, :, 0])),
}


@pytest.fixture(autouse=True)
def undetermined() -> Iterator[None]:
    """Max unpooling refuses to run where an earlier test asked PyTorch for determined algorithms alone."""
    asked = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(asked)


@pytest.mark.tflm
@pytest.mark.parametrize("name", FORMS)
def test_a_form_computes_the_modules_numbers_and_the_devices(name: str) -> None:
    torch.manual_seed(0)
    net = Behind(FORMS[name]).eval()
    data = (torch.randn(6, *FORMS[name][2]),)
    expected = outputs(net, data)
    qat = qtorch.prepare(deepcopy(net), data[0][:2]).eval()
    assert {name for name, _ in net.named_parameters()} <= {name for name, _ in qat.named_parameters()}
    assert not difference(net, expected, outputs(qat, data), data)
    qtorch.calibrate(qat, [data[0]])
    graph = integer_graph(qat)
    codes = corner_codes(graph, random=20)
    report = parity(graph, write_tflite(graph), codes, qat.eval())
    assert report.engines["tflm"].exact_share == 1
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    for found, right in zip(outputs(qat, data), expected, strict=True):
        # Some three roundings to 8 bits of what lies between -1 and 1.
        assert float((found - right).abs().max()) <= 0.05 * float(right.abs().max())


@pytest.mark.tflm
@pytest.mark.parametrize(("share", "count"), [(0.29, 101), (0.7, 11), (0.57, 101), (0.58, 51)])
@pytest.mark.parametrize("between", ["linear", "lower", "higher", "nearest", "midpoint"])
def test_a_quantiles_place_is_found_as_torch_finds_it(share: float, count: int, between: str) -> None:
    """In float32, where 0.29 of 100 is 29, and 0.7 of 10 is 7."""

    class Quantile(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.quantile(x, share, 1, interpolation=between)

    torch.manual_seed(0)
    x = torch.randn(7, count)
    assert torch.allclose(qtorch.prepare(Quantile(), x[:1])(x), Quantile()(x), atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda x, b: torch.bucketize(x, b).float(), id="bucketize"),
        pytest.param(lambda x, b: torch.bucketize(x, b, right=True) * 0.5, id="bucketize, to the right"),
        pytest.param(lambda x, b: torch.searchsorted(b, x, side="right") / 3.0, id="searchsorted"),
    ],
)
def test_known_boundaries_are_counted_by_one_table(call: Callable[[Tensor, Tensor], Tensor]) -> None:
    boundaries = torch.tensor([-1.5, -0.25, 0.0, 0.0, 0.25, 1.0])
    # Of codes each is what the network makes of its number, those on a boundary too.
    x = (torch.arange(256.0) - 128).view(-1, 4) / 64
    net = Layers(lambda net, x: call(x, net.boundaries)).eval()
    net.register_buffer("boundaries", boundaries)
    qat = qtorch.prepare(net, x[:2]).eval()
    torch.testing.assert_close(qat(x), net(x))
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    assert [node.op for node in graph.nodes] == ["table"]
    assert parity(graph, write_tflite(graph), corner_codes(graph, 20), qat).engines["tflm"].exact_share == 1
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    torch.testing.assert_close(qat(x), net(x), rtol=0, atol=float(net(x).max()) / 500)


def test_networks_of_volumes_train_as_they_are_and_move_little() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(4, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.AdaptiveAvgPool3d(1),
        nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    x = torch.randn(6, 1, 4, 8, 8)
    qat = qtorch.prepare(deepcopy(net), x[:2])
    for each in (net.train(), qat.train()):
        each(x).square().sum().backward()
    for name, parameter in net.named_parameters():
        found = qat.get_parameter(name).grad
        torch.testing.assert_close(found, parameter.grad, rtol=1e-3, atol=1e-4)
    for name, buffer in net.named_buffers():
        torch.testing.assert_close(qat.get_buffer(name), buffer)
    qtorch.calibrate(qat.eval(), [x])
    # The input's, which lies as PyTorch's does, and none between the layers.
    assert [node.op for node in integer_graph(qat).nodes].count("transpose") == 1


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (call(lambda x: F.grid_sample(x, x.permute(0, 2, 3, 1)[..., :2], align_corners=False)), ["grid_sample"]),
        (call(lambda x: x[:, [0, 1], :, [1, 0]]), ["index", "axis"]),
        (call(lambda x: x.roll(1)), ["roll", "batch"]),
        (call(lambda x: x.argsort(1)), ["argsort", "indices"]),
        (call(lambda x: x.topk(2, 1)[1].float()), ["topk"]),
        (call(lambda x: torch.cdist(x.flatten(1), x.flatten(1))), ["cdist"]),
        (call(lambda x: F.max_pool2d(x, 2, return_indices=True)[1]), ["indices out"]),
        (written(lambda y, x: y[::2].zero_()), ["every 2. sample", "clone"]),
    ],
)  # fmt: skip
def test_what_stays_impossible_says_why(form: Form, words: list[str]) -> None:
    with pytest.raises(UnsupportedLayer) as error:
        qtorch.prepare(Behind(form), torch.randn(2, *form[2]))
    assert "test_lifted_limits.py" in error.value.where
    for word in words:
        assert word in str(error.value)
