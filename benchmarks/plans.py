"""What a plan of TFLite Micro's arena in the file saves: on the recipes' networks, MLPerf Tiny's, and some at random.

Their layers decide, and weights do not matter, so nothing is trained. Where tensors lie is TFLite Micro's to say: the
least arena is found by trying, with its reference kernels, and its outputs are compared with those of the file without
a plan. What other kernel libraries would take is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

import qtorch
from benchmarks.emulated_networks import calibrated
from benchmarks.mlperf_networks import REFERENCES
from benchmarks.suite import Suite, markdown_table
from export.arena.figures import REFERENCE
from export.arena.offline import offline_plan
from export.arena.survival import inputs_survive
from export.engines import TFLM
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.tflite.arena import smallest_arena
from export.tflite.offline_plan import NAME
from export.tflite.writer import write_tflite
from qtorch.editions.known import EDITIONS
from qtorch.lightning.task import Task
from recipes.anomaly_qat.model import Anomaly
from recipes.digits_qat.model import Digits
from recipes.fuel_qat.model import FuelConsumption
from recipes.gesture_qat.model import Gesture
from recipes.keyword_qat.model import Keyword
from recipes.sine_qat.model import Sine

__all__ = ["PLANS", "recipe_networks"]

#: The board's edition and processor, and what they are called in the table.
_BUILDS = {
    "reference kernels": ("newest", "host"),
    "CMSIS-NN, Cortex-M4": ("tflm-cmsis-nn", "cortex-m4"),
    "CMSIS-NN, Cortex-M55": ("tflm-cmsis-nn", "cortex-m55"),
    "ESP-NN, ESP32-S3": ("esp-tflite-micro-1.4.0", "xtensa-s3"),
}
_RECIPES: dict[str, Any] = {
    "sine": Sine,
    "fuel": FuelConsumption,
    "gesture, perceptron": Gesture,
    "gesture, Conv1d": partial(Gesture, network="convolutions"),
    "keyword": Keyword,
    "digits": Digits,
    "anomaly": Anomaly,
}
_SAMPLES = 16


def recipe_networks() -> Iterator[tuple[str, Graph]]:
    """The kinds of networks that recipes train, not trained."""
    for label, module in _RECIPES.items():
        torch.manual_seed(0)
        task: Task = module()
        example = task.example_input_array
        assert isinstance(example, torch.Tensor)
        qat = qtorch.prepare(task.net.eval(), example)
        qtorch.calibrate(qat, [torch.randn(_SAMPLES, *example.shape[1:])])
        yield label, integer_graph(qat)


def _networks() -> Iterator[tuple[str, Graph]]:
    yield from recipe_networks()
    for reference in REFERENCES:
        yield f"MLPerf Tiny, {reference.label}", calibrated(reference)


def _figures(label: str, graph: Graph) -> dict[str, Any]:
    """Of one network: in TFLite Micro here, and computed by kernels.

    Raises:
        RuntimeError: TFLite Micro computes something else with a plan.
    """
    plain = write_tflite(graph)
    least, builds = smallest_arena(plain), {}
    for called, (edition, cpu) in _BUILDS.items():
        plan, file = offline_plan(plain, EDITIONS[edition], cpu), plain
        if plan is None:
            raise RuntimeError(f"{label}: expected a network of one subgraph")
        if plan.data:
            file = write_tflite(graph, metadata={NAME: plan.data})
            plan = plan.if_worth(len(file) - len(plain))
            _require_same(label, graph, plain, file)
        kept = bool(plan.data)
        # The kernels here are TFLite Micro's reference kernels, whichever the plan is for.
        builds[called] = {**plan.as_json(), "measured": smallest_arena(file) if kept else least}
    return {
        "network": label, "operators": len(graph.nodes), "measured": least, "builds": builds,
        "keeps_inputs": inputs_survive(plain, REFERENCE),
    }  # fmt: skip


def _require_same(label: str, graph: Graph, plain: bytes, planned: bytes) -> None:
    codes = tuple(each[-_SAMPLES:] for each in corner_codes(graph, _SAMPLES))
    ours, theirs = (TFLM.run(each, codes) for each in (planned, plain))
    if not all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True)):
        raise RuntimeError(f"{label}: TFLite Micro computes something else with a plan")


def _measure() -> dict[str, Any]:
    return {"engine": TFLM.version, "networks": [_figures(*each) for each in _networks()]}


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows = []
    for each in found["networks"]:
        own = each["builds"]["reference kernels"]
        measured = f"{each['measured']:,}" + (f", {own['measured']:,}" if own["in_file"] else "")
        computed = [
            f"{one['arena_bytes_before']:,}" + (f", {one['arena_bytes']:,}" if one["in_file"] else "")
            for one in each["builds"].values()
        ]
        costs = [f"{one['file_bytes']}" for one in each["builds"].values() if one["in_file"]]
        rows.append([each["network"], measured, *computed, costs[0] if costs else "", _yes(each["keeps_inputs"])])
    above = [
        f"{each['network']} on {called}, {one['arena_bytes'] - one['arena_bytes_bound']:,} bytes above"
        for each in found["networks"]
        for called, one in each["builds"].items()
        if one["arena_bytes"] > one["arena_bytes_bound"]
    ]
    head = ["least arena, bytes", "measured, 64 bits, reference kernels", *_BUILDS, "bytes of file", "inputs kept"]
    return [
        *markdown_table(head, rows),
        "",
        "TFLite Micro's own plan, and where one in the file is better, that. All are at the bound that no plan of "
        f"whole tensors can go below{', but for ' + '; '.join(above) if above else ''}. Measured in TFLite Micro "
        f"{found['engine']}, where all outputs are those of the file without a plan. Inputs: with reference kernels "
        "and TFLite Micro's own plan.",
    ]


def _yes(word: bool) -> str:
    return "yes" if word else "no"


PLANS = Suite("plans", __doc__, _measure, _table)
