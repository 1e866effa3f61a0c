"""The MLPerf Tiny networks: bytes, how many outputs training computes as the device does, seconds of an export."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import fx

from benchmarks.agreement import agreement, equal_in_training, recorded
from benchmarks.mlperf_networks import REFERENCES, Reference, judged_codes, trained_a_little
from benchmarks.spread import cell, spread
from benchmarks.suite import Suite, markdown_table, share
from export.graph.build import integer_graph
from export.parity.outputs import compare_file, parity
from export.tflite.writer import write_tflite

__all__ = ["MLPERF"]

_REPEATS = 7
#: Of weights, data and training.
_SEEDS = (0, 1, 2)


def _export(qat: fx.GraphModule) -> float:
    """Seconds from the trained network to a file whose every scale, zero point and constant was read back."""
    started = time.perf_counter()
    graph = integer_graph(qat)
    compare_file(graph, write_tflite(graph))
    return time.perf_counter() - started


def _run(reference: Reference, seed: int) -> dict[str, Any]:
    qat, x = trained_a_little(reference, seed)
    graph = integer_graph(qat)
    model = write_tflite(graph)
    # Raises where TFLite Micro or the network differs on any output.
    engines = parity(graph, model, judged_codes(graph, reference), qat, reported=()).engines
    return {
        "seed": seed,
        "bytes": len(model),
        "ops": list(dict.fromkeys(node.op for node in graph.nodes)),
        "inputs": engines["qat_network"].inputs,
        "outputs": engines["qat_network"].outputs,
        "exact_mismatches": max(engines[name].mismatches for name in ("tflm", "qat_network")),
        "training": recorded(agreement(qat, x)),
        "export_s": asdict(spread([_export(qat) for _ in range(_REPEATS)])),
    }


def _measure() -> dict[str, Any]:
    return {
        "networks": [
            {
                "network": each.label,
                "weights": each.weights,
                "reference_bytes": each.file_bytes,
                "runs": [_run(each, seed) for seed in _SEEDS],
            }
            for each in REFERENCES
        ]
    }


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows = []
    for each in found["networks"]:
        runs = each["runs"]
        first, outputs = runs[0], runs[0]["outputs"]
        rows.append(
            [
                each["network"] + (", per tensor" if each["weights"] == "per_tensor" else ""),
                f"{first['bytes']:,}",
                f"{each['reference_bytes']:,}",
                f"{share(max(run['exact_mismatches'] for run in runs), outputs)} of {outputs:,}",
                equal_in_training([run["training"] for run in runs if "training" in run]),
                cell(first["export_s"], ".3f"),
                ", ".join(op.upper() for op in first["ops"]),
            ]
        )
    head = ["network", "file, bytes", "reference's int8 file", "equal", "equal in training", "export, s", "ops"]
    return markdown_table(head, rows)


MLPERF = Suite("mlperf", __doc__, _measure, _table)
