"""What of a network can be prepared: a call, an output or an option that can not is refused by name, with a remedy."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from qtorch import Mode
from qtorch.errors import BadConfiguration, NotFinite, UnsupportedLayer
from tests.between import Between, X


class Calls(nn.Module):
    """One function of one image ``[N, 4, 6, 6]``."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(x)


class Recurrent(nn.Module):
    """A layer over so many numbers of such an image, and the last of its states that is asked for."""

    def __init__(self, kind: type[nn.RNNBase], steps: int, state: int = 0, *, pack: bool = False) -> None:
        super().__init__()
        self.layer, self.steps, self.state, self.pack = kind(1, 2, batch_first=True), steps, state, pack

    def forward(self, x: Tensor) -> Tensor:
        given = torch.cat([x.flatten(1)] * 2, 1)[:, : self.steps, None]
        if self.pack:
            lengths = torch.full((x.shape[0],), self.steps)
            given = nn.utils.rnn.pack_padded_sequence(given, lengths, batch_first=True)
        last = self.layer(given)[1]
        return (last[self.state] if isinstance(last, tuple) else last)[0]


def in_place_view(x: Tensor) -> Tensor:
    y = x * 2
    y.flatten(1).mul_(3)
    return F.relu(y)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (nn.BatchNorm2d(4, track_running_stats=False), ["track_running_stats"]),
        (nn.Upsample(size=(1110, 6), mode="bilinear"), ["inside the image", "1024"]),
        (Calls(lambda x: x.transpose(0, 1)), ["batch", "test_prepare_refusals.py", "transpose"]),
        (Calls(lambda x: x.reshape(1, -1)), ["batch axis", "flatten(1)", "test_prepare_refusals.py"]),
        (Calls(lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, -1, 1))), ["at least 0"]),
        (Calls(lambda x: x[:, ::2][1:]), ["batch axis"]),
        (Calls(lambda x: x[:, 3:1]), ["element", "(2, 0, 6, 6)"]),
        (Calls(lambda x: x.narrow(1, 1, 0)), ["element", "(2, 0, 6, 6)"]),
        (Calls(lambda x: x.mean()), ["dim=None"]),
        (Calls(lambda x: x[:, 0, 0] @ x[:, 0]), ["one rank", "unsqueeze"]),
        (Calls(lambda x: x[:, :2] + x.mean(1)), ["batches of any size", "unsqueeze"]),
        (Calls(lambda x: x.double()), ["float32 is the type of networks"]),
        (Calls(lambda x: x > 0), ["gt", "no comparison"]),
        (Calls(lambda x: torch.div(x, x.relu() + 1, rounding_mode="floor")), ["div", "rounding"]),
        (Calls(lambda x: x / 0), ["div", "divided by zero"]),
        (Calls(lambda x: F.mse_loss(x, x)), ["mse_loss", "training step"]),
        (Calls(lambda x: F.smooth_l1_loss(x, x)), ["smooth_l1_loss", "training step"]),
        (Calls(lambda x: F.pairwise_distance(x, x, p=-3)), ["pairwise_distance, which comes to linalg_vector_norm"]),
        (Calls(lambda x: F.grid_sample(x, x[:, :2].movedim(1, -1))), ["grid_sample, which comes to", "pixels"]),
        (Calls(lambda x: x if x.sum() > 0 else -x), ["control flow"]),
        (Calls(lambda x: torch.stack([y.relu() for y in x])), ["one sample of it", "without a loop over them"]),
        (
            Calls(lambda x: torch.stack([x[i] * 2 for i in range(x.shape[0])])),
            ["one sample of it", "without a loop over them"],
        ),
        (Calls(lambda x: x[0]), ["one sample of it", "stay in one tensor"]),
        (Recurrent(nn.GRU, 65), ["at most 64 steps", "65 steps", "nn.LSTM"]),
        (Recurrent(nn.RNN, 193), ["at most 192 steps", "193 steps"]),
        (Recurrent(nn.LSTM, 65, 1), ["at most 64 steps", "65 steps", "c_n"]),
        (Recurrent(nn.GRU, 36, pack=True), ["packed by their lengths", "padded tensor"]),
        (Calls(lambda x: x.mean(())), ["dim=[]"]),
        (Calls(lambda x: F.leaky_relu(x, 5.0)), ["slope"]),
        (Calls(lambda x: x.view(-1, 2, 2, 2, 3, 6).mean((1, 3, 5))), ["at most 5 axes", "6"]),
        (Calls(lambda x: x.view(-1, 2, 2, 2, 1, 1, 1, 3, 6)), ["at most 8 axes", "9"]),
        (Calls(lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4))), ["nn.BatchNorm2d"]),
    ],
)
def test_what_can_not_be_exported_is_refused_by_name_with_a_remedy(net: nn.Module, words: list[str]) -> None:
    with pytest.raises((UnsupportedLayer, BadConfiguration)) as error:
        qtorch.prepare(nn.Sequential(net), torch.zeros(2, 4, 6, 6))
    # The person's own line has such words as well.
    where = error.value.where.partition(".py:")[0] + ".py" * (".py:" in error.value.where)
    said = " ".join([where, error.value.expected, error.value.got, error.value.remedy])
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    "net",
    [
        nn.GLU(1),
        nn.Softmax(1),
        nn.ConvTranspose2d(4, 4, 3, groups=2),
        nn.AdaptiveAvgPool2d(4),
        nn.Upsample(scale_factor=1.7),
        Calls(lambda x: F.lp_pool3d(x.unsqueeze(1), 2, 2)),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        Calls(lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
        Calls(lambda x: F.pad(x.unsqueeze(2), (1, 1, 1, 1, 0, 0), mode="replicate")),
        Calls(lambda x: x.unsqueeze(2)[:, 1:3].narrow(3, 2, 2)),
        Calls(lambda x: torch.split(x, [1, 3], 1)[0]),
        Calls(lambda x: torch.add(x, x, alpha=2)),
        Calls(lambda x: x / 3),
        Calls(lambda x: torch.cat([x] * 11, 1)),
        Calls(lambda x: F.relu(x[:, :, None])),
        Calls(lambda x: x.mean(1, keepdims=True)),
        Calls(lambda x: torch.max(x, 1)[0]),
        Calls(lambda x: x.clamp(x * 2, None)),
        Calls(lambda x: x * 2 + F.relu(x, inplace=True) + x),
        Calls(lambda x: x.add_(1) + x),
        Calls(in_place_view),
        Calls(lambda x: torch.empty_like(x).fill_(2.0) * x),
        Calls(lambda x: x + torch.empty(6, 6).zero_()),
        Calls(lambda x: torch.mul(*torch.broadcast_tensors(x, x.mean(1, keepdim=True)))),
    ],
)
def test_calls_that_come_to_what_rows_stand_for_are_not_refused(net: nn.Module) -> None:
    torch.manual_seed(0)
    x, net = torch.randn(3, 4, 6, 6), nn.Sequential(net)
    torch.testing.assert_close(qtorch.prepare(net, x[:1].clone())(x.clone()), net(x.clone()), rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_random_in_training_is_prepared_with_a_warning() -> None:
    net, x = nn.Sequential(nn.RReLU()).eval(), torch.randn(3, 4, 6, 6)
    with pytest.warns(UserWarning, match=r"in training .* something else .*rrelu"):
        prepared = qtorch.prepare(net, x[:1])
    torch.testing.assert_close(prepared(x), net(x))


@pytest.mark.parametrize(
    "net", [nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(1), nn.ConvTranspose2d(4, 2, 2), Calls(lambda x: F.max_pool2d(x, 2))]
)
def test_a_tensor_that_pytorch_takes_for_one_without_a_batch_is_refused(net: nn.Module) -> None:
    with pytest.raises(UnsupportedLayer, match=r"4 axes.*no batch.*Remedy"):
        qtorch.prepare(nn.Sequential(net), torch.zeros(4, 4, 6))


def test_in_place_calls_that_nothing_notices() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            y = self.act(self.conv(x))
            y += x
            return self.act(y).clamp_(min=0)

    net, x = Residual(), torch.randn(5, 4, 6, 6)
    assert torch.allclose(qtorch.prepare(net, x[:1])(x.clone()), net(x.clone()), atol=1e-6)


def test_inputs_that_nothing_reads_and_outputs_that_are_no_tensors_are_refused() -> None:
    class TwoInputs(nn.Module):
        def forward(self, x: Tensor, unused: Tensor) -> Tensor:
            return F.relu(x)

    with pytest.raises(UnsupportedLayer, match="unused"):
        qtorch.prepare(TwoInputs(), (torch.zeros(1, 2), torch.zeros(1, 2)))
    with pytest.raises(BadConfiguration, match=r"expected float32.*float64"):
        qtorch.prepare(nn.Linear(2, 2).double(), torch.zeros(1, 2, dtype=torch.float64))
    with pytest.raises(UnsupportedLayer, match=r"output.*got int"):
        qtorch.prepare(Calls(lambda x: x.shape[1]), torch.zeros(1, 2))


@pytest.mark.parametrize("constant", [lambda p: p, lambda p: F.dropout(p.clone(), training=False)])
def test_outputs_that_are_constants_are_refused(constant: Callable[[Tensor], Tensor]) -> None:
    class WithConstant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.randn(1, 2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return F.relu(x) + constant(self.p), constant(self.p)

    with pytest.raises(
        UnsupportedLayer, match=r"output '\w+': expected outputs that depend on an input, got a constant"
    ):
        qtorch.prepare(WithConstant(), torch.zeros(1, 2))


def test_bad_inputs() -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(BadConfiguration, match=r"\(1, 5\)"):
        qtorch.prepare(net, torch.zeros(1, 5))
    with pytest.raises(BadConfiguration, match="calibrate"):
        qtorch.set_mode(qtorch.prepare(net, torch.zeros(1, 2)), Mode.QUANTIZED)
    with pytest.raises(BadConfiguration, match="prepare"):
        qtorch.set_mode(net, Mode.QUANTIZED)
    with pytest.raises(BadConfiguration, match="batch"):
        qtorch.calibrate(qtorch.prepare(net, torch.zeros(1, 2)), [])
    with pytest.raises(NotFinite, match="calibration"):
        qtorch.calibrate(qtorch.prepare(net, torch.zeros(1, 2)), [torch.tensor([[1.0, float("nan")]])])
    with torch.no_grad():
        net.weight[0, 0] = float("inf")
    with pytest.raises(NotFinite, match="weight"):
        qtorch.prepare(net, torch.zeros(1, 2))
    with pytest.raises(BadConfiguration, match="margin"):
        qtorch.QuantizationConfig(margin=2)


@pytest.mark.parametrize(
    "call",
    [
        lambda net: qtorch.freeze_batch_norm(net),
        lambda net: qtorch.set_mode(net, Mode.FLOAT),
        lambda net: qtorch.calibrate(net, [torch.zeros(2, 3)]),
    ],
)
def test_the_float_network_itself_is_neither_calibrated_nor_frozen(call: Callable[[nn.Module], None]) -> None:
    """It shares its weights with what was prepared, and not what that is told."""
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    qat = qtorch.prepare(net, torch.zeros(2, 3))
    with pytest.raises(BadConfiguration, match=r"expected a prepared network, got Sequential.*not net itself"):
        call(net)
    call(qat)


@pytest.mark.parametrize("pattern", ["nosuch", "1"])
def test_a_configured_layer_that_does_not_exist_is_refused(pattern: str) -> None:
    """Layer 1 is a batch norm: it is folded into layer 0."""
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU())
    words = re.escape(f"layers['{pattern}']") + ".*one of 0, input_1.*Remedy"
    with pytest.raises(BadConfiguration, match=words):
        qtorch.prepare(net, torch.zeros(1, 3), qtorch.QuantizationConfig(layers={pattern: {"margin": 0.1}}))
    known = qtorch.QuantizationConfig(layers={"0": {"margin": 0.1}, "input*": {"margin": 0.2}})
    qtorch.prepare(net, torch.zeros(1, 3), known)


def test_what_torch_tried_in_vain_is_not_logged_beside_the_refusal(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("torch._subclasses.fake_tensor")
    log.addHandler(caplog.handler)
    try:
        with pytest.raises(UnsupportedLayer, match=r"batches of any size.*[^.]\. Remedy"):
            qtorch.prepare(Between(lambda net, y: y.view(1, -1)), X[:1])
    finally:
        log.removeHandler(caplog.handler)
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
