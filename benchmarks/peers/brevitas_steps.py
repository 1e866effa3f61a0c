"""A training step of Brevitas.

Activation scales are parameters and get gradients; biases are rounded to the accumulator's grid; batch norms stay
behind their convolutions, unfolded.
"""

from __future__ import annotations

import brevitas.nn as qnn
from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat, Int32Bias, Uint8ActPerTensorFloat
from torch import Tensor, nn

from benchmarks.peers.training_steps import WARM_UP, serve_steps


def _prepare(net: nn.Module, x: Tensor) -> nn.Module:
    """Each layer and ReLU replaced by Brevitas's; for networks that are chains, whose modules stand in their order."""
    signed = Int8ActPerTensorFloat.let(collect_stats_steps=WARM_UP // 2)
    unsigned = Uint8ActPerTensorFloat.let(collect_stats_steps=WARM_UP // 2)
    leaves = [(name, module) for name, module in net.named_modules() if not any(module.children())]
    last = max(i for i, (_, module) in enumerate(leaves) if isinstance(module, nn.Linear | nn.Conv2d))
    on_grid = False
    for i, (name, module) in enumerate(leaves):
        layer: nn.Module = module
        quantizers = {
            "weight_quant": Int8WeightPerChannelFloat,
            "bias_quant": Int32Bias,
            # A second rounding of what a ReLU has just rounded would only cost time.
            "input_quant": None if on_grid else signed,
            "output_quant": signed if i == last else None,
        }
        if isinstance(module, nn.Linear):
            layer = qnn.QuantLinear(module.in_features, module.out_features, bias=True, **quantizers)
        elif isinstance(module, nn.Conv2d):
            layer = qnn.QuantConv2d(
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                stride=module.stride,
                padding=module.padding,
                groups=module.groups,
                bias=True,
                **quantizers,
            )
        elif isinstance(module, nn.ReLU):
            layer = qnn.QuantReLU(act_quant=unsigned, return_quant_tensor=True)
        if isinstance(module, nn.Linear | nn.Conv2d):
            layer.load_state_dict(module.state_dict(), strict=False)
        parent, _, child = name.rpartition(".")
        setattr(net.get_submodule(parent), child, layer)
        on_grid = isinstance(module, nn.ReLU) or (on_grid and isinstance(module, nn.Dropout))
    return net


if __name__ == "__main__":
    serve_steps({"QAT": _prepare})
