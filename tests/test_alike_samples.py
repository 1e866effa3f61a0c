"""What is the same for every sample, as queries that a decoder learns: computed once, whatever drops out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qtorch
from tests.exact_networks import require_exact


class Decoded(nn.Module):
    """A few answers that learned queries ask a sequence for, by torch's own layers."""

    def __init__(self, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, 3, 8))
        layer = nn.TransformerDecoderLayer(8, 2, 16, dropout, batch_first=True)
        self.decoder, self.answer = nn.TransformerDecoder(layer, layers), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.decoder(self.queries.repeat(len(x), 1, 1), x)).squeeze(-1)


class Detected(nn.Module):
    """The same with time in front of the batch, and places added to the sequence, as in detection."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.places = nn.Parameter(torch.randn(3, 8)), nn.Parameter(torch.randn(6, 1, 8))
        self.transformer, self.answer = nn.Transformer(8, 2, 1, 1, 16), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.queries.unsqueeze(1).repeat(1, len(x), 1)
        return self.answer(self.transformer(self.places + x.transpose(0, 1), queries)).squeeze(-1).t()


class Slots(nn.Module):
    """Learned slots that share out a sequence among them, each updated by a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.slots, self.cell = nn.Parameter(torch.randn(1, 3, 8)), nn.GRUCell(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        slots = self.slots.expand(len(x), -1, -1)
        for _ in range(2):
            shares = (slots @ x.mT).softmax(1)
            slots = self.cell((shares @ x).reshape(-1, 8), slots.reshape(-1, 8)).view(-1, 3, 8)
        return slots


class Learned(nn.Module):
    """A function of learned tokens and of an input."""

    def __init__(self, function: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.tokens, self.norm, self.dropout = nn.Parameter(torch.randn(1, 5, 8)), nn.LayerNorm(8), nn.Dropout(0.3)
        self.linear, self.attention = nn.Linear(8, 8), nn.MultiheadAttention(8, 2, 0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.tokens.expand(len(x), -1, -1), x)


FORMS: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "dropped": lambda s, tokens, x: s.dropout(tokens) + x,
    "normalized behind a dropout": lambda s, tokens, x: s.norm(s.dropout(tokens)) * x,
    "attending themselves": lambda s, tokens, x: s.attention(tokens, tokens, tokens)[0] + x,
    "attending themselves, and then the input": lambda s, tokens, x: s.attention(
        s.norm(tokens + s.dropout(s.attention(tokens, tokens, tokens)[0])), x, x
    )[0],
    "one of another": lambda s, tokens, x: (y := s.norm(tokens)) + s.linear(y) @ (x.mT @ x),
}


#: Of dropouts that are functions, in attention, all or none are kept.
_SAID = pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else")


@_SAID
@pytest.mark.tflm
@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_exact(name: str) -> None:
    torch.manual_seed(0)
    require_exact(Learned(FORMS[name]).eval(), torch.randn(16, 5, 8))


@_SAID
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.tflm
@pytest.mark.parametrize("made", [Decoded, Detected, Slots])
def test_a_network_of_learned_queries_is_exact(made: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    require_exact(made().eval(), torch.randn(16, 6, 8))


def test_queries_train_without_their_dropout() -> None:
    """Said, and what drops out of what depends on the input goes on doing it."""
    torch.manual_seed(0)
    net, x = Decoded(1, 0.5).train(), torch.randn(4, 6, 8)
    with pytest.warns(UserWarning, match="in training"):
        prepared = qtorch.prepare(net, x[:1])
    assert not torch.equal(prepared(x), prepared(x))
    prepared(x).sum().backward()
    assert net.queries.grad is not None
    assert float(net.queries.grad.abs().sum()) > 0


class Text(nn.Module):
    """A function of tokens and of what is the same for all of them."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.token, self.kind = nn.Embedding(20, 8), nn.Embedding(9, 8)
        self.linear, self.cell = nn.Linear(8, 8), nn.GRUCell(8, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(self.function(self, tokens))


def _from_zeros(net: Any, tokens: Tensor) -> Tensor:
    state, x = torch.zeros(len(tokens), 8), net.token(tokens)
    for time in range(6):
        state = net.cell(x[:, time], state)
    return state


TEXTS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a mask of ones": lambda s, tokens: s.token(tokens) * torch.ones(tokens.shape)[..., None],
    "a mask like the tokens": lambda s, tokens: s.token(tokens) * torch.ones_like(tokens)[..., None],
    "a summand of a mask": lambda s, tokens: s.token(tokens) + (1.5 - torch.ones_like(tokens)[:, :, None]) * 2.0,
    "one kind of token": lambda s, tokens: s.token(tokens) + s.kind(torch.zeros_like(tokens)),
    "another kind": lambda s, tokens: s.token(tokens) + s.kind(torch.full_like(tokens, 3)),
    "zeros of a shape": lambda s, tokens: s.token(tokens) + s.kind(torch.zeros(tokens.shape, dtype=torch.long)),
    "places from one on": lambda s, tokens: s.token(tokens) + s.kind(torch.arange(6).repeat(len(tokens), 1) + 1),
    "kinds that are compared": lambda s, tokens: torch.where(
        (k := torch.zeros_like(tokens))[:, :, None].eq(k[:, None]).any(-1, True), s.token(tokens), s.kind(k)
    ),
    "time in front": lambda s, tokens: s.token(tokens.t()).transpose(0, 1),
    "a cell from zeros": _from_zeros,
}


@pytest.mark.tflm
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_exact(name: str) -> None:
    torch.manual_seed(0)
    require_exact(Text(TEXTS[name]).eval(), torch.randint(0, 20, (16, 6)))
