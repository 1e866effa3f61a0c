"""A network that is hard to quantize, channels of very different size, and what the tests ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch import Mode, QuantizationConfig
from qtorch.post_training import fold_batch_norms

CLASSES, SIDE = 6, 10


def gratings(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Gratings of any phase in one of six directions, with noise: float32 ``[N, 1, 10, 10]``, labels int64 ``[N]``."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    angle = labels * torch.pi / CLASSES
    phase = 2 * torch.pi * torch.rand(count, generator=generator)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    along = torch.cos(angle)[:, None, None] * x + torch.sin(angle)[:, None, None] * y
    images = torch.sin(1.3 * along + phase[:, None, None]) + 0.8 * torch.randn(count, SIDE, SIDE, generator=generator)
    return images[:, None], labels


def trained(seed: int) -> nn.Sequential:
    """A convolutional network of six layers, five with batch norms, briefly trained on the gratings; in evaluation."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 24, 3, groups=24, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
        *(nn.Conv2d(24, 24, 1), nn.BatchNorm2d(24), nn.ReLU(), nn.Dropout(0.1), nn.Flatten()),
        nn.Linear(24 * 9, CLASSES),
    )
    images, labels = gratings(512, seed=1000 + seed)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for step in range(60):
        batch = slice(64 * (step % 8), 64 * (step % 8 + 1))
        optimizer.zero_grad()
        F.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
    return net.eval()


def heavy_tailed(net: nn.Module, example: Tensor, seed: int) -> fx.GraphModule:
    """The same function, each channel between two layers made 2**-5 to 2**5 times as large; batch norms folded."""
    folded = fold_batch_norms(net, example)
    layers = [m for m in folded.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for first, second in pairwise(layers):
            channels = len(first.weight)
            factors = 2 ** (10 * torch.rand(channels, generator=generator) - 5)
            first.weight.mul_(factors.reshape(-1, *[1] * (first.weight.dim() - 1)))
            assert first.bias is not None
            first.bias.mul_(factors)
            if isinstance(second, nn.Linear):
                second.weight.div_(factors.repeat_interleave(second.in_features // channels))
            else:
                depthwise = second.groups > 1
                second.weight.div_(factors[:, None, None, None] if depthwise else factors[:, None, None])
    return folded


class Case(NamedTuple):
    """A float network, its heavy-tailed equal, inputs to calibrate on, and a test set with the float outputs."""

    net: nn.Module
    heavy: fx.GraphModule
    inputs: Tensor
    images: Tensor
    labels: Tensor
    outputs: Tensor


def hard_case() -> Iterator[Case]:
    """On one thread while it is used: a module's fixture."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield case_of(0)
    torch.set_num_threads(threads)


def case_of(seed: int) -> Case:
    """One of many. What a processor's own sums make of a seed may differ, so of one case little is certain."""
    net, (inputs, _), (images, labels) = trained(seed), gratings(256, 8 + seed), gratings(1000, 7)
    with torch.no_grad():
        outputs = net(images)
    return Case(net, heavy_tailed(net, inputs[:1], seed), inputs, images, labels, outputs)


def prepared(net: nn.Module, inputs: Tensor, **options: object) -> fx.GraphModule:
    """Prepared, calibrated, quantized and in evaluation."""
    qat = qtorch.prepare(net, inputs[:1], QuantizationConfig(**options)).eval()  # type: ignore[arg-type]
    qtorch.calibrate(qat, [inputs])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    return qat


def accuracy(net: nn.Module, case: Case) -> float:
    with torch.no_grad():
        return float((net(case.images).argmax(1) == case.labels).float().mean())


def squared_error(net: nn.Module, case: Case) -> float:
    with torch.no_grad():
        return float((net(case.images) - case.outputs).square().mean())


def mean_error(net: nn.Module, case: Case) -> float:
    """How far the mean of an output is off, on average over the outputs."""
    with torch.no_grad():
        return float((net(case.images) - case.outputs).mean(0).abs().mean())


def require_parity(qat: fx.GraphModule) -> None:
    graph = integer_graph(qat)
    report = parity(graph, write_tflite(graph), corner_codes(graph, random=300), qat, reported=())
    assert report.judges[-1] == "qat_network"
    assert all(engine.mismatches == 0 for engine in report.engines.values())


def relative_difference(net: nn.Module, other: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        expected = other.eval()(x)
        return float((net(x) - expected).abs().max() / expected.abs().max())


def op_of(qat: fx.GraphModule, name: str) -> qtorch.QuantizedOp:
    op = qat.get_submodule(name)
    assert isinstance(op, qtorch.QuantizedOp)
    return op


def weights_of(qat: fx.GraphModule) -> dict[str, qtorch.QuantizedOp]:
    return {name: m for name, m in qat.named_modules() if isinstance(m, qtorch.QuantizedOp) and m.has_weight}
