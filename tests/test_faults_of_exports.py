"""Each fault of a kernel library from the smallest network that meets it, to the file for an edition that has it.

The export avoids it, by another form or because it never writes that form at all, or is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.boards import BOARDS
from export.faults.avoided import avoided
from export.faults.cmsis_nn import FAULTS as CMSIS_NN
from export.faults.esp_nn import FAULTS as ESP_NN
from export.faults.fault import Fault
from export.faults.found import faults_in, operators
from export.graph.build import integer_graph
from export.graph.passes.zero_biases import zero_biases
from export.tflite.contents import read_contents
from export.tflite.writer import write_tflite
from qtorch.editions.edition import Edition, Library
from qtorch.editions.known import EDITIONS, edition

_FAULTS = {(fault.where, fault.name): fault for fault in (*CMSIS_NN, *ESP_NN)}
#: Nothing in PyTorch is exported as one: of others' files alone.
_OF_FILES = {("cmsis_nn", "svdf_products"), ("cmsis_nn", "svdf_state")}
_FOUR: Mapping[str, Any] = {"weight_bits": 4}
_WIDE: Mapping[str, Any] = {"activations": "int16"}
_ONE_SCALE: Mapping[str, Any] = {"weights": "per_tensor"}


@dataclass(frozen=True)
class Case:
    """A fault, the smallest network that meets it, and what becomes of that.

    ``never`` says that no file of an export has the form; ``refused`` that no other form is known.
    """

    where: str
    fault: str
    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    ends: Literal["other form", "never", "refused"] = "other form"
    choices: Mapping[str, Any] = field(default_factory=dict)


class _Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.layer(x)[0])


def _behind(*layers: nn.Module, amounts: tuple[int, ...] = (0, 1, 0, 1)) -> nn.Module:
    return nn.Sequential(nn.ZeroPad2d(amounts), *layers)


_CMSIS = [
    Case("cmsis_nn", "conv_1xn_refused", lambda: nn.Conv1d(4, 4, 4, 3), (4, 18)),
    Case("cmsis_nn", "conv_1xn_few_windows", lambda: nn.Conv1d(4, 4, 5, padding=2), (4, 3)),
    Case("cmsis_nn", "conv_1xn_few_windows_of_four_bits", lambda: nn.Conv1d(4, 4, 5, padding=2), (4, 2), choices=_FOUR),
    Case("cmsis_nn", "conv_1xn_last_window", lambda: nn.Conv1d(4, 4, 3, 2), (4, 8)),
    Case("cmsis_nn", "conv_1xn_last_window", lambda: nn.Conv1d(4, 4, 3, 2, 1), (4, 8), "never"),
    Case("cmsis_nn", "conv_1xn_last_window", lambda: nn.Conv1d(4, 8, 5, 2, 2), (4, 13)),
    Case("cmsis_nn", "conv_1xn_of_several_rows", lambda: nn.Conv2d(4, 4, 3, padding=1), (4, 1, 4)),
    Case("cmsis_nn", "conv_grouped_as_ungrouped", lambda: nn.Conv2d(4, 4, 3, groups=2), (4, 3, 3)),
    Case("cmsis_nn", "conv_grouped_of_four_bits", lambda: nn.Conv2d(4, 4, 3, groups=2), (4, 3, 3), choices=_FOUR),
    Case("cmsis_nn", "conv_grouped_of_sixteen_bits", lambda: nn.Conv2d(4, 4, 3, groups=2), (4, 3, 3), choices=_WIDE),
    Case("cmsis_nn", "conv_grouped_1x1_scratch", lambda: nn.Conv2d(4, 4, 1, groups=2), (4, 3, 3)),
    Case("cmsis_nn", "conv_grouped_1xn_scratch", lambda: nn.Conv1d(4, 4, 3, groups=2), (4, 9)),
    Case("cmsis_nn", "depthwise_conv_of_four_bits", lambda: nn.Conv2d(16, 16, 3, groups=16), (16, 3, 3), choices=_FOUR),
    Case(
        *("cmsis_nn", "depthwise_conv_of_four_bits_odd_channels", lambda: nn.Conv2d(5, 10, 3, groups=5), (5, 3, 3)),
        choices=_FOUR,
    ),
    Case("cmsis_nn", "transpose_conv_padding_off_strides", lambda: nn.ConvTranspose2d(4, 4, 4, 2, 1), (4, 5, 5)),
    Case("cmsis_nn", "transpose_conv_few_rows", lambda: nn.ConvTranspose2d(4, 3, (5, 1), 1, (2, 0)), (4, 1, 4)),
    Case("cmsis_nn", "transpose_conv_past_output", lambda: nn.ConvTranspose2d(4, 3, 1, 2), (4, 4, 4)),
    Case("cmsis_nn", "transpose_conv_past_output", lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1), (4, 4, 4), "never"),
    Case("cmsis_nn", "transpose_conv_wide_stride", lambda: nn.ConvTranspose2d(4, 3, 2, (2, 3)), (4, 4, 4)),
    Case("cmsis_nn", "fully_connected_int16_long_rows", lambda: nn.Linear(513, 2), (513,), choices=_WIDE),
    Case("cmsis_nn", "softmax_several_rows", lambda: nn.Softmax(-1), (2, 4)),
    Case("cmsis_nn", "softmax_int16_of_one", lambda: nn.Softmax(-1), (2, 1), "refused", _WIDE),
    Case("cmsis_nn", "lstm_sums", _Lstm, (5, 4), "refused"),
    Case("tflm_cmsis_nn", "lstm_state", _Lstm, (5, 4), "refused"),
    Case("tflm_cmsis_nn", "lstm_int16_state", _Lstm, (5, 4), "refused", _WIDE),
    Case("tflm_cmsis_nn", "conv_grouped", lambda: nn.Conv2d(4, 4, 3, groups=2), (4, 3, 3)),
    Case("tflm_cmsis_nn", "conv_int16_narrow_bias", lambda: nn.Conv2d(4, 4, 3), (4, 3, 3), "never", _WIDE),
    Case(
        *("tflm_cmsis_nn", "depthwise_conv_int16_narrow_bias", lambda: nn.Conv2d(4, 4, 3, groups=4), (4, 3, 3)),
        *("never", _WIDE),
    ),
    Case("tflm_cmsis_nn", "fully_connected_int16_narrow_bias", lambda: nn.Linear(8, 3), (8,), "never", _WIDE),
    Case("tflm_cmsis_nn", "fully_connected_per_channel", lambda: nn.Linear(8, 3), (8,)),
    Case("tflm_cmsis_nn", "fully_connected_per_channel", lambda: nn.Linear(8, 3), (8,), "never", _ONE_SCALE),
    Case("tflm_cmsis_nn", "fully_connected_per_channel_not_int8", lambda: nn.Linear(8, 3), (8,), choices=_WIDE),
    Case("tflm_cmsis_nn", "fully_connected_as_1x1", lambda: nn.Linear(8, 3), (2, 8), choices=_ONE_SCALE),
    Case(
        *("tflm_cmsis_nn", "batch_matmul_left_not_square", lambda: _Applied(lambda x: x @ x.transpose(1, 2)), (3, 4)),
        "refused",
    ),
    Case(
        *("tflm_cmsis_nn", "batch_matmul_transposed_broadcast"),
        *(lambda: _Applied(lambda x: x.transpose(2, 3) @ x[:, :1]), (2, 4, 3), "refused"),
    ),
    Case(
        *("tflm_cmsis_nn", "batch_matmul_rank", lambda: _Applied(lambda x: x @ x.transpose(-1, -2)), (2, 2, 3, 3)),
        "refused",
    ),
    Case("tflm_cmsis_nn", "pool_several_samples", lambda: nn.AvgPool2d(2), (4, 4, 4), "never"),
    Case(
        *("tflm_cmsis_nn", "transpose_rank"),
        *(lambda: _Applied(lambda x: x.permute(0, 4, 3, 2, 1).flatten(1)), (2, 3, 4, 5)),
    ),
    Case("tflm_cmsis_nn", "pad_rank", lambda: _Applied(lambda x: F.pad(x, (1, 1))), (3,)),
    Case(
        *("tflm_cmsis_nn", "minimum_maximum_rank"),
        *(lambda: _Applied(lambda x: torch.minimum(x, x.flip(1))), (2, 1, 2, 3)),
    ),
]
_ESP = [
    Case("esp_nn", "conv_s3", lambda: nn.Conv2d(11, 4, 3), (11, 9, 9)),
    Case("esp_nn", "conv_s3_padding_behind", lambda: nn.Conv2d(4, 4, 3, 2, 1), (4, 8, 8), "never"),
    Case("esp_nn", "conv_s3_padding_behind", lambda: _behind(nn.Conv2d(4, 4, 3, 2)), (4, 8, 8)),
    Case(
        *("esp_nn", "conv_s3_padding_on_two_sides"),
        *(lambda: _behind(nn.Conv2d(4, 4, 4), amounts=(1, 2, 1, 2)), (4, 8, 8)),
    ),
    Case("esp_nn", "conv_s3_padding_height", lambda: nn.Conv2d(4, 4, 5, padding=2), (4, 9, 9)),
    Case("esp_nn", "conv_p4_padding_behind", lambda: _behind(nn.Conv2d(4, 4, 3, 2)), (4, 8, 8)),
    Case("tflm_esp_nn", "conv_grouped", lambda: nn.Conv2d(4, 4, 3, groups=2), (4, 3, 3)),
    Case("tflm_esp_nn", "conv_memory", lambda: nn.Conv2d(4, 4, 3), (4, 9, 9)),
    Case("tflm_esp_nn", "conv_no_bias", lambda: nn.Conv2d(4, 4, 3, bias=False), (4, 9, 9), "never"),
    Case("esp_nn", "depthwise_s3_scratch", lambda: nn.Conv2d(2, 8, 4, groups=2), (2, 9, 9)),
    Case(
        *("esp_nn", "depthwise_s3_3x3_padding"),
        *(lambda: _behind(nn.Conv2d(16, 16, 3, 2, groups=16), amounts=(0, 1, 1, 1)), (16, 9, 8)),
    ),
    Case("esp_nn", "depthwise_s3_tiles", lambda: nn.Conv2d(16, 16, 5, padding=2, groups=16), (16, 40, 40)),
    Case("esp_nn", "fully_connected_s3_short_rows", lambda: nn.Linear(7, 4), (7,), choices=_ONE_SCALE),
    Case("esp_nn", "fully_connected_s3_odd_vectors", lambda: nn.Linear(50, 4), (50,), "refused", _ONE_SCALE),
    Case("esp_nn", "fully_connected_s3_unaligned_rows", lambda: nn.Linear(12, 4), (2, 12), choices=_ONE_SCALE),
    Case(
        *("esp_nn", "elementwise_s3_unaligned_constant", lambda: _Applied(lambda x: x + torch.linspace(-1, 1, 16))),
        *((16,), "never"),
    ),
    Case("tflm_esp_nn", "fully_connected_per_channel", lambda: nn.Linear(16, 4), (16,)),
    Case("tflm_esp_nn", "fully_connected_per_channel", lambda: nn.Linear(16, 4), (16,), "never", _ONE_SCALE),
    Case("tflm_esp_nn", "fully_connected_int16_per_channel", lambda: nn.Linear(16, 4), (16,), choices=_WIDE),
    Case("tflm_esp_nn", "fully_connected_rank", lambda: nn.Linear(16, 4), (2, 16), choices=_ONE_SCALE),
    Case("tflm_esp_nn", "softmax_scratch", lambda: nn.Softmax(-1), (2, 10)),
    Case("esp_nn", "softmax_s3_several_rows", lambda: nn.Softmax(-1), (2, 40)),
    Case("tflm_esp_nn", "esp_no_int16_conv_2d", lambda: nn.Conv2d(4, 4, 3), (4, 9, 9), "refused", _WIDE),
    Case(
        *("tflm_esp_nn", "esp_no_int16_depthwise_conv_2d", lambda: nn.Conv2d(4, 4, 3, groups=4), (4, 9, 9)),
        *("refused", _WIDE),
    ),
    Case("tflm_esp_nn", "esp_no_int16_fully_connected", lambda: nn.Linear(8, 2), (8,), "refused", _WIDE),
    Case("tflm_esp_nn", "esp_no_int16_mul", lambda: _Applied(lambda x: x * x), (4,), "refused", _WIDE),
    Case("tflm_esp_nn", "esp_no_int32_add", nn.GELU, (4,), "refused"),
    Case("tflm_esp_nn", "esp_no_int4_conv_2d", lambda: nn.Conv2d(4, 4, 3), (4, 9, 9), choices=_FOUR),
    Case(
        *("tflm_esp_nn", "esp_no_int4_depthwise_conv_2d", lambda: nn.Conv2d(4, 4, 3, groups=4), (4, 9, 9)),
        choices=_FOUR,
    ),
    Case("tflm_esp_nn", "esp_no_int4_fully_connected", lambda: nn.Linear(8, 2), (8,), choices=_FOUR),
]


def _that_has(fault: Fault) -> tuple[Edition, str]:
    """The newest edition here with a fault, and a processor; or one of its days, where all here are newer."""
    library = cast("Library", fault.where.removeprefix("tflm_"))
    cpu = (*fault.cores, "cortex-m4" if library == "cmsis_nn" else "xtensa-s3")[0]
    here = [each for each in EDITIONS.values() if fault.is_in(each, cpu)]
    if here:
        return here[-1], cpu
    assert fault.until
    day = fault.until - timedelta(1)
    return Edition("then", "of its days", day, library, day), cpu


def _words(fault: Fault, model: bytes) -> list[str]:
    """What of a file's operators meets a fault, on any day."""
    found = [each for each in operators(read_contents(model)) if each.name in fault.operators]
    return [words for each in found if (words := fault.holds(each))]


@pytest.mark.sweep
@pytest.mark.parametrize("case", [*_CMSIS, *_ESP], ids=lambda case: f"{case.where} {case.fault} {case.ends}")
def test_an_export_keeps_clear_of_a_fault_or_says_so(case: Case) -> None:
    fault = _FAULTS[(case.where, case.fault)]
    torch.manual_seed(0)
    x = torch.randn(4, *case.shape)
    qat = qtorch.quantize(case.network().eval(), x, qtorch.QuantizationConfig(**case.choices))
    graph = zero_biases(integer_graph(qat))
    model, (edition, cpu) = write_tflite(graph), _that_has(fault)
    assert bool(_words(fault, model)) is (case.ends != "never")
    if case.ends != "never":
        assert faults_in(model, edition, cpu), "lint says it of the plain file"
    other = avoided(graph, edition, cpu)
    assert bool(other.left) is (case.ends == "refused")
    if case.ends != "refused":
        assert not _words(fault, write_tflite(other.graph))


def test_every_fault_has_a_network() -> None:
    assert {(case.where, case.fault) for case in (*_CMSIS, *_ESP)} == set(_FAULTS) - _OF_FILES


def _left_over(model: bytes, stride: int) -> list[int]:
    """Columns behind the last window of each convolution that Helium's kernel of rows computes.

    Of int16 there is no such kernel; of int8 it is taken where a step is a multiple of four codes.
    """
    found = []
    for subgraph in read_contents(model).subgraphs:
        for each in subgraph.operators:
            if each.name != "CONV_2D":
                continue
            (_, rows, width, channels), (_, height, taps, _) = (subgraph.tensors[i].shape for i in each.inputs[:2])
            windows = subgraph.tensors[each.outputs[0]].shape[2]
            of_int8 = subgraph.tensors[each.inputs[0]].dtype == "int8"
            if rows == height == 1 < taps and of_int8 and stride * channels % 4 == 0:
                found.append(max(0, width - taps - (windows - 1) * stride))
    return found


@pytest.mark.sweep
@pytest.mark.parametrize("choices", [{}, _WIDE], ids=["int8", "int16"])
def test_no_strided_row_for_a_helium_board_has_a_column_left_over(choices: Mapping[str, Any]) -> None:
    """40 shapes that are drawn, by plain arithmetic; a board's build can be given CMSIS-NN by a switch."""
    boards = {(each.edition, each.cpu) for each in BOARDS.values() if each.tflm and each.cpu[-2:] in ("55", "85")}
    assert len(boards) > 2
    draw, plain, wrong = random.Random(0), 0, []
    for seed in range(40):
        taps, stride, length = draw.randrange(2, 10), draw.randrange(2, 5), draw.randrange(10, 130)
        channels, padding = draw.choice((1, 2, 3, 4, 8)), draw.randrange(taps // 2 + 1)
        torch.manual_seed(seed)
        x, net = torch.randn(4, channels, length), nn.Conv1d(channels, 4, taps, stride, padding).eval()
        graph = zero_biases(integer_graph(qtorch.quantize(net, x, qtorch.QuantizationConfig(**choices))))
        plain += any(_left_over(write_tflite(graph), stride))
        for name, cpu in boards:
            model = write_tflite(avoided(graph, edition(name), cpu).graph)
            if any(_left_over(model, stride)) or faults_in(model, edition("tflm-cmsis-nn"), cpu):
                wrong.append((name, taps, stride, length, channels, padding))
    assert not wrong
    assert plain > 5 or choices
