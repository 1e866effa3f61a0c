"""Elements whose places differ from line to line, as scores by relative positions are looked up: the module's own
numbers in float, and TFLite Micro's codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.opinions.grids import operators
from export.tflite.writer import write_tflite
from tests.exact_networks import require_exact
from tests.remedy_judge import Called

pytestmark = pytest.mark.usefixtures("one_thread")

#: ``[6, 6]``, how far a query is behind a key.
_BEHIND = torch.arange(6)[:, None] - torch.arange(6)
_DRAWN = torch.tensor([[3, 1], [0, 7], [5, 5], [2, 4], [6, 0], [1, 1]])


def _of_lines(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(-1, places.expand(len(x), 2, *places.shape))


def _merged(x: Tensor) -> Tensor:
    heads = x.reshape(-1, *x.shape[2:])
    return heads.gather(-1, (_BEHIND + 6)[None].expand(len(heads), -1, -1)).reshape(-1, 2, 6, 6)


def _put(x: Tensor) -> Tensor:
    heads, places = x.reshape(-1, *x.shape[2:]).clone(), torch.arange(6)
    heads[:, places, places] = -0.5
    return heads.reshape(-1, 2, 6, 6)


#: Of ``[B, heads, 6, L]``, with how long a line is, and the most operators that a form may take.
FORMS: dict[str, tuple[Callable[[Tensor], Tensor], int, int]] = {
    "falling": (lambda x: _of_lines(x, _BEHIND + 6), 12, 7),
    "rising": (lambda x: _of_lines(x, 6 - _BEHIND), 12, 6),
    "to the very end": (lambda x: _of_lines(x, 6 - _BEHIND), 12, 6),
    "past the end": (lambda x: _of_lines(x, (_BEHIND + 6).T.contiguous().flip(-1)), 12, 7),
    "kept within limits": (lambda x: _of_lines(x, (_BEHIND + 2).clamp(0, 4)), 5, 40),
    "drawn": (lambda x: _of_lines(x, _DRAWN), 8, 20),
    "of columns": (lambda x: x.mT.gather(2, (_BEHIND + 6).T.expand(len(x), 2, 6, 6)), 12, 12),
    "take_along_dim": (lambda x: x.take_along_dim((_BEHIND + 6)[None, None], 3), 12, 7),
    "heads in the batch's axis": (_merged, 12, 7),
    "a number put along a diagonal": (_put, 6, 9),
    "the batch behind heads": (
        lambda x: x.movedim(1, 0).gather(-1, (_BEHIND + 6).expand(2, len(x), 6, 6)).sum(0), 12, 9,
    ),
    "parts of all lines": (lambda x: x[..., (torch.arange(4)[:, None] * 3 + torch.arange(2)).flatten()], 12, 4),
}  # fmt: skip


@pytest.mark.tflm
@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_exact(name: str) -> None:
    """In as few operators as there are."""
    call, length, most = FORMS[name]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(length, length), Called(call)).eval()
    graph = require_exact(net, torch.randn(16, 2, 6, length))
    # One is the layer.
    assert len(operators(write_tflite(graph))) - 1 <= most


@pytest.mark.tflm
@pytest.mark.parametrize("normalized", [F.layer_norm, F.rms_norm])
def test_windows_of_six_axes_are_normalized(normalized: Callable[[Tensor, tuple[int, ...]], Tensor]) -> None:
    torch.manual_seed(0)

    def call(x: Tensor) -> Tensor:
        return normalized(x.reshape(-1, 2, 3, 2, 3, 8), (8,)).mean((1, 3))

    require_exact(nn.Sequential(nn.Linear(8, 8), Called(call)).eval(), torch.randn(16, 2, 3, 2, 3, 8).flatten(1, 4))
