"""A training step of torchao's PT2E.

Ranges are moving averages, measured in every step; biases stay in float.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchao.quantization.pt2e import allow_exported_model_train_eval
from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

# The quantizer that torchao carries for its own tests; ExecuTorch's is the same one, kept up.
from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

from benchmarks.peers.training_steps import serve_steps


def _prepare(net: nn.Module, x: Tensor) -> nn.Module:
    # The guards would check the input's shape anew in every step.
    exported = torch.export.export(net.train(), (x,)).module(check_guards=False)
    config = get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
    qat: nn.Module = prepare_qat_pt2e(exported, XNNPACKQuantizer().set_global(config))
    allow_exported_model_train_eval(qat)
    return qat


if __name__ == "__main__":
    serve_steps({"QAT": _prepare})
