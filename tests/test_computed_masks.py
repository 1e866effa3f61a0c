"""Masks of scores that are computed of what comes in: exact, and nothing where they forbid."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qtorch
from tests.test_attention import LENGTH, LOWER, WIDTH, exact, prepared
from tests.test_indices import Layers


class ComputedMasks(nn.Module):
    """Scores ``[N, L, L]`` that what comes in forbids, written as people do; and words of no meaning."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 8, 0.0, batch_first=True)

    def forward(self, x: Tensor, off: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        none = torch.full_like(x, -1e9)
        scores = (
            x.masked_fill((off > 1)[:, None], -1e9),
            x.masked_fill(((off > 1).float() == 1).unsqueeze(1), -torch.inf),
            torch.where((off > 1)[:, None].expand(-1, LENGTH, -1), none, x),
            x + torch.zeros_like(off).masked_fill(off > 1, -torch.inf)[:, None],
            x + (1.0 - (off < 1).float()[:, None]) * -10000.0,
            x.masked_fill((off > x[:, 0] + 10)[:, None] | ~LOWER, -1e9),
        )
        weights = tuple(each.softmax(-1) for each in scores)
        return (*weights, self.layer(self.words(words), src_key_padding_mask=words == 0))


@pytest.mark.tflm
def test_masks_that_are_computed_are_exact_and_leave_nothing() -> None:
    torch.manual_seed(0)
    x, off = torch.randn(32, LENGTH, LENGTH), 20.0 * (torch.rand(32, LENGTH) < 0.3)
    words = torch.randint(0, 5, (32, LENGTH))
    off[:, 0], words[:, 0] = 0, 1
    net = ComputedMasks()
    with torch.no_grad():
        *weights, attended = net.eval()(x, off, words)
    qat = prepared(net, x, off, words)
    with torch.no_grad():
        *got, layer = qat(x, off, words)
    for wanted, found in zip(weights, got, strict=True):
        assert bool((wanted == 0).any())
        assert bool((found[wanted == 0] == 0).all())
        assert float((found - wanted).abs().max()) < 0.05
    assert float((layer - attended).abs().max()) < 0.2
    assert [node.op for node in exact(qat).nodes].count("minimum") == 8


def test_a_sum_that_loses_an_operand_is_told() -> None:
    """A mask of numbers takes the scores' grid away; of an operand that is zero, or fine, nothing is lost."""
    x, mask = torch.randn(20, 4), (torch.rand(20, 4) < 0.5).float()

    def scores(call: Callable[[Tensor, Tensor], Tensor]) -> Any:
        return qtorch.prepare(Layers(lambda net, x, mask: call(x.sigmoid(), mask).softmax(1)), (x, mask))

    with pytest.warns(UserWarning, match=r"'add' adds 'mul', .* is 39\.22, and 'sigmoid', .*mask < 0\.5"):
        qtorch.calibrate(scores(lambda x, mask: x + mask * -1e4), [(x, mask)])
    with pytest.warns(UserWarning, match="'sub' adds 'inputs_1', .* is 3.922, and 'sigmoid'"):
        qtorch.calibrate(scores(lambda x, mask: x - mask), [(x, 1e3 * mask)])
    qtorch.calibrate(scores(lambda x, mask: x + mask * 100), [(x, mask)])
    qtorch.calibrate(scores(lambda x, mask: x * 0 + mask * -1e4), [(x, mask)])


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(lambda x, off: x / 4 + off * -1e4, id="added behind a factor"),
        pytest.param(lambda x, off: (x + off * -1e4) / 4, id="added in front of a factor"),
        pytest.param(lambda x, off: (x / 4).masked_fill(off > 0.5, -1e4), id="filled"),
    ],
)
def test_a_number_forbids_in_floats_what_it_does_in_the_network(mask: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Scores that lie further apart than it is large, and rows that it forbids as a whole."""
    torch.manual_seed(0)
    x, off = torch.randn(16, 4, 4), torch.rand(16, 4)
    off[0] = 1
    net = Layers(lambda net, x, off: mask(x, (off > 0.6).float()[:, None]).softmax(-1)).eval()
    for size, weak in ((1.0, False), (5e4, True)):
        qat = qtorch.prepare(net, (size * x, off)).eval()
        torch.testing.assert_close(qat(size * x, off), net(size * x, off))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            qtorch.calibrate(qat, [(size * x, off)])
        assert any("does not suffice" in str(each.message) for each in said) == weak
