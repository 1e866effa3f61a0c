"""What combinations of parts had broken: each against the user's own module, or refused in words."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qtorch
from export.forms.onnx.parity import verified_onnx
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.capture.compositions import windows
from qtorch.errors import BadModelFile, UnsupportedLayer
from tests.module_oracle import verdict
from tests.random_drawing import draw


class Through(nn.Module):
    """A function behind a layer."""

    def __init__(self, function: Callable[..., Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.function = layer or nn.Identity(), function

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(self.layer(x[0]), *x[1:])


def unfolded(x: Tensor) -> Tensor:
    return F.unfold(x, (2, 2), 1, (0, 1), (2, 3))


def folded(x: Tensor) -> Tensor:
    patches = F.unfold(x, (3, 1), 1, (1, 0), (3, 1))
    return F.fold(patches, (11, 10), (3, 1), 1, (1, 0), (3, 1))


@pytest.mark.tflm
@pytest.mark.parametrize(
    ("function", "layer", "shape"),
    [
        # A composition's pad behind another composition: the batch's size stays open there.
        (unfolded, nn.LayerNorm(10), (2, 9, 10)),
        (unfolded, nn.ConvTranspose2d(2, 2, 2, groups=2), (2, 4, 5)),
        # Patches side by side whose padding is cut off again, on one side or both.
        (folded, None, (5, 11, 10)),
        (lambda x: F.fold(F.unfold(x, 2, 1, 1, 2), (6, 8), 2, 1, 1, 2), None, (3, 6, 8)),
        (lambda x: F.fold(F.unfold(x, 2, 1, 1, 2), (7, 9), 2, 1, 1, 2), None, (3, 7, 9)),
    ],
    ids=["unfold behind a norm", "unfold behind groups", "fold of rows", "fold cut all round", "fold cut and filled"],
)
def test_windows_behind_compositions(
    function: Callable[..., Tensor], layer: nn.Module | None, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    net, x = Through(function, copy.deepcopy(layer)).eval(), torch.randn(6, *shape)
    qat = qtorch.prepare(net, x[:1])
    assert torch.allclose(qat(x), net(x), atol=1e-5)
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    parity(graph, write_tflite(graph), corner_codes(graph, 8), qat.eval())


def noise(x: Tensor) -> Tensor:
    """Nothing but rounding: means of what a norm has made a mean of 0, brought to length 1."""
    y = F.layer_norm(x, (2,))
    return F.normalize((y.mT @ y).mean((2,)), dim=-1)


@pytest.mark.parametrize("seed", [3000584, 5001167, 5050164, 5050231])
def test_what_is_nothing_but_rounding_is_no_difference(seed: int) -> None:
    """Sums that cancel to exactly 0 in one order, of which a length, a sign or a comparison is taken."""
    assert verdict(draw(seed)).startswith(("same", "unjudged"))


def test_rounding_in_one_number_excuses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside such numbers a composition that computes something else is found as ever."""
    original = windows.every

    def wrong(x: object, *arguments: object) -> object:
        return torch.ops.aten.mul.Tensor(original(x, *arguments), 1.01)

    def both(x: Tensor) -> Tensor:
        return torch.cat([noise(x), x.unfold(1, 2, 1).flatten(1)], 1)

    x = torch.randn(8, 3, 2)
    qtorch.prepare(Through(both), x[:1])
    monkeypatch.setattr(windows, "every", wrong)
    with pytest.raises(UnsupportedLayer, match="computes in float what the network does"):
        qtorch.prepare(Through(both), x[:1])


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        y: Tensor = self.attention(x, x, x, key_padding_mask=padding, need_weights=False)[0]
        return y


def test_a_mask_that_is_an_input_is_numbers() -> None:
    """True forbids, and 1 is added: what a device gets are numbers."""
    x, some = torch.randn(4, 5, 8), torch.arange(5) > 2
    with pytest.raises(UnsupportedLayer, match=r"input 'padding' of Padded.*torch\.bool.*added to scores"):
        qtorch.prepare(Padded(), (x, some.expand(4, 5)))
    added = torch.where(some, -8.0, 0.0).expand(4, 5)
    net = Padded().eval()
    qat = qtorch.prepare(net, (x, torch.zeros(4, 5))).eval()
    assert torch.allclose(qat(x, added), net(x, added), atol=1e-5)


def test_booleans_that_are_computed_with_are_numbers() -> None:
    x, kept = torch.randn(4, 5, 8), torch.rand(4, 5) < 0.5
    net = Through(lambda x, kept: x * kept.float().unsqueeze(-1))
    qat = qtorch.prepare(net, (x[:1], kept[:1]))
    assert torch.equal(qat(x, kept), net(x, kept))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=(torch.arange(5) != 2)[:, None].expand(5, 5)),
        lambda x: (x @ x.mT).masked_fill((torch.arange(5) == 2)[:, None], -torch.inf).softmax(-1) @ x,
        lambda x: (x @ x.mT + torch.where(torch.arange(5) == 2, -torch.inf, 0.0)[:, None]).softmax(-1) @ x,
    ],
    ids=["attention", "filled", "added"],
)
def test_a_row_of_scores_that_is_all_forbidden_is_refused(function: Callable[..., Tensor]) -> None:
    with pytest.raises(UnsupportedLayer, match="leaves each query one key") as refused:
        qtorch.prepare(Through(function), torch.randn(1, 5, 8))
    assert "a row that forbids all of them" in str(refused.value)


def test_a_file_that_onnx_runtime_does_not_load_is_refused_in_words() -> None:
    """As its version 1.31 does not: zeros beside a stride, reshaped, in front of a layer."""
    if not pytest.importorskip("onnxruntime").__version__.startswith("1.31."):
        pytest.skip("a version that may load it")

    def strided(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, ::2] = 0
        return F.linear(x, torch.ones(3, 6), torch.ones(3))

    torch.manual_seed(0)
    x = torch.randn(20, 10, 6)
    qat = qtorch.prepare(Through(strided), x[:1])
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    with pytest.raises(BadModelFile, match="leave onnx out"):
        verified_onnx(graph, "strided", corner_codes(graph, 8))
