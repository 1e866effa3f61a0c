"""Refusals name what can be written instead, and it is tried: prepared, and compared with the call that was refused.

Every layer of ``torch.nn`` and every function of ``torch.nn.functional`` that can be built and called alone is. What is
said to compute the same is held against PyTorch's own layer.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

import qtorch
from export.commands.support import support_table
from qtorch.errors import BadInput, UnsupportedLayer
from qtorch.preparation.matching import supported_names
from qtorch.preparation.remedies import SUPPORTED, remedy
from qtorch.remedies.asked import Asked

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


#: Arguments and the shape of a sample, for layers that can't be built with what is tried first.
LAYERS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "AdaptiveAvgPool1d": ((2,), {}, (8, 6)),
    "AdaptiveAvgPool2d": ((2,), {}, (8, 4, 6)),
    "AdaptiveMaxPool1d": ((2,), {}, (8, 6)),
    "AdaptiveMaxPool2d": ((2,), {}, (8, 4, 6)),
    "Upsample": ((), {"scale_factor": 2}, (8, 4, 6)),
    "Transformer": ((8, 2, 1, 1, 8), {}, ()),
    "AdaptiveAvgPool3d": ((1,), {}, (8, 4, 6, 4)),
    "AdaptiveMaxPool3d": ((1,), {}, (8, 4, 6, 4)),
    "AvgPool3d": ((2,), {}, (3, 4, 6, 4)),
    "MaxPool3d": (((2, 3, 1),), {}, (3, 4, 6, 4)),
    "CELU": ((0.7,), {}, (8,)),
    "ELU": ((1.3,), {}, (8,)),
    "ChannelShuffle": ((4,), {}, (8, 4, 6)),
    "CircularPad1d": (((2, 1),), {}, (4, 6)),
    "CircularPad2d": (((2, 1, 0, 3),), {}, (4, 6, 5)),
    "CircularPad3d": ((1,), {}, (4, 6, 5, 3)),
    "ConstantPad1d": (((2, 1), -0.5), {}, (4, 6)),
    "ConstantPad2d": (((2, 1, 0, 3), 1.5), {}, (4, 6, 5)),
    "ConstantPad3d": ((1, 1.5), {}, (2, 4, 6, 5)),
    "ZeroPad3d": ((1,), {}, (2, 4, 6, 5)),
    "Conv2d": ((4, 4, 3), {"padding": (1, 2), "padding_mode": "reflect"}, (4, 6, 5)),
    "Conv1d": ((4, 4, 3), {"padding": 1, "padding_mode": "circular"}, (4, 6)),
    "GELU": ((), {"approximate": "tanh"}, (8,)),
    "GLU": ((1,), {}, (8, 3)),
    "GroupNorm": ((2, 8), {}, (8, 4, 6)),
    "Hardtanh": ((-1.5, 2.0), {}, (8,)),
    "InstanceNorm1d": ((8,), {"affine": True}, (8, 6)),
    "InstanceNorm2d": ((8,), {}, (8, 4, 6)),
    "InstanceNorm3d": ((8,), {"affine": True, "track_running_stats": True}, (8, 4, 6, 2)),
    "LocalResponseNorm": ((3,), {"beta": 0.5, "alpha": 0.3, "k": 2.0}, (8, 4, 6)),
    "MultiheadAttention": ((8, 2), {}, ()),
    "PixelShuffle": ((3,), {}, (18, 4, 6)),
    "PixelUnshuffle": ((2,), {}, (3, 4, 6)),
    "ReflectionPad1d": (((2, 1),), {}, (4, 6)),
    "ReflectionPad2d": (((2, 1, 0, 3),), {}, (4, 6, 5)),
    "ReflectionPad3d": ((1,), {}, (4, 6, 5, 3)),
    "ReplicationPad1d": (((2, 1),), {}, (4, 6)),
    "ReplicationPad2d": (((2, 1, 0, 3),), {}, (4, 6, 5)),
    "ReplicationPad3d": ((1,), {}, (4, 6, 5, 3)),
    "RMSNorm": ((6,), {}, (4, 6)),
    "Softmin": ((-1,), {}, (4, 6)),
    "Softmax2d": ((), {}, (4, 6, 3)),
    "SyncBatchNorm": ((8,), {}, (8, 4, 6)),
    "Unfold": (((2, 3),), {"stride": (1, 2)}, (3, 5, 7)),
    "Unflatten": ((1, (2, 4)), {}, (8,)),
}
#: What is tried for the others.
_ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    (), (8,), (2,), (1,), (8, 8), (8, 8, 3), (2, 8), (0.1, 0.0), (1, 1), (8, 2), ((4, 4), 2),
)  # fmt: skip
_SHAPES = {"1d": ((8, 6),), "2d": ((8, 4, 6),), "3d": ((8, 4, 6, 4),)}
_EXACT = [
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool3d",
    "AvgPool3d",
    "BatchNorm3d",
    "CELU",
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "ELU",
    "GELU",
    "GLU",
    "GroupNorm",
    "Hardsigmoid",
    "Hardtanh",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LocalResponseNorm",
    "LogSigmoid",
    "MaxPool3d",
    "Mish",
    "PixelShuffle",
    "PixelUnshuffle",
    "RMSNorm",
    "RReLU",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "SELU",
    "SiLU",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "SyncBatchNorm",
    "Tanhshrink",
    "Unfold",
    "ZeroPad3d",
]


def built(name: str) -> tuple[nn.Module, Tensor] | None:
    """A layer of ``torch.nn`` and a batch that it takes; ``None`` where it takes more than one tensor of floats."""
    kind, given = getattr(nn, name), LAYERS.get(name)
    arguments = [given[0]] if given else _ARGUMENTS
    shapes = [given[2]] if given else _SHAPES.get(name[-2:].lower(), ((8,), (8, 6), (8, 4, 6), (6, 8)))
    for each in arguments:
        for shape in shapes:
            torch.manual_seed(0)
            try:
                layer, x = kind(*each, **(given[1] if given else {})).eval(), torch.randn(3, *shape)
                with torch.no_grad():
                    found = layer(x)
            except Exception:
                continue
            if isinstance(found, Tensor | tuple) and not isinstance(layer, nn.Sequential):
                with torch.no_grad():
                    for value in (*layer.parameters(), *layer.buffers()):
                        if value.is_floating_point():
                            value.uniform_(0.5, 1.5)
                return layer, x
    return None


def _layers() -> list[str]:
    every = {name: getattr(nn, name) for name in dir(nn)}
    found = [name for name, kind in every.items() if isinstance(kind, type) and issubclass(kind, nn.Module)]
    # At its first call a lazy layer becomes an ordinary one; a loss takes two tensors.
    return [name for name in found if not name.startswith("Lazy") and "Loss" not in name]


@pytest.mark.parametrize("name", _layers())
@pytest.mark.filterwarnings("ignore")
def test_every_layer_of_torch(name: str) -> None:
    found = built(name)
    if found is None:
        assert name not in _EXACT
        pytest.skip("it takes more than one tensor of floats")
    layer, x = found
    verdict = judge(nn.Sequential(layer), x, layer)
    assert agrees(verdict, "same") if name in _EXACT else verdict != "same", verdict


ROW, IMAGE, SOLID = (8,), (8, 4, 6), (3, 4, 6, 4)
#: What a function or method meets with; those of two tensors get halves of ``x``.
CALLS: list[tuple[Callable[..., Any], tuple[int, ...], str]] = [
    (F.silu, ROW, "same"),
    (F.mish, ROW, "same"),
    (F.elu, ROW, "same"),
    (lambda x: F.elu_(x.clone(), 0.5), ROW, "same"),
    (lambda x: F.celu(x, alpha=0.4), ROW, "same"),
    (F.selu, ROW, "same"),
    (lambda x: F.gelu(x, approximate="tanh"), ROW, "same"),
    (F.gelu, ROW, "near"),
    (F.hardsigmoid, ROW, "same"),
    (F.softplus, ROW, "same"),
    (F.softplus, IMAGE, "same"),
    (F.softplus, SOLID, "same"),
    (lambda x: F.softplus(x, 0.5), IMAGE, "same"),
    (lambda x: F.softplus(x, beta=2, threshold=30), (4, 6), "same"),
    (lambda x: F.softplus(x, threshold=1), ROW, "none"),
    (F.logsigmoid, ROW, "same"),
    (F.logsigmoid, (4, 6), "same"),
    (F.logsigmoid, IMAGE, "same"),
    (F.logsigmoid, SOLID, "same"),
    (F.softsign, ROW, "same"),
    (lambda x: F.softshrink(x, 0.3), ROW, "same"),
    (F.tanhshrink, ROW, "same"),
    (F.hardshrink, ROW, "none"),
    (lambda x: F.threshold(x, 0.5, 2.0), ROW, "none"),
    (F.rrelu, ROW, "same"),
    (lambda x: F.glu(x, 1), IMAGE, "same"),
    (lambda x: F.softmin(x, -1), IMAGE, "same"),
    (lambda x: F.softmin(x, 1), IMAGE, "same"),
    (lambda x: F.softmin(x, dim=-2), (4, 6), "same"),
    (lambda x: F.softmin(x, 0), ROW, "none"),
    (lambda x: F.softmax(x, 1), IMAGE, "same"),
    (lambda x: F.log_softmax(x, -2), (4, 6), "same"),
    (lambda x: torch.softmax(x, 0), ROW, "none"),
    (lambda x: F.normalize(x), IMAGE, "same"),
    (lambda x: F.normalize(x, p=1, dim=-1), IMAGE, "none"),
    (lambda x: F.hardtanh(x, -0.25, 2.0), ROW, "same"),
    (lambda x: torch.clamp(x, 0, 1), ROW, "same"),
    (lambda x: x.clamp(-0.5, -0.1), ROW, "same"),
    (lambda x: x.clamp(min=-0.5), ROW, "same"),
    (lambda x: x.clamp(max=0.75), ROW, "same"),
    (lambda x: (x * 1.0).sigmoid_(), ROW, "same"),
    (lambda x: (x * 1.0).tanh_(), ROW, "same"),
    (lambda x: F.layer_norm(x, (6,)), IMAGE, "same"),
    (lambda x: F.layer_norm(x, x.shape[-2:], eps=1e-3), IMAGE, "same"),
    (lambda x: F.rms_norm(x, (6,)), IMAGE, "same"),
    (lambda x: F.group_norm(x, 4), IMAGE, "same"),
    (lambda x: F.instance_norm(x), IMAGE, "same"),
    (lambda x: F.batch_norm(x, torch.zeros(8), torch.ones(8)), IMAGE, "same"),
    (lambda x: F.local_response_norm(x, 3, beta=0.5), IMAGE, "same"),
    (lambda x: F.local_response_norm(x, 3), IMAGE, "none"),
    (lambda x: F.pixel_shuffle(x, 2), IMAGE, "same"),
    (lambda x: F.pixel_unshuffle(x, 2), IMAGE, "same"),
    (lambda x: F.channel_shuffle(x, 2), IMAGE, "same"),
    (lambda x: F.unfold(x, 3), IMAGE, "same"),
    (lambda x: F.unfold(x, 3, padding=1), IMAGE, "none"),
    (lambda x: F.pad(x, (1, 2, 1, 0), mode="reflect"), IMAGE, "same"),
    (lambda x: F.pad(x, (0, 2, 1, 0), mode="replicate"), IMAGE, "same"),
    (lambda x: F.pad(x, (1, 1), mode="circular"), (8, 6), "same"),
    (lambda x: F.pad(x, (1, 1), value=-1.0), IMAGE, "same"),
    (lambda x: F.pad(x, (6, 6), mode="replicate"), (8, 20), "none"),
    (lambda x: F.avg_pool3d(x, 2), SOLID, "same"),
    (lambda x: F.max_pool3d(x, 2), SOLID, "same"),
    (lambda x: F.max_pool3d(x, 3, 1), SOLID, "none"),
    (lambda x: F.adaptive_avg_pool3d(x, 1), SOLID, "same"),
    (lambda x: F.adaptive_max_pool3d(x, 1), SOLID, "same"),
    (lambda x: F.lp_pool2d(x, 2, 2), IMAGE, "none"),
    (lambda x: x / 8, ROW, "same"),
    (lambda x: x / 3, ROW, "same"),
    (lambda x: torch.div(x, 7.0), ROW, "same"),
    (lambda x: -x, ROW, "same"),
    (torch.abs, ROW, "same"),
    (lambda x: x.abs(), ROW, "same"),
    (torch.square, ROW, "same"),
    (lambda x: x**2, ROW, "same"),
    (lambda x: x.pow(3), ROW, "same"),
    (lambda x: x**2.5, ROW, "none"),
    (lambda x: x.sum((2, 3)), IMAGE, "same"),
    (lambda x: x.sum(-1, keepdim=True), IMAGE, "same"),
    (lambda x: torch.sum(x), IMAGE, "none"),
    (lambda x: torch.sum(x, (0, 1)), IMAGE, "none"),
    (lambda x: x.var((2, 3)), IMAGE, "same"),
    (lambda x: torch.var(x, 1, correction=2), IMAGE, "same"),
    (lambda x: x.var(-1, unbiased=False, keepdim=True), IMAGE, "same"),
    (lambda x: x.var(), IMAGE, "none"),
    (lambda x: torch.std(x, (1, 2)), IMAGE, "same"),
    (lambda x: x.std((0, 1)), IMAGE, "none"),
    (lambda x: torch.amax(x, (2, 3)), IMAGE, "same"),
    (lambda x: x.amin(dim=(2, 3), keepdim=True), IMAGE, "same"),
    (lambda x: x.amax(1), IMAGE, "same"),
    (lambda x: x.amin((1, -1)), IMAGE, "same"),
    (lambda x: torch.amin(x, (2, 3)), IMAGE, "same"),
    (lambda x: x.amax((1, 3), True), IMAGE, "same"),
    (lambda x: x.amax(-1), ROW, "same"),
    (lambda x: x.amax(), IMAGE, "none"),
    (lambda x: x.amax(0), IMAGE, "none"),
    (lambda x: x.detach(), ROW, "works"),
    (lambda x: x.to(torch.float32), ROW, "same"),
    (lambda x: x.to("cpu"), ROW, "same"),
    (lambda x: x.type_as(x), ROW, "same"),
    (lambda x: x.flip(1), (2, 3), "same"),
    (lambda x: x.flip(3), (2, 3, 8), "same"),
    (lambda x: torch.flip(x, (1, -1)), IMAGE, "same"),
    (lambda x: x.flip(2, 3), IMAGE, "same"),
    (lambda x: x.flip(-2), (2, 23, 3), "same"),
    (lambda x: x.flip(0), IMAGE, "none"),
    (torch.fliplr, IMAGE, "same"),
    (lambda x: x.roll(1, 1), IMAGE, "same"),
    (lambda x: torch.roll(x, 1, 3), IMAGE, "same"),
    (lambda x: x.roll((1, -2), (2, -1)), IMAGE, "same"),
    (lambda x: x.roll(8, 1), ROW, "same"),
    (lambda x: x.roll(1), IMAGE, "none"),
    (lambda x: x.repeat(1, 2, 1, 1), IMAGE, "same"),
    (lambda x: x.repeat(1, 1, 3, 2), IMAGE, "same"),
    (lambda x: x.tile(2), IMAGE, "same"),
    (lambda x: x.repeat(2, 1), ROW, "none"),
    (lambda x: x.repeat_interleave(2, 1), IMAGE, "same"),
    (lambda x: torch.repeat_interleave(x, 3, dim=-1), (4, 6), "same"),
    (lambda x: x.unbind(1), IMAGE, "same"),
    (lambda x: x.unbind(-1), IMAGE, "same"),
    (lambda x: F.hardtanh(x, 0.5, float("inf")), ROW, "same"),
    (lambda x: F.hardtanh(x, float("-inf"), 0.5), ROW, "same"),
    (lambda x: x.clamp(0.5, 0.5), ROW, "none"),
    (lambda x: F.embedding(torch.zeros(3, dtype=torch.long), x), ROW, "none"),
    (lambda x: torch.where(x > 0, x, x * 2), ROW, "none"),
    (lambda x: x.argmax(1), ROW, "none"),
    (lambda x: F.mse_loss(x, x), ROW, "none"),
    (lambda x: F.cross_entropy(x, x), ROW, "none"),
    (lambda x: F.scaled_dot_product_attention(x, x, x), (4, 6), "none"),
    (lambda x: x @ x.transpose(1, 2), (4, 6), "none"),
    (lambda x: torch.einsum("bij,bkj->bik", x, x), (4, 6), "none"),
]
TWO: list[tuple[Callable[..., Any], str]] = [
    (lambda x, y: torch.stack([x, y], 1), "same"),
    (lambda x, y: F.cosine_similarity(x, y, dim=-1), "same"),
    (lambda x, y: F.cosine_similarity(x, y), "same"),
    (lambda x, y: torch.rsub(x, y), "same"),
    (lambda x, y: x / y, "same"),
    (lambda x, y: F.pairwise_distance(x, y), "none"),
    (lambda x, y: x.bmm(y.transpose(1, 2)), "none"),
]


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("padding", ["same", 1])
def test_convolutions_that_pad_with_other_than_zeros(mode: str, size: int, padding: str | int) -> None:
    """An even window has the odd element of its padding behind."""
    torch.manual_seed(0)
    for kind, shape in ((nn.Conv1d, (4, 9)), (nn.Conv2d, (4, 8, 6))):
        for groups in (1, 4):
            layer = kind(4, 4, size, padding=padding, padding_mode=mode, groups=groups)
            assert judge(nn.Sequential(layer), torch.randn(3, *shape), layer) == "same"


@pytest.mark.parametrize(("call", "shape", "verdict"), CALLS, ids=range(len(CALLS)))
def test_functions_and_methods(call: Callable[..., Any], shape: tuple[int, ...], verdict: str) -> None:
    torch.manual_seed(0)
    assert agrees(judge(Called(call), torch.randn(3, *shape)), verdict)


@pytest.mark.parametrize(("call", "verdict"), TWO, ids=range(len(TWO)))
def test_functions_of_two_tensors(call: Callable[..., Any], verdict: str) -> None:
    torch.manual_seed(0)
    assert agrees(judge(Called(call, halves=True), torch.rand(3, 2, 4, 6) + 0.5, halves=True), verdict)


@pytest.mark.parametrize("call", [torch.sqrt, torch.reciprocal, lambda x: x**0.5, lambda x: x**-1])
def test_roots_of_positive_numbers(call: Callable[..., Any]) -> None:
    assert agrees(judge(Called(call), torch.rand(3, 8) + 0.5), "same")


def test_exponentials_of_numbers_that_are_not_positive() -> None:
    assert agrees(judge(Called(torch.exp), -torch.rand(3, 8)), "same")


_MACHINERY = re.compile(r"assert_|boolean_dispatch|handle_torch|has_torch|upsample")


def test_every_function_of_torch_has_its_own_words() -> None:
    supported = frozenset(supported_names())
    for name in dir(F):
        if name[0].islower() and callable(getattr(F, name)) and name not in supported and not _MACHINERY.match(name):
            if name in ("dropout", "dropout1d", "dropout2d", "alpha_dropout"):
                continue  # Gone on the device.
            assert "no other form" not in remedy(Asked(name, shape=(3, 8, 4, 6)), supported), name


def test_what_is_not_known_is_said_to_be_so() -> None:
    refused = refusal(Called(torch.erf), torch.zeros(1, 4))
    assert refused is not None
    assert (refused.got, refused.remedy) == (
        "erf",
        "no other form of it is known here: leave it out of the network, or compose it of what can be exported; "
        + SUPPORTED,
    )


def test_the_list_that_remedies_point_to() -> None:
    page, section, command = re.search(r"(\S+\.md), '(.*?)', which `(.*?)`", SUPPORTED).groups()  # type: ignore[union-attr]
    text = (ROOT / page).read_text()
    table = text[text.index(f"## {section}") :]
    assert all(f"`{name}`" in table for name in supported_names())
    assert command == "python -m export support"
    assert support_table() in table


@pytest.mark.parametrize("parametrized", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrized_layers_are_made_plain(parametrized: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 3, 3), nn.Conv1d(2, 3, 3), nn.Linear(4, 3)]
    for layer, shape in zip(layers, [(2, 5, 6), (2, 5), (4,)], strict=True):
        net, x = nn.Sequential(parametrized(layer)).eval(), torch.randn(3, *shape)
        refused = refusal(net, x)
        assert refused is not None
        assert refused.where == "layer '0'"
        assert refused.got.startswith("Parametrized")
        expected = net(x)
        exec(form_of(refused.remedy), {"torch": torch, "layer": net[0]})
        torch.testing.assert_close(qtorch.prepare(net, x[:1])(x), expected)


def test_a_weight_may_be_a_buffer() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 3, 3), torch.randn(4, 2, 6, 6)
    weight = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", weight)
    assert torch.equal(qtorch.prepare(layer, x[:1])(x), layer(x))


@pytest.mark.parametrize("once", [False, True])
def test_weights_that_a_hook_computes(once: bool) -> None:
    """Run once without gradients, what pruning leaves is a tensor like any other."""
    net, x = nn.Sequential(prune.l1_unstructured(nn.Linear(4, 3), "weight", amount=0.5)), torch.randn(2, 4)
    if once:
        with torch.no_grad():
            net(x)
    with pytest.raises(BadInput, match=r"'0.*prune.remove\(layer, 'weight'\)"):
        qtorch.prepare(net, x[:1])


class Masked(nn.Module):
    def __init__(self, standardized: bool) -> None:
        super().__init__()
        self.weight, self.standardized = nn.Parameter(torch.randn(4, 2, 3, 3)), standardized
        self.register_buffer("mask", (torch.rand(4, 2, 3, 3) > 0.5).float())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (2.0 if self.standardized else self.mask)
        return F.conv2d(x, weight)


@pytest.mark.parametrize("standardized", [False, True])
def test_weights_computed_from_parameters(standardized: bool) -> None:
    refused = refusal(Masked(standardized), torch.zeros(1, 2, 5, 5))
    assert refused is not None
    assert "weight = self.weight * (2.0" in refused.where
    assert refused.got == "parameters, buffers and numbers alone, of which the result is the same for every input"
    assert refused.remedy.startswith("compute it once, before the network is prepared")


@pytest.mark.parametrize("file", ["<string>", "written"])
def test_no_line_of_code_that_stands_in_no_file(file: str) -> None:
    names: dict[str, Any] = {"nn": nn, "torch": torch}
    text = "class Net(nn.Module):\n    def forward(self, x):\n        return torch.erf(x)\n"
    exec(compile(text, file, "exec"), names)
    refused = refusal(names["Net"](), torch.zeros(1, 4))
    assert refused is not None
    assert refused.where == "layer 'erf'"


def test_a_table_of_rows_is_a_layer_without_bias() -> None:
    """What the remedy says of an embedding, held against the embedding."""
    torch.manual_seed(0)
    table, index = nn.Embedding(10, 4), torch.randint(0, 10, (3, 5))
    said = remedy(Asked("Embedding", table, shape=(3, 5)), frozenset(supported_names()))
    vectors = eval(re.search(r"F\.one_hot\(.*?\)\.float\(\)", said)[0], {**NAMES, "index": index})  # type: ignore[index]
    layer = eval(re.search(r"nn\.Linear\(.*?\)", said)[0], dict(NAMES))  # type: ignore[index]
    layer.weight = nn.Parameter(table.weight.detach().t())
    torch.testing.assert_close(qtorch.prepare(nn.Sequential(layer), vectors[:1])(vectors), table(index))


def test_weights_computed_from_the_input() -> None:
    refused = refusal(Called(lambda x: F.linear(x, x)), torch.zeros(1, 4))
    assert refused is not None
    assert refused.got == "weight computed from the network's inputs"
    assert refused.remedy.startswith("no form of it can be exported")
