"""The MLPerf Tiny reference networks: trained a little, exported, and compared with TFLite Micro on every output."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.agreement import agreement
from benchmarks.mlperf_networks import REFERENCES, Reference, judged_codes, trained_a_little
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.parity.outputs import parity
from export.tflite.writer import write_tflite
from recipes.mlperf_tiny import MobileNetV1

#: MobileNet has the kinds of layers that DS-CNN has, and more of them.
_EACH = [
    pytest.param(each, id=each.network.__name__, marks=[pytest.mark.sweep] if each.network is MobileNetV1 else [])
    for each in REFERENCES
]


@pytest.mark.tflm
@pytest.mark.parametrize("reference", _EACH)
def test_a_reference_network_is_exact(reference: Reference) -> None:
    qat, x = trained_a_little(reference)
    graph = integer_graph(qat)
    model = write_tflite(graph)
    assert {node.op for node in graph.nodes} <= reference.ops
    assert len(model) <= reference.file_bytes
    assert next(iter(graph.inputs)) not in graph.outputs
    codes = judged_codes(graph, reference)
    assert len(np.unique(interpret(graph, codes)[graph.outputs[0]])) > 3
    report = parity(graph, model, codes, qat, reported=())
    assert report.engines["tflm"].mismatches == 0
    assert report.engines["tflm"].inputs == 200
    assert report.engines["qat_network"].mismatches == 0
    training = agreement(qat, x)
    assert training.outputs == 32 * graph.values[graph.outputs[0]].elements
    assert training.mismatches == 0
