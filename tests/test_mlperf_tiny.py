"""The MLPerf Tiny reference networks: trained a little, exported, and compared with TFLite Micro on every output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.agreement import agreement
from export.integers import integer_graph
from export.interpret import interpret
from export.parity import corner_codes, parity
from export.tflite import write_tflite
from recipes.mlperf_tiny import DSCNN, Autoencoder, MobileNetV1, ResNet8


@dataclass(frozen=True)
class Reference:
    """What the reference's own int8 file has: its operators, and its size in bytes."""

    network: type[nn.Module]
    shape: tuple[int, ...]
    ops: frozenset[str]
    file_bytes: int
    weights: str = "per_channel"


_IMAGE_OPS = frozenset({"conv_2d", "average_pool_2d", "reshape", "fully_connected", "softmax"})
REFERENCES = [
    Reference(DSCNN, (1, 49, 10), _IMAGE_OPS | {"depthwise_conv_2d"}, 53_936),
    Reference(MobileNetV1, (3, 96, 96), _IMAGE_OPS | {"depthwise_conv_2d"}, 333_288),
    Reference(ResNet8, (3, 32, 32), _IMAGE_OPS | {"add"}, 98_496),
    # Its reference file has one scale for each weight matrix.
    Reference(Autoencoder, (640,), frozenset({"fully_connected"}), 276_976, "per_tensor"),
]


def loss(net: nn.Module, x: Tensor) -> Tensor:
    y = net(x)
    if y.shape == x.shape:
        return F.mse_loss(y, x)
    return F.nll_loss(torch.log(y + 1e-6), torch.arange(len(x)) % y.shape[1])


def varied(samples: int, shape: tuple[int, ...]) -> Tensor:
    """Noise of another strength and offset in every sample."""
    ones = [1] * len(shape)
    return torch.randn(samples, *shape) * torch.rand(samples, *ones) + torch.randn(samples, *ones)


@pytest.mark.tflm
@pytest.mark.parametrize("reference", REFERENCES, ids=lambda r: r.network.__name__)
def test_a_reference_network_is_exact(reference: Reference) -> None:
    torch.manual_seed(0)
    x = varied(32, reference.shape)
    config = qtorch.QuantizationConfig(weights=reference.weights)  # type: ignore[arg-type]
    network = reference.network()
    *_, last = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        last.weight *= 20  # an untrained network says the same of everything
    qat = qtorch.prepare(network, x[:1], config).train()
    optimizer = torch.optim.Adam(qat.parameters(), 1e-3)

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            loss(qat, x).backward()
            optimizer.step()

    steps(3)
    with torch.no_grad():
        for _ in range(20):  # until the running statistics are those of the data, so that outputs vary
            qat(x)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, qtorch.Mode.FAKE)
    steps(2)
    qtorch.freeze_batch_norm(qat)
    steps(1)
    qat.eval()
    graph = integer_graph(qat)
    model = write_tflite(graph)
    assert {node.op for node in graph.nodes} <= reference.ops
    assert len(model) <= reference.file_bytes
    assert next(iter(graph.inputs)) not in graph.outputs
    name = graph.inputs[0]
    value, view = graph.values[name], graph.view(name)
    assert value.qparams is not None
    data = view.store(value.qparams.quantize(varied(100, reference.shape).numpy()), value.shape)
    codes = (np.concatenate([data, corner_codes(graph, 100)[0][-100:]]),)
    assert len(np.unique(interpret(graph, codes)[graph.outputs[0]])) > 3
    report = parity(graph, model, codes, qat, reported=())
    assert report.engines["tflm"].mismatches == 0
    assert report.engines["tflm"].inputs == 200
    assert report.engines["qat_network_exact"].mismatches == 0
    # Float arithmetic, too, gives the device's codes but for sums next to a tie.
    for op in agreement(qat, [(x,)]):
        assert op.exact_share > 0.999, op
        assert op.max_lsb <= 1, op
