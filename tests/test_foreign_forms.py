"""How libraries write what rows stand for: the user's own module is the oracle in float, TFLite Micro in integers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite

LENGTH, WIDTH = 7, 16
KINDS = torch.tensor([[0, 1, 1, 0, 2, 2, 0, 0, 1]])


class Written(nn.Module):
    """A sequence ``[batch, 7, 16]`` through a layer, and a function of the module and of what it gives."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.first, self.table = nn.Linear(WIDTH, WIDTH), nn.Embedding(3, WIDTH)
        self.register_buffer("kinds", KINDS)
        self.register_buffer("strides", torch.tensor([8.0, 16.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.first(x))


def kinds_of_tokens(s: Written, x: Tensor) -> Tensor:
    batch, length, _ = x.shape
    kinds = torch.gather(s.kinds, 1, torch.arange(length)[None]).expand(batch, length)
    return x + s.table(kinds)


def attended(x: Tensor, mask: Tensor) -> Tensor:
    heads = x.unflatten(2, (2, WIDTH // 2)).transpose(1, 2)
    return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask).transpose(1, 2).flatten(2)


def nothing_masked(s: Written, x: Tensor) -> Tensor:
    """A mask that hides nothing, in the size of the batch, as transformers write it for whole sequences."""
    batch, length, _ = x.shape
    kept = (torch.arange(length) >= 0)[None, None, :, None].expand(batch, -1, length, length)
    return attended(x, kept)


def masked_in_columns(s: Written, x: Tensor) -> Tensor:
    batch, length, _ = x.shape
    kept = (torch.arange(length) < 5)[None, None, None, :].expand(batch, -1, length, length)
    return attended(x, kept)


def places_in_its_type(s: Written, x: Tensor) -> Tensor:
    places = torch.arange(x.shape[1]).type_as(x) + 0.5
    return x * 0.1 + places[:, None] / 7


def strides_in_its_type(s: Written, x: Tensor) -> Tensor:
    strides = torch.cat([x.new_full((1, 1, 4), s.strides[0]), x.new_ones(1, 1, 12), x.new_zeros(1, 1, 0)], 2)
    return x * strides


def ones_behind(s: Written, x: Tensor) -> Tensor:
    """The column that linear attention gets its sums by."""
    return F.pad(x, (0, 1), value=1.0).transpose(1, 2) @ x


def numbers_around(s: Written, x: Tensor) -> Tensor:
    return F.pad(x.relu(), (1, 2, 3, 0, 0, 0), mode="constant", value=-2.5)


def unit_vectors_of_five_axes(s: Written, x: Tensor) -> Tensor:
    return F.normalize(x.view(-1, LENGTH, 2, 2, 4), dim=-1).flatten(2)


def unit_vectors_along_the_third_of_five(s: Written, x: Tensor) -> Tensor:
    return F.normalize(x.view(-1, LENGTH, 2, 2, 4), dim=2).flatten(2)


FORMS = [
    kinds_of_tokens,
    nothing_masked,
    masked_in_columns,
    places_in_its_type,
    strides_in_its_type,
    ones_behind,
    numbers_around,
    unit_vectors_of_five_axes,
    unit_vectors_along_the_third_of_five,
]


def prepared(net: nn.Module) -> Any:
    x = torch.randn(64, LENGTH, WIDTH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = qtorch.prepare(net, x[:1])
    net.eval()
    qtorch.set_mode(network.eval(), qtorch.Mode.FLOAT)
    with torch.no_grad():
        torch.testing.assert_close(network(x), net(x), rtol=1e-4, atol=1e-5)
    qtorch.calibrate(network, [x])
    return network


def judged(network: Any) -> Graph:
    graph = integer_graph(network)
    codes = tuple(array[-20:] for array in corner_codes(graph, 20))
    assert parity(graph, write_tflite(graph), codes, network.eval()).engines["tflm"].exact_share == 1.0
    return graph


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_what_is_exported_is_what_the_network_computes(form: Callable[[Any, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    judged(prepared(Written(form).train()))


def test_a_mask_that_hides_nothing_costs_nothing() -> None:
    torch.manual_seed(0)
    masked, plain = (judged(prepared(Written(form))) for form in (nothing_masked, lambda s, x: attended(x, None)))  # type: ignore[arg-type]
    assert [node.row.name for node in masked.nodes] == [node.row.name for node in plain.nodes]


def test_a_table_that_is_read_at_constant_places_trains() -> None:
    torch.manual_seed(0)
    network = prepared(Written(kinds_of_tokens))
    qtorch.set_mode(network.train(), qtorch.Mode.QUANTIZED)
    network(torch.randn(8, LENGTH, WIDTH)).sum().backward()
    gradients = [p.grad for p in network.parameters() if p.shape == (3, WIDTH)]
    assert gradients
    assert all(each is not None and bool((each != 0).any()) for each in gradients)


def test_corners_are_of_the_first_ten_elements() -> None:
    torch.manual_seed(0)
    graph = judged(prepared(Written(nothing_masked)))
    (codes,) = corner_codes(graph, random=3)
    assert codes.shape == (2**10 + 3, LENGTH, WIDTH)
    assert codes.dtype == np.int8
    corners = codes[: 2**10].reshape(2**10, -1)
    assert len(np.unique(corners[:, :10], axis=0)) == 2**10
    assert set(np.unique(corners[:, :10])) == {-128, 127}
    assert len(np.unique(corners[:, 10:])) == 1
