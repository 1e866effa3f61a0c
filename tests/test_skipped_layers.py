"""Layers left in float among integer ones: the integer nodes are the device's, and parity judges every node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.engines import ENGINES, LITERT_REFERENCE, TFLM
from export.graph.build import integer_graph
from export.parity.nodes import node_parity
from export.parity.outputs import compare_file, corner_codes, network_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import ParityError
from tests.functional_networks import Function, negated

pytestmark = [
    pytest.mark.tflm,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]


def sequence() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1, groups=6), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 5), nn.Softmax(1),
    )  # fmt: skip


def branches() -> nn.Module:
    return Function(
        lambda m, x: m.d(F.relu(torch.cat([m.a(x), m.b(x)], 1)) + m.c(x)),
        a=nn.Conv2d(3, 2, 1), b=nn.Conv2d(3, 3, 3, padding=1), c=nn.Conv2d(3, 5, 1), d=nn.Conv2d(5, 2, 1),
    )  # fmt: skip


def shared() -> nn.Module:
    return Function(lambda m, x: m.o(m.l(torch.relu(m.l(x)))), l=nn.Linear(6, 6), o=nn.Linear(6, 2))


def read_twice() -> nn.Module:
    return Function(lambda m, x: (y := m.l(x), m.o(y), y), l=nn.Linear(6, 6), o=nn.Linear(6, 2))


def split() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        p, q = torch.chunk(m.l(x), 2, 1)
        return m.o(p) * torch.sigmoid(q)

    return Function(forward, l=nn.Linear(6, 6), o=nn.Linear(3, 3))


def moved() -> nn.Module:
    return Function(
        lambda m, x: m.d(F.pad(m.a(x), (1, 1, 1, 1)).permute(0, 1, 3, 2)[:, :3]), a=nn.Conv2d(3, 4, 1),
        d=nn.Conv2d(3, 2, 3),
    )  # fmt: skip


def fixed_grid() -> nn.Module:
    """A softmax, whose grid the kernel fixes, beside what has another."""
    return Function(
        lambda m, x: m.o(torch.cat([m.s(m.a(x)), m.dropout(m.b(x))], 1)),
        a=nn.Linear(6, 4), s=nn.Softmax(1), b=nn.Linear(6, 4), o=nn.Linear(8, 2), dropout=nn.Dropout(),
    )  # fmt: skip


def normalized() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4), nn.LayerNorm(4), nn.PReLU(4), nn.Linear(4, 2))


SKIPS: dict[Callable[[], nn.Module], list[list[str]]] = {
    sequence: [["0"], ["3"], ["0", "3"], ["5"], ["7"], ["8"], ["7", "8"], ["0", "7"], ["*"]],
    branches: [["a"], ["a", "b"], ["cat"], ["add"], ["relu"], ["c", "add"], ["d"], ["a", "b", "c", "add"], ["*"]],
    shared: [["l"], ["l_1"], ["l", "l_1"], ["o"], ["*"]],
    read_twice: [["l"], ["o"], ["*"]],
    split: [["l"], ["o"], ["chunk"], ["l", "chunk"], ["sigmoid"], ["mul"], ["*"]],
    moved: [["a"], ["d"], ["pad"], ["a", "d"], ["*"]],
    fixed_grid: [["s"], ["cat"], ["a", "s"], ["b"], ["s", "b"], ["s", "b", "cat"], ["o"], ["*"]],
    normalized: [["0"], ["1"], ["3"], ["add"], ["rsqrt"], ["*"]],
}
SKIPPED = [
    pytest.param(make, skipped, activations, id=f"{make.__name__}: {', '.join(skipped)}, {activations}")
    for make, many in SKIPS.items()
    for skipped in many
    for activations in ("int8", "int16")
    # RSQRT has no 16-bit kernel.
    if (make, activations) != (normalized, "int16")
]


def prepared(make: Callable[[], nn.Module], skipped: list[str], **options: Any) -> Any:
    torch.manual_seed(1)
    net = make()
    shape = (3, 8, 8) if make in (sequence, branches, moved) else (6,)
    x = torch.randn(64, *shape)
    net(x)
    config = qtorch.QuantizationConfig(layers={name: {"skip": True} for name in skipped}, **options)
    qat = qtorch.prepare(net.eval(), x[:1], config)
    qtorch.calibrate(qat, [x])
    return qat


@pytest.mark.parametrize(("make", "skipped", "activations"), SKIPPED)
def test_layers_left_in_float(make: Callable[[], nn.Module], skipped: list[str], activations: str) -> None:
    qat = prepared(make, skipped, activations=activations)
    graph = integer_graph(qat)
    model = write_tflite(graph)
    compare_file(graph, model)
    assert graph.has_float_nodes
    assert all(graph.values[name].qparams is not None for name in (*graph.inputs, *graph.outputs))
    codes = tuple(array[-60:] for array in corner_codes(graph, 60))
    for engine in (TFLM, LITERT_REFERENCE):
        found = node_parity(graph, model, codes, engine)
        assert found.integer_outputs > 0
        assert found.float_outputs > 0
    device = TFLM.run(model, codes)
    pairs = zip(network_codes(qat, graph, codes), device, strict=True)
    off = np.concatenate([np.abs(got.astype(np.int64) - wanted).ravel() for got, wanted in pairs])
    assert off.max() <= (1 if activations == "int8" else 2)
    assert np.count_nonzero(off) <= moved_by_the_order_of_sums(activations, off.size, samples=60)


def moved_by_the_order_of_sums(activations: str, outputs: int, samples: int) -> float:
    """How many of ``outputs`` codes may be others, because two processors add floats in different orders.

    No result here takes more than some 32 roundings: 27 products, a bias, a few layers in float one after another. Each
    is wrong by up to 2**-24 of what is rounded, either way, so that together they walk sqrt(32) as far; a grid of n
    bits has 2**(n - 1) steps in that. Of results spread evenly between codes, twice that share lies so near to a tie
    that the order decides: 2 % with 16 bits, one in 10,000 with 8. A code inside the network that is another one moves
    what is computed from it, here up to all outputs of a sample or 3x3 of each of two channels: one may be so, few as
    they are.
    """
    steps = 2.0 ** {"int8": 7, "int16": 15}[activations]
    return 2 * 32**0.5 * 2.0**-24 * steps * outputs + min(outputs // samples, 3 * 3 * 2)


def test_a_tensor_brought_onto_another_grid_is_so_in_training_too() -> None:
    """QUANTIZE rounds small codes twice: the nearest code is the device's in nine cases of ten, here in all."""
    qat = prepared(fixed_grid, [])
    graph = integer_graph(qat)
    codes = corner_codes(graph, 300)
    (device,), (own,) = TFLM.run(write_tflite(graph), codes), network_codes(qat, graph, codes)
    assert np.array_equal(device, own)


def test_parity_judges_float_layers_node_by_node() -> None:
    qat = prepared(sequence, ["7"])
    graph = integer_graph(qat)
    model = write_tflite(graph)
    report = parity(graph, model, corner_codes(graph, 50), qat)
    assert report.judges == ("tflm, node by node",)
    assert set(report.engines) == {"tflm", "litert_reference", "litert_default", "qat_network"}
    assert report.engines["tflm"].inputs == 1074


@pytest.mark.parametrize("role", ["weight", "bias"])
@pytest.mark.parametrize("layer", ["0", "7"])
def test_parity_sees_a_wrong_layer_beside_float_ones(layer: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer 0 has integers, 7 floats; the engine gets another file than the graph's."""
    graph = integer_graph(prepared(sequence, ["7"]))
    other = write_tflite(negated(graph, f"{layer}.{role}"))
    wrong = replace(TFLM, tensors=lambda model, inputs, count: TFLM.tensors(other, inputs, count))
    monkeypatch.setitem(ENGINES, "tflm", wrong)
    with pytest.raises(ParityError, match=f"'{layer}"):
        parity(graph, write_tflite(graph), corner_codes(graph, 50))


def test_a_wrong_scale_beside_float_layers_is_seen() -> None:
    graph = integer_graph(prepared(sequence, ["7"]))
    at = next(node.output for node in graph.nodes if node.op == "quantize")
    qparams = graph.values[at].quantization
    changed = replace(qparams, scale=(float(np.float32(qparams.scale[0] * 1.01)),))
    other = replace(graph, values={**graph.values, at: replace(graph.values[at], qparams=changed)})
    with pytest.raises(ParityError, match="quantize"):
        node_parity(graph, write_tflite(other), corner_codes(graph, 50), TFLM)
