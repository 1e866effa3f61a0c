"""Code that writes into tensors, and what it shows afterwards: the module itself says what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from qtorch.errors import BadInput
from tests.between import Between, Function, X


def add_in_place(net: Between, y: Tensor) -> Tensor:
    z = y
    z += 1.0
    return z + y


def slice_in_place(net: Between, y: Tensor) -> Tensor:
    z = y[:, 2:4]
    z += 1.0
    return y * 2


class LateWrite(nn.Module):
    """Writes into what it returns a view of."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x * x
        z = y[:, 1::2]
        w = y
        w += 1.0
        return z, w


def test_what_was_returned_shows_what_was_written_later() -> None:
    qat = qtorch.prepare(LateWrite(), X[:1])
    assert all(torch.equal(*pair) for pair in zip(qat(X), LateWrite()(X), strict=True))


def chunk_in_place(net: Between, y: Tensor) -> Tensor:
    a, _ = y.chunk(2, 1)
    a.mul_(2.0)
    return y * 2


def parted_behind_a_write(net: Between, y: Tensor) -> Tensor:
    z = F.leaky_relu(y, 0.1, inplace=True)
    part = z.chunk(2, 1)[1]
    y *= -2.0
    return torch.cat([part, z], 1)[:, :8]


def transposed_in_place(net: Between, y: Tensor) -> Tensor:
    y.view(-1, 2, 4).transpose(1, 2).add_(1.0)
    return y * 2


def flattened_in_place(net: Between, y: Tensor) -> Tensor:
    z = F.relu(net.flatten(y), inplace=True)
    return y + z


def set_in_place(net: Between, y: Tensor) -> Tensor:
    y = y.clone()
    y[:, 3] = y[:, 0] * 2
    y[:, 5:] = 0.0
    y.view(-1, 2, 4)[:, 1, 1:3] -= y[:, :2]
    return y


def every_other_in_place(net: Between, y: Tensor) -> Tensor:
    y[:, ::2] += 1.0
    y[:, 1::3] = y[:, :3] * 2
    y[:, [7, 0]] = 0.5
    return y


def viewed_in_place(net: Between, y: Tensor) -> Tensor:
    before = y[:, 1::2].mean(1, keepdim=True)
    after = y[:, 1::2]
    y.add_(1.0).clamp_(min=0)
    y.unsqueeze(1).permute(0, 2, 1)[:, 2:4].mul_(3.0)
    return y * before + after.mean(1, keepdim=True)


@pytest.mark.parametrize(
    "function",
    [
        add_in_place,
        slice_in_place,
        chunk_in_place,
        parted_behind_a_write,
        transposed_in_place,
        flattened_in_place,
        set_in_place,
        viewed_in_place,
        every_other_in_place,
    ],
)
def test_a_value_that_is_written_in_place_is_what_pytorch_makes_of_it(function: Function) -> None:
    net = Between(function)
    # Parts of a tensor are not to be written to where there are gradients, as PyTorch says.
    with torch.no_grad():
        assert torch.allclose(qtorch.prepare(net, X[:1])(X), net(X), atol=1e-5)


def every_other_sample_in_place(net: Between, y: Tensor) -> Tensor:
    y[::2] += 1.0
    return y


def expanded_in_place(net: Between, y: Tensor) -> Tensor:
    torch.zeros(1, 8).expand(2, 8).mul_(2.0)
    return y


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (every_other_sample_in_place, r"y\[::2\] \+= 1\.0.*every 2\. sample"),
        (expanded_in_place, r"torch\.zeros\(1, 8\)"),
    ],
)
def test_a_write_that_has_no_value_is_refused_by_line(function: Function, words: str) -> None:
    with pytest.raises(BadInput, match=rf"test_in_place\.py:\d+: .*{words}.*Remedy"):
        qtorch.prepare(Between(function), X[:1])
