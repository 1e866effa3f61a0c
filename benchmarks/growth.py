"""How an export's seconds and memory grow with the network, from a thousand parameters to ten million.

Three equal linear layers; with the comparison of every scale and constant of the file read back.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.environments import ROOT
from benchmarks.spread import cell, spread
from benchmarks.suite import Suite, markdown_table

__all__ = ["GROWTH"]

_PARAMETERS = (10**3, 10**4, 10**5, 10**6, 10**7)
_REPEATS = 5

#: Each size in a process of its own, whose greatest memory the operating system knows; what imports and PyTorch take
#: by themselves is subtracted.
_PROBE = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
import torch
from torch import nn
import qtorch
from export.c.network import c_network
from export.c.source import c_source
from export.graph.build import integer_graph
from export.parity.outputs import compare_file
from export.tflite.writer import write_tflite

def most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.set_num_threads(1)
width = int(sys.argv[1])
net = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
x = torch.rand(64, width)
qat = qtorch.prepare(net.eval(), x[:1])
qtorch.calibrate(qat, [x])
before = most()
seconds = []
for _ in range(int(sys.argv[2])):
    started = time.perf_counter()
    graph = integer_graph(qat)
    model = write_tflite(graph)
    compare_file(graph, model)
    seconds.append(time.perf_counter() - started)
export_memory = most() - before
started = time.perf_counter()
c_source("net", c_network(graph))
print(json.dumps({
    "parameters": sum(p.numel() for p in net.parameters()), "bytes": len(model), "seconds": seconds,
    "kib": export_memory, "c_seconds": time.perf_counter() - started,
}))
"""


def _measure() -> dict[str, Any]:
    sizes = []
    for parameters in _PARAMETERS:
        width = max(1, round(math.sqrt(parameters / 3)))
        command = [sys.executable, "-c", _PROBE, str(width), str(_REPEATS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        found = json.loads(done.stdout.splitlines()[-1])
        sizes.append({**found, "seconds": asdict(spread(found["seconds"]))})
    return {"sizes": sizes}


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows = [
        [
            f"{each['parameters']:,}",
            f"{each['bytes']:,}",
            cell(each["seconds"], ".3f"),
            f"{each['kib'] / 1024:.1f}",
            f"{each['c_seconds']:.2f}",
        ]
        for each in found["sizes"]
    ]
    return markdown_table(["parameters", "bytes", "export, s", "memory on top, MiB", "plain C as text, s"], rows)


GROWTH = Suite("growth", __doc__, _measure, _table)
