"""Every spelling of every row's calls, as ``torch.export`` has them: the row that stands for it, and its attributes.

The attributes are written down by hand. What the row computes with them is held against the expression itself.
"""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch._dynamo import config
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from qtorch.capture.identities import drop_identities
from qtorch.capture.merged_slices import merge_slices
from qtorch.capture.nodes import Recorder, operator_name
from qtorch.capture.unread_indices import drop_unread_indices
from qtorch.errors import UnsupportedLayer
from qtorch.ops import ROWS
from qtorch.preparation.matching import find_row
from qtorch.preparation.transparency import is_silent, source_of

IMAGE, SEQUENCE, VECTOR = (2, 6, 8, 8), (2, 6, 8), (2, 6)


class Net(nn.Module):
    """Expressions of its input ``x`` and of its parameters ``p``."""

    def __init__(self, expressions: tuple[str, ...]) -> None:
        super().__init__()
        self.expressions = expressions
        self.image, self.each, self.line = (
            nn.Parameter(torch.rand(s)) for s in ((4, 6, 3, 3), (6, 1, 3, 3), (4, 6, 3))
        )
        self.up, self.up_line = (nn.Parameter(torch.rand(s)) for s in ((6, 4, 3, 3), (6, 4, 3)))
        self.weight, self.bias = nn.Parameter(torch.rand(4, 8)), nn.Parameter(torch.rand(4))
        self.slope, self.scale = nn.Parameter(torch.rand(6)), nn.Parameter(torch.rand(1, 6, 1, 1))

    def forward(self, x: Tensor) -> tuple[Any, ...]:
        names = {"x": x, "p": self, "torch": torch, "F": F, "operator": operator}
        return tuple(eval(expression, names) for expression in self.expressions)


class ByRows(fx.Interpreter):
    """Computes with the rows what the device has, and the rest as it is."""

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "output" or is_silent(self.module, n):
            return super().run_node(n)
        call = find_row(self.module, n)
        tensors = {role: self.env[source] for role, source in call.sources.items()} | call.constants
        if not call.row.channels_last or self.env[n.all_input_nodes[0]].dim() != 3:
            return call.row.forward(call.attrs, tensors)
        # A line is an image of one row.
        tensors = {role: tensor if tensor.dim() == 1 else tensor.unsqueeze(2) for role, tensor in tensors.items()}
        return call.row.forward(call.attrs, tensors).squeeze(2)


def exported(shape: tuple[int, ...], *expressions: str) -> tuple[fx.GraphModule, Net, Tensor]:
    torch.manual_seed(0)
    net, x = Net(expressions).eval(), torch.randn(shape)
    batch = ({0: torch.export.Dim.AUTO},)
    # As a capture has it: results that are kept and never found again take a third of the time.
    with config.patch(fake_tensor_cache_enabled=False):
        traced: Any = torch.export.export(net, (x,), dynamic_shapes=batch, strict=False).module(check_guards=False)
    with torch.no_grad():
        Recorder(traced).run(x)
    drop_unread_indices(traced)
    merge_slices(traced)
    return traced, net, x


def conv(stride: Any = (1, 1), padding: Any = ((0, 0), (0, 0)), **others: Any) -> dict[str, Any]:
    return {
        "stride_h": stride[0], "stride_w": stride[1], "dilation_h": 1, "dilation_w": 1, "padding": padding,
        "activation": "none", **others,
    }  # fmt: skip


def pool(window: Any, stride: Any = None, padding: Any = ((0, 0), (0, 0))) -> dict[str, Any]:
    stride = stride or window
    return {
        "filter_h": window[0], "filter_w": window[1], "stride_h": stride[0], "stride_w": stride[1], "padding": padding,
        "activation": "none",
    }  # fmt: skip


def box(begin: Any, end: Any, strides: Any, shrunk: int = 0) -> dict[str, Any]:
    return {
        "begin": begin, "end": end, "strides": strides, "begin_mask": 1, "end_mask": 1, "shrink_axis_mask": shrunk,
    }  # fmt: skip


def resized(size: Any, align_corners: bool, half_pixel_centers: bool) -> dict[str, Any]:
    return {"size": size, "align_corners": align_corners, "half_pixel_centers": half_pixel_centers}


_NONE = {"activation": "none"}
_ROWS, _ALL = ((0, 0), (1, 1)), ((1, 1), (1, 1))
_UP = {"stride_h": 2, "stride_w": 2, "padding": ((0, 0), (0, 0)), "activation": "none"}
_UP_LINE = {"stride_h": 1, "stride_w": 1, "padding": ((0, 0), (1, 1)), "activation": "none"}

#: Row, shape of ``x``, attributes, and the expressions that have them.
CASES: list[tuple[str, tuple[int, ...], dict[str, Any], tuple[str, ...]]] = [
    ("add", IMAGE, _NONE, ("x + x", "x + 1", "1 + x", "x + p.scale", "p.scale + x", "torch.add(x, x)", "x.add(2.5)",
                           "torch.add(x, 3, alpha=1)", "operator.add(x, x)")),
    ("sub", IMAGE, _NONE, ("x - x", "x - 1.5", "p.scale - x", "torch.sub(x, x)", "x.sub(2)", "x.subtract(2)",
                           "torch.subtract(x, p.scale)")),
    ("mul", IMAGE, _NONE, ("x * x", "x * 2", "2 * x", "p.scale * x", "torch.mul(x, x)", "x.mul(2.5)", "x.multiply(2)",
                           "torch.multiply(x, p.scale)")),
    ("batch_matmul", SEQUENCE, {"adj_x": False, "adj_y": False}, (
        "x @ x.mT", "torch.matmul(x.mT, x)", "torch.bmm(x, x.mT)", "x.matmul(x.mT)", "x.bmm(x.mT)")),
    ("maximum", IMAGE, {}, ("torch.maximum(x, p.scale)", "torch.max(x, p.scale)", "x.max(p.scale)", "x.maximum(x)")),
    ("minimum", IMAGE, {}, ("torch.minimum(x, p.scale)", "torch.min(x, p.scale)", "x.min(p.scale)", "x.minimum(x)")),
    ("mean", IMAGE, {"axes": (2, 3), "keep_dims": False}, (
        "x.mean((2, 3))", "x.mean([-1, -2])", "torch.mean(x, (3, 2))", "x.mean(dim=(2, 3))")),
    ("mean", IMAGE, {"axes": (1,), "keep_dims": True}, ("x.mean(1, True)", "torch.mean(x, dim=-3, keepdim=True)")),
    ("reduce_max", IMAGE, {"axes": (1, 3), "keep_dims": False}, ("x.amax((1, 3))", "torch.amax(x, (-1, 1))")),
    ("reduce_max", IMAGE, {"axes": (1,), "keep_dims": True}, ("x.amax(1, True)", "x.amax(-3, keepdim=True)")),
    ("reduce_min", IMAGE, {"axes": (2, 3), "keep_dims": False}, ("x.amin((2, 3))", "torch.amin(x, dim=[3, -2])")),
    ("relu", IMAGE, {}, ("F.relu(x)", "torch.relu(x)", "x.relu()", "x.clamp(min=0)", "x.clamp(0)", "torch.clip(x, 0)",
                         "x.clamp_min(0)", "torch.clamp(x, 0.0)")),
    ("relu6", IMAGE, {}, ("F.relu6(x)", "F.hardtanh(x, 0, 6)", "x.clamp(0, 6)", "torch.clip(x, 0, 6)",
                          "F.hardtanh(x, min_val=0.0, max_val=6.0)")),
    ("hard_swish", IMAGE, {}, ("F.hardswish(x)",)),
    ("logistic", IMAGE, {}, ("torch.sigmoid(x)", "F.sigmoid(x)", "x.sigmoid()", "torch.special.expit(x)")),
    ("tanh", IMAGE, {}, ("torch.tanh(x)", "F.tanh(x)", "x.tanh()")),
    ("rsqrt", IMAGE, {}, ("torch.rsqrt(x * x + 1)", "(x * x + 1).rsqrt()")),
    ("leaky_relu", IMAGE, {"alpha": 0.25}, ("F.leaky_relu(x, 0.25)", "F.leaky_relu(x, negative_slope=0.25)")),
    ("leaky_relu", IMAGE, {"alpha": 0.009999999776482582}, ("F.leaky_relu(x)",)),
    ("prelu", IMAGE, {}, ("F.prelu(x, p.slope)", "x.prelu(p.slope)")),
    ("softmax", IMAGE, {"beta": 1.0}, ("F.softmax(x, -1)", "x.softmax(3)", "torch.softmax(x, dim=-1)",
                                       "torch.special.softmax(x, -1)", "F.softmax(x, -1, dtype=torch.float32)")),
    ("log_softmax", IMAGE, {}, ("F.log_softmax(x, -1)", "x.log_softmax(3)", "torch.log_softmax(x, dim=-1)",
                                "torch.special.log_softmax(x, -1)")),
    ("reshape", IMAGE, {"shape": (1, 384)}, (
        "x.view(x.shape[0], -1)", "x.reshape(x.size(0), -1)", "x.flatten(1)", "torch.flatten(x, 1)",
        "torch.reshape(x, (-1, 384))", "torch.ops.aten._unsafe_view(x, [-1, 384])")),
    ("reshape", IMAGE, {"shape": (1, 2, 3, 8, 8)}, ("x.unflatten(1, (2, 3))", "x.unflatten(1, (2, -1))",
                                                    "x.view(-1, 2, 3, 8, 8)", "torch.unflatten(x, 1, (2, 3))")),
    ("reshape", (2, 6, 1, 8), {"shape": (1, 6, 8)}, ("x.squeeze(2)", "torch.squeeze(x, -2)", "x.squeeze((2,))",
                                                     "x.squeeze()", "x.view_as(x.mean(2))", "x.reshape_as(x.mean(2))")),
    ("reshape", VECTOR, {"shape": (1, 1, 6)}, ("x.unsqueeze(1)", "torch.unsqueeze(x, 1)", "x[:, None]")),
    ("transpose", IMAGE, {"perm": (0, 2, 3, 1)}, (
        "x.permute(0, 2, 3, 1)", "x.permute((0, 2, 3, 1))", "torch.permute(x, (0, 2, -1, 1))", "x.movedim(1, -1)",
        "x.moveaxis(1, -1)", "torch.movedim(x, (1, 2), (3, 1))")),
    ("transpose", IMAGE, {"perm": (0, 1, 3, 2)}, (
        "x.transpose(2, 3)", "torch.transpose(x, -1, -2)", "x.swapaxes(2, 3)", "torch.swapaxes(x, 2, 3)",
        "x.swapdims(2, 3)", "x.mT", "x.mH", "x.adjoint()")),
    ("slice", IMAGE, {"begin": (0, 3, 0, 0), "size": (-1, 3, 8, 8)}, (
        "x.narrow(1, 3, 3)", "torch.narrow(x, 1, -3, 3)", "x.narrow(-3, 3, length=3)")),
    ("strided_slice", IMAGE, box((0, 1, 0, 0), (1, 3, 8, 1), (1, 1, 2, 1), 0b1000), (
        "x[:, 1:3, ::2, 0]", "x[:, 1:-3, :, 0][:, :, ::2]", "x[..., 0][:, 1:3, ::2]", "x.select(3, -8)[:, 1:3, ::2]",
        "x[:][:, 1:][:, :2, 0:100:2][..., 0]")),
    ("strided_slice", IMAGE, box((0, 0, 0, 1), (1, 6, 8, 8), (1, 1, 1, 3)), ("x[..., 1::3]", "x[:, :, :, 1:40:3]")),
    ("split", IMAGE, {"axis": 1, "num_splits": 3}, (
        "torch.chunk(x, 3, 1)", "x.chunk(4, 1)", "x.split(2, -3)", "torch.split(x, [2, 2, 2], dim=1)",
        "torch.tensor_split(x, 3, 1)", "x.tensor_split((2, 4), 1)")),
    ("concatenation", IMAGE, {"axis": 1}, ("torch.cat([x, x], 1)", "torch.concat((x, x), dim=-3)",
                                           "torch.concatenate([x, x], 1)", "torch.cat(x.chunk(2, 1), 1)")),
    ("conv_2d", IMAGE, conv(), ("F.conv2d(x, p.image)", "torch.conv2d(x, p.image, p.bias)")),
    ("conv_2d", IMAGE, conv((2, 2), _ALL), ("F.conv2d(x, p.image, p.bias, 2, 1)",)),
    ("conv_2d", IMAGE, conv(padding=_ALL), ("F.conv2d(x, p.image, padding='same')", "F.conv2d(x, p.image, padding=1)")),
    ("conv_2d", SEQUENCE, conv((1, 2)), ("F.conv1d(x, p.line, stride=2)",)),
    ("conv_2d", SEQUENCE, conv(padding=_ROWS), ("F.conv1d(x, p.line, padding='same')",
                                                "torch.conv1d(x, p.line, p.bias, padding=1)")),
    ("depthwise_conv_2d", IMAGE, conv(padding=((1, 1), (0, 0)), depth_multiplier=1), (
        "F.conv2d(x, p.each, groups=6, padding=(1, 0))",)),
    ("transpose_conv", IMAGE, {**_UP, "output_shape": (1, 18, 18, 4)}, (
        "F.conv_transpose2d(x, p.up, p.bias, stride=2, output_padding=1)",)),
    ("transpose_conv", SEQUENCE, {**_UP_LINE, "output_shape": (1, 1, 8, 4)}, (
        "F.conv_transpose1d(x, p.up_line, padding=1)",)),
    ("fully_connected", (2, 8), {**_NONE, "keep_num_dims": False}, (
        "F.linear(x, p.weight, p.bias)", "F.linear(x, p.weight)")),
    ("fully_connected", SEQUENCE, {**_NONE, "keep_num_dims": True}, ("F.linear(x, p.weight, p.bias)",)),
    ("max_pool_2d", IMAGE, pool((2, 2)), (
        "F.max_pool2d(x, 2)", "torch.max_pool2d(x, 2)", "F.max_pool2d(x, 2, return_indices=True)[0]",
        "F.adaptive_max_pool2d(x, 4)", "F.adaptive_max_pool2d(x, (4, 4))")),
    ("max_pool_2d", IMAGE, pool((3, 3), (2, 2), ((1, 2), (1, 2))), ("F.max_pool2d(x, 3, 2, 1, ceil_mode=True)",)),
    ("max_pool_2d", SEQUENCE, pool((1, 4)), ("F.max_pool1d(x, 4)", "torch.max_pool1d(x, 4)",
                                             "F.adaptive_max_pool1d(x, 2)")),
    ("average_pool_2d", IMAGE, pool((2, 2)), (
        "F.avg_pool2d(x, 2)", "F.avg_pool2d(x, (2, 2), 2)", "F.adaptive_avg_pool2d(x, 4)",
        "F.interpolate(x, scale_factor=0.5, mode='area')")),
    ("average_pool_2d", IMAGE, pool((3, 3), (1, 1), "same"), ("F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)",)),
    ("average_pool_2d", SEQUENCE, pool((1, 4)), ("F.avg_pool1d(x, 4)", "F.adaptive_avg_pool1d(x, 2)")),
    ("resize_nearest_neighbor", IMAGE, resized((16, 16), False, False), (
        "F.interpolate(x, scale_factor=2)", "F.interpolate(x, size=(16, 16))",
        "F.interpolate(x, 16, mode='nearest-exact')",
        "F.interpolate(x, scale_factor=(2.0, 2.0), mode='nearest')")),
    ("resize_nearest_neighbor", IMAGE, resized((4, 4), False, True), (
        "F.interpolate(x, scale_factor=0.5, mode='nearest-exact')",)),
    ("resize_bilinear", IMAGE, resized((12, 12), False, True), (
        "F.interpolate(x, scale_factor=1.5, mode='bilinear')", "F.interpolate(x, 12, mode='bilinear')")),
    ("resize_bilinear", IMAGE, resized((16, 16), True, False), (
        "F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)",)),
    ("arg_max", IMAGE, {"axis": 1, "output_type": "int32"}, ("x.argmax(1)", "torch.argmax(x, dim=-3)")),
    ("arg_min", IMAGE, {"axis": 3, "output_type": "int32"}, ("x.argmin(-1)", "torch.argmin(x, 3)")),
    ("reverse_v2", IMAGE, {"axes": (2, 3)}, ("x.flip(2, 3)", "torch.flip(x, (-1, 2))", "x.flip([3, 2])")),
    ("pad", IMAGE, {"paddings": ((0, 0), (0, 0), (0, 2), (1, 1))}, (
        "F.pad(x, (1, 1, 0, 2))", "F.pad(x, (1, 1, 0, 2), value=0.0)", "torch.constant_pad_nd(x, (1, 1, 0, 2), 0)")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "shape", "attrs", "expressions"), CASES, ids=[each[0] for each in CASES])
def test_a_row_stands_for_every_spelling(
    row: str, shape: tuple[int, ...], attrs: dict[str, Any], expressions: tuple[str, ...]
) -> None:
    traced, net, x = exported(shape, *expressions)
    with torch.no_grad():
        expected, got = net(x), pytree.tree_leaves(ByRows(traced).run(x))
    nodes = pytree.tree_leaves(traced.graph.output_node().args)
    for expression, result in zip(expressions, expected, strict=True):
        call = find_row(traced, source_of(traced, nodes[0]))
        assert (call.row.name, dict(call.attrs)) == (row, attrs), expression
        for one in pytree.tree_leaves(result):
            torch.testing.assert_close(got.pop(0), one, msg=expression)
            nodes.pop(0)
    assert not nodes


def test_every_row_of_operators_is_tried() -> None:
    # Of functions of one number every one is tried where their table is.
    rows = {row.name for row in ROWS.values() if any(match.kind == "aten" for match in row.matches)} - {"table"}
    assert rows | {"strided_slice"} == {row for row, *_ in CASES}


@pytest.mark.parametrize(
    ("shape", "expression", "words"),
    [
        (IMAGE, "torch.add(x, x, alpha=2)", "expected alpha=1, got alpha=2"),
        (IMAGE, "x.mean()", "expected axes to reduce, got dim=None"),
        (IMAGE, "x.mean((0, 1))", "expected an axis other than the batch's, got dim=0"),
        (IMAGE, "x.max(1)[0]", "expected two tensors, got one"),
        (IMAGE, "x.clamp(p.scale, p.scale)", "expected a number for min, got scale"),
        (IMAGE, "F.softmax(x, 1)", "expected the last axis, dim=-1 or dim=3, got dim=1"),
        (IMAGE, "torch.flatten(x)", "expected the batch axis to stay first"),
        (VECTOR, "x.t()", "expected the batch axis to stay first"),
        (IMAGE, "x.permute(1, 0, 2, 3)", r"expected the batch axis to stay first, got axes \(1, 0, 2, 3\)"),
        (IMAGE, "torch.split(x, [2, 4], 1)", r"expected parts of one size, got \[2, 4\]"),
        (IMAGE, "x.tensor_split((1, 4), 1)", r"expected parts of one size, got cuts at \[1, 4\]"),
        (IMAGE, "x[:1]", "expected all of the batch axis"),
        (IMAGE, "x[0]", "expected all of the batch axis"),
        (IMAGE, "x[:, 6:]", "expected at least one element"),
        (IMAGE, "F.max_pool2d(x, 2, dilation=2)", "expected dilation=1"),
        (IMAGE, "F.max_pool2d(x, 2, return_indices=True)", "return_indices=False"),
        (IMAGE, "F.adaptive_max_pool2d(x, 2, return_indices=True)", "expected the largest values alone"),
        (IMAGE, "F.adaptive_max_pool2d(x, 3)", "expected an output size that divides the image's"),
        (IMAGE, "F.avg_pool2d(x, 2, divisor_override=3)", "expected no divisor_override, got 3"),
        (IMAGE[1:], "F.conv2d(x, p.image)", "expected 4 axes, the first of them the batch's.* conv2d sees"),
        (IMAGE, "F.interpolate(x, 12, mode='bilinear', antialias=True)", "expected antialias=False"),
        (IMAGE, "F.interpolate(x, 12, mode='bicubic')", "got upsample_bicubic2d.*to the nearest pixel or by two"),
        (IMAGE, "F.interpolate(x, scale_factor=1.3, mode='bilinear')", "expected a factor that makes whole numbers"),
        (IMAGE, "F.pad(x, (1, 1), value=2.0)", "expected padding with zeros"),
        (IMAGE, "F.pad(x, (1, 1, 1, 1), 'reflect')", "expected padding with zeros, got mode='reflect'"),
        (IMAGE, "F.conv_transpose2d(x, p.each, groups=6)", "expected a transposed convolution of one group"),
        (IMAGE, "x.sum(1)", r"write `x.mean\(1\) \* 6`"),
        (IMAGE, "x.sum((2, 3))", r"write `x.mean\(\(2, 3\)\) \* 64`"),
        (IMAGE, "F.layer_norm(x, (8,))", r"nn.LayerNorm\(\(8,\), elementwise_affine=False\)"),
        (IMAGE, "F.unfold(x, 2)", r"torch.eye\(24\).reshape\(24, 6, 2, 2\)"),
        (IMAGE, "x.long()", "float32 is the type of networks"),
        (IMAGE, "x.double()", "float32 is the type of networks"),
        (IMAGE, "torch.special.bessel_j0(x)", "expected a call that a row stands for, got special_bessel_j0"),
    ],
)  # fmt: skip
def test_forms_that_a_row_has_not_are_refused_in_words(shape: tuple[int, ...], expression: str, words: str) -> None:
    traced, _, x = exported(shape, expression)
    with pytest.raises(UnsupportedLayer, match=words), torch.no_grad():
        ByRows(traced).run(x)


SILENT = (
    "F.dropout(x, 0.5, False)", "F.dropout2d(x, 0.5, False)", "F.alpha_dropout(x, 0.5, False)",
    "F.feature_alpha_dropout(x, 0.5, False)", "x.detach()", "x.clone()", "x.contiguous()", "x.float()",
    "x.to(torch.float32)", "x.type_as(x)",
)  # fmt: skip


def test_what_passes_values_on_is_nothing_on_the_device() -> None:
    traced, net, x = exported(IMAGE, *SILENT)
    drop_identities(traced)
    computing = [node for node in traced.graph.nodes if node.op != "output" and not is_silent(traced, node)]
    assert not computing
    sources = [source_of(traced, node) for node in pytree.tree_leaves(traced.graph.output_node().args)]
    assert {node.op for node in sources} == {"placeholder"}
    for one in net(x):
        torch.testing.assert_close(one, x)


# Slices ------------------------------------------------------------------------------------------------------------


def slices(traced: fx.GraphModule) -> list[fx.Node]:
    return [node for node in traced.graph.nodes if operator_name(node) in ("slice", "select") or is_index(node)]


def is_index(node: fx.Node) -> bool:
    return node.target is operator.getitem


@pytest.mark.parametrize(
    ("expression", "left"),
    [
        ("x[:]", 0),
        ("x[:, 0:]", 0),
        ("x[:, 1:5]", 1),
        ("x[:, 1:][:, ::2][:, 1]", 1),
        ("x[:, 0][..., 1:][:, -2]", 1),
        ("x[:, 1::2][:, -2:][..., -1][:, 0]", 1),
        # What lies between is read elsewhere too.
        ("(lambda y: y[..., 0] + y[..., 1])(x[:, 1:3])", 3),
        ("(lambda y: y[:, 1:] + y)(x[:, 1:3])", 2),
    ],
)
def test_a_chain_of_slices_is_one_index(expression: str, left: int) -> None:
    traced, net, x = exported(IMAGE, expression)
    with torch.no_grad():
        torch.testing.assert_close(ByRows(traced).run(x)[0], net(x)[0])
        torch.testing.assert_close(traced(x)[0], net(x)[0])
    assert len(slices(traced)) == left
    assert all(map(is_index, slices(traced)))


def test_what_was_known_of_the_last_slice_is_known_of_the_index() -> None:
    traced, _, _ = exported(IMAGE, "x[:, 1:3, ::2, 0]")
    (index,) = slices(traced)
    assert index.meta["shape"] == (2, 2, 4)
    assert "test_operator_matches.py" in str(index.stack_trace)
    assert index.args[1] == (slice(None), slice(1, 3, 1), slice(0, 8, 2), 0)
