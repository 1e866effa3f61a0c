"""A training step of qtorch.

Ranges stay as calibrated. FAKE: results are rounded twice, as on the device. EXACT: the device's own integers. Batch
norms are folded by the batch's statistics, as in training until they are frozen.
"""

from __future__ import annotations

from torch import Tensor, nn

import qtorch
from benchmarks.peers.training_steps import Prepare, serve_steps


def _prepare(mode: qtorch.Mode) -> Prepare:
    def prepare(net: nn.Module, x: Tensor) -> nn.Module:
        qat = qtorch.prepare(net, x[:1])
        qtorch.calibrate(qat, [x])
        qtorch.set_mode(qat, mode)
        return qat

    return prepare


if __name__ == "__main__":
    serve_steps({"QAT": _prepare(qtorch.Mode.QUANTIZED)})
