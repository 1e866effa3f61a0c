"""Small networks with memory or attention, and the tasks that they are trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from qtorch.data.stratified import stratified_split
from recipes.digits_qat.data import DigitsData
from recipes.keyword_qat.data import KeywordData

__all__ = ["NETWORKS", "TASKS", "Data", "Trained", "activities"]

#: Inputs and classes to train on, and to test on.
Data = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]

_CLASSES = {"digits": 10, "keyword": 8, "activity": 6}
#: Steps of a sequence, as networks of it see them, and numbers of each.
_STEPS = {"digits": (8, 8), "keyword": (12, 24), "activity": (8, 16)}


def _digits() -> Data:
    data = DigitsData().load()
    return data.train, data.test


def _keyword() -> Data:
    data = KeywordData().load()
    return data.train, data.test


def activities(samples: int = 500, seed: int = 0) -> Data:
    """Accelerations ``[N, 32, 3]`` of six activities, as a wrist has them: 80 % to train on, 20 % to test on.

    Standing, walking, running, climbing, cycling and shaking hands part by frequency, amplitude and the axis that moves
    most, with a harmonic, gravity along an axis that a strap turns, and noise that hides some of it.
    """
    rng = np.random.default_rng(seed)
    # Cycles in a window, amplitude, share of each axis, of the first harmonic.
    kinds = np.array([
        (0.5, 0.05, 0.3, 0.3, 0.3, 0.0), (2.5, 0.5, 0.3, 0.4, 1.0, 0.5), (4.0, 1.0, 0.4, 0.5, 1.0, 0.3),
        (2.0, 0.5, 0.7, 0.3, 0.9, 0.8), (2.5, 0.35, 1.0, 0.3, 0.6, 0.1), (5.0, 0.6, 1.0, 0.8, 0.3, 0.2),
    ])  # fmt: skip
    label = np.repeat(np.arange(len(kinds)), samples)
    own = kinds[label] * rng.normal(1, 0.15, (len(label), kinds.shape[1]))
    time = np.linspace(0, 2 * math.pi, 32)[None, :, None]
    phase = rng.uniform(0, 2 * math.pi, (len(label), 1, 3))
    frequency, amplitude, axes, harmonic = own[:, :1, None], own[:, 1:2, None], own[:, None, 2:5], own[:, 5:, None]
    moved = np.sin(frequency * time + phase) + harmonic * np.sin(2 * frequency * time + phase)
    gravity = rng.normal((0, 0, 1), 0.3, (len(label), 1, 3))
    x = torch.from_numpy((amplitude * axes * moved + gravity + rng.normal(0, 0.2, moved.shape)).astype(np.float32))
    y = torch.from_numpy(label)
    train, validation, test = stratified_split(y, seed)
    both = torch.cat([train, validation])
    return (x[both], y[both]), (x[test], y[test])


TASKS: dict[str, Callable[[], Data]] = {"digits": _digits, "keyword": _keyword, "activity": activities}


def _steps_of(task: str) -> nn.Module:
    """From a task's input to ``[N, C, T]``: rows of a picture, or a strided convolution over time."""
    if task == "digits":
        return nn.Flatten(1, 2)
    stem = {"keyword": nn.Conv1d(10, 24, 5, 4), "activity": nn.Conv1d(3, 16, 4, 4)}[task]
    return nn.Sequential(_TimeLast(), stem, nn.ReLU())


class _TimeLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.squeeze(1) if x.ndim == 4 else x).transpose(1, 2)


class _Recurrent(nn.Module):
    def __init__(self, task: str, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.steps, self.turned = _steps_of(task), task != "digits"
        self.memory = kind(_STEPS[task][1], 24, batch_first=True)
        self.head = nn.Linear(24, _CLASSES[task])

    def forward(self, x: Tensor) -> Tensor:
        steps = self.steps(x)
        states, _ = self.memory(steps.transpose(1, 2) if self.turned else steps)
        logits: Tensor = self.head(states[:, -1])
        return logits


def _encoder(width: int, depth: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)


class _Attention(nn.Module):
    """One layer of a transformer's encoder, and the mean of its tokens."""

    def __init__(self, task: str) -> None:
        super().__init__()
        length, width = _STEPS[task]
        self.steps, self.turned = _steps_of(task), task != "digits"
        self.embedding, self.places = nn.Linear(width, 24), nn.Parameter(torch.randn(length, 24) * 0.02)
        self.encoder, self.head = _encoder(24, 1), nn.Linear(24, _CLASSES[task])

    def forward(self, x: Tensor) -> Tensor:
        steps = self.steps(x)
        tokens = self.embedding(steps.transpose(1, 2) if self.turned else steps) + self.places
        logits: Tensor = self.head(self.encoder(tokens).mean(1))
        return logits


class _VisionTransformer(nn.Module):
    """Patches of 2 by 2 pixels, a class token, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(1, 24, 2, 2), nn.Parameter(torch.randn(1, 1, 24) * 0.02)
        self.places = nn.Parameter(torch.randn(17, 24) * 0.02)
        self.encoder, self.head = _encoder(24, 2), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.places
        logits: Tensor = self.head(self.encoder(tokens)[:, 0])
        return logits


class _Conformer(nn.Module):
    """A block as Gulati et al. 2020 (arXiv:2005.08100) have it, without dropout and relative places."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.steps = _steps_of("keyword")
        self.before, self.behind = self._feed_forward(width), self._feed_forward(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.convolution = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1), nn.GLU(1), nn.Conv1d(width, width, 5, padding=2, groups=width),
            nn.BatchNorm1d(width), nn.SiLU(), nn.Conv1d(width, width, 1),
        )  # fmt: skip
        self.head = nn.Linear(width, _CLASSES["keyword"])

    @staticmethod
    def _feed_forward(width: int) -> nn.Module:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.steps(x).transpose(1, 2)
        x = x + 0.5 * self.before(x)
        seen = self.norms[0](x)
        x = x + self.attention(seen, seen, seen, need_weights=False)[0]
        x = x + self.convolution(self.norms[1](x).transpose(1, 2)).transpose(1, 2)
        x = self.norms[2](x + 0.5 * self.behind(x))
        logits: Tensor = self.head(x.mean(1))
        return logits


@dataclass(frozen=True)
class Trained:
    """A network and how long it is trained: in floats, and in the device's integers afterwards."""

    name: str
    task: str
    build: Callable[[], nn.Module]
    rate: float = 3e-3
    epochs: int = 30
    quantized_epochs: int = 4


def _recurrent(task: str, kind: type[nn.LSTM] | type[nn.GRU]) -> Callable[[], nn.Module]:
    return lambda: _Recurrent(task, kind)


def _attention(task: str) -> Callable[[], nn.Module]:
    return lambda: _Attention(task)


NETWORKS = (
    *(Trained("LSTM", task, _recurrent(task, nn.LSTM), 1e-2) for task in TASKS),
    *(Trained("GRU", task, _recurrent(task, nn.GRU), 1e-2) for task in TASKS),
    *(Trained("attention", task, _attention(task)) for task in TASKS),
    Trained("vision transformer", "digits", _VisionTransformer),
    Trained("conformer", "keyword", _Conformer),
)
