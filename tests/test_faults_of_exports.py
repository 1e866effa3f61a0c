"""Faults of kernel libraries in files of this project's own, from the network on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import qtorch
from export.faults.cmsis_nn import FAULTS as CMSIS_NN
from export.faults.esp_nn import FAULTS as ESP_NN
from export.faults.fault import Fault
from export.graph.build import integer_graph
from export.tflite.writer import write_tflite
from tests.fault_operators import read_operators

_FAULTS = {(fault.where, fault.name): fault for fault in (*CMSIS_NN, *ESP_NN)}


def _found(fault: Fault, network: nn.Module, shape: tuple[int, ...], weights: str) -> list[str]:
    torch.manual_seed(0)
    x = torch.randn(4, *shape)
    qat = qtorch.prepare(network, x[:1], qtorch.QuantizationConfig(weights=weights))  # type: ignore[arg-type]
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    found = read_operators(write_tflite(integer_graph(qat.eval())))
    assert any(each.name in fault.operators for each in found)
    return [words for each in found if each.name in fault.operators and (words := fault.holds(each))]


@pytest.mark.parametrize(
    ("where", "name", "hit", "beside", "shape", "words"),
    [
        (
            "cmsis_nn", "conv_1xn_last_window", nn.Conv1d(4, 8, 5, 2, 2), nn.Conv1d(4, 8, 5, 1, 2), (4, 13),
            "1x5 on 13 columns with stride 2, padding 2 and 2: the last windows read past the end of the input",
        ),
        (
            "cmsis_nn", "transpose_conv_padding_off_strides", nn.ConvTranspose2d(16, 4, 4, 2, 1),
            nn.ConvTranspose2d(16, 4, 2, 2), (16, 5, 5),
            "padding 1 above with stride 2, 16 channels: no multiple, and computed row by row",
        ),
        (
            "esp_nn", "conv_s3_padding_behind", nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, 2)),
            nn.Conv2d(3, 4, 3, 2), (3, 8, 8), "3x3 with padding 0 above, 1 below, 0 left and 1 right",
        ),
    ],
)  # fmt: skip
def test_a_network_is_seen_to_meet_a_fault(
    where: str, name: str, hit: nn.Module, beside: nn.Module, shape: tuple[int, ...], words: str
) -> None:
    fault = _FAULTS[(where, name)]
    assert _found(fault, hit, shape, "per_channel") == [words]
    assert _found(fault, beside, shape, "per_channel") == []


@pytest.mark.parametrize("where", ["tflm_cmsis_nn", "tflm_esp_nn"])
def test_scales_of_weights_decide(where: str) -> None:
    fault = _FAULTS[(where, "fully_connected_per_channel")]
    assert _found(fault, nn.Linear(8, 3), (8,), "per_channel") == ["3 scales of the weights, where one is taken"]
    assert _found(fault, nn.Linear(8, 3), (8,), "per_tensor") == []
