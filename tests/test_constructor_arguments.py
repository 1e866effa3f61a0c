"""Every argument of a layer or function that a row reads or ignores: what is prepared computes the same, or is refused.

The arguments have values that change the result; the oracle is the layer itself in float.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from qtorch.errors import UnsupportedLayer

IMAGE, LINE, ROW = (4, 8, 8), (4, 9), (6,)


def product(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination of the values of each argument."""
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


#: The constructor, its positional arguments, keywords to try, and the shape of a sample.
LAYERS: list[tuple[type[nn.Module], tuple[Any, ...], list[dict[str, Any]], tuple[int, ...]]] = [
    (
        nn.Conv2d,
        (4, 4, 3),
        product(
            padding=[0, 1, (2, 0), "same", "valid"],
            padding_mode=["zeros", "circular", "reflect", "replicate"],
            dilation=[1, (1, 2)],
            groups=[1, 4],
        ),
        IMAGE,
    ),
    (nn.Conv2d, (4, 8, (3, 2)), product(stride=[1, (1, 3)], groups=[1, 2, 4], bias=[True, False]), IMAGE),
    (
        nn.Conv1d,
        (4, 4, 4),
        product(padding=[0, 1, "same", "valid"], padding_mode=["zeros", "circular", "reflect", "replicate"]),
        LINE,
    ),
    (nn.ConvTranspose2d, (4, 4, 3), product(stride=[1, (2, 3)], padding=[0, 1, 3], bias=[True, False]), IMAGE),
    (nn.ConvTranspose2d, (4, 4, 3), product(stride=[3], output_padding=[(0, 1), 2], padding=[0, 1]), IMAGE),
    (nn.ConvTranspose2d, (4, 4, 3), product(dilation=[1, 2], groups=[1, 2]), IMAGE),
    (nn.ConvTranspose1d, (4, 4, 3), product(stride=[2], output_padding=[0, 1], groups=[1, 2]), LINE),
    *(
        (kind, (3,), product(stride=[1, 2, None], padding=[0, 1], ceil_mode=[False, True]), shape)
        for kind, shape in ((nn.AvgPool2d, IMAGE), (nn.MaxPool2d, IMAGE), (nn.AvgPool1d, LINE), (nn.MaxPool1d, LINE))
    ),
    (nn.MaxPool2d, (2,), product(dilation=[1, 2], return_indices=[False, True]), IMAGE),
    (
        nn.AvgPool2d,
        (3,),
        product(padding=[0, 1], stride=[1, 3], count_include_pad=[True, False], divisor_override=[None, 5]),
        IMAGE,
    ),
    *(
        (kind, (), product(output_size=[1, 2, 3, (None, 1), (1, 4), 16]), IMAGE)
        for kind in (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    ),
    (nn.AdaptiveMaxPool2d, (2,), product(return_indices=[False, True]), IMAGE),
    (
        nn.Upsample,
        (),
        [
            {"mode": mode, **size}
            for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
            for size in (
                {"scale_factor": 2}, {"scale_factor": (1, 1.5)}, {"scale_factor": 1.3}, {"size": (5, 11)},
                {"scale_factor": 0.5}, {"scale_factor": 1.3, "recompute_scale_factor": True},
            )
        ],
        IMAGE,
    ),
    (nn.Upsample, (), product(mode=["bilinear"], align_corners=[True, False], size=[5, 16]), IMAGE),
    (nn.BatchNorm2d, (4,), product(eps=[1e-5, 0.5], affine=[True, False], track_running_stats=[True, False]), IMAGE),
    (nn.LayerNorm, ((8, 8),), product(eps=[1e-5, 0.5], elementwise_affine=[True, False], bias=[True, False]), IMAGE),
    (nn.LeakyReLU, (), product(negative_slope=[0.0, 0.3, 2.0, -0.5], inplace=[False, True]), ROW),
    (nn.PReLU, (), product(num_parameters=[1, 4], init=[0.7]), IMAGE),
    (nn.Hardtanh, (), product(min_val=[0, -1.0, float("-inf")], max_val=[6, 0.5, float("inf")]), ROW),
    *((kind, (), product(dim=[None, 0, 1, 2, -2]), LINE) for kind in (nn.Softmax, nn.LogSoftmax)),
    (nn.Flatten, (), product(start_dim=[0, 1, 2], end_dim=[-1, 2]), IMAGE),
    (nn.ConstantPad2d, (), product(padding=[1, (2, 0, 0, 1), (1, -1, 0, 0)], value=[0.0, 0.5]), IMAGE),
    (nn.Linear, (8, 3), product(bias=[True, False]), IMAGE),
]  # fmt: skip

FUNCTIONS: list[Callable[[Tensor], Any]] = [
    lambda x: torch.add(x, x * x, alpha=2),
    lambda x: x.sub(x * x, alpha=3),
    lambda x: x.mean(2, dtype=torch.float64),
    lambda x: x.mean((2, 3), True),
    lambda x: torch.softmax(x, -1, dtype=torch.float64),
    lambda x: torch.softmax(x, -1, torch.float64),
    lambda x: F.normalize(x, p=1, dim=-1),
    lambda x: F.normalize(x, dim=-1, eps=0.5),
    lambda x: torch.clamp(x, x * 0.1),
    lambda x: x.clamp(6, 0),
    lambda x: torch.max(x, 1)[0],
    lambda x: x.max(dim=1)[0],
    lambda x: x.max(),
    lambda x: x.split([1, 3], 1)[1],
    lambda x: torch.cat(x.chunk(3, -1)[::-1], -1),
    lambda x: x.narrow(2, -3, 2),
    lambda x: x[:, -1, ::3, 1:-1],
    lambda x: x[:, [1, 0]],
    lambda x: x[:, True],
    lambda x: torch.cat([x, x * 2], axis=1),
    lambda x: F.pad(x, (1, 2), "constant", 0.5),
    lambda x: F.pad(x, (-1, 2)),
    lambda x: F.avg_pool2d(x, 2, 2, 1, False, False),
    lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    lambda x: F.max_pool2d(x, 3, 2, 1, 1, True),
    lambda x: torch.max_pool2d(x, 3, 2, 1, 2),
    lambda x: F.interpolate(x, size=(4, 4), mode="bilinear", antialias=True),
    lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    lambda x: F.leaky_relu(x, -0.3),
    lambda x: torch.div(x, 2, rounding_mode="floor"),
    lambda x: (x * 1.0).add_(x, alpha=2),
    lambda x: F.conv2d(x, torch.ones(4, 4, 2, 2), padding="same"),
    lambda x: F.conv2d(x, torch.ones(4, 2, 2, 2), None, 1, 0, 2, 2),
    lambda x: F.conv_transpose2d(x, torch.ones(4, 2, 3, 3), None, 2, 1, 1, 2),
    lambda x: F.conv_transpose2d(x, torch.ones(4, 2, 3, 3), dilation=2),
    lambda x: torch.rsqrt(x * x + 1, out=None),
]


class Called(nn.Module):
    def __init__(self, call: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Any:
        return self.call(x)


def require_same_or_refused(net: nn.Module, x: Tensor, label: object) -> bool:
    """Whether it was prepared."""
    with torch.no_grad():
        wanted = net.eval()(x.clone())
    refused = None
    try:
        prepared = qtorch.prepare(net, x[:1]).eval()
    except UnsupportedLayer as error:
        refused = str(error)
    if refused is not None:
        assert "fault of qtorch" not in refused, label
        return False
    with torch.no_grad():
        torch.testing.assert_close(prepared(x.clone()), wanted, rtol=1e-4, atol=1e-4, msg=str(label))
    return True


@pytest.mark.parametrize(("kind", "arguments", "keywords", "shape"), LAYERS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel", "ignore:Implicit dimension choice")
def test_layers(
    kind: type[nn.Module], arguments: tuple[Any, ...], keywords: list[dict[str, Any]], shape: tuple[int, ...]
) -> None:
    works = []
    for each in keywords:
        torch.manual_seed(0)
        try:
            layer, x = kind(*arguments, **each), torch.randn(3, *shape)
            layer.eval()(x.clone())
        except Exception:
            continue  # PyTorch itself refuses this combination.
        with torch.no_grad():
            for tensor in (*layer.parameters(), *layer.buffers()):
                if tensor.is_floating_point():
                    tensor.uniform_(0.5, 1.5)
        works.append(require_same_or_refused(nn.Sequential(layer), x, (kind, each)))
    assert any(works)


@pytest.mark.parametrize("call", FUNCTIONS, ids=range(len(FUNCTIONS)))
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_functions(call: Callable[[Tensor], Any]) -> None:
    torch.manual_seed(0)
    require_same_or_refused(Called(call), torch.randn(3, *IMAGE), call)


def test_a_weight_that_two_layers_share() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6, bias=False))
    net[2].weight = net[0].weight
    assert require_same_or_refused(net, torch.randn(3, 6), "tied")
