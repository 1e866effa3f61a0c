"""Calls that compute nothing are dropped, and nothing else is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from qtorch.capture.compositions.table import same_shape
from qtorch.capture.identities import drop_identities
from tests.exported_calls import IMAGE, Calls, Case, check, exported, operators

IDENTITIES: dict[str, Case] = {
    "conversions": (lambda s, x: x.to(torch.float32).to("cpu").type_as(x).float().to(x), IMAGE),
    "copies": (lambda s, x: x.contiguous().clone(), IMAGE),
    "permuted copy": (lambda s, x: x.permute(0, 2, 3, 1).contiguous().view(x.shape[0], -1), IMAGE),
    "dropouts": (lambda s, x: F.alpha_dropout(F.dropout2d(F.dropout(x, 0.5, s.training), 0.3, False), 0.1), IMAGE),
    "slices": (lambda s, x: x[:, :, :8][:, 0:], IMAGE),
    "shapes": (lambda s, x: x.view(x.shape).expand_as(x).expand(-1, 4, 8, 8).flatten(1, 1).repeat(1, 1, 1, 1), IMAGE),
    "movements": (lambda s, x: F.pad(x.permute(0, 1, -2, -1).transpose(1, -3).roll(0, 1), (0, 0)), IMAGE),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_an_identity_is_dropped(name: str) -> None:
    function, shape = IDENTITIES[name]
    traced = check(Calls(function), shape, drop_identities)
    assert set(operators(traced)) <= {"permute", "reshape", "sym_size"}


def test_what_is_no_identity_stays() -> None:
    calls = {
        "add": lambda s, x: x + 0.5, "sub": lambda s, x: x - 0.5, "div": lambda s, x: x.sigmoid() / x,
        "to": lambda s, x: x.to(torch.float64), "expand": lambda s, x: x[:, :1].expand(-1, 4, -1, -1),
        "dropout": lambda s, x: F.dropout(x, 0.5, True), "transpose": lambda s, x: x.transpose(2, 3),
        "permute": lambda s, x: x.permute(0, 1, 3, 2), "slice": lambda s, x: x[:, 1:],
        "detach": lambda s, x: x.detach(),
        "roll": lambda s, x: x.roll(1, 1), "mul": lambda s, x: x[:, :1] * torch.ones(4, 1, 1), "pow": lambda s, x: x**2,
    }  # fmt: skip
    for name, function in calls.items():
        traced = exported(Calls(function), IMAGE)
        before = operators(traced)
        drop_identities(traced)
        assert name in operators(traced), name
        assert name in before, name


def test_a_size_like_the_example_batch_is_not_the_batch() -> None:
    """Shapes that are the same for a batch of two alone differ, and the batch stays any."""
    traced = exported(Calls(lambda s, x: x.relu()), IMAGE)
    batch, *image = next(node for node in traced.graph.nodes if node.op == "placeholder").meta["val"].shape
    assert not same_shape((batch, *image), (2, *image))
    assert same_shape((batch, *image), (batch, *image))
    assert not str(batch).isdigit()
