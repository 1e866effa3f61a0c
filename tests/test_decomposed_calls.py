"""Compositions of rows in the place of operators that no row stands for, against the module itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.capture.compositions.decompose import decompose_calls
from qtorch.capture.nodes import operator_name
from qtorch.families.arithmetic import squared_difference
from qtorch.families.functions_of_one_number import in_one_table
from tests.exported_calls import IMAGE, SEQUENCE, VECTOR, Calls, Case, check, exported, operators

#: What rows stand for: the operators by name.
ROWS = frozenset({
    "add", "amax", "amin", "avg_pool2d", "batch_norm", "cat", "chunk", "flatten", "flip", "leaky_relu", "linear",
    "log_softmax",
    "max_pool1d", "max_pool2d", "maximum", "mean", "minimum", "mul", "pad", "permute", "reshape", "rsqrt", "select",
    "sigmoid", "slice", "softmax", "split", "squeeze", "sub", "unsqueeze", "upsample_bilinear2d", "upsample_nearest2d",
})  # fmt: skip

#: Functions of one tensor, for which there is one row.
OF_ONE_TENSOR = frozenset({
    "abs", "clamp", "clamp_min", "exp", "gelu", "log", "log1p", "neg", "pow", "reciprocal", "relu", "sqrt",
})  # fmt: skip

#: A size, a part of a split, a function that is a row's own, an identity.
OTHERS = frozenset({
    "sym_size", "getitem", "contiguous", squared_difference.__name__, F.normalize.__name__, in_one_table.__name__,
})  # fmt: skip


def larger(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x > y, x, y) + torch.where(y < x, x, y) * 2 + torch.where(x <= y, y, x) * 3


def smaller(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x < y, x, y) + torch.where(y >= x, x, y) * 2 + torch.where(x > y, y, x) * 3


CASES: dict[str, Case] = {
    "div by a number": (lambda s, x: x / 3, IMAGE),
    "div by a constant": (lambda s, x: x / s.image, IMAGE),
    "div of tensors": (lambda s, x: x / torch.sigmoid(x), IMAGE),
    "divide": (lambda s, x: torch.true_divide(x, 4) + torch.divide(x, 2), IMAGE),
    "a number div a tensor": (lambda s, x: 2 / (x.abs() + 1), IMAGE),
    "other names": (lambda s, x: torch.subtract(torch.multiply(x, 2), x).clip(-1, 1).absolute().negative(), IMAGE),
    "rsub": (lambda s, x: (1 - x) + torch.rsub(x, x.relu(), alpha=2), IMAGE),
    "alpha": (lambda s, x: x.sub(x.relu(), alpha=2).add(1, alpha=3), IMAGE),
    "power by a tensor": (lambda s, x: (x.abs() + 0.1) ** s.image + x.exp().pow(s.row), IMAGE),
    "addcmul": (lambda s, x: torch.addcmul(x, x.relu(), x, value=2), IMAGE),
    "addcdiv": (lambda s, x: torch.addcdiv(x, x, x.sigmoid(), value=0.5), IMAGE),
    "lerp": (lambda s, x: torch.lerp(x, x.relu(), 0.3) + torch.lerp(x, x.relu(), s.image), IMAGE),
    "clamp by tensors": (lambda s, x: torch.clamp(x, -s.image, s.image), IMAGE),
    "max of two": (lambda s, x: torch.max(x, -x) + torch.min(x, s.image), IMAGE),
    "rrelu": (lambda s, x: F.rrelu(x), IMAGE),
    "where": (lambda s, x: torch.where(s.mask, x, x.relu()), IMAGE),
    "where else zero": (lambda s, x: torch.where(s.mask, x, torch.zeros_like(x)), IMAGE),
    "where else a number": (lambda s, x: torch.where(s.mask, x, 0.5) + torch.where(s.mask, 0.0, x), IMAGE),
    "where of itself": (lambda s, x: torch.where(x > 0.1, x, 0.2 * x.exp()) + torch.where(x <= 0, -1.0, x), IMAGE),
    "where of a chain": (lambda s, x: torch.where(x.abs() < 1, 0.5 * x**2, x.abs() - 0.5), IMAGE),
    "where of both": (lambda s, x: torch.where((x > -1) & ~(x >= 1) | (x == 2), x, torch.zeros_like(x)), IMAGE),
    "where of another": (lambda s, x: torch.where(x.mT > 0, x, x.relu()) + torch.where(x > x.mT, -x, x), IMAGE),
    "where of the larger": (lambda s, x: larger(x, x.mT), IMAGE),
    "where of the smaller": (lambda s, x: smaller(x, x.mT), IMAGE),
    "where of several": (lambda s, x: torch.where((x > 0) & (x.mT < 0) & s.mask, x, 1.0), IMAGE),
    "where by a buffer": (lambda s, x: torch.where(x > s.image, x, 0.0), IMAGE),
    "ones": (lambda s, x: x * (x > 0) + (x < 0).float() * x + (x.mT > 0).to(torch.float32) + (x.mT != 0), IMAGE),
    "any, all": (lambda s, x: (x > 0).any(1, keepdim=True).float() * x - (x > -1).all(2, True).float(), IMAGE),
    "where else a number of ones": (lambda s, x: torch.where(s.mask, x, -9 * torch.ones_like(x)), IMAGE),
    "masked_fill of itself": (lambda s, x: x.masked_fill(x < 0, 0) + x.masked_fill(x.mT > 0, 0.5), IMAGE),
    "masked_fill": (lambda s, x: x.masked_fill(s.mask, 0) + x.masked_fill(s.mask, 2.5), IMAGE),
    "constants of a batch": (
        lambda s, x: x + torch.ones(x.shape[0], 4, 1, 1) - x.new_full((x.shape[0], 1, 1, 1), 2),
        IMAGE,
    ),
    "cosine_similarity": (lambda s, x: F.cosine_similarity(x, x.relu(), 1), IMAGE),
    "cdist": (lambda s, x: torch.cdist(x, s.matrix[:3]) + torch.cdist(x, x.relu(), p=1)[..., :3], SEQUENCE),
    "cdist of vectors": (lambda s, x: torch.cdist(x, s.matrix), VECTOR),
    "cdist of the same": (lambda s, x: torch.cdist(x, s.matrix[None].expand(x.size(0), -1, -1)), SEQUENCE),
    "errors": (
        lambda s, x: F.mse_loss(x, x.relu(), reduction="none") + F.l1_loss(x, s.image.expand_as(x), reduction="none"),
        IMAGE,
    ),
    "sums from zeros": (
        lambda s, x: (torch.zeros_like(x) + x).sum(1) - (x.new_zeros(x.shape[0], 8, 8) - x.mean(1)),
        IMAGE,
    ),
    "windows of blocks": (lambda s, x: x.unfold(2, 4, 2) + x.unfold(2, 6, 1)[..., :4], SEQUENCE),
    "pairwise_distance": (lambda s, x: F.pairwise_distance(x, x.relu()), VECTOR),
    "sum": (lambda s, x: x.sum((2, 3), keepdim=True) + x.sum(1, keepdim=True), IMAGE),
    "amax of an image": (lambda s, x: x.amax((2, 3)) + x.amin((2, 3)), IMAGE),
    "max of rows": (lambda s, x: x.max(3)[0] + x.max(2).values, IMAGE),
    "max of channels": (lambda s, x: x.max(1, keepdim=True)[0] + x.amax(1, keepdim=True), IMAGE),
    "min of channels": (lambda s, x: x.min(1)[0], IMAGE),
    "amax of a sequence": (lambda s, x: x.amax(2) + x.amax(1)[:, :4], SEQUENCE),
    "amax of a vector": (lambda s, x: x.amax(1, keepdim=True) + x.amax(-1, keepdim=True), VECTOR),
    "amax of all": (lambda s, x: x.amax((1, 2, 3)) + x.amax((1, 3)).amax(1), IMAGE),
    "cumsum": (lambda s, x: x.cumsum(1) + torch.cumsum(x, -1) + x.cumsum(2), IMAGE),
    "diff": (lambda s, x: x.diff() + x.diff(dim=1)[:, :1, :, 1:] + x.diff(2, prepend=x[..., :1]), IMAGE),
    "var": (lambda s, x: x.var(1) + x.var((1,), unbiased=False) + torch.var(x, 1, correction=2), IMAGE),
    "std": (lambda s, x: x.std((2, 3), keepdim=True), IMAGE),
    "var_mean": (lambda s, x: torch.add(*torch.var_mean(x, 1)) + torch.std_mean(x, 1)[0], IMAGE),
    "norms": (lambda s, x: x.norm(dim=1) + x.norm(p=1, dim=1) + x.norm(p=float("inf"), dim=1), IMAGE),
    "norms of other powers": (lambda s, x: x.norm(p=3, dim=1) + x.norm(p=-math.inf, dim=(1,)), IMAGE),
    "norms of matrices": (lambda s, x: torch.linalg.matrix_norm(x) + torch.linalg.norm(x, 2, dim=3).sum(2), IMAGE),
    "aminmax": (lambda s, x: torch.sub(*torch.aminmax(x, dim=1)), IMAGE),
    "normalize": (lambda s, x: F.normalize(x, dim=1), IMAGE),
    "softmax of channels": (lambda s, x: F.softmax(x, 1) + F.log_softmax(x, 1), IMAGE),
    "softmax of rows": (lambda s, x: F.softmax(x, 2) + F.softmax(x, -1), IMAGE),
    "logsumexp": (lambda s, x: x.logsumexp(1, keepdim=True) + torch.logsumexp(x * 50, (1,), True), IMAGE),
    "mean of one": (lambda s, x: x[:, :1].mean(1), IMAGE),
    "layer_norm": (lambda s, x: F.layer_norm(x, (8,), s.matrix[0], s.matrix[1]), IMAGE),
    "layer_norm of all": (lambda s, x: F.layer_norm(x, (4, 8, 8), eps=0.1), IMAGE),
    "rms_norm": (lambda s, x: F.rms_norm(x, (8,), s.matrix[0]) + F.rms_norm(x, (8, 8), eps=0.1), IMAGE),
    "group_norm": (lambda s, x: F.group_norm(x, 2, s.channels, s.channels), IMAGE),
    "group_norm of one": (lambda s, x: F.group_norm(x, 1, s.channels), IMAGE),
    "group_norm of each": (lambda s, x: F.group_norm(x, 4, None, s.channels, 0.1), IMAGE),
    "group_norm of vectors": (lambda s, x: F.group_norm(x, 2), VECTOR),
    "instance_norm": (lambda s, x: F.instance_norm(x, weight=s.channels, bias=s.channels), IMAGE),
    "instance_norm by statistics": (
        lambda s, x: F.instance_norm(x, s.channels.detach(), s.channels.detach(), use_input_stats=False),
        IMAGE,
    ),
    "instance_norm of a sequence": (lambda s, x: F.instance_norm(x), SEQUENCE),
    "expand before a sum": (lambda s, x: x + x.mean((2, 3), keepdim=True).expand_as(x), IMAGE),
    "expand of both": (
        lambda s, x: x.mean(2, keepdim=True).expand_as(x) * x.mean(3, keepdim=True).expand(-1, -1, 8, 8),
        IMAGE,
    ),
    "expand of all": (
        lambda s, x: x.mean((2, 3), True).expand_as(x) * x.amax((2, 3), True).expand_as(x),
        IMAGE,
    ),
    "expand twice": (lambda s, x: x.mean((2, 3), keepdim=True).expand(-1, -1, 8, -1).expand_as(x) - x, IMAGE),
    "expand alone": (lambda s, x: x.mean((2, 3), keepdim=True).broadcast_to(x.shape[0], 4, 3, 2), IMAGE),
    "expand to more axes": (lambda s, x: x[:, None].expand(-1, 3, -1, -1), SEQUENCE),
    "repeat": (lambda s, x: x.repeat(1, 2, 1, 3), IMAGE),
    "repeat of one": (lambda s, x: x + x.mean((2, 3), keepdim=True).repeat(1, 1, 8, 8), IMAGE),
    "repeat of one alone": (lambda s, x: x.mean((2, 3), keepdim=True).repeat(1, 1, 8, 11), IMAGE),
    "tile": (lambda s, x: x.tile(2, 1, 1), IMAGE),
    "repeat_interleave": (lambda s, x: x.repeat_interleave(2, 1) + x.repeat_interleave(2, dim=-3), IMAGE),
    "stack": (
        lambda s, x: torch.stack([x, x.relu()], 1).flatten(1, 2) + torch.stack([x, x], -1).sum(-1).repeat(1, 2, 1, 1),
        IMAGE,
    ),
    "unbind": (lambda s, x: sum(x.unbind(1)) + x.unbind(-2)[0][:, :1], IMAGE),
    "cat of many": (lambda s, x: torch.cat([x * i for i in range(23)], 1), IMAGE),
    "cat of one": (lambda s, x: torch.cat([x.relu()], 1), IMAGE),
    "hstack, dstack": (lambda s, x: torch.dstack([torch.hstack([x, x]), torch.hstack([x, x])]), IMAGE),
    "split": (lambda s, x: torch.cat([*x.split([1, 3], 1), *x.split(3, 1)][::-1], 1), IMAGE),
    "chunk": (lambda s, x: torch.cat(x.chunk(3, 2)[::-1], 2), IMAGE),
    "tensor_split": (lambda s, x: torch.cat([*x.tensor_split(3, 2), *x.tensor_split((1, 5), 2)][::-1], 2), IMAGE),
    "narrow": (lambda s, x: x.narrow(1, 1, 2) + x.narrow(-3, -2, 2), IMAGE),
    "transposes": (
        lambda s, x: x.transpose(1, 2).swapaxes(1, 3).mT.movedim(1, -1).moveaxis((1, 2), (2, 1)).swapdims(2, 3),
        IMAGE,
    ),
    "transposed batch": (lambda s, x: x.flatten(1).T.t(), IMAGE),
    "flip": (lambda s, x: x.flip(1).flip((2, 3)), IMAGE),
    "fliplr": (lambda s, x: torch.fliplr(x), IMAGE),
    "flip of many": (lambda s, x: x.flip(1), (33, 2)),
    "roll": (lambda s, x: x.roll((1, -2), (2, 3)).roll(9, 1), IMAGE),
    "index": (lambda s, x: x[:, [0, 1, 3, 2]] + x[:, torch.tensor([3, 2, 1, -4])], IMAGE),
    "index_select": (lambda s, x: x.index_select(1, torch.tensor([2, 3, 0])), IMAGE),
    "reshape_as": (lambda s, x: x.flatten(2).view_as(x) + x.flatten(1).reshape_as(x), IMAGE),
    "view of what is permuted": (lambda s, x: x.permute(0, 2, 3, 1).contiguous().view(x.shape[0], -1), IMAGE),
    "glu": (lambda s, x: F.glu(x, 1) + F.glu(x, -3), IMAGE),
    "channel_shuffle": (lambda s, x: F.channel_shuffle(x, 2), IMAGE),
    "pixel_shuffle": (lambda s, x: F.pixel_shuffle(x, 2), (12, 3, 5)),
    "pixel_unshuffle": (lambda s, x: F.pixel_unshuffle(x, 3), (2, 6, 9)),
    "local_response_norm": (lambda s, x: F.local_response_norm(x, 3), IMAGE),
    "avg_pool3d": (lambda s, x: F.avg_pool3d(x[:, :, None].mT.mT.permute(0, 2, 1, 3, 4), (2, 1, 1)), IMAGE),
    "pad reflect": (lambda s, x: F.pad(x, (1, 2, 3, 0), "reflect"), IMAGE),
    "pad replicate": (lambda s, x: F.pad(x, (0, 2, 3, 1), "replicate"), IMAGE),
    "pad and cut": (lambda s, x: F.pad(x, (-3, 2, 1, -2, -1, 0)) + F.pad(x, (1, -2, -1, 0))[:, 1:], IMAGE),
    "pad and cut, mirrored": (lambda s, x: F.pad(x, (-5, 2), "reflect") + F.pad(x, (-5, 2), "replicate"), SEQUENCE),
    "running": (lambda s, x: x.cumprod(1) + x.logcumsumexp(-1) + x.cummax(2)[0] - torch.cummin(x, 1).values, SEQUENCE),
    "cross": (lambda s, x: torch.cross(x[:, :3], s.row[0] + x[:, 1:], 1), SEQUENCE),
    "cross along the last axis": (
        lambda s, x: torch.linalg.cross(x[..., :3], s.matrix[0, :3].expand_as(x[..., :3])),
        SEQUENCE,
    ),
    "pad circular": (lambda s, x: F.pad(x, (1, 2), "circular") + F.pad(x, (5, -2), "circular"), SEQUENCE),
    "upsample_linear1d": (
        lambda s, x: (
            F.interpolate(x, scale_factor=2, mode="linear") + F.interpolate(x, 16, mode="linear", align_corners=True)
        ),
        SEQUENCE,
    ),
    "upsample_nearest1d": (lambda s, x: F.interpolate(x, scale_factor=1.5) + F.interpolate(x, 12), SEQUENCE),
    "matmul": (lambda s, x: x @ s.matrix + s.matrix @ x, IMAGE),
    "matmul of a batch of matrices": (lambda s, x: torch.bmm(x, s.matrix.expand(x.shape[0], 8, 8)), SEQUENCE),
    "matmul with a vector": (lambda s, x: x @ s.matrix[0] + s.matrix[1] @ x, IMAGE),
    "matmul of vectors": (lambda s, x: torch.mm(x, s.matrix), VECTOR),
    "mv": (lambda s, x: torch.mv(x, s.matrix[0]), VECTOR),
    "addmm": (
        lambda s, x: torch.addmm(s.matrix[0], x, s.matrix) + torch.addmm(x, x, s.matrix, beta=2, alpha=0.5),
        VECTOR,
    ),
    "einsum with a matrix": (lambda s, x: torch.einsum("bchw,cd->bdhw", x, s.matrix[:4, :4]), IMAGE),
    "einsum with an image": (
        lambda s, x: torch.einsum("b...hw,hwd->...bd", x, s.matrix[:, :, None]).permute(1, 0, 2),
        IMAGE,
    ),
    "einsum of two": (lambda s, x: torch.einsum("bchw,bc->bhcw", x, x.mean((2, 3))), IMAGE),
    "einsum of one": (lambda s, x: torch.einsum("bchw->bwc", x), IMAGE),
    "einsum with a matrix first": (lambda s, x: torch.einsum("dc,bchw->bdhw", s.matrix[:, :4], x), IMAGE),
    "einsum without a result": (lambda s, x: torch.einsum("bij,jk", x, s.matrix[:, :3]), SEQUENCE),
}


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("amax", "max of", "min of", "norms"))])
def test_extrema_of_16_bits_are_poolings(name: str) -> None:
    """The device's own reductions have no kernel of 16 bits."""
    torch.manual_seed(0)
    function, shape = CASES[name]
    traced = check(Calls(function), shape, lambda traced: decompose_calls(traced, frozenset({"int16"})))
    assert not {"amax", "amin"} & set(operators(traced))


@pytest.mark.parametrize("name", CASES)
def test_a_composition_computes_what_the_call_does(name: str) -> None:
    torch.manual_seed(0)
    function, shape = CASES[name]
    traced = check(Calls(function), shape, decompose_calls)
    left = set(operators(traced)) - ROWS - OF_ONE_TENSOR - OTHERS
    assert not left


ANY_ORDER = torch.randperm(160, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("function", "shape", "product"),
    [
        (lambda s, x: x[:, ANY_ORDER], (160, 3, 3), "conv2d"),
        (lambda s, x: x.index_select(1, ANY_ORDER), (160, 5), "conv1d"),
        (lambda s, x: x[..., ANY_ORDER], (3, 160), "linear"),
        (lambda s, x: x[:, :, ANY_ORDER], (2, 160, 3), "linear"),
        (lambda s, x: x[:, ANY_ORDER.clamp(max=0)], (160, 3, 3), "expand"),
        (lambda s, x: x[..., torch.arange(70).repeat_interleave(3).flip(0)], (70,), "expand"),
    ],
)
def test_elements_in_no_order_are_a_product(function: Any, shape: tuple[int, ...], product: str) -> None:
    """As slices they would be more calls than a file should have."""
    net = Calls(function)
    traced = check(net, shape, decompose_calls)
    names = operators(traced)
    assert len(names) < (80 if product != "expand" else 16)
    assert (product in names) is (product != "expand")
    x = torch.randn(2, *shape)
    qat = qtorch.prepare(net.eval(), x)
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    report = parity(graph, write_tflite(graph), corner_codes(graph, random=2), qat.eval())
    assert report.engines["tflm"].exact_share == report.engines["qat_network"].exact_share == 1.0


def test_the_larger_and_the_smaller_of_two_are_one_call() -> None:
    for function, name in ((larger, "maximum"), (smaller, "minimum")):
        traced = exported(Calls(lambda s, x, function=function: function(x, x.mT)), IMAGE)
        decompose_calls(traced)
        assert operators(traced).count(name) == 3
        assert "in_one_table" not in operators(traced)


UNTOUCHED: dict[str, Case] = {
    "div": (lambda s, x: torch.div(x, x.sigmoid(), rounding_mode="floor"), IMAGE),
    "pow": (lambda s, x: x ** s.image.round(), IMAGE),
    "sum": (lambda s, x: x.sum(0), IMAGE),
    "amax": (lambda s, x: x.amax((0, 1)), IMAGE),
    "max": (lambda s, x: x.max(0)[1], IMAGE),
    "cumsum": (lambda s, x: x.cumsum(0), IMAGE),
    "diff": (lambda s, x: x.diff(dim=0), IMAGE),
    "var": (lambda s, x: x.var(), IMAGE),
    "linalg_vector_norm": (lambda s, x: x.norm(p=-2, dim=1) + x.norm(p=0, dim=1), IMAGE),
    "linalg_matrix_norm": (lambda s, x: torch.linalg.matrix_norm(x, 2), IMAGE),
    "softmax": (lambda s, x: F.softmax(x, 0), IMAGE),
    "logsumexp": (lambda s, x: x.logsumexp((0, 2)), IMAGE),
    "where": (lambda s, x: torch.where(s.mask, x, float("-inf")), IMAGE),
    "masked_fill": (lambda s, x: x.masked_fill(x > 0, float("-inf")), IMAGE),
    "matmul": (lambda s, x: x @ x.mT, IMAGE),
    "einsum": (lambda s, x: torch.einsum("bchw,cd->dhw", x, s.matrix[:4]), IMAGE),
    "roll": (lambda s, x: x.roll(1, 0) + x.roll(1), IMAGE),
    "flip": (lambda s, x: x.flip(0) + x.flip(1), (65,)),
    "index": (lambda s, x: x[:, [0, 1], :, [1, 0]], IMAGE),
    "pad": (lambda s, x: F.pad(x, (-1, 1, 0, 0, 1, -1)), SEQUENCE),
    "repeat": (lambda s, x: x.repeat(2, 1, 1, 1), IMAGE),
    "instance_norm": (
        lambda s, x: F.instance_norm(x, s.image[:, 0, 0].clone(), s.image[:, 0, 0].clone(), use_input_stats=True),
        IMAGE,
    ),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_a_call_without_a_form_stays(name: str) -> None:
    """Nothing of it is rewritten, so that it is refused by the name that a person wrote."""
    function, shape = UNTOUCHED[name]
    traced = exported(Calls(function), shape)
    # What nobody reads is gone, whatever it is.
    traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    before = operators(traced)
    decompose_calls(traced)
    assert name in before
    assert [n for n in operators(traced) if n not in ("mT", "permute")] == [
        n for n in before if n not in ("mT", "permute")
    ]


def test_a_reciprocal_of_a_power_of_two_is_exact() -> None:
    traced = exported(Calls(lambda s, x: x / 8), IMAGE)
    decompose_calls(traced)
    x = torch.randn(3, *IMAGE)
    assert torch.equal(traced(x), x / 8)


def test_what_was_written_names_layer_and_line() -> None:
    class Grouped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.group_norm(x, 2)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ModuleDict({"norm": Grouped()})

        def forward(self, x: Tensor) -> Tensor:
            return self.inner["norm"](x)

    traced = exported(Net(), IMAGE)
    decompose_calls(traced)
    for node in traced.graph.nodes:
        if node.op == "call_function":
            assert "F.group_norm(x, 2)" in node.stack_trace
            assert [path for path, _ in node.meta["nn_module_stack"].values()][-1] == "inner.norm"


def test_parameters_of_a_norm_stay_trainable() -> None:
    net = Calls(lambda s, x: F.group_norm(x, 2, s.channels, s.channels))
    traced = exported(net, IMAGE)
    decompose_calls(traced)
    x = torch.randn(2, *IMAGE)
    wanted = torch.autograd.grad(net(x).square().sum(), net.channels)
    found = torch.autograd.grad(traced(x).square().sum(), traced.get_parameter("channels"))
    torch.testing.assert_close(found, wanted)


def test_constants_stay_whole() -> None:
    traced = exported(Calls(lambda s, x: x + (s.matrix / 3).expand(4, 8, 8).flip(0).sum(0)), IMAGE)
    decompose_calls(traced)
    names = [operator_name(node) for node in traced.graph.nodes if node.op == "call_function"]
    assert names == ["div", "expand", "flip", "sum", "add"]


def test_steps_of_a_concatenation_take_at_most_ten() -> None:
    traced = exported(Calls(lambda s, x: torch.cat([x] * 101, 1)), (1, 2))
    decompose_calls(traced)
    counts = [len(node.args[0]) for node in traced.graph.nodes if operator_name(node) == "cat"]
    assert len(counts) > 10
    assert max(counts) <= 10


def test_a_normalization_is_what_layers_are_made_of() -> None:
    """The ops of a functional layer norm, in the order in which the device has them."""
    traced = exported(Calls(lambda s, x: F.layer_norm(x, (8,), s.matrix[0], s.matrix[1])), SEQUENCE)
    decompose_calls(traced)
    assert operators(traced) == ["mean", "squared_difference", "mean", "sub", "add", "rsqrt", "mul", "mul", "add"]


def test_an_axis_as_large_as_the_example_batch_is_no_batch() -> None:
    """A size that happens to be the example's batch is not taken for it."""
    traced = check(Calls(lambda s, x: x.mean(1, keepdim=True).expand(-1, 2, -1) + x), (2, 3), decompose_calls)
    assert operators(traced) == ["mean", "add"]
    for batch in (1, 2, 5):
        x = torch.randn(batch, 2, 3)
        torch.testing.assert_close(traced(x), x.mean(1, keepdim=True) + x)


def test_a_divisor_that_broadcasts_is_not_copied() -> None:
    traced = exported(Calls(lambda s, x: F.normalize(x, dim=1)), IMAGE)
    decompose_calls(traced)
    assert "cat" not in operators(traced)
    assert "expand_as" not in operators(traced)


def test_parts_that_nobody_reads_are_not_made() -> None:
    traced = exported(Calls(lambda s, x: x.unbind(2)[3]), IMAGE)
    decompose_calls(traced)
    assert operators(traced) == ["select"]
