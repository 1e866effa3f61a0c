"""Refusals of torch's layers name what can be written instead, and it is tried: prepared, compared with the layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.remedy_judge import agrees, judge

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


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("padding", ["same", 1])
def test_convolutions_that_pad_with_other_than_zeros(mode: str, size: int, padding: str | int) -> None:
    """An even window has the odd element of its padding behind."""
    torch.manual_seed(0)
    for kind, shape in ((nn.Conv1d, (4, 9)), (nn.Conv2d, (4, 8, 6))):
        for groups in (1, 4):
            layer = kind(4, 4, size, padding=padding, padding_mode=mode, groups=groups)
            assert judge(nn.Sequential(layer), torch.randn(3, *shape), layer) == "works"


def test_a_layer_of_torch_without_form_has_a_neighbour_that_is_prepared() -> None:
    torch.manual_seed(0)
    refused, other, x = (
        nn.CrossMapLRN2d(3, 0.3, 0.6, 2.0),
        nn.LocalResponseNorm(3, 0.3, 0.6, 2.0),
        torch.rand(3, 8, 4, 6),
    )
    assert judge(nn.Sequential(refused), x, refused) == "none"
    assert judge(nn.Sequential(other), x, other) == "works"
