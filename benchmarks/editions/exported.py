"""Networks exported for an edition, run in a build of that edition's own sources; and the same without its forms.

A model that is exact in its edition proves the export, and one that is not without the other forms proves that they
were needed. Networks are the recipes' with weights as they are drawn, the MLPerf Tiny references, and chains of layers
drawn at random; all are calibrated on noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import qtorch
from benchmarks.editions.cases import Case, write_cases
from benchmarks.editions.drawn import configured, drawn_network
from benchmarks.editions.judged import Outcome
from benchmarks.mlperf_networks import REFERENCES, judged_codes, trained_a_little
from export.faults.avoided import avoided
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.passes.zero_biases import zero_biases
from export.parity.outputs import corner_codes
from export.tflite.writer import write_tflite
from qtorch.editions.edition import Edition
from qtorch.errors import BadInput
from qtorch.perceptron import perceptron
from recipes.anomaly_qat.network import anomaly_network
from recipes.digits_qat.network import digits_network
from recipes.gesture_qat.network import gesture_convolutions, gesture_perceptron
from recipes.keyword_qat.network import keyword_network

__all__ = ["Network", "every_network", "proven", "written"]

#: Networks of the recipes by their defaults, and a sample's shape.
_RECIPES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "sine": (lambda: perceptron((1, 16, 16, 1)), (1,)),
    "fuel": (lambda: perceptron((3, 32, 16, 8, 1)), (3,)),
    "gesture, perceptron": (lambda: gesture_perceptron(2), (150,)),
    "gesture, Conv1d": (lambda: gesture_convolutions(2), (3, 50)),
    "digits": (lambda: digits_network(8, (16, 16, 32), 10), (1, 8, 8)),
    "keyword": (lambda: keyword_network(8, 32), (1, 49, 10)),
    "anomaly": (lambda: anomaly_network(64, 8), (640,)),
}
_CONFIGURATIONS: tuple[dict[str, Any], ...] = ({}, {"weights": "per_tensor"}, {"activations": "int16"})
#: Samples: of calibration; of noise and of random codes that an MLPerf network is run on; of random codes of others.
_CALIBRATION, _MLPERF, _CODES = 64, 4, 12


@dataclass(frozen=True)
class Network:
    """A network before anything is known of its edition.

    Attributes:
        label: where it is from.
        kind: the row of the results that it counts in.
        graph: of integers.
        inputs: an array per input.
        expected: an array per output, as the integer reference computes it.
    """

    label: str
    kind: str
    graph: Graph
    inputs: tuple[np.ndarray, ...]
    expected: tuple[np.ndarray, ...]


def _network(label: str, kind: str, graph: Graph, inputs: tuple[np.ndarray, ...]) -> Network:
    computed = interpret(graph, inputs)
    return Network(label, kind, graph, inputs, tuple(computed[name] for name in graph.outputs))


def _codes(graph: Graph, seed: int = 0) -> tuple[np.ndarray, ...]:
    return tuple(array[-2 * _CODES :] for array in corner_codes(graph, _CODES, seed))


def _recipes() -> Iterator[Network]:
    for label, (made, shape) in _RECIPES.items():
        for choices in _CONFIGURATIONS:
            torch.manual_seed(0)
            x = torch.randn(_CALIBRATION, *shape)
            graph = qtorch.quantize(made().eval(), x, qtorch.QuantizationConfig(**choices))
            final = zero_biases(integer_graph(graph))
            words = ", ".join(choices.values())
            yield _network(f"{label}{words and f', {words}'}", "recipes", final, _codes(final))


def _mlperf() -> Iterator[Network]:
    for reference in REFERENCES:
        qat, _ = trained_a_little(reference)
        graph = zero_biases(integer_graph(qat))
        (codes,) = judged_codes(graph, reference)
        yield _network(reference.label, "MLPerf Tiny", graph, (np.concatenate([codes[:_MLPERF], codes[-_MLPERF:]]),))


def _drawn(count: int) -> Iterator[Network]:
    seed, made = 0, 0
    while made < count:
        net, x = drawn_network(seed)
        seed += 1
        try:
            graph = zero_biases(integer_graph(qtorch.quantize(net, x, configured(seed))))
        except BadInput:
            continue
        made += 1
        yield _network(f"network {seed - 1}", "drawn at random", graph, _codes(graph, seed))


def every_network(drawn: int) -> Iterator[Network]:
    """The recipes', MLPerf Tiny's, and so many drawn at random."""
    yield from _recipes()
    yield from _mlperf()
    yield from _drawn(drawn)


def written(networks: Iterable[Network], edition: Edition, cpu: str) -> tuple[list[Case], Counter[str], int]:
    """Files for an edition as an export writes them.

    Args:
        networks: to export.
        edition: that is to compute them.
        cpu: as boards name processors.

    Returns:
        What is written; the faults for which others are refused, with how many networks have each; how many of the
        written have another form.
    """
    cases: list[Case] = []
    refused: Counter[str] = Counter()
    rewritten = 0
    for each in networks:
        other = avoided(each.graph, edition, cpu)
        if other.left:
            refused.update({finding.fault.name for finding in other.left})
            continue
        rewritten += bool(other.rewritten)
        cases.append(Case(each.label, each.kind, write_tflite(other.graph), each.inputs, each.expected))
    return cases, refused, rewritten


def _run(cases: Sequence[Case], folder: Path, run: Callable[[Path], list[Outcome]]) -> dict[str, int]:
    list(write_cases((("exported", case) for case in cases), folder))
    return dict(sorted(Counter(each.ended for each in run(folder)).items()))


def proven(
    networks: Sequence[Network], edition: Edition, cpu: str, folder: Path, run: Callable[[Path], list[Outcome]]
) -> dict[str, Any]:
    """How networks end in a build, exported for it and exported for the newest.

    Args:
        networks: to export.
        edition: whose build ``run`` runs.
        cpu: as boards name processors.
        folder: for files; ``edition`` and ``newest`` in it are emptied before.
        run: a folder of cases in that build.

    Returns:
        For the results: of the networks that are written for the edition, how they end, and how the very same ones do
        that are written as the newest takes them; what is refused, and why.
    """
    cases, refused, rewritten = written(networks, edition, cpu)
    labels = {case.label for case in cases}
    plain = [
        Case(each.label, each.kind, write_tflite(each.graph), each.inputs, each.expected)
        for each in networks
        if each.label in labels
    ]
    return {
        "edition": edition.name,
        "cpu": cpu,
        "networks": dict(Counter(each.kind for each in networks)),
        "written": dict(Counter(case.form for case in cases)),
        "rewritten": rewritten,
        "refused": dict(refused.most_common()),
        "for it": _run(cases, folder / "edition", run),
        "for newest": _run(plain, folder / "newest", run),
    }
