"""Networks drawn at random, to be cut into their ops: geometries, scales and zero points that no sample has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from benchmarks.editions.cases import Case, cut
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes
from qtorch.errors import BadInput

__all__ = ["configured", "drawn_cases", "drawn_network"]

#: Of random codes, beside the corners of the input.
_CODES = 24
_LAYERS = 5
_SAMPLES = 16
_ELEMENTS = 2000


class _Applied(nn.Module):
    """A function of a tensor as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class _Joined(nn.Module):
    """A function of a tensor and of what a layer makes of it."""

    def __init__(self, layer: nn.Module, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.function = layer, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.layer(x))


@dataclass(frozen=True)
class _Draw:
    """What draws, and the shape of a sample that the layer is to take."""

    rng: np.random.Generator
    shape: tuple[int, ...]

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def numbers(self, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.number(low, high) for _ in self.shape[1:])

    def of(self, *options: Any) -> Any:
        return options[self.number(0, len(options) - 1)]

    @property
    def axes(self) -> int:
        return len(self.shape) - 1


def _linear(draw: _Draw) -> nn.Module:
    return nn.Linear(draw.shape[-1], draw.number(1, 20), bias=draw.of(True, True, False))


def _convolution(draw: _Draw) -> nn.Module:
    channels, kernel = draw.shape[0], draw.numbers(1, 5)
    groups = draw.of(1, 1, channels, *(g for g in (2, 3) if channels % g == 0))
    # Each axis on its own, so that what is left over at an end differs from axis to axis.
    settings = {
        "stride": draw.numbers(1, 3),
        "padding": tuple(draw.number(0, k // 2) for k in kernel),
        "dilation": draw.of((1,) * draw.axes, (1,) * draw.axes, draw.numbers(1, 2)),
    }
    made: Any = (nn.Conv1d, nn.Conv2d)[draw.axes - 1]
    layer: nn.Module = made(
        channels, groups * draw.number(1, 4), kernel, groups=groups, bias=draw.of(True, False), **settings
    )
    return layer


def _transposed(draw: _Draw) -> nn.Module:
    kernel, stride = draw.numbers(1, 5), draw.numbers(1, 3)
    made: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d)[draw.axes - 1]
    padding = tuple(draw.number(0, (k - 1) // 2) for k in kernel)
    layer: nn.Module = made(draw.shape[0], draw.number(1, 6), kernel, stride, padding)
    return layer


def _pooling(draw: _Draw) -> nn.Module:
    kernel, stride = draw.numbers(1, 4), draw.numbers(1, 3)
    name = draw.of("MaxPool", "AvgPool")
    padding = tuple(draw.number(0, k // 2) for k in kernel)
    layer: nn.Module = getattr(nn, f"{name}{draw.axes}d")(kernel, stride, padding)
    return layer


def _padding(draw: _Draw) -> nn.Module:
    amounts = [draw.number(0, 2) for _ in range(2 * draw.axes)]
    return _Applied(lambda x: F.pad(x, amounts))


def _resizing(draw: _Draw) -> nn.Module:
    size = tuple(draw.number(1, 3 * n) for n in draw.shape[1:])
    return nn.Upsample(size, mode=draw.of("nearest", "nearest", "bilinear") if draw.axes == 2 else "nearest")


def _elementwise(draw: _Draw) -> nn.Module:
    function = draw.of(
        F.relu, F.relu6, F.hardswish, F.gelu, F.silu, torch.sigmoid, torch.tanh, torch.abs, nn.PReLU(), nn.ELU(),
        nn.LeakyReLU(float(draw.rng.uniform(0, 1.5))), lambda x: x.clamp(-1, 0.5),
        lambda x: x * 0.37 + 1.3, lambda x: 1.5 - x,
    )  # fmt: skip
    return function if isinstance(function, nn.Module) else _Applied(function)


def _joined(draw: _Draw) -> nn.Module:
    last = draw.shape[-1]
    function = draw.of(torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum, lambda x, y: torch.cat([x, y], 1))
    return _Joined(nn.Linear(last, last), function)


def _along_an_axis(draw: _Draw) -> nn.Module:
    axis = draw.number(1, len(draw.shape))
    function = draw.of(
        lambda x: x.softmax(-1), lambda x: x.log_softmax(-1), lambda x: x.mean(axis, keepdim=True),
        lambda x: x.amax(axis, keepdim=True), lambda x: x.transpose(axis, -1), lambda x: x.flip(axis),
        lambda x: F.normalize(x, dim=-1), lambda x: x.flatten(1), lambda x: x.narrow(axis, 0, 1),
    )  # fmt: skip
    return _Applied(function)


_IMAGES = (_convolution, _convolution, _convolution, _transposed, _pooling, _padding, _resizing)
_ANY = (_linear, _linear, _elementwise, _joined, _along_an_axis)


def drawn_network(seed: int) -> tuple[nn.Module, Tensor]:
    """A chain of layers with weights of wild ranges, in evaluation, and samples for it."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    sizes = [int(n) for n in rng.integers(1, 14, 3)]
    x = torch.randn(_SAMPLES, *sizes[: int(rng.integers(1, 4))]) * 10 ** float(rng.uniform(-2, 2)) + float(rng.normal())
    layers: list[nn.Module] = []
    y = x
    while len(layers) < _LAYERS:
        draw = _Draw(rng, tuple(y.shape[1:]))
        kinds = (*_ANY, *(_IMAGES if draw.axes in (1, 2) else ()))
        layer = kinds[draw.number(0, len(kinds) - 1)](draw).eval()
        with torch.no_grad():
            for weight in layer.parameters():
                weight.mul_(10 ** float(rng.uniform(-1, 0.7)))
            try:
                result = layer(y)
            except (RuntimeError, ValueError):  # a window that is larger than its picture
                continue
        if 0 < result[0].numel() <= _ELEMENTS:
            layers.append(layer)
            y = result
    return nn.Sequential(*layers).eval(), x


def configured(seed: int) -> qtorch.QuantizationConfig:
    options: tuple[dict[str, Any], ...] = (
        {},
        {"weights": "per_tensor"},
        {"activations": "int16"},
        {},
        {"weight_bits": 4},
    )
    return qtorch.QuantizationConfig(**options[seed % len(options)])


def drawn_cases(networks: int) -> Iterator[Case]:
    """Ops of so many networks. What ``prepare`` refuses is drawn anew."""
    seed, kept = 0, 0
    while kept < networks:
        net, x = drawn_network(seed)
        seed += 1
        try:
            graph = integer_graph(qtorch.quantize(net, x, configured(seed)))
        except BadInput:
            continue
        kept += 1
        codes = corner_codes(graph, _CODES, seed)
        few = tuple(array[-2 * _CODES :] for array in codes)
        yield from cut(f"network {seed - 1}", graph, few)
