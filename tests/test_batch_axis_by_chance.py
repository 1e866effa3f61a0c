"""The batch moved by chance: axes merged, split and permuted, with arithmetic between; and layouts by themselves."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qtorch.capture.batch.layout import Layout
from tests.test_batch_axis import require_same

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.sweep] if seed >= 30 else []) for seed in range(60)]
)
def test_random_compositions_are_the_module(seed: int) -> None:
    """Axes merged, split and permuted, the batch among them, with arithmetic between."""
    net = Drawn(seed)
    require_same(net, torch.randn(2, *net.sizes))


@pytest.mark.parametrize("seed", range(20))
def test_layouts_lead_there_and_back(seed: int) -> None:
    rng = random.Random(seed)
    sizes, axis = [rng.choice([1, 2, 3]) for _ in range(rng.randint(1, 4))], 0
    axis = rng.randrange(len(sizes))
    outer, inner = rng.choice([1, 2]), rng.choice([1, 3])
    sizes[axis] = outer * inner
    layout = Layout(tuple(sizes), axis, outer, inner)
    shape = [size * (5 if i == axis else 1) for i, size in enumerate(sizes)]
    x = torch.randn(shape)
    held = layout.in_front(x)
    assert held.shape == (5, *layout.held)
    torch.testing.assert_close(layout.logical(held), x, rtol=0, atol=0)
    assert (held.shape == x.shape and torch.equal(held, x)) or not layout.plain


ALONG: dict[str, Callable[[Tensor, int], Tensor]] = {
    "softmax": torch.softmax,
    "cumsum": torch.cumsum,
    "flip": lambda x, axis: x.flip((axis,)),
}


class Drawn(nn.Module):
    """Calls that move the batch, by chance, and the way back.

    Every axis is a list of factors, slowest first, of which one of one axis is the batch (0).
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = rng = random.Random(seed)
        self.sizes = tuple(rng.choice([1, 2, 3, 4]) for _ in range(rng.randint(1, 3)))
        axes: list[list[int]] = [[0], *([size] for size in self.sizes)]
        self.steps: list[tuple[Any, ...]] = []
        self.parameters_of: dict[int, nn.Parameter] = {}
        for _ in range(rng.randint(4, 12)):
            rng.choice([self._permute, self._merge, self._split, self._alone, self._scale, self._halve])(axes)
        back = next(i for i, axis in enumerate(axes) if 0 in axis)
        axes[back : back + 1] = [[factor] for factor in axes[back]]
        self.steps += [("view", axes), ("front", axes.index([0]))]

    def _permute(self, axes: list[list[int]]) -> None:
        order = self.rng.sample(range(len(axes)), len(axes))
        self.steps.append(("permute", order))
        axes[:] = [axes[i] for i in order]

    def _merge(self, axes: list[list[int]]) -> None:
        if len(axes) > 1:
            at = self.rng.randrange(len(axes) - 1)
            axes[at : at + 2] = [axes[at] + axes[at + 1]]
            self.steps.append(("view", [list(axis) for axis in axes]))

    def _split(self, axes: list[list[int]]) -> None:
        at = self.rng.randrange(len(axes))
        if len(axes[at]) > 1 and len(axes) < 6:
            cut = self.rng.randrange(1, len(axes[at]))
            axes[at : at + 1] = [axes[at][:cut], axes[at][cut:]]
            self.steps.append(("view", [list(axis) for axis in axes]))

    def _alone(self, axes: list[list[int]]) -> None:
        """Along one axis that is not the batch's."""
        others = [i for i, axis in enumerate(axes) if 0 not in axis]
        if others:
            kind = self.rng.choice(["softmax", "cumsum", "flip", "add_mean", "stack"])
            at = self.rng.choice(others)
            self.steps.append((kind, at))
            if kind == "stack":
                axes.insert(at, [2])

    def _halve(self, axes: list[list[int]]) -> None:
        """The whole batch twice, in its axis, and one of them again."""
        at = next(i for i, axis in enumerate(axes) if 0 in axis)
        self.steps.append(("twice", at))

    def _scale(self, axes: list[list[int]]) -> None:
        shape = [1 if 0 in axis else _size(axis, 1) for axis in axes]
        shape = shape[self.rng.randrange(len(shape)) :]
        self.register_parameter(f"scale_{len(self.steps)}", nn.Parameter(torch.rand(shape) + 0.5))
        self.steps.append(("scale", f"scale_{len(self.steps)}"))

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[0]
        for kind, given in self.steps:
            if kind == "view":
                x = x.reshape([_size(axis, count) for axis in given])
            elif kind == "scale":
                x = x * self.get_parameter(given)
            elif kind == "add_mean":
                x = x + x.mean(given, keepdim=True)
            elif kind == "stack":
                x = torch.stack([x, x * 0.5], given)
            elif kind == "twice":
                x = torch.cat([x, x * 2], given).narrow(given, x.shape[given], x.shape[given]) + x
            elif kind == "front":
                x = x.movedim(given, 0)
            elif kind == "permute":
                x = x.permute(given)
            else:
                x = ALONG[kind](x, given)
        return x * 1.5


def _size(axis: list[int], count: Any) -> Any:
    size: Any = 1
    for factor in axis:
        size = size * (factor or count)
    return size
