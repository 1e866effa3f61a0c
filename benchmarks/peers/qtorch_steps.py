"""A training step of qtorch.

Ranges stay as calibrated. Forward, a layer computes the device's own integers; one with a batch norm normalizes by the
batch, as in training until norms are frozen.
"""

from __future__ import annotations

from torch import Tensor, nn

import qtorch
from benchmarks.peers.training_steps import serve_steps


def _prepare(net: nn.Module, x: Tensor) -> nn.Module:
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    return qat


if __name__ == "__main__":
    serve_steps({"QAT": _prepare})
