"""Networks with weights at exactly zero, and with parameters in whatever order pruning left them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import prune

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch import Mode, QuantizationConfig
from qtorch.network.quantized_op import QuantizedOp
from qtorch.post_training import round_adaptively

pytestmark = pytest.mark.usefixtures("one_thread")


def pruned_codes(qat: fx.GraphModule, zeros: dict[str, Tensor]) -> dict[str, Tensor]:
    """The codes of those weights that were zero in the float network."""
    return {
        name: op.constants.integers()["weight"].codes.reshape(zeros[name].shape)[zeros[name]]
        for name, op in qat.named_modules()
        if isinstance(op, QuantizedOp) and name in zeros
    }


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("normalized", [False, True])
def test_pruned_weights_stay_zero_when_rounding_is_learned(bits: int, normalized: bool) -> None:
    torch.manual_seed(1)
    x = torch.randn(256, 16)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    if normalized:
        net.insert(0, qtorch.Normalization(span=2.0))
    zeros = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear):
            prune.l1_unstructured(module, "weight", amount=0.5)
            prune.remove(module, "weight")
            zeros[name] = module.weight.detach() == 0
    qat = qtorch.prepare(net, x[:1], QuantizationConfig(weight_bits=bits))
    qtorch.calibrate(qat, [x])
    found = round_adaptively(qat, [x], steps=60)
    assert max(layer.moved for layer in found) > 0
    codes = pruned_codes(qat, zeros)
    assert sorted(codes) == sorted(zeros)
    for name, kept in codes.items():
        assert kept.numel() == int(zeros[name].sum()) > 0
        assert not kept.any()


def networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(2)
    return {
        "linear": (nn.Sequential(nn.Linear(16, 8)), (16,)),
        "convolution": (nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)), (2, 6, 6)),
        "with batch norm": (nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU()), (2, 9)),
        "transposed": (nn.Sequential(nn.ConvTranspose2d(2, 4, 3)), (2, 5, 5)),
        "depthwise": (nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)), (4, 6, 6)),
        "left in float": (nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2)), (6,)),
    }


def in_another_order(net: nn.Module) -> nn.Module:
    """The same parameters and buffers, each module's registered in reverse."""
    net = copy.deepcopy(net)
    for module in net.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in reversed(list(held.items())):
                held[name] = held.pop(name)
                assert held[name] is tensor
    return net


@pytest.mark.parametrize("name", networks())
def test_no_order_of_parameters_matters(name: str) -> None:
    net, shape = networks()[name]
    x = torch.randn(30, *shape)
    config = QuantizationConfig(layers={"0": {"skip": True}} if name == "left in float" else {})
    found = []
    for each in (net, in_another_order(net)):
        qat = qtorch.prepare(each.eval(), x[:1], config)
        qtorch.calibrate(qat, [x])
        qtorch.set_mode(qat, Mode.QUANTIZED)
        found.append((qat(x), write_tflite(integer_graph(qat))))
    (expected, file), (outputs, again) = found
    assert torch.equal(outputs, expected)
    assert again == file


@pytest.mark.tflm
def test_a_prepared_network_can_be_pruned() -> None:
    """While it is, its weights are computed from other parameters; afterwards bias comes before weight."""
    torch.manual_seed(3)
    x = torch.randn(64, 16)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2)), x[:1])
    qtorch.calibrate(qat, [x])
    layer = qat.get_submodule("0")
    prune.l1_unstructured(layer, "weight", amount=0.5)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    optimizer = torch.optim.SGD(qat.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        qat(x).square().mean().backward()
        optimizer.step()
    before = qat(x)
    prune.remove(layer, "weight")
    assert torch.equal(qat(x), before)
    assert int((layer.weight == 0).sum()) == 64
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    parity(graph, write_tflite(graph), corner_codes(graph, random=50), qat, reported=())
