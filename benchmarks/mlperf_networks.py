"""The MLPerf Tiny reference networks as benchmarks and tests take them, and what is known of the reference's own files.

Source of the sizes: the repository mlcommons/tiny at commit 1afd2c9, ``benchmark/training/*/trained_models``:
``kws_ref_model.tflite``, ``vww_96_int8.tflite``, ``pretrainedResnet_quant.tflite``, ``ad01_int8.tflite``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.encoding import codes_of
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from recipes.mlperf_tiny import DSCNN, Autoencoder, MobileNetV1, ResNet8

__all__ = ["REFERENCES", "Reference", "judged_codes", "trained_a_little", "varied"]


@dataclass(frozen=True)
class Reference:
    """A network, and the reference's int8 file of it.

    Attributes:
        label: in tables.
        network: builds it, with random weights.
        shape: of a sample, in PyTorch's order.
        ops: what the reference's file is made of.
        file_bytes: of that file.
        weights: as that file has them.
    """

    label: str
    network: type[nn.Module]
    shape: tuple[int, ...]
    ops: frozenset[str]
    file_bytes: int
    weights: Literal["per_channel", "per_tensor"] = "per_channel"


_IMAGE_OPS = frozenset({"conv_2d", "average_pool_2d", "reshape", "fully_connected", "softmax"})
REFERENCES = (
    Reference("DS-CNN", DSCNN, (1, 49, 10), _IMAGE_OPS | {"depthwise_conv_2d"}, 53_936),
    Reference("MobileNetV1 0.25", MobileNetV1, (3, 96, 96), _IMAGE_OPS | {"depthwise_conv_2d"}, 333_288),
    Reference("ResNet-8", ResNet8, (3, 32, 32), _IMAGE_OPS | {"add"}, 98_496),
    Reference("autoencoder", Autoencoder, (640,), frozenset({"fully_connected"}), 276_976, "per_tensor"),
)


def varied(samples: int, shape: tuple[int, ...]) -> Tensor:
    """Noise of another strength and offset in every sample."""
    ones = [1] * len(shape)
    return torch.randn(samples, *shape) * torch.rand(samples, *ones) + torch.randn(samples, *ones)


def trained_a_little(reference: Reference, seed: int = 0) -> tuple[fx.GraphModule, Tensor]:
    """The network after a few steps on noise, float then quantized, in evaluation; and the noise, 32 samples.

    The last layer is made 20 times larger, because an untrained network says the same of everything.
    """
    torch.manual_seed(seed)
    x = varied(32, reference.shape)
    network = reference.network()
    *_, last = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        last.weight *= 20
    qat = qtorch.prepare(network, x[:1], qtorch.QuantizationConfig(weights=reference.weights)).train()
    optimizer = torch.optim.Adam(qat.parameters(), 1e-3)

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            _loss(qat, x).backward()
            optimizer.step()

    def settle() -> None:
        with torch.no_grad():
            for _ in range(20):  # until the running statistics are those of the data, so that outputs vary
                qat(x)

    steps(3)
    settle()
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    steps(2)
    settle()
    qtorch.freeze_batch_norm(qat)
    steps(1)
    qat.eval()
    return qat, x


def _loss(net: nn.Module, x: Tensor) -> Tensor:
    y = net(x)
    if y.shape == x.shape:
        return F.mse_loss(y, x)
    return F.nll_loss(torch.log(y + 1e-6), torch.arange(len(x)) % y.shape[1])


def judged_codes(graph: Graph, reference: Reference) -> tuple[np.ndarray]:
    """What a network is judged on: 100 samples of noise and 100 of random codes."""
    (data,) = codes_of(graph, varied(100, reference.shape))
    return (np.concatenate([data, corner_codes(graph, 100)[0][-100:]]),)
