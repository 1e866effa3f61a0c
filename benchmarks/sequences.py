"""Recurrent layers and attention, trained: accuracy in floats, after PTQ and after QAT, as computed by TFLite Micro."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from benchmarks.agreement import agreement, equal_in_training, recorded
from benchmarks.sequence_networks import NETWORKS, TASKS, Data, Trained
from benchmarks.suite import Suite, markdown_table
from export.figures.device_network import DeviceNetwork
from export.graph.build import integer_graph
from export.tflite.writer import write_tflite

__all__ = ["SEQUENCES", "run"]

_SEEDS = (0, 1, 2, 3, 4)
_BATCH = 64
#: Of the rate that floats are trained with.
_LATER = 0.2
_STAGES = {"float": "float", "ptq": "PTQ int8", "qat": "QAT int8"}


def run(network: Trained, data: Data, seed: int) -> dict[str, Any]:
    """One training: float, PTQ and QAT of the very same weights; accuracies in percent of the test part."""
    (x, _), test = data
    torch.manual_seed(seed)
    net = network.build()
    _fit(net, data, network.epochs, network.rate, seed)
    found: dict[str, Any] = {"seed": seed, "float": _accuracy(net.eval(), test)}
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, x.split(256))
    found["ptq"], _ = _on_the_device(qat, test)
    qtorch.freeze_batch_norm(qat)
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    _fit(qat, data, network.quantized_epochs, _LATER * network.rate, seed)
    found["qat"], found["bytes"] = _on_the_device(qat, test)
    return {**found, "parameters": sum(each.numel() for each in net.parameters()), **recorded(agreement(qat, test[0]))}


def _fit(net: nn.Module, data: Data, epochs: int, rate: float, seed: int) -> None:
    (x, y), _ = data
    order = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(x) // _BATCH)
    optimizer = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=order).split(_BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    net.eval()


@torch.no_grad()
def _accuracy(net: nn.Module, test: tuple[Tensor, Tensor]) -> float:
    return 100 * float((net(test[0]).argmax(1) == test[1]).float().mean())


def _on_the_device(qat: Any, test: tuple[Tensor, Tensor]) -> tuple[float, int]:
    graph = integer_graph(qat.eval())
    model = write_tflite(graph)
    return _accuracy(DeviceNetwork(graph, model), test), len(model)


def _measure() -> dict[str, Any]:
    data = {task: load() for task, load in TASKS.items()}
    return {
        "networks": [
            {"network": each.name, "task": each.task, "runs": [run(each, data[each.task], seed) for seed in _SEEDS]}
            for each in NETWORKS
        ]
    }


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows = []
    for each in found["networks"]:
        runs = each["runs"]
        stages = {stage: [run[stage] for run in runs] for stage in _STAGES}
        rows.append([
            each["network"], each["task"], f"{runs[0]['parameters']:,}",
            *(f"{mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" for values in stages.values()),
            f"{mean(stages['qat']) - mean(stages['float']):+.2f}",
            f"{max(run['bytes'] for run in runs):,}", equal_in_training(runs),
        ])  # fmt: skip
    head = ["network", "task", "weights", *_STAGES.values(), "QAT less float", "bytes, at most", "equal in training"]
    return markdown_table(head, rows)


SEQUENCES = Suite("sequences", __doc__, _measure, _table)
