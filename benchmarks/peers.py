"""What a step of quantized training costs here and in other libraries, as a multiple of the float network's own step.

Every network is trained by the same plain loop (forward, mean squared error, backward, Adam) on one random batch, with
int8 activations per tensor and int8 weights per output channel. What a library computes in such a step is its own
choice, and the figures include it:

- qtorch, FAKE: ranges stay as calibrated; results are rounded twice, as on the device; batch norms are folded by the
  batch's statistics, as in training until they are frozen.
- torchao, PT2E: ranges are moving averages, measured in every step; biases stay in float.
- Brevitas: activation scales are parameters and get gradients; biases are rounded to the accumulator's grid; batch
  norms stay behind their convolutions, unfolded.

Written for torchao 0.18 and Brevitas 0.13.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

import qtorch
from benchmarks.mlperf_tiny import interleaved_seconds
from recipes.mlperf_tiny import DSCNN
from recipes.perceptron import perceptron

_BATCH = 32
_REPEATS = 21
#: Steps before the clock starts: Brevitas turns measured ranges into parameters after half of them.
_WARM_UP = 20


@dataclass(frozen=True)
class _Task:
    """A network, and how many steps are timed at once, so that the clock's own cost vanishes."""

    name: str
    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    steps: int


_TASKS = (
    _Task("sine", lambda: perceptron((1, 16, 16, 1)), (1,), 50),
    _Task("fuel", lambda: perceptron((3, 32, 16, 8, 1)), (3,), 50),
    _Task("DS-CNN", DSCNN, (1, 49, 10), 1),
)


def _qtorch(net: nn.Module, x: Tensor) -> nn.Module:
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, qtorch.Mode.FAKE)
    return qat


def _torchao(net: nn.Module, x: Tensor) -> nn.Module:
    """PT2E with the XNNPACK quantizer that torchao carries for its own tests; ExecuTorch's is the same one, kept up."""
    from torchao.quantization.pt2e import allow_exported_model_train_eval
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
    from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

    # The guards would check the input's shape anew in every step.
    exported = torch.export.export(net.train(), (x,)).module(check_guards=False)
    config = get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
    qat: nn.Module = prepare_qat_pt2e(exported, XNNPACKQuantizer().set_global(config))
    allow_exported_model_train_eval(qat)
    return qat


def _brevitas(net: nn.Module, x: Tensor) -> nn.Module:
    """Each layer and ReLU replaced by Brevitas's; for networks that are chains, whose modules stand in their order."""
    import brevitas.nn as qnn
    from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat, Int32Bias, Uint8ActPerTensorFloat

    signed = Int8ActPerTensorFloat.let(collect_stats_steps=_WARM_UP // 2)
    unsigned = Uint8ActPerTensorFloat.let(collect_stats_steps=_WARM_UP // 2)
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


@dataclass(frozen=True)
class _Peer:
    """A library, and what makes its QAT network of a float one and a batch."""

    name: str
    package: str
    prepare: Callable[[nn.Module, Tensor], nn.Module]


_PEERS = (
    _Peer("qtorch, FAKE", "qtorch", _qtorch),
    _Peer("torchao, PT2E", "torchao", _torchao),
    _Peer("Brevitas", "brevitas", _brevitas),
)


def _training(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> Callable[[], None]:
    """``steps`` training steps on one batch, warmed up."""
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)

    def train(steps: int = steps) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()

    train(_WARM_UP)
    return train


def lines() -> Iterator[str]:
    """One line for each network and library that is installed, then one for each that is not."""
    torch.manual_seed(0)
    here = [peer for peer in _PEERS if find_spec(peer.package)]
    for task in _TASKS:
        x, net = torch.rand(_BATCH, *task.shape), task.network()
        with torch.no_grad():
            y = torch.rand_like(net(x))
        networks = [net, *(peer.prepare(copy.deepcopy(net), x) for peer in here)]
        plain, *quantized = interleaved_seconds(
            *(_training(network, x, y, task.steps) for network in networks), repeats=_REPEATS
        )
        for peer, seconds in zip(here, quantized, strict=True):
            yield (
                f"QAT step / float step, {task.name:6}  {peer.name:13} {seconds / plain:6.2f}"
                f"   ({plain / task.steps * 1e6:.0f} us per float step)"
            )
    for peer in _PEERS:
        if peer not in here:
            yield f"{peer.name}: not installed; `pip install {peer.package}` adds it to this table"
