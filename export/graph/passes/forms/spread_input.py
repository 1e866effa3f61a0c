"""A transposed convolution as a convolution of its input with zeros between the pixels.

The zeros come from a PAD: an image ``[1, H, W, C]`` as ``[H, W, 1, C]`` gets ``stride_w - 1`` pixels behind each
pixel and ``stride_h - 1`` rows behind each row, and is ``[1, H * stride_h, W * stride_w, C]`` then.
"""

from __future__ import annotations

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten
from qtorch.families.windows import explicit_padding as amounts_of

__all__ = ["spread_input"]


def spread_input(graph: Graph, outputs: frozenset[str]) -> Graph:
    """The same products, sums, multipliers and one requantization; the window is turned around.

    A layer without a bias gets one of zeros, as kernels of convolutions want it.
    """
    return rewritten(graph, outputs, _spread_input)


def _spread_input(draft: Draft, node: Node) -> bool:
    if node.op != "transpose_conv":
        return False
    roles, stem, result = node.input_roles(), node.output, draft.values[node.output]
    weight = draft.values[roles["weight"]]
    if weight.data is None or result.qparams is None:
        return False
    image, attrs, window = draft.shape(roles["input"])[1:3], node.attrs, (weight.shape[1], weight.shape[2])
    stride, size = (attrs["stride_h"], attrs["stride_w"]), (result.shape[1], result.shape[2])
    cut = amounts_of(attrs["padding"], size, window, stride)
    spread, depth = _spread(draft, roles["input"], stride, stem), weight.shape[3]
    begin, read, paddings = [0], [1], [(0, 0)]
    for n, s, w, o, (before, _) in zip(image, stride, window, size, cut, strict=True):
        # Output 0 reads from `before` pixels behind the window's last; output o - 1 reads up to `last`.
        first, last = before - (w - 1), before + o - 1
        # Behind the last pixel the spread image has zeros, as many as may be read of them.
        begin.append(max(first, 0))
        end = min(last + 1, n * s)
        read.append(max(end - begin[-1], 0))
        paddings.append((max(-first, 0), max(last + 1 - n * s, 0)))
    if 0 in read:
        return False
    spread = draft.cut(spread, (*begin, 0), (*read, depth), stem=f"{stem}.read")
    padded = draft.pad(spread, [*paddings, (0, 0)], stem=f"{stem}.padded")
    turned = weight.data[:, ::-1, ::-1].copy()
    inputs = [padded, draft.constant(f"{stem}.filter", turned, weight.qparams)]
    source = draft.values[roles["input"]].quantization
    bias = roles.get("bias") or draft.zero_bias(f"{stem}.zero_bias", source, weight)
    inputs += [bias] if bias else []
    plain = dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
    draft.op("conv_2d", {**plain, "padding": "valid", "activation": attrs["activation"]}, inputs, (), output=stem)
    return True


def _spread(draft: Draft, source: str, stride: tuple[int, int], stem: str) -> str:
    _, height, width, depth = draft.shape(source)
    if stride == (1, 1):
        return source
    pixels = draft.reshape(source, (height, width, 1, depth), stem=f"{stem}.pixels")
    paddings = [(0, 0), (0, (stride[0] - 1) * width), (0, stride[1] - 1), (0, 0)]
    apart = draft.pad(pixels, paddings, stem=f"{stem}.apart")
    return draft.reshape(apart, (1, height * stride[0], width * stride[1], depth), stem=f"{stem}.spread")
