"""Layers that are kept whole, of tensors that have the batch elsewhere than in front, with the batch in front."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from qtorch.capture.batch.calls import Held, MovedCall, Result
from qtorch.capture.batch.images import channel_by_channel, one_by_one
from qtorch.capture.batch.layout import Layout
from qtorch.capture.kept_calls import DROPOUTS
from qtorch.capture.training_form import InTraining

__all__ = ["moved_layer"]

aten = torch.ops.aten

#: Layers of each number alone.
_ELEMENTWISE = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.Identity, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.Sigmoid, nn.SiLU, nn.Softplus,
    nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip


_OF_EACH_CHANNEL = (
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
    nn.MaxPool1d, nn.MaxPool2d, nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d,
)  # fmt: skip


class InOrder(nn.Module):
    """A part that computes with tensors as the network has them, of such as stand for them.

    Args:
        part: of tensors, the first of which its result is like.
        layouts: of its arguments; None of one that is as the network has it.
    """

    def __init__(self, part: nn.Module, layouts: tuple[Layout | None, ...]) -> None:
        super().__init__()
        self.part, self.layouts = part, layouts

    def forward(self, *arguments: Any) -> Tensor:
        """The batch in front."""
        # What is drawn for a tensor goes by its order in memory.
        given = [
            each if layout is None else layout.logical(each).contiguous()
            for each, layout in zip(arguments, self.layouts, strict=True)
        ]
        assert self.layouts[0] is not None
        return self.layouts[0].in_front(self.part(*given))


def moved_layer(call: MovedCall, traced: fx.GraphModule, layer: nn.Module) -> Result:
    """What stands for the result of a layer; None where samples would come together, or nobody wrote how."""
    x = call.source
    if isinstance(layer, InTraining):
        return _in_training(call, traced, layer)
    if x is None:
        return None
    if isinstance(layer, _ELEMENTWISE) or (isinstance(layer, nn.PReLU) and layer.num_parameters == 1):
        return _called(call, x, x.layout)
    if isinstance(layer, nn.Linear) and x.layout.axis < x.layout.rank - 1:
        return _called(call, x, x.layout.with_sizes(call.shape))
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm) and x.layout.axis < x.layout.rank - len(layer.normalized_shape):
        return _called(call, x, x.layout)
    if isinstance(layer, nn.Flatten | nn.Unflatten):
        layout = x.layout.reshaped(call.shape)
        return None if layout is None else call.as_held(x.node, layout)
    if isinstance(layer, nn.Softmax | nn.LogSoftmax) and layer.dim is not None:
        axis = layer.dim % x.layout.rank
        operator = aten.softmax.int if isinstance(layer, nn.Softmax) else aten.log_softmax.int
        return None if axis == x.layout.axis else Held(call.emit(operator, x.node, x.layout.place(axis)), x.layout)
    if isinstance(layer, DROPOUTS):
        # The numbers that it draws are for the tensor that the network has.
        return _in_training(call, traced, InTraining(layer))
    if isinstance(layer, _OF_EACH_CHANNEL):
        return channel_by_channel(call, lambda part, sizes: _of(call, part, sizes))
    if isinstance(layer, BatchNorm) and x.layout.axis == 0 and x.node not in call.parts:
        return _normalized(call, x)
    return one_by_one(call, lambda part: _of(call, part, x.layout.with_sizes(call.shape).sizes[1:]))


def _called(call: MovedCall, x: Held, layout: Layout) -> Result:
    """The same layer of what stands for its argument."""
    if x.node in call.parts and layout.sizes == x.layout.sizes:
        return one_by_one(call, lambda part: _of(call, part, layout.sizes[1:]))
    return Held(_of(call, x.node, layout.held), layout)


def _of(call: MovedCall, x: fx.Node, sizes: tuple[int, ...]) -> fx.Node:
    """The same layer of another tensor; what it gives has these sizes behind the batch."""
    node = call.node.graph.node_copy(call.node, lambda each: x if each is call.node.all_input_nodes[0] else each)
    value = x.meta["val"]
    node.meta = {**call.node.meta, "val": value.new_empty((value.shape[0], *sizes))}
    return node


def _normalized(call: MovedCall, x: Held) -> Held:
    """A batch norm of all parts together, as longer samples: so it measures in training what it did."""
    parts, channels, *others = x.layout.sizes
    rank = len(others) + 3
    order = [0, 2, 1, *range(3, rank)]
    longer = (channels, parts * math.prod(others[:1]), *others[1:])
    given = call.reshaped(call.emit(aten.permute.default, call.whole(x), order), longer)
    normalized = call.reshaped(_of(call, given, longer), (channels, parts, *others))
    return call.as_held(call.emit(aten.permute.default, normalized, order), x.layout)


def _in_training(call: MovedCall, traced: fx.GraphModule, layer: InTraining) -> Result:
    """What does nothing in evaluation, and in training what it does of the tensors that the network has."""
    x = call.held(call.node.args[0])
    if x is None:
        return None
    held = [call.held(each) for each in call.node.args]
    name = f"{call.node.name}_in_order"
    traced.add_submodule(name, InTraining(InOrder(layer.part, tuple(None if h is None else h.layout for h in held))))
    arguments = tuple(each if h is None else h.node for each, h in zip(call.node.args, held, strict=True))
    node = call.node.graph.call_module(name, arguments)
    node.meta = {**call.node.meta, "val": x.node.meta["val"]}
    return Held(node, x.layout)
