"""Seconds of a training step, float and quantized in turn, by one plain loop for all libraries.

Forward, mean squared error, backward, Adam, on one random batch of 32; int8 activations per tensor and int8 weights per
output channel. What a library computes in such a step is its own choice, and the figures include it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from benchmarks.peers.networks import NETWORKS
from benchmarks.peers.serving import serve

__all__ = ["WARM_UP", "Prepare", "serve_steps"]

Prepare = Callable[[nn.Module, Tensor], nn.Module]

_BATCH = 32
#: Steps before the clock starts: Brevitas turns measured ranges into parameters after half of them.
WARM_UP = 20
#: How long one turn takes, so that the clock's own cost vanishes and a turn is over before the machine changes.
_TURN_SECONDS = 0.1


def serve_steps(prepares: Mapping[str, Prepare]) -> None:
    """Answer ``start(task)`` and ``turn()``.

    ``start`` returns nothing; ``turn`` returns seconds of a step of ``"float"`` and of each of ``prepares``, which make
    a library's QAT network of a float one and a batch.
    """
    torch.set_num_threads(1)
    trainings: dict[str, Callable[[int], None]] = {}
    steps = 1

    def start(task: str) -> None:
        nonlocal steps
        torch.manual_seed(0)
        network, shape = NETWORKS[task]
        net, x = network(), torch.rand(_BATCH, *shape)
        with torch.no_grad():
            y = torch.rand_like(net(x))
        trainings.clear()
        for name, prepare in prepares.items():
            trainings[name] = _training(prepare(copy.deepcopy(net), x), x, y)
        trainings["float"] = _training(net, x, y)
        steps = max(1, round(_TURN_SECONDS / _seconds(trainings["float"], 5)))

    def turn() -> dict[str, float]:
        return {name: _seconds(train, steps) for name, train in trainings.items()}

    serve(start=start, turn=turn)


def _seconds(train: Callable[[int], None], steps: int) -> float:
    started = time.perf_counter()
    train(steps)
    return (time.perf_counter() - started) / steps


def _training(net: nn.Module, x: Tensor, y: Tensor) -> Callable[[int], None]:
    """Any number of training steps on one batch, warmed up."""
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()

    train(WARM_UP)
    return train
