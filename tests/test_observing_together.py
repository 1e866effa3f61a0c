"""Two processes that measure, each with batches of its own, come to one network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, multiprocessing, nn

import qtorch
from qtorch import Mode
from qtorch.network.calibration import observe_in_training
from tests.observers import every_observer

OBSERVERS = every_observer(percentile="99", fixed="-1:1")


def batch(rank: int) -> Tensor:
    """What the process sees, ``[16, 1, 6, 6]``."""
    return torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(rank)) * (1 + rank)


def prepared(**config: Any) -> fx.GraphModule:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    return qtorch.prepare(net, torch.zeros(1, 1, 6, 6), qtorch.QuantizationConfig(**config))


def decided(qat: fx.GraphModule) -> list[float]:
    """Every scale and zero point of activations, and every weight's scale."""
    qparams = [q.qparams() for q in qtorch.quantizers(qat).values()]
    ops = [m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp) and m.has_weight]
    weights = [op.constants.integers()["weight"].qparams.scale for op in ops]
    return [number for q in qparams for number in (*q.scale, *q.zero_point)] + [s for scale in weights for s in scale]


def measure(rank: int, meeting: str) -> None:
    """One process: calibrate and follow with every observer, then compare with the other and with one that saw all."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    for name in OBSERVERS:
        for scales in ("measured", "lsq+"):
            qat = prepared(observer=name, weight_observer=name, scales=scales).train()
            # Batch norms of processes differ.
            qat(batch(rank))
            qtorch.calibrate(qat, [batch(rank)], together=True)
            results = [decided(qat)]
            qtorch.set_mode(qat, Mode.QUANTIZED)
            observe_in_training(qat, True)
            with torch.no_grad():
                qat(3 * batch(rank))
            results.append([q.scale.item() for q in qtorch.quantizers(qat).values()])
            gathered: list[Any] = [None, None]
            torch.distributed.all_gather_object(gathered, results)
            assert gathered[0] == gathered[1], (name, scales)
    alone, qat = prepared(observer="percentile:99"), prepared(observer="percentile:99")
    qtorch.calibrate(alone, [batch(0), batch(1)])
    qtorch.calibrate(qat, [batch(rank)], together=True)
    assert decided(qat) == decided(alone)
    torch.distributed.barrier()
    # Without the usual end, at which gloo's threads now and then abort the process: all that had to hold has held.
    os._exit(0)


def test_two_processes_come_to_one_network(tmp_path: Path) -> None:
    multiprocessing.spawn(measure, (str(tmp_path / "meeting"),), nprocs=2)
