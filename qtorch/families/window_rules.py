"""What shapes convolutions and poolings may have, and what windows, strides and dilations their kernels can hold.

Source: TFLM ``kernels/internal/types.h``, whose ``ConvParams`` and ``DepthwiseParams`` have strides, dilations and the
depth multiplier as int16, so that 65,536 is 0 there; whose ``PaddingValues`` have the padding so, of poolings too;
and ``kernels/padding.h``, ``micro/kernels/conv_common.cc``, ``micro/kernels/depthwise_conv_common.cc``,
``micro/kernels/pooling_common.cc``, ``micro/kernels/transpose_conv.cc``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtorch.families.windows import explicit_padding, output_size
from qtorch.row.shape_rule import Attrs, Shape, require

__all__ = [
    "convolved",
    "convolved_by_channel",
    "pooled",
    "require_bias",
    "require_rank",
    "require_within",
    "scattered",
]

#: What the kernels' fields of 16 bits hold.
_LARGEST = 2**15 - 1

#: What those of 32 bits hold.
_LARGEST_OF_POOLING = 2**31 - 1

_AXES = ("h", "w")


def require_within(attrs: Attrs, names: Sequence[str], largest: int = _LARGEST) -> None:
    """Refuse attributes that are not from 1 to what the kernel's field holds.

    Raises:
        BadShape: so one is.
    """
    for name in names:
        require(1 <= attrs[name] <= largest, f"{name} from 1 to {largest}", attrs[name])


def require_rank(shapes: Mapping[str, Shape], ranks: Mapping[str, int]) -> None:
    """Refuse tensors that have not so many axes.

    Raises:
        BadShape: so one has.
    """
    for role, rank in ranks.items():
        require(len(shapes[role]) == rank, f"{role} of {rank} axes", f"shape {shapes[role]}")


def require_bias(shapes: Mapping[str, Shape], channels: int, role: str = "bias") -> None:
    """Refuse a bias, if there is one, that has not one number for each output channel.

    Raises:
        BadShape: so it is.
    """
    bias = shapes.get(role, (channels,))
    require(bias == (channels,), f"a {role} of shape {(channels,)}, a number for each output channel", f"shape {bias}")


def _slid(attrs: Attrs, image: Shape, window: tuple[int, int]) -> tuple[int, int]:
    """How many windows, dilation included, fit in the image's rows and columns."""
    stride = (attrs["stride_h"], attrs["stride_w"])
    require(
        not isinstance(attrs["padding"], str) or attrs["padding"] in ("same", "valid"),
        "padding SAME or VALID",
        str(attrs["padding"]).upper(),
    )
    padding = explicit_padding(attrs["padding"], (image[1], image[2]), window, stride)
    most = max(before for before, _ in padding)
    require(most <= _LARGEST, f"at most {_LARGEST} rows and columns of padding", most)
    sizes = zip(image[1:3], window, stride, padding, strict=True)
    height, width = (output_size(n, w, s, *ends) for n, w, s, ends in sizes)
    require(min(height, width) >= 1, f"a window that fits in an image of {image[1:3]}", f"one of {window}")
    return height, width


def _convolved(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[int, int]:
    require_rank(shapes, {"input": 4, "weight": 4})
    require_within(attrs, [f"{name}_{axis}" for name in ("stride", "dilation") for axis in _AXES])
    _, height, width, _ = shapes["weight"]
    window = ((height - 1) * attrs["dilation_h"] + 1, (width - 1) * attrs["dilation_w"] + 1)
    return _slid(attrs, shapes["input"], window)


def convolved(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Input ``[N, H, W, C]``, weight ``[O, h, w, C / groups]``, bias ``[O]`` or none.

    Raises:
        BadShape: they do not go together, or the kernel can't hold an attribute.
    """
    height, width = _convolved(attrs, shapes)
    (count, _, _, depth), (outputs, _, _, each) = shapes["input"], shapes["weight"]
    require(depth % each == 0, f"a weight of a depth that divides the input's {depth}", f"weight {shapes['weight']}")
    groups = depth // each
    require(outputs % groups == 0, f"output channels in {groups} groups, {depth} / {each}", f"{outputs}")
    require_bias(shapes, outputs)
    return ((count, height, width, outputs),)


def convolved_by_channel(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Input ``[N, H, W, C]``, weight ``[1, h, w, C * depth_multiplier]``, bias or none.

    Raises:
        BadShape: they do not go together, or the kernel can't hold an attribute.
    """
    height, width = _convolved(attrs, shapes)
    require_within(attrs, ["depth_multiplier"])
    (count, _, _, depth), (one, _, _, outputs) = shapes["input"], shapes["weight"]
    require(one == 1, "a weight whose first axis is 1", f"weight {shapes['weight']}")
    multiplier = attrs["depth_multiplier"]
    require(
        outputs == depth * multiplier,
        f"{depth} input channels times the depth multiplier {multiplier} as output channels",
        outputs,
    )
    require_bias(shapes, outputs)
    return ((count, height, width, outputs),)


def pooled(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Input ``[N, H, W, C]``.

    Raises:
        BadShape: it is none, no window fits, or the kernel can't hold an attribute.
    """
    require_rank(shapes, {"input": 4})
    names = [f"{name}_{axis}" for name in ("stride", "filter") for axis in _AXES]
    require_within(attrs, names, _LARGEST_OF_POOLING)
    height, width = _slid(attrs, shapes["input"], (attrs["filter_h"], attrs["filter_w"]))
    count, _, _, depth = shapes["input"]
    return ((count, height, width, depth),)


def scattered(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Input ``[N, h, w, C]``, weight ``[O, kh, kw, C]``, bias or none; the output's size is an attribute.

    The kernel cuts off what lies outside of that size and leaves out what is missing, so that any goes; how many
    samples it names, nobody reads.

    Raises:
        BadShape: they do not go together, or the kernel can't hold an attribute.
    """
    require_rank(shapes, {"input": 4, "weight": 4})
    require_within(attrs, [f"stride_{axis}" for axis in _AXES])
    size = attrs["output_shape"]
    require(
        isinstance(size, tuple) and len(size) == 4 and all(isinstance(n, int) and n >= 1 for n in size),
        "an output shape of four sizes of at least 1",
        size,
    )
    (count, _, _, depth), (outputs, height, width, inputs) = shapes["input"], shapes["weight"]
    require(inputs == depth, f"a weight of the input's {depth} channels", f"weight {shapes['weight']}")
    require(size[3] == outputs, f"an output shape of the weight's {outputs} channels", size)
    padding = explicit_padding(attrs["padding"], size[1:3], (height, width), (attrs["stride_h"], attrs["stride_w"]))
    most = max(before for before, _ in padding)
    require(most <= _LARGEST, f"at most {_LARGEST} rows and columns cut off", most)
    require_bias(shapes, outputs)
    return ((count, *size[1:]),)
