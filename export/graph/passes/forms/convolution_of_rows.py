"""FULLY_CONNECTED as a CONV_2D of one pixel's window: per channel in every edition, where the other was not."""

from __future__ import annotations

import math

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["convolution"]

_PLAIN = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid"}


def convolution(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Of integers: rows of ``D`` inputs become an image ``[1, 1, rows, D]``, the weight ``[O, 1, 1, D]``.

    The same sums and multipliers. A layer without a bias gets one of zeros, as kernels of convolutions want it.
    """
    return rewritten(graph, outputs, _convolution)


def _convolution(draft: Draft, node: Node) -> bool:
    if node.op != "fully_connected":
        return False
    roles, stem = node.input_roles(), node.output
    source, weight, result = (draft.values[name] for name in (roles["input"], roles["weight"], stem))
    if weight.data is None or source.qparams is None or weight.qparams is None or result.qparams is None:
        return False
    channels, depth = weight.shape
    rows = math.prod(source.shape) // depth
    kernel = draft.constant(f"{stem}.filter", weight.data.reshape(channels, 1, 1, depth), weight.qparams)
    bias = roles.get("bias") or draft.zero_bias(f"{stem}.zero_bias", source.qparams, weight)
    if not bias:
        return False
    image = draft.reshape(roles["input"], (1, 1, rows, depth), stem=f"{stem}.image")
    attrs = {**_PLAIN, "activation": node.attrs["activation"]}
    shape = (1, 1, rows, channels)
    convolved = draft.op("conv_2d", attrs, [image, kernel, bias], shape, stem=f"{stem}.pixels", qparams=result.qparams)
    draft.reshape(convolved, result.shape, output=stem)
    return True
