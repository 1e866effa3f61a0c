"""The MLPerf Tiny networks: bytes, the share of outputs that float arithmetic gets right, seconds of an export."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import fx

from benchmarks.agreement import agreement
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
    # Raises where TFLite Micro or the EXACT network differs on any output.
    engines = parity(graph, model, judged_codes(graph, reference), qat, reported=()).engines
    exact, fake = engines["qat_network_exact"], engines["qat_network"]
    ops = agreement(qat, [(x,)])
    worst = min(ops, key=lambda op: op.exact_share)
    return {
        "seed": seed,
        "bytes": len(model),
        "ops": list(dict.fromkeys(node.op for node in graph.nodes)),
        "inputs": fake.inputs,
        "outputs": fake.outputs,
        "exact_mismatches": max(exact.mismatches, engines["tflm"].mismatches),
        "fake_mismatches": fake.mismatches,
        "fake_max_lsb": fake.max_lsb,
        "fake_worst_op": {
            "layer": worst.layer,
            "op": worst.op,
            "outputs": worst.outputs,
            "mismatches": round((1 - worst.exact_share) * worst.outputs),
            "max_lsb": max(op.max_lsb for op in ops),
        },
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
        ops = [(run["fake_worst_op"]["mismatches"], run["fake_worst_op"]["outputs"]) for run in runs]
        fake = sorted(run["fake_mismatches"] for run in runs)
        rows.append(
            [
                each["network"] + (", per tensor" if each["weights"] == "per_tensor" else ""),
                f"{first['bytes']:,}",
                f"{each['reference_bytes']:,}",
                f"{share(max(run['exact_mismatches'] for run in runs), outputs)} of {outputs:,}",
                share(*max(ops, key=lambda of: of[0] / of[1])),
                f"{share(fake[-1], outputs)} to {share(fake[0], outputs)}; {max(r['fake_max_lsb'] for r in runs)} LSB",
                cell(first["export_s"], ".3f"),
                ", ".join(op.upper() for op in first["ops"]),
            ]
        )
    head = ["network", "file, bytes", "reference's int8 file", "EXACT", "FAKE, worst op", "FAKE", "export, s", "ops"]
    return markdown_table(head, rows)


MLPERF = Suite("mlperf", __doc__, _measure, _table)
