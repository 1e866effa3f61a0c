"""Code as libraries write it: sizes that are numbers, norms by function, computed weights; the module judges."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, weight_norm
from torch.utils import _pytree as pytree

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import UnsupportedLayer

pytestmark = pytest.mark.usefixtures("one_thread")


class NormAct(nn.BatchNorm2d):
    """A batch norm that calls itself as a function, with an activation of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        torch._assert(x.ndim == 4, "images")
        assert self.num_batches_tracked is not None
        if self.training:
            self.num_batches_tracked.add_(1)
        x = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        y: Tensor = self.act(x)
        return y


class Library(nn.Module):
    """Shapes asked for, norms by function, a shuffle, a gate, and a class token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect", bias=False)
        self.bn = NormAct(8)
        self.gate, self.token = nn.Conv2d(8, 8, 1), nn.Parameter(torch.randn(1, 1, 8))
        # One shows its input, the other writes into its own.
        self.flat, self.act = nn.Flatten(2), nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, scale: float = 0.5, *rest: Any, flag: bool = True, **others: Any) -> dict[str, Any]:
        if x.shape[2] % 2:
            x = F.pad(x, (0, 0, 0, 1))
        y = self.bn(self.conv(x))
        b, c, h, w = y.shape
        y = y.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
        y = y * F.hardsigmoid(self.gate(F.adaptive_avg_pool2d(y, 1)))
        tokens = torch.cat([self.token.expand(b, -1, -1), self.act(self.flat(y + 0.5)).transpose(1, 2)], 1)
        out = self.head(tokens[:, 0] + tokens[:, 1:].mean(1)) * scale
        return {"out": [out, *(F.relu(out) for _ in range(len(rest) + 1))]} if flag else {}


class Standardized(nn.Conv2d):
    """Weights of mean 0 and deviation 1."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class Computed(nn.Module):
    """Weights that are computed, in every way that there is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a = parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
        self.b = weight_norm(nn.Conv2d(8, 8, 1))
        self.c, self.norm = Standardized(8, 8, 3), nn.GroupNorm(2, 8)
        self.d = parametrizations.weight_norm(nn.Linear(8, 4))
        self.e = prune.l1_unstructured(nn.Linear(4, 4), "weight", amount=0.5)
        self.fusion, self.gamma = nn.Parameter(torch.rand(2)), nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        y = F.elu(self.b(F.gelu(self.a(x))))
        share = F.relu(self.fusion)
        share = share / (share.sum() + 1e-4)
        y = share[0] * y[:, :, 1:-1, 1:-1] + share[1] * self.norm(self.c(y))
        z: Tensor = self.e(self.d((y * self.gamma.reshape(1, -1, 1, 1)).amax((2, 3))))
        return z


class Patches(nn.Module):
    """Patches of an image by six axes, and a size that is the batch's by chance."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.layer = nn.Conv2d(3, 4, 1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        b, c, h, w = y.shape
        y = y.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(b, h * w // 4, 4 * c)
        z: Tensor = self.layer(y)
        return z.permute(0, 2, 1).reshape(x.shape[0], 4, -1)


class Seeing(nn.Module):
    """Blocks without gradients, and another precision that is switched off."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer, self.frozen = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.frozen(x) * 2
        with torch.autocast("cpu", enabled=False):
            z: Tensor = self.layer(y) + y
        return z


class Skips(nn.Module):
    """Branches that are stacked before the batch's axis and added up."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        found = [layer(x) for layer in self.layers]
        y: Tensor = torch.stack(found, dim=0).sum(dim=0) + torch.stack(found, -1).mean(-1)
        return y


class Asking(nn.Module):
    """Numbers that code makes as tensors and asks for as numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        y = y - y.mean(dim=torch.arange(1, len(x.shape)).tolist(), keepdim=True)
        steps, counts = torch.linspace(0, 1, 4), torch.zeros(2)
        counts[1] = 3.0
        counts += 1
        if torch.isnan(y).any():
            y = y.nan_to_num()
        if (steps > 0.5).any():
            y = y * float(steps[2] * 3)
        for each in torch.arange(2):
            y = y + int(each)
        return y * counts[1].item() + counts[0].item()


class Lengths(nn.Module):
    """A mask of lengths that are all the same, made of the batch's size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.conv = nn.Conv1d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        lengths = torch.ones(len(y)) * y.shape[-1] - 2
        mask = torch.arange(y.shape[-1], dtype=lengths.dtype).expand(len(y), -1) < lengths.unsqueeze(1)
        weights = torch.softmax(y.masked_fill((mask := mask.to(torch.float32).unsqueeze(1)) == 0, float("-inf")), 2)
        return (weights * y).sum(2) + (mask / mask.sum(2, keepdim=True) * y).sum(2)


class Turning(nn.Module):
    """A token for every sample, a border of less than nothing, a layer of complex numbers, a product of vectors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.token, self.spin = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(3))
        self.mix, self.cut = nn.Linear(5, 3, dtype=torch.cfloat), nn.ZeroPad2d((-1, 2, 1, -2))

    def forward(self, x: Tensor) -> Tensor:
        z = self.mix(torch.fft.rfft(self.cut(torch.cat([self.token.expand(len(x), -1, -1), x], 1))[..., :8]))
        place = torch.arange(3).repeat(len(x), z.size(1), 1).float() / 2 - 1
        return torch.cross(z.real, self.spin.expand_as(z.real), -1) + z.imag * place


class Alike(nn.Module):
    """What layers make of positions that are repeated for every sample, and for every window of every sample."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.embed, self.mix = nn.Linear(4, 4), nn.Conv1d(2, 2, 1)
        self.query, self.norm, self.latent = nn.Linear(4, 4), nn.LayerNorm(4), nn.Parameter(torch.randn(1, 2, 4))
        self.bias = nn.Parameter(torch.randn(2, 4, 4))
        self.register_buffer("positions", torch.randn(1, 8, 4))
        self.register_buffer("masked", torch.tensor([[False, True], [True, False]])[:, :, None].expand(2, 2, 4))

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        places = self.embed(self.positions.expand(b, -1, -1)).unflatten(1, (2, 4)).flatten(2)
        x = x + self.mix(places).reshape(b, 8, 4)
        windows = x.reshape(2 * b, 4, 4)
        count = windows.shape[0] // 2
        mask = (self.masked.to(x.dtype) * -2).unsqueeze(0).expand(count, -1, -1, -1).reshape(-1, 2, 1, 4)
        scores = (windows @ windows.transpose(1, 2)).unsqueeze(1) + (self.bias + mask)
        x = (scores.softmax(-1) @ windows.unsqueeze(1)).sum(1).reshape(b, 8, 4)
        asked = self.query(self.norm(self.latent.repeat(b, 1, 1)))
        read = torch.cat([x[:, :0], (asked @ x.transpose(1, 2)).softmax(-1) @ x], 1)
        return read.flatten(1)


class NamesTwice(nn.Module):
    """A layer with the name that the graph gives a call."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.conv, self.flatten, self.head = nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.flatten(self.conv(x).flatten(2).softmax(-1)))
        return y


_HEARD: list[Tensor] = []


class Listening(nn.Module):
    """What a hook keeps, read by the code that follows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(9)
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.a.register_forward_hook(lambda module, given, result: _HEARD.append(result))

    def forward(self, x: Tensor) -> Tensor:
        _HEARD.clear()
        y: Tensor = self.b(self.a(x).relu())
        return y + _HEARD[0]


def leaves(outputs: Any) -> list[Tensor]:
    return [each for each in pytree.tree_leaves(outputs) if isinstance(each, Tensor)]


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "library": (Library, (3, 7, 8)),
    "computed": (Computed, (3, 8, 8)),
    "patches": (Patches, (3, 8, 8)),
    # A batch of two beside an axis of two.
    "patches of two": (Patches, (3, 2, 2)),
    "seeing": (Seeing, (8,)),
    "skips": (Skips, (8,)),
    "asking": (Asking, (3, 6, 6)),
    "lengths": (Lengths, (3, 8)),
    "turning": (Turning, (4, 8)),
    "alike": (Alike, (8, 4)),
    "names twice": (NamesTwice, (3, 2, 3)),
    "listening": (Listening, (8,)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_module_judges_and_the_file_is_exact(name: str) -> None:
    """In float with gradients; then, trained for some steps, in TFLite Micro."""
    make, shape = CASES[name]
    inputs = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))
    net, net_alone = make().train(), make().train()
    qat = qtorch.prepare(net, inputs[:2])
    assert {n for n, _ in qat.named_parameters()} == {n for n, _ in net.named_parameters()}
    for training in (False, True):
        ours, theirs = leaves(qat.train(training)(inputs)), leaves(net_alone.train(training)(inputs))
        assert all(torch.allclose(*pair, atol=1e-4, rtol=1e-4) for pair in zip(ours, theirs, strict=True))
        for outputs in (ours, theirs):
            sum((each**2).sum() for each in outputs).backward()  # type: ignore[union-attr]
    wanted = {name: each.grad for name, each in net_alone.named_parameters()}
    for parameter, each in net.named_parameters():
        expected = wanted[parameter]
        assert (each.grad is None) == (expected is None)
        if expected is not None:
            assert torch.allclose(each.grad, expected, atol=1e-3 * float(expected.abs().max()) + 1e-7)  # type: ignore[arg-type]
    qtorch.calibrate(qat, [inputs])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    optimizer = torch.optim.SGD(qat.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        sum((each**2).mean() for each in leaves(qat.train()(inputs))).backward()  # type: ignore[union-attr]
        optimizer.step()
    qtorch.freeze_batch_norm(qat)
    graph = integer_graph(qat)
    report = parity(graph, write_tflite(graph), corner_codes(graph, random=4), qat.eval())
    assert report.engines["tflm"].exact_share == report.engines["qat_network"].exact_share == 1.0


def test_a_spectral_norm_is_what_it_is_in_evaluation_and_its_training_is_told() -> None:
    torch.manual_seed(0)
    net, x = (
        nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2)),
        torch.rand(8, 4),
    )
    with pytest.warns(UserWarning, match=r"'0\.parametrizations\.weight\.0\._[uv]', which is written"):
        qat = qtorch.prepare(net, x[:1])
    assert torch.allclose(qat.eval()(x), net.eval()(x), atol=1e-6)
    assert {name for name, _ in qat.named_parameters()} == {name for name, _ in net.named_parameters()}


def test_a_norm_by_function_is_folded_whoever_reads_sizes() -> None:
    qat = qtorch.prepare(Library().train(), torch.zeros(1, 3, 8, 8))
    ops = [module.row.name for module in qat.modules() if isinstance(module, qtorch.QuantizedOp)]
    assert "depthwise_conv_2d" not in ops
    assert ops.count("conv_2d") == 2


@dataclasses.dataclass
class Found:
    boxes: Tensor
    scores: Tensor
    more: dict[str, Any] | None = None


def test_values_that_nest_come_out_as_they_do_of_the_network() -> None:
    """Torch has not been told of the dataclass, as it seldom is."""

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: dict[str, Tensor]) -> Found:
            y = self.layer(x["a"]) + x["b"]
            return Found(y * 2, y.sigmoid(), {"stride": 8, "of": "boxes", "inner": Found(y, -y)})

    net, x = Detector(), {"a": torch.rand(3, 4), "b": torch.rand(3, 4)}
    result = qtorch.prepare(net, ({"a": x["a"][:1], "b": x["b"][:1]},))(x)
    assert isinstance(result, Found)
    assert torch.allclose(result.boxes, net(x).boxes, atol=1e-6)
    assert result.more["stride"] == 8
    assert result.more["of"] == "boxes"
    assert torch.allclose(result.more["inner"].scores, net(x).more["inner"].scores, atol=1e-6)


def test_what_can_not_be_captured_names_layer_and_line() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.LSTM(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.memory(x)[0]
            return y

    with pytest.raises(UnsupportedLayer, match=r"\(test_captured_code\.py:\d+: .*self\.memory\(x\)"):
        qtorch.prepare(Recurrent(), torch.zeros(1, 3, 4))


def test_a_network_that_was_just_prepared_can_swap_its_parameters() -> None:
    """What remembers them, and would be collected later only, stands in the way of devices that want others."""
    gc.collect()
    gc.disable()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        qat = qtorch.prepare(Library(), torch.randn(2, 3, 7, 8))
        assert next(qat.to(torch.float64).parameters()).dtype == torch.float64
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
        gc.enable()


def test_values_without_variance_are_normalized_to_what_rounding_leaves() -> None:
    """The module's sums give zeros alone, and others' a rounding of them, a hundredfold."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm = nn.Conv1d(5, 5, 4, stride=2, padding=2, groups=5), nn.LayerNorm(9)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(self.conv(F.pad(x - x, (0, 0, 0, 2))))
            return y

    x = torch.randn(2, 3, 16)
    assert float(qtorch.prepare(Constant(), x)(x).detach().abs().max()) < 1e-3
