"""What must hold on every device: networks, and questions that answer in words what is wrong, in none if nothing is.

A question takes a network's name and a device, and holds what it finds there against the CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.graph.text import text_of
from export.parity.outputs import corner_codes, network_codes
from qtorch import Mode, QuantizationConfig
from qtorch.network.calibration import observe_in_training
from qtorch.ranges.observers import make_observer
from tests.observers import every_observer

__all__ = ["NETWORKS", "QUESTIONS", "Attention", "Case", "quantized_step", "started"]


class Residual(nn.Module):
    """Convolutions, a depthwise one, a sum, poolings, a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.depthwise, self.second = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 6, 1)
        self.last = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(x + self.second(F.relu(self.depthwise(x))))
        return self.last(torch.cat([F.avg_pool2d(x, 4).mean((2, 3)), F.max_pool2d(x, 8).flatten(1)], 1))


class Attention(nn.Module):
    """Softmax of products, a LayerNorm, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(self.norm(x))
        return x + y * F.softmax(y, -1)


class Curves(nn.Module):
    """What int8 kernels look up in tables, and what they scale."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return torch.sigmoid(y) * torch.tanh(x) + F.hardswish(y) - F.leaky_relu(x, 0.1)


class Upwards(nn.Module):
    """A transposed convolution, and sizes that change."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.conv = nn.ConvTranspose2d(2, 3, 2, stride=2), nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(F.relu6(self.up(x)), scale_factor=2.0, mode="bilinear", align_corners=False)
        return F.pad(self.conv(x), (1, 1, 1, 1))


def _image() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip


def _normalized() -> nn.Module:
    return nn.Sequential(qtorch.Normalization([1.0, 2.0], [1.5, 2.0]), nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 3))


@dataclass(frozen=True)
class Case:
    """A float network, one sample's shape, how it is quantized, and whether ranges follow in training."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    config: QuantizationConfig = field(default_factory=QuantizationConfig)
    observing: bool = False


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


NETWORKS = {
    "perceptron": Case(_perceptron, (8,)),
    "image": Case(_image, (2, 8, 8)),
    "residual": Case(Residual, (2, 8, 8)),
    "attention": Case(Attention, (6,)),
    "curves": Case(Curves, (8,)),
    "upwards": Case(Upwards, (2, 4, 4)),
    "int16": Case(_image, (2, 8, 8), QuantizationConfig(activations="int16")),
    "4 bits": Case(_image, (2, 8, 8), QuantizationConfig(weight_bits=4, weight_observer="mse")),
    "per tensor": Case(_image, (2, 8, 8), QuantizationConfig(weights="per_tensor")),
    "lsq": Case(_image, (2, 8, 8), QuantizationConfig(scales="lsq")),
    "lsq+": Case(_perceptron, (8,), QuantizationConfig(scales="lsq+")),
    "pact": Case(_image, (2, 8, 8), QuantizationConfig(scales="pact")),
    "ewgs": Case(_image, (2, 8, 8), QuantizationConfig(gradient="ewgs")),
    "observing": Case(_image, (2, 8, 8), QuantizationConfig(observer="moving_average:0.9"), observing=True),
    "normalized": Case(_normalized, (2,)),
    "left in float": Case(_image, (2, 8, 8), QuantizationConfig(layers={"0": {"skip": True}})),
}


def started(name: str) -> tuple[fx.GraphModule, Tensor]:
    """A network on the CPU, trained a little, calibrated and in QUANTIZED mode; and its data, 40 samples."""
    case = NETWORKS[name]
    torch.manual_seed(3)
    net, x = case.build().train(), 2 * torch.randn(40, *case.shape)
    with torch.no_grad():
        for _ in range(5):  # statistics of a batch norm that are the data's
            net(x)
    qat = qtorch.prepare(net, x[:1], case.config)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    observe_in_training(qat, case.observing)
    return qat, x


def quantized_step(qat: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer | None = None) -> Tensor:
    """Forward, backward, and the optimizer's step; the outputs."""
    qat.zero_grad()
    y: Tensor = qat(x)
    y.square().mean().backward()
    if optimizer is not None:
        optimizer.step()
    return y.detach()


def _differs(what: str, there: Tensor, here: Tensor, nearly: float = 0.0) -> list[str]:
    there = there.detach().cpu()
    largest = float((there - here).abs().max()) if here.numel() else 0.0
    if largest <= nearly * float(here.abs().max()):
        return []
    return [f"{what}: {int((there != here).sum())} of {here.numel()} values differ, by up to {largest:.3g}"]


def integers_are_the_cpu_s(name: str, device: torch.device) -> list[str]:
    """In evaluation, with gradients and without; with frozen norms in training."""
    qat, x = started(name)
    qtorch.freeze_batch_norm(qat)
    observe_in_training(qat, False)
    there = copy.deepcopy(qat).to(device)
    wrong = []
    for training in (False, True):
        for each in (qat, there):
            each.train(training)
        wrong += _differs(f"with gradients, {training=}", there(x.to(device)), qat(x).detach())
        with torch.no_grad():
            wrong += _differs(f"without gradients, {training=}", there(x.to(device)), qat(x))
    return wrong


def a_step_is_the_cpu_s(name: str, device: torch.device) -> list[str]:
    """The gradients of one step in each mode, to what the order of sums leaves open.

    A sum as near to the end of its grid as the device's first rounding goes may count as inside on one of the ways in
    which sums are rescaled, and as outside on another.
    """
    wrong = []
    for mode in (Mode.FLOAT, Mode.QUANTIZED):
        for frozen in (False, True):
            qat, x = started(name)
            qtorch.set_mode(qat, mode)
            qtorch.freeze_batch_norm(qat, frozen)
            there = copy.deepcopy(qat).to(device)
            quantized_step(qat, x)
            quantized_step(there, x.to(device))
            largest = max(float(p.grad.abs().max()) for p in qat.parameters() if p.grad is not None)
            for (key, p), q in zip(qat.named_parameters(), there.parameters(), strict=True):
                if (p.grad is None) != (q.grad is None):
                    wrong.append(f"{mode.name}, {frozen=}, {key}: a gradient on one device alone")
                elif p.grad is not None and q.grad is not None:
                    off = float((q.grad.cpu() - p.grad).abs().max())
                    if off > 1e-3 * largest:
                        wrong.append(f"{mode.name}, {frozen=}, gradient of {key}: off by {off:.3g} of {largest:.3g}")
    return wrong


def ten_steps_stay_near(name: str, device: torch.device) -> list[str]:
    """Ten steps of an optimizer, norms frozen half-way: codes may flip, parameters stay near."""
    qat, x = started(name)
    there = copy.deepcopy(qat).to(device)
    for net, data in ((qat, x), (there, x.to(device))):
        optimizer = torch.optim.SGD(net.parameters(), 1e-2, momentum=0.9, foreach=False)
        for step in range(10):
            if step == 5:
                qtorch.freeze_batch_norm(net)
                observe_in_training(net, False)
            quantized_step(net, data, optimizer)
    wrong = []
    for (key, p), q in zip(qat.named_parameters(), there.parameters(), strict=True):
        wrong += _differs(f"{key} after ten steps", q, p.detach(), nearly=1e-3 if p.abs().max() > 1e-3 else 1.0)
    return wrong


def a_step_waits_for_nothing(name: str, device: torch.device, reads: Callable[[], dict[str, int]]) -> list[str]:
    """No number is read back, or sent, in a step after the first two of each kind, but for ranges that follow.

    Args:
        name: of the network.
        device: where.
        reads: by what numbers went between host and device since the last call, how often.
    """
    qat, x = started(name)
    # An observer keeps what it has seen on the CPU.
    observe_in_training(qat, False)
    qat.to(device)
    x = x.to(device)
    wrong = []
    for mode in (Mode.FLOAT, Mode.QUANTIZED):
        qtorch.set_mode(qat, mode)
        for frozen in (False, True):
            qtorch.freeze_batch_norm(qat, frozen)
            optimizer = torch.optim.SGD(qat.parameters(), 1e-3, foreach=False)
            for _ in range(2):
                quantized_step(qat, x, optimizer)
            reads()
            quantized_step(qat, x, optimizer)
            found = reads()
            if found:
                wrong.append(f"{mode.name}, {frozen=}: {found}")
    return wrong


def calibration_is_the_cpu_s(name: str, device: torch.device) -> list[str]:
    """Ranges measured there, where sums of floats may run in another order."""
    qat, x = started(name)
    there = copy.deepcopy(qat).to(device)
    qtorch.calibrate(qat, [x])
    qtorch.calibrate(there, [x.to(device)])
    wrong = []
    others = qtorch.quantizers(there)
    for key, quantizer in qtorch.quantizers(qat).items():
        mine, theirs = quantizer.qparams(), others[key].qparams()
        near = abs(mine.scale[0] - theirs.scale[0]) <= 1e-5 * mine.scale[0]
        if not near or abs(mine.zero_point[0] - theirs.zero_point[0]) > 1:
            wrong.append(f"{key}: {theirs} there, {mine} on the CPU")
    return wrong


def a_state_crosses_over(name: str, device: torch.device) -> list[str]:
    """A state of there gives the same integers on the CPU, and the other way round."""
    qat, x = started(name)
    there, fresh = copy.deepcopy(qat).to(device), qtorch.prepare(NETWORKS[name].build(), x[:1], NETWORKS[name].config)
    optimizer = torch.optim.SGD(there.parameters(), 1e-2, foreach=False)
    for _ in range(3):
        quantized_step(there, x.to(device), optimizer)
    fresh.load_state_dict(there.state_dict())
    wrong = []
    with torch.no_grad():
        expected = fresh.eval()(x)
        wrong += _differs("loaded on the CPU", there.eval()(x.to(device)), expected)
        again = copy.deepcopy(qat).to(device).eval()
        again.load_state_dict(fresh.state_dict())
        wrong += _differs("loaded there", again(x.to(device)), expected)
        wrong += _differs("moved back", there.cpu()(x), expected)
    return wrong


def an_export_is_the_cpu_s(name: str, device: torch.device) -> list[str]:
    """The integer graph, and the codes that the network itself computes for the proof."""
    qat, _ = started(name)
    there = copy.deepcopy(qat).to(device)
    here, graph = integer_graph(qat.eval()), integer_graph(there.eval())
    if text_of(here) != text_of(graph):
        return ["the integer graph is another"]
    codes = corner_codes(graph, 20)
    outputs = (network_codes(each, graph, codes) for each in (there, qat))
    return [f"{int((a != b).sum())} of {a.size} codes differ" for a, b in zip(*outputs, strict=True) if (a != b).any()]


def observers_answer_as_on_the_cpu(name: str, device: torch.device) -> list[str]:
    """Every observer, of a tensor and of channels, on the very same numbers; ``name`` is that of a specification."""
    torch.manual_seed(0)
    wrong = []
    for axis in (None, 0):
        here, there = make_observer(name, axis), make_observer(name, axis)
        for _ in range(3):
            x = torch.randn(2, 50)
            here.observe(x)
            there.observe(x.to(device))
        for end, mine, theirs in zip(("low", "high"), here.range(), there.range(), strict=True):
            wrong += _differs(f"{end}, {axis=}", theirs, mine, nearly=1e-6)
    return wrong


#: By name: the question, and what it is asked of.
QUESTIONS: dict[str, tuple[Callable[..., list[str]], tuple[str, ...]]] = {
    question.__name__: (question, names)
    for question, names in (
        (integers_are_the_cpu_s, tuple(NETWORKS)),
        (a_step_is_the_cpu_s, ("residual", "attention", "curves", "lsq", "lsq+", "pact", "ewgs", "left in float")),
        (ten_steps_stay_near, ("lsq+", "observing")),
        (calibration_is_the_cpu_s, ("attention", "lsq", "observing")),
        (a_state_crosses_over, ("lsq+", "pact", "observing", "4 bits")),
        (an_export_is_the_cpu_s, ("perceptron", "residual", "4 bits", "lsq+", "normalized", "int16")),
        (observers_answer_as_on_the_cpu, tuple(every_observer(fixed="-1:1"))),
    )
}
