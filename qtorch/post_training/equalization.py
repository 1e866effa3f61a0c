"""Cross-layer equalization: channels of one layer made smaller and the next layer's inputs larger by the same factor.

Where only a positively homogeneous function (``f(s x) = s f(x)`` for ``s > 0``) lies between two layers, a factor per
channel can move from one to the other: ``W2 f(W1 x + b1) = (W2 S) f(S^-1 W1 x + S^-1 b1)``. The network stays the
same function, while channels whose weights were too small for a shared scale become as large as the others.

Source: Nagel et al. 2019 (arXiv:1906.04721), section 4.1.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from qtorch.capture.capture import CapturedNetwork
from qtorch.capture.nodes import is_tensor, operator_name, shape_of
from qtorch.errors import BadConfiguration, UnsupportedLayer
from qtorch.post_training.fold import fold_batch_norms
from qtorch.preparation.matching import MatchedCall, constant_of, find_row
from qtorch.preparation.transparency import is_transparent
from qtorch.progress import stage

__all__ = ["balance", "equalize", "input_ranges", "output_ranges"]

#: Factors that change less than this in a round have converged; float32 holds no more of a product of many.
_CONVERGED = 1e-6
#: A channel whose range is a smaller share of the largest one's computes nothing; to enlarge it would enlarge its bias.
_DEAD = 1e-9


@dataclass(frozen=True)
class _Layer:
    """Weight ``[O, I / groups, ...]`` and bias ``[O]`` or ``None`` of a layer, float64 copies to work on."""

    weight: Tensor
    bias: Tensor | None
    originals: tuple[Tensor, Tensor | None]

    def write(self) -> None:
        """Round the copies once, into the network."""
        for copied, original in zip((self.weight, self.bias), self.originals, strict=True):
            if copied is not None and original is not None:
                original.copy_(copied)


@dataclass(frozen=True)
class _Pair:
    """Two layers whose ``channels`` outputs and inputs are the same tensor; the second may have each several times."""

    first: _Layer
    second: _Layer
    channels: int


def output_ranges(weight: Tensor) -> Tensor:
    """``max |w|`` of every output channel ``[O]``, of a weight ``[O, ...]``."""
    return weight.abs().flatten(1).amax(1)


def input_ranges(weight: Tensor, channels: int) -> Tensor:
    """``max |w|`` of all weights that read an input channel, ``[channels]``.

    Args:
        weight: of a convolution, ``[O, channels / groups, ...]``, or of a linear layer, ``[O, channels * elements]``,
            each channel's elements beside one another.
        channels: of the input.
    """
    return _by_input(weight, channels).abs().amax((1, 3)).flatten()


def balance(first: Tensor, second: Tensor) -> Tensor:
    """By what each channel of a first layer is divided so that its range and the second layer's are equal.

    ``s = sqrt(r1 r2) / r2``, equation 11; 1 for a channel that either layer leaves out, which no factor can balance.

    Args:
        first: ranges of the first layer's output channels, ``[C]``.
        second: ranges of the second layer's input channels, ``[C]``.
    """
    alive = (first > _DEAD * first.amax()) & (second > _DEAD * second.amax())
    return torch.where(alive, torch.sqrt(first / second), torch.ones_like(first))


def equalize(net: nn.Module, example: Any, iterations: int = 200) -> CapturedNetwork:
    """A copy of a float network in evaluation, its batch norms folded and the ranges of its channels equalized.

    Example:
        >>> equalized = equalize(net, inputs[:1])
        >>> qat = qtorch.prepare(equalized, inputs[:1])

    For every pair of layers (convolutions, depthwise ones among them, and linear layers) with only ReLU (leaky and
    parametric too), poolings, means over an image, zero padding, resizing, dropout and what moves codes between them,
    each read by nobody else. Chains of pairs are repeated until no factor changes any more. The copy computes what
    ``net`` computes in evaluation, but for float32's rounding; ``net`` is left as it was.

    Weights are all that is looked at: a channel whose bias is large beside its weights gets a larger activation too.

    Args:
        net: a plain module, trained.
        example: one batch as the network is called with it; see :func:`qtorch.prepare`.
        iterations: the most rounds over all pairs, at least 1. A chain of n layers takes some n squared.

    Raises:
        BadConfiguration: no iteration was asked for; or the network does not run on the example.
        UnsupportedLayer: control flow that depends on data.
    """
    if iterations < 1:
        raise BadConfiguration(
            where="iterations", expected="at least 1", got=str(iterations), remedy="leave it out, or raise it"
        )
    traced = fold_batch_norms(net, example)
    pairs = _pairs(traced)
    with torch.no_grad(), stage("equalizing channels"):
        for _ in range(iterations):
            if max((_equalize_pair(pair) for pair in pairs), default=0.0) < _CONVERGED:
                break
        for pair in pairs:
            pair.first.write()
            pair.second.write()
    return traced


def _by_input(weight: Tensor, channels: int) -> Tensor:
    """A view ``[groups, O / groups, channels / groups, the rest]``."""
    per_group = channels if weight.dim() == 2 else weight.shape[1]
    groups = channels // per_group
    return weight.reshape(groups, weight.shape[0] // groups, per_group, -1)


def _equalize_pair(pair: _Pair) -> float:
    """Balance one pair; the largest relative change."""
    first, second = pair.first, pair.second
    factors = balance(output_ranges(first.weight), input_ranges(second.weight, pair.channels))
    first.weight.div_(factors.reshape(-1, *[1] * (first.weight.dim() - 1)))
    if first.bias is not None:
        first.bias.div_(factors)
    view = _by_input(second.weight, pair.channels)
    view.mul_(factors.reshape(view.shape[0], 1, -1, 1))
    return float((factors - 1).abs().amax())


def _pairs(traced: fx.GraphModule) -> list[_Pair]:
    """In the order of execution."""
    calls = {node: _call_at(traced, node) for node in traced.graph.nodes}
    uses = _uses(traced, calls)
    own: dict[fx.Node, _Layer] = {}
    for node, call in calls.items():
        if _is_layer(call) and all(uses[id(t)] == 1 for t in call.constants.values()):
            tensors = {role: t.detach() for role, t in call.constants.items() if isinstance(t, Tensor)}
            weight, bias = tensors["weight"], tensors.get("bias")
            # Contiguous, so that what is reshaped stays a view.
            copies = weight.double().contiguous(), None if bias is None else bias.double()
            own[node] = _Layer(*copies, originals=(weight, bias))
    pairs = []
    for node, layer in own.items():
        reader = _reader(traced, calls, node)
        if reader in own:
            pairs.append(_Pair(layer, own[reader], layer.weight.shape[0]))
    return pairs


def _is_layer(call: MatchedCall | None) -> TypeGuard[MatchedCall]:
    """Whether factors go into the weight on either side: of what comes in, and of the output channels ``[O, ...]``."""
    return call is not None and call.row.takes_front and call.row.norm_axis == 0


def _call_at(traced: fx.GraphModule, node: fx.Node) -> MatchedCall | None:
    """The row that stands for a node, if any does."""
    if node.op not in ("call_module", "call_function", "call_method") or not is_tensor(node):
        return None
    try:
        return None if is_transparent(traced, node) else find_row(traced, node)
    except UnsupportedLayer:
        return None


def _uses(traced: fx.GraphModule, calls: dict[fx.Node, MatchedCall | None]) -> Counter[int]:
    """How often each constant is read, by identity: a weight with two readers can't be scaled for one of them."""
    uses: Counter[int] = Counter()
    for node in calls:
        if node.op == "call_module":
            module = traced.get_submodule(str(node.target))
            uses.update(id(t) for t in (*module.parameters(), *module.buffers()))
        elif node.op == "get_attr":
            uses.update([id(constant_of(traced, node))] * len(node.users))
    return uses


def _reader(traced: fx.GraphModule, calls: dict[fx.Node, MatchedCall | None], node: fx.Node) -> fx.Node | None:
    """The layer that alone reads ``node``'s output channels as its input channels, if there is one."""
    axis: int | None = _channel_axis(calls[node], node)
    channels = shape_of(node)[-1 if axis is None else axis]
    while axis is not None and len(readers := _readers(node)) == 1:
        source, node = node, readers[0]
        call = calls.get(node)
        if call is not None and list(call.sources.values()) != [source]:
            return None
        if _is_layer(call):
            # Only a linear layer's input may have several elements for each channel.
            alike = not call.row.channels_last or shape_of(source)[axis] == channels
            return node if alike and axis == _channel_axis(call, source) else None
        axis = _passed(traced, call, source, node, axis)
    return None


def _readers(node: fx.Node) -> list[fx.Node]:
    """Who reads a tensor's numbers; sizes don't change with them."""
    return [user for user in node.users if operator_name(user) not in ("sym_size", "sym_numel")]


def _channel_axis(call: MatchedCall | None, tensor: fx.Node) -> int:
    """Of what a layer reads or computes."""
    return 1 if call is None or call.row.channels_last else len(shape_of(tensor)) - 1


def _passed(traced: fx.GraphModule, call: MatchedCall | None, source: fx.Node, node: fx.Node, axis: int) -> int | None:
    """Where the channels of ``source``, along ``axis``, lie in ``node``; ``None`` if a factor would not pass."""
    if call is None:
        return axis if is_transparent(traced, node) else None
    return call.row.homogeneous(call.attrs, axis, shape_of(source), shape_of(node))
