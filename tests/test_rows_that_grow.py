"""Images that grow, are cut and turned, and attention, computed row by row: less memory, the same integers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export.boards import board
from export.c.canaries import disjoint, require_sound_plan
from export.c.compiled import c_compiler, run_c
from export.c.division import Room
from export.c.model import c_model
from export.c.network import RowLoop, c_network
from export.c.optimize import Limits
from export.c.source import c_source
from export.graph.interpret import interpret
from qtorch.errors import BadConfiguration
from qtorch.row.image_rows import RowWindow
from tests.test_profile import graph_of
from tests.test_random_c import OPTIONS
from tests.test_random_networks import a_dozen

pytestmark = [
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
    pytest.mark.usefixtures("one_thread"),
]
needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)")


class Decoder(nn.Module):
    """Smaller and larger again, with a branch that waits for the larger image."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 1, 1)
        self.down = nn.Conv2d(8, 12, 3, 2, 1)
        self.up = up
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.last(self.up(self.down(x).relu()) + x)


def resized(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Upsample(**options), nn.Conv2d(12, 8, 3, 1, 1))


class Attention(nn.Module):
    """Every score is needed for one row only."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.inner = (nn.Linear(12, 12) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.softmax(self.query(x) @ self.key(x).transpose(-2, -1) / 3, -1)
        x = x + scores @ self.value(x)
        return x + self.inner(x).relu()


class Cut(nn.Module):
    """Boxes with and without steps, and the place of the largest channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 3, 1, 1), nn.Conv2d(12, 6, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()[:, :, 2:-3, 1:]
        return self.second(x.narrow(2, 1, 17))[:, :, ::2, 1::3].argmax(1)


_SEQUENCE = nn.Sequential(
    nn.Conv1d(4, 12, 5, 2, 2), nn.ReLU(), nn.ConvTranspose1d(12, 8, 5, 3, 1, 1), nn.ReLU(), nn.Conv1d(8, 2, 1)
)


@needs_compiler
@pytest.mark.parametrize(
    ("net", "shape", "share"),
    [
        pytest.param(Decoder(nn.ConvTranspose2d(12, 8, 2, 2)), (3, 24, 20), 0.7, id="transposed, k2"),
        pytest.param(Decoder(nn.ConvTranspose2d(12, 8, 3, 2, 1, 1)), (3, 24, 20), 0.7, id="transposed, k3"),
        pytest.param(Decoder(nn.ConvTranspose2d(12, 8, 4, 2, 1)), (3, 24, 20), 0.7, id="transposed, k4"),
        pytest.param(_SEQUENCE, (4, 64), 0.3, id="transposed, along time"),
        pytest.param(Decoder(resized(scale_factor=2)), (3, 24, 20), 0.7, id="nearest"),
        pytest.param(
            Decoder(resized(scale_factor=2, mode="bilinear", align_corners=False)), (3, 24, 20), 0.7, id="bilinear"
        ),
        pytest.param(
            nn.Sequential(
                nn.Conv2d(3, 12, 3, 1, 1), nn.Upsample(size=(37, 19), mode="bilinear", align_corners=True),
                nn.Conv2d(12, 6, 3, 2, 1),
            ),
            (3, 20, 16), 0.3, id="bilinear, no whole factor",
        ),
        pytest.param(
            nn.Sequential(nn.Conv2d(3, 12, 3, 1, 1), nn.Upsample(size=(35, 19)), nn.Conv2d(12, 6, 3, 2, 1)),
            (3, 20, 16), 0.3, id="nearest, no whole factor",
        ),
        pytest.param(Attention(), (64, 12), 0.5, id="attention"),
        pytest.param(Cut(), (3, 30, 24), 0.3, id="cut"),
    ],
)  # fmt: skip
def test_it_takes_less_memory_and_computes_the_same(net: nn.Module, shape: tuple[int, ...], share: float) -> None:
    graph = graph_of(net, *shape)
    whole, found = c_network(graph), c_network(graph, optimize="ram")
    # All but the ends lie in loops, whatever the network is made of.
    assert sum(len(item.part.section.nodes) for item in found.run if isinstance(item, RowLoop)) > len(graph.nodes) / 2
    assert found.plan.peak < share * whole.plan.peak
    codes = a_dozen(graph)
    (got,) = run_c(
        "net", c_source("net", found).files, graph, codes, (*OPTIONS, "-Wall", "-Wextra", "-Wconversion", "-Werror")
    )
    assert (got == interpret(graph, codes)[graph.outputs[0]]).all()
    assert disjoint(found) == []
    require_sound_plan("net", found, tuple(array[:3] for array in codes))


@needs_compiler
@pytest.mark.parametrize(("steps", "rest"), [(32, 0), (33, 1), (46, 6)])
def test_rows_of_products_are_made_some_at_a_time(steps: int, rest: int) -> None:
    """As many as there is room for; the last of them may be fewer, and the integers stay."""
    graph = graph_of(Attention(), steps, 12)
    codes, most = a_dozen(graph), None
    for block in (8, 4, 1):
        found = c_network(graph, optimize="ram", limits=Limits(ram=most))
        (loop,) = (item for item in found.run if isinstance(item, RowLoop))
        made = {(node.block, node.rest) for node in loop.part.section.nodes}
        assert made == {(block, steps % block)}
        assert found.plan.peak < found.whole
        assert most is None or found.plan.peak <= most
        (got,) = run_c("net", c_source("net", found).files, graph, codes, (*OPTIONS, "-Wall", "-Wextra", "-Werror"))
        assert (got == interpret(graph, codes)[graph.outputs[0]]).all()
        assert disjoint(found) == []
        require_sound_plan("net", found, tuple(array[:3] for array in codes))
        most = found.plan.peak - 1
    assert steps % 8 == rest


def test_a_board_without_room_for_eight_rows_gets_as_many_as_it_has_room_for() -> None:
    graph, roomy = graph_of(Attention(), 32, 12), board("mps2_an386")
    eight, one = (c_network(graph, roomy.cpu, "ram", limits=Limits(ram=most)) for most in (None, 1))
    small = replace(roomy, ram=one.plan.peak + 8)
    assert one.plan.peak + 8 < eight.plan.peak
    assert c_model("x", graph, small, "ram").network.plan == one.plan
    with pytest.raises(BadConfiguration, match=f"set export.optimize to ram, which takes {one.plan.peak:,} bytes"):
        c_model("x", graph, small)
    divided = c_network(graph, roomy.cpu, "ram", Room(600, one.plan.peak - 600))
    assert divided.plan.peak == one.plan.peak


@pytest.mark.parametrize("padding", [-3, 0, 1, 5])
@pytest.mark.parametrize(("stride", "per"), [(1, 1), (2, 1), (1, 3), (5, 7)])
def test_a_window_says_when_it_leaves_the_image(stride: int, per: int, padding: int) -> None:
    window = RowWindow(3, stride, padding, per)
    begins = [(row * stride - padding) // per for row in range(20)]
    assert [window.first(row) for row in range(20)] == begins
    assert max(b - a for a, b in pairwise(begins)) == window.advance
    last = begins[-1] + 3
    assert window.leaves(20, last) == (begins[0] < 0)
    assert window.leaves(20, last - 1)
