"""Tries what a remedy says: writes it as a network, prepares it, and compares it with what was refused."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from qtorch.errors import UnsupportedLayer
from qtorch.preparation.refusal_remedy import SUPPORTED

ROOT = Path(__file__).parents[1]
#: What a form may speak of.
NAMES = {"torch": torch, "F": F, "nn": nn}


def form_of(remedy: str) -> str:
    """What stands in the first backticks."""
    found = re.search("`([^`]+)`", remedy)
    assert found is not None, remedy
    return found[1]


class Called(nn.Module):
    """A function of ``x``, or of two halves of it."""

    def __init__(self, call: Callable[..., Any], halves: bool = False) -> None:
        super().__init__()
        self.call, self.halves = call, halves

    def forward(self, x: Tensor) -> Any:
        return self.call(x[:, 0], x[:, 1]) if self.halves else self.call(x)


class Written(nn.Module):
    """What a remedy says: statements that make layers in ``__init__``, the others in ``forward``."""

    def __init__(self, remedy: str, refused: nn.Module | None, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        statements = form_of(remedy).split("; ")
        self.steps: list[str] = []
        self.made: list[str] = []
        for each in statements:
            name, _, value = each.rpartition(" = ")
            if re.match(r"nn\.", value):
                layer = eval(value, dict(NAMES))
                if refused is not None:
                    state, own = refused.state_dict(), layer.state_dict()
                    layer.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
                name = name or "layer"
                setattr(self, name, layer)
                self.made.append(name)
                if each == statements[-1]:
                    self.steps.append(f"{name}(x)")
            else:
                self.steps.append(each)
        for name in ("weight", "bias"):
            own = getattr(refused, name, None)
            if isinstance(own, Tensor):
                shape = re.search(r"parameters of shape (\(.*?\))", remedy)
                setattr(self, name, nn.Parameter(own.detach().reshape(eval(shape[1]) if shape else own.shape)))
                self.made.append(name)
        buffer = re.search(r"weight being a buffer, (torch\.eye.*?); ", remedy)
        if buffer:
            self.register_buffer("weight", eval(buffer[1]))
            self.made.append("weight")

    def forward(self, x: Tensor) -> Any:
        names: dict[str, Any] = {**NAMES, **{name: getattr(self, name) for name in self.made}}
        names |= {"x": x[:, 0], "y": x[:, 1]} if self.halves else {"x": x}
        for step in self.steps[:-1]:
            exec(step, names)
        return eval(self.steps[-1], names)


def refusal(net: nn.Module, x: Tensor) -> UnsupportedLayer | None:
    """``None`` where there was nothing to refuse; then what was prepared computes the same."""
    try:
        prepared = qtorch.prepare(net, x[:1]).eval()
    except UnsupportedLayer as error:
        return error
    with torch.no_grad():
        torch.testing.assert_close(prepared(x), net.eval()(x), rtol=1e-5, atol=2e-5)
    return None


def agrees(verdict: str, wanted: str) -> bool:
    """Whether a call meets with what is wanted of a refusal; what a row stands for by now needs no remedy."""
    return verdict in (wanted, "works")


def judge(net: nn.Module, x: Tensor, layer: nn.Module | None = None, halves: bool = False) -> str:
    """What a call meets with: ``"works"``, ``"same"``, ``"near"``, ``"none"`` or ``"shown"``; the remedy is tried."""
    net = net.eval()
    refused = refusal(net, x)
    if refused is None:
        return "works"
    said = refused.remedy
    assert len(said) < 600, "nobody reads that"
    assert "no other form of it is known" not in said, said
    assert said.endswith(SUPPORTED) or "row stands" not in refused.expected
    if said.startswith("no form of it can be exported: "):
        return "none"
    if "docs/" in said:
        page, section = re.search(r"(docs/\S+\.md), '(.*?)'", said).groups()  # type: ignore[union-attr]
        assert f"## {section}" in (ROOT / page).read_text()
        return "shown"
    written: nn.Module = Written(said, layer, halves).eval()
    if "before the layer with padding=0" in said:
        behind: Any = copy.deepcopy(layer)
        behind.padding, behind.padding_mode = 0, "zeros"
        written = nn.Sequential(written, behind).eval()
    prepared = qtorch.prepare(written, x[:1]).eval()
    with torch.no_grad():
        expected, got = (torch.stack(y) if isinstance(y, tuple | list) else y for y in (net(x), prepared(x)))
    worst = float((expected - got).abs().max())
    assert expected.shape == got.shape
    if "computes the same" in said:
        assert worst < 2e-5, f"{said}: off by {worst}"
        return "same"
    bound = re.search(r"off by less than (\S+),", said)
    assert bound is not None, said
    assert worst < float(bound[1]), f"{said}: off by {worst}"
    return "near"
