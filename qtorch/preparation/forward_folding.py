"""Planned normalizations folded forwards, into the layers that read them, as far as those can take them.

What stays is a depthwise convolution of one pixel, as a batch norm is that stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, fx

from qtorch.capture.nodes import shape_of
from qtorch.config import LayerConfig
from qtorch.network.folded_normalization import FoldedNormalization
from qtorch.normalization import Normalization
from qtorch.ops import ROWS
from qtorch.preparation.assembly import Plan
from qtorch.preparation.matching import MatchedCall

__all__ = ["fold_forwards", "one_pixel"]


def one_pixel(node: fx.Node, weight: Tensor, bias: Tensor | None = None) -> MatchedCall:
    """A depthwise convolution that multiplies each channel of a node's input by a weight ``[C]`` and adds a bias."""
    attrs = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid"}
    attrs |= {"activation": "none", "depth_multiplier": 1}
    constants = {"weight": weight.reshape(-1, 1, *[1] * max(1, len(shape_of(node)) - 2))}
    constants |= {} if bias is None else {"bias": bias}
    return MatchedCall(ROWS["depthwise_conv_2d"], attrs, {"input": node.all_input_nodes[0]}, constants)


def fold_forwards(plans: dict[fx.Node, Plan], node: fx.Node, norm: Normalization, default: LayerConfig) -> bool:
    """Take a normalization out of the plans if all layers that read it can fold it; whether that was so.

    It has to be alone in its plan: no batch norm or activation behind it went into it. One that the configuration
    treats unlike other layers stays, because only a tensor of its own can have what was asked for.

    Args:
        plans: of all ops; changed.
        node: that calls the normalization; the caller takes it out of the graph.
        norm: what it calls.
        default: of layers that the configuration makes no exception for.
    """
    plan, shape = plans[node], shape_of(node)
    takers = None
    if plan.norm is None and plan.call.attrs["activation"] == "none":
        channels = torch.arange(norm.offset.numel()).reshape(-1, *[1] * (len(shape) - 2)).expand(shape[1:])
        takers = _takers(plans, node, norm, channels)
    if not takers or any(plan.config not in (default, plans[taker].config) for taker in takers):
        # One weight for each channel: with a scale each its code stands for it exactly, whatever the spans.
        plan.config = replace(plan.config, weights="per_channel", weight_observer="minmax", weight_bits=8)
        if plan.norm is None:
            plan.config = replace(plan.config, scales="measured")
        return False
    for taker, front in takers.items():
        plans[taker].front = front
    for user in node.users:
        plans[user].call = replace(plans[user].call, sources=plan.call.sources)
    del plans[node]
    return True


def _takers(
    plans: Mapping[fx.Node, Plan], node: fx.Node, norm: Normalization, channels: Tensor
) -> dict[fx.Node, FoldedNormalization]:
    """The layers that read a normalized tensor, directly or reshaped, with what each folds; none if one can't.

    Args:
        plans: of all ops.
        node: that computes the tensor.
        norm: what it was normalized by.
        channels: int64, one sample's shape: the channel that each element had there.
    """
    takers: dict[fx.Node, FoldedNormalization] = {}
    for user in node.users:
        plan = plans.get(user)
        reshaped = plan is not None and plan.row.name == "reshape"
        if plan is None or plan.front is not None or not (reshaped or plan.row.takes_front):
            return {}
        if reshaped:
            behind = _takers(plans, user, norm, channels.reshape(shape_of(user)[1:]))
        else:
            pads = plan.call.attrs.get("padding", "valid") not in ("valid", ((0, 0), (0, 0)))
            weight = plan.call.constants["weight"]
            tensor = weight if isinstance(weight, Tensor) else weight()
            front = FoldedNormalization.into(norm, channels, tensor, pads=pads, config=plan.config)
            behind = {} if front is None else {user: front}
        if not behind:
            return {}
        takers |= behind
    return takers
