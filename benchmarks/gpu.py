"""On a GPU: a quantized training step beside the float one, its memory, and whether the integers are the CPU's."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from benchmarks.mlperf_networks import REFERENCES, Reference, varied
from benchmarks.peers.networks import NETWORKS
from benchmarks.spread import cell, spread
from benchmarks.suite import Suite, markdown_table
from qtorch import Mode, QuantizationConfig
from qtorch.errors import BadConfiguration

__all__ = ["GPU", "measured_on"]

#: Of which steps are timed, by their label.
_TIMED = ("DS-CNN", "MobileNetV1 0.25")


def measured_on(device: torch.device, batch: int, steps: int, turns: int, compiles: bool = True) -> dict[str, Any]:
    """What the table says.

    Args:
        device: where.
        batch: samples of a timed step.
        steps: of a turn.
        turns: in which each kind of step comes once.
        compiles: whether compiled steps are timed too.
    """
    timed = [each for each in REFERENCES if each.label in _TIMED]
    return {
        "card": torch.cuda.get_device_name(device) if device.type == "cuda" else "none, on the CPU",
        "batch": batch,
        "steps": [_timed(each, device, batch, steps, turns, compiles) for each in timed],
        "integers": _integers(device),
    }


def _timed(
    reference: Reference, device: torch.device, batch: int, steps: int, turns: int, compiles: bool
) -> dict[str, Any]:
    torch.manual_seed(0)
    x = varied(batch, reference.shape)
    network = reference.network().train()
    qat = _quantized(copy.deepcopy(network), x[:64])
    x = x.to(device)
    kinds = {"float": network.to(device), "quantized": qat.to(device)}
    if compiles:
        for kind in tuple(kinds):
            kinds[f"{kind}, compiled"] = torch.compile(copy.deepcopy(kinds[kind]))  # type: ignore[assignment]
    trainings = {kind: _training(net, x) for kind, net in kinds.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for train in trainings.values():
        train(3)
    for _ in range(turns):
        for kind, train in trainings.items():
            seconds[kind].append(_seconds(train, steps, device))
    memory = {kind: _peak(train, device) for kind, train in trainings.items()}
    ratios = {
        kind: asdict(spread([mine / plain for mine, plain in zip(of, seconds["float"], strict=True)]))
        for kind, of in seconds.items()
    }
    return {
        "network": reference.label,
        "float_seconds": asdict(spread(seconds["float"])),
        "ratios": ratios,
        "memory": {kind: None if memory["float"] is None else of / memory["float"] for kind, of in memory.items()},  # type: ignore[operator]
    }


def _quantized(network: nn.Module, x: Tensor, **config: Any) -> nn.Module:
    """In quantized training, with frozen norms that know the data."""
    with torch.no_grad():
        for _ in range(5):
            network.train()(x)
    qat = qtorch.prepare(network, x[:1], QuantizationConfig(**config))
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    qtorch.freeze_batch_norm(qat)
    return qat


def _training(net: nn.Module, x: Tensor) -> Callable[[int], None]:
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    with torch.no_grad():
        target = torch.rand_like(net(x))

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            F.mse_loss(net(x), target).backward()
            optimizer.step()

    return train


def _seconds(train: Callable[[int], None], steps: int, device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    train(steps)
    _wait(device)
    return (time.perf_counter() - started) / steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(train: Callable[[int], None], device: torch.device) -> float | None:
    """Bytes that a step takes on top of what is there, where that is counted."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    train(1)
    return float(torch.cuda.max_memory_allocated(device) - before)


def _integers(device: torch.device) -> list[dict[str, Any]]:
    """Ten networks' outputs by the forward pass of training, on ``device`` and on the CPU."""
    networks: list[tuple[str, Callable[[], nn.Module], tuple[int, ...], str]] = [
        (f"{each.label}, {dtype}", each.network, each.shape, dtype)
        for each in REFERENCES
        for dtype in ("int8", "int16")
    ]
    networks += [(task, *NETWORKS[task], "int8") for task in ("sine", "fuel")]
    found = []
    for label, network, shape, dtype in networks:
        torch.manual_seed(0)
        x = varied(16, shape)
        # In evaluation, because dropout draws other numbers on each device.
        qat = _quantized(network(), x, activations=dtype).eval()
        there = copy.deepcopy(qat).to(device)
        wrong = qat(x).detach() != there(x.to(device)).detach().cpu()
        found.append({"network": label, "outputs": wrong.numel(), "different": int(wrong.sum())})
    return found


def _measure() -> dict[str, Any]:
    if not torch.cuda.is_available():
        raise BadConfiguration(
            where="the gpu benchmark",
            expected="a GPU that PyTorch computes on",
            got=f"none; this is PyTorch {torch.__version__}",
            remedy="run python -m benchmarks gpu where one is, with a build of PyTorch for it",
        )
    return measured_on(torch.device("cuda"), 1024, 10, 11)


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows = []
    for each in found["steps"]:
        for kind, ratio in each["ratios"].items():
            memory = each["memory"][kind]
            rows.append([each["network"], kind, cell(ratio), "" if memory is None else f"{memory:.2f}"])
    different = [each for each in found["integers"] if each["different"]]
    said = ", ".join(f"{each['network']}: {each['different']} of {each['outputs']}" for each in different) or "none"
    return [
        f"{found['card']}; batches of {found['batch']:,}.",
        "",
        *markdown_table(["network", "step", "time / float", "memory / float"], rows),
        "",
        f"Outputs of {len(found['integers'])} networks that differ from the CPU's: {said}.",
    ]


GPU = Suite("gpu", __doc__, _measure, _table)
