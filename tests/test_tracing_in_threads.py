"""A trace patches what all threads share: what the others do meanwhile stays as it is, and is not in the graph."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qtorch import prepare
from qtorch.capture.call_form import arguments_of, call_form, signature_of
from qtorch.capture.tracing import trace


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return 2 * gradient


class Meanwhile(nn.Module):
    """What another thread does while this one is called."""

    def __init__(self, other: Callable[[], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.results = results = list[Tensor]()
        # In a function, since what a layer's attributes were is put back after a capture.
        self._run = lambda: results.append(other())

    def forward(self, x: Tensor) -> Tensor:
        thread = threading.Thread(target=self._run)
        thread.start()
        thread.join()
        return self.layer(x)


_LINEAR = nn.Linear(3, 3)


@pytest.mark.parametrize(
    "other",
    [lambda: _LINEAR(torch.ones(1, 3)), lambda: torch.rand(3), lambda: Doubled.apply(torch.ones(3))],
    ids=["module", "random numbers", "own gradient"],
)
def test_what_another_thread_does_is_not_traced(other: Callable[[], Tensor]) -> None:
    net = Meanwhile(other)
    results = net.results
    form, examples = call_form(net, arguments_of(signature_of(net), torch.ones(2, 4)), set())
    calls = trace(net, form, examples)
    assert [node.op for node in calls.graph.graph.nodes] == ["placeholder", "call_module", "output"]
    assert not calls.own_gradients
    assert results
    assert {type(each) for each in results} == {Tensor}


def test_networks_are_prepared_in_threads_at_once() -> None:
    failed: list[BaseException] = []

    def prepared() -> None:
        try:
            net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
            for _ in range(5):
                prepare(net, torch.ones(2, 4))(torch.ones(2, 4))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=prepared) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
