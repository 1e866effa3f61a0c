"""The table of remedies: by the name of a call, without underscores and in small letters, what to write.

Exact forms come before such as change the network, and where there is none it is said. Tests build every layer and
call every function of PyTorch that can be built and called alone, and try what is written here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from qtorch.remedies.asked import Asked, none, same
from qtorch.remedies.axes import (
    flipped,
    largest,
    normalized_product,
    repeated,
    repeated_elements,
    rolled,
    softmin,
    summed,
    unbound,
    variance,
)

__all__ = ["FORMS", "clamped", "padded"]


def clamped(low: float | None, high: float | None) -> str:
    """``clamp`` to other limits than 0 and 6."""
    low = None if low is None or math.isinf(low) else low
    high = None if high is None or math.isinf(high) else high
    if low is None and high is None:
        return same("x")
    if low is not None and high is not None and low >= high:
        return none(f"limits {low} and {high} leave one number, which needs no network")
    if high is None:
        return same(f"F.relu(x - {low}) + {low}".replace("- -", "+ ").replace("+ -", "- "))
    if low is None:
        return same(f"{high} - F.relu({high} - x)")
    moved = "x" if low == 0 else f"(x - {low})".replace("- -", "+ ")
    back = "" if low == 0 else f" + {low}".replace("+ -", "- ")
    return same(f"F.relu6({moved} * (6 / {high - low})) * ({high - low} / 6){back}")


def padded(mode: str, pad: tuple[int, ...], value: float | None, shape: tuple[int, ...]) -> str:
    """``F.pad`` with something else than zeros.

    Args:
        mode: of ``F.pad``.
        pad: before and behind along each axis, the last one first.
        value: of the constant.
        shape: of what is padded.
    """
    if mode == "constant":
        moved, back = f"x - {value}".replace("- -", "+ "), f"+ {value}".replace("+ -", "- ")
        return same(f"F.pad({moved}, {pad}) {back}")
    pieces, lines = _COLUMNS[mode], []
    for axis, (before, behind) in enumerate(zip(pad[0::2], pad[1::2], strict=True), 1):
        at = len(shape) - axis
        left, right = ([_cut(shape, at, *each) for each in side] for side in pieces(shape[at], before, behind))
        if len(left) + len(right) > _MOST_PARTS - 1:
            return none(
                f"up to {_MOST_PARTS - 1} columns could be put beside the tensor with torch.cat; or pad with zeros"
            )
        if left or right:
            lines.append(f"x = torch.cat([{', '.join([*left, 'x', *right])}], {at}); ")
    return same("".join([*lines, "x"]), "a torch.cat for each axis" if len(lines) > 1 else "")


def _cut(shape: tuple[int, ...], axis: int, start: int, length: int) -> str:
    """No kernel cuts more than four axes by slices."""
    if len(shape) > 4:
        return f"x.narrow({axis}, {start}, {length})"
    return f"x[{':, ' * axis}{start}:{start + length}]"


#: Where a piece begins and how long it is.
_Pieces = list[tuple[int, int]]


def _reflected(size: int, before: int, behind: int) -> tuple[_Pieces, _Pieces]:
    return [(i, 1) for i in range(before, 0, -1)], [(size - 1 - i, 1) for i in range(1, behind + 1)]


def _replicated(size: int, before: int, behind: int) -> tuple[_Pieces, _Pieces]:
    return [(0, 1)] * before, [(size - 1, 1)] * behind


def _wrapped(size: int, before: int, behind: int) -> tuple[_Pieces, _Pieces]:
    return [(size - before, before)] * bool(before), [(0, behind)] * bool(behind)


#: What is put beside a tensor, by the mode of ``F.pad``; and how many parts a concatenation takes.
_COLUMNS = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}
_MOST_PARTS = 10


_WITH_WEIGHTS = "with the same weights"
_CHANGES = "which changes the network"
_STEPS = "in several ops"
_PRODUCT = none("the device multiplies computed tensors element by element only; of a product one side is a layer's")
_RECURRENT = (
    "write its steps out, a fixed number of them, with nn.Linear, torch.sigmoid, torch.tanh and products: "
    "docs/bring_your_network.md, 'A recurrent layer', does"
)
_START = (
    "begin with zeros of the batch's size, torch.zeros(x.shape[0], n) in float32 with an input x of two axes or more, "
    "and add another value behind it; or with x[:, 0, :1] * self.zeros, self.zeros being a buffer, as "
    "docs/bring_your_network.md, 'A recurrent layer', does; or make the state an input of the network"
)
_NO_COMPARISON = none("no comparison can; F.relu, torch.maximum and torch.minimum choose between numbers")
_NO_INDEX = none("the device returns numbers, no indices; return what it is taken of, and take it in the firmware")
_CONSTANT_PLACE = same("x", "for what is exported computes in one place and one type; leave the call out")
_SPREAD = "leave it out: additions and products spread an axis of size 1 by themselves"
_RANDOM = none("it is random, and a device computes the same for the same input")
#: ``exp`` of what is not positive, as ``y``.
_EXPONENTIAL = "n = F.relu(x * -1) * -1; r = torch.rsqrt(1 - torch.sigmoid(n)); y = torch.sigmoid(n) * r * r"


def _exponential_unit(scale: float, alpha: float, width: float = 1.0) -> str:
    rise, fall = (
        ("F.relu(x)" if scale == 1 else f"F.relu(x) * {scale}"),
        "y - 1" if scale * alpha == 1 else f"(y - 1) * {scale * alpha}",
    )
    steps = _EXPONENTIAL if width == 1 else _EXPONENTIAL.replace("* -1) * -1", f"* -1) * {-1 / width}")
    return same(f"{steps}; {rise} + {fall}", f"{_STEPS}; nn.LeakyReLU is one, {_CHANGES}")


def _divided(ask: Asked) -> str:
    divisor = ask.args[1] if len(ask.args) > 1 else ask.kwargs.get("other")
    if isinstance(divisor, int | float) and divisor:
        reciprocal = 1 / divisor
        return same(f"x * {reciprocal}" if math.frexp(divisor)[0] in (0.5, -0.5) else f"x * (1 / {divisor})")
    return same(
        "r = torch.rsqrt(y); x * r * r", "where the divisor y is positive; by a constant, multiply by 1 over it"
    )


def _gelu(ask: Asked) -> str:
    form = "0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))"
    if ask.get("approximate", 1, "none") == "tanh":
        return same(form, f"{_STEPS}; nn.Hardswish is one, {_CHANGES}")
    return f"write `{form}`, which is off by less than 0.0005, {_STEPS}; nn.Hardswish is one, {_CHANGES}"


def _channels(ask: Asked) -> int | str:
    return ask.shape[1] if len(ask.shape) > 1 else "channels"


def _batch_norm(ask: Asked) -> str:
    rank, channels, eps = len(ask.shape), _channels(ask), ask.get("eps", 7, 1e-5)
    layer = f"nn.BatchNorm{1 if rank in (2, 3) else 2}d({channels}{'' if eps == 1e-5 else f', eps={eps}'})"
    if rank == 5:
        form = f"norm = {layer}; norm(x.flatten(3)).unflatten(3, {ask.shape[3:]})"
        return same(form, f"{_WITH_WEIGHTS} and statistics")
    return same(layer, f"{_WITH_WEIGHTS} and statistics, and is folded into the layer before")


def _over(size: tuple[int, ...] | int, eps: float | None, affine: bool) -> str:
    default = "" if eps in (None, 1e-5) else f", eps={eps}"
    return f"nn.LayerNorm({size}{default}{'' if affine else ', elementwise_affine=False'})"


def _scaled(ask: Asked, form: str, scaled: bool) -> str:
    shape = (ask.shape[1], *[1] * (len(ask.shape) - 2))
    return (
        same(f"{form} * weight + bias", f"weight and bias being parameters of shape {shape}") if scaled else same(form)
    )


def _group_norm(ask: Asked) -> str:
    groups, scaled = ask.get("num_groups", 1, 1), ask.get("weight", 2, None) is not None
    norm = _over(math.prod(ask.shape[1:]) // groups, ask.get("eps", 4, 1e-5), False)
    return _scaled(ask, f"norm = {norm}; norm(x.reshape(x.shape[0], {groups}, -1)).reshape(x.shape)", scaled)


def _instance_norm(ask: Asked) -> str:
    measured = (
        not ask.get("use_input_stats", 5, True) if ask.module is None else ask.get("track_running_stats", 9, False)
    )
    if measured:
        return _batch_norm(Asked("", None, (), {"eps": ask.get("eps", 7, 1e-5)}, ask.shape)) + ", in evaluation"
    if len(ask.shape) < 3:
        return "insert the missing axis with unsqueeze: it takes the first for the channels, and a device for the batch"
    norm = _over(ask.shape[2:], ask.get("eps", 7, 1e-5), False)
    return _scaled(ask, f"norm = {norm}; norm(x)", ask.get("weight", 3, None) is not None)


def _layer_norm(ask: Asked) -> str:
    affine = ask.get("weight", 2, None) is not None
    layer = _over(tuple(ask.get("normalized_shape", 1, ask.shape[-1:])), ask.get("eps", 4, 1e-5), affine)
    return same(layer, f"as a layer of the network, {_WITH_WEIGHTS}" if affine else "as a layer of the network")


def _rms_norm(ask: Asked) -> str:
    axes = tuple(range(-len(ask.get("normalized_shape", 1, (1,))), 0))
    eps = ask.get("eps", 3, None)
    scaled = ask.get("weight", 2, None) is not None
    form = f"x * torch.rsqrt((x * x).mean({axes}, keepdim=True) + {2.0**-23 if eps is None else eps})"
    return same(form + " * weight" if scaled else form, "weight being a parameter" if scaled else "")


def _response_norm(ask: Asked) -> str:
    if len(ask.shape) != 4 or ask.get("beta", 3, 0.75) != 0.5 or ask.get("size", 1, 5) % 2 == 0:
        return none(
            "it divides by a power, of which the device has the square root alone: on an image, with beta=0.5 and an "
            "odd size, there is a form; nn.BatchNorm2d changes the network"
        )
    size, alpha, k = ask.get("size", 1, 5), ask.get("alpha", 2, 1e-4), ask.get("k", 4, 1.0)
    near = f"F.avg_pool2d((x * x).flatten(2).unsqueeze(1), ({size}, 1), 1, ({size // 2}, 0)).squeeze(1)"
    return same(f"near = {near}; x * torch.rsqrt(near.unflatten(2, {ask.shape[2:]}) * {alpha} + {k})")


def _shuffled_up(ask: Asked) -> str:
    r = ask.get("upscale_factor", 1, 2)
    rows = f"x.unflatten(1, (-1, {r})).permute(0, 1, 3, 4, 2).flatten(3)"
    return same(f"{rows}.unflatten(1, (-1, {r})).permute(0, 1, 3, 2, 4).flatten(2, 3)")


def _shuffled_down(ask: Asked) -> str:
    r = ask.get("downscale_factor", 1, 2)
    rows = f"x.unflatten(2, (-1, {r})).permute(0, 1, 3, 2, 4).flatten(1, 2)"
    return same(f"{rows}.unflatten(3, (-1, {r})).permute(0, 1, 4, 2, 3).flatten(1, 2)")


def _channel_shuffle(ask: Asked) -> str:
    return same(f"x.unflatten(1, ({ask.get('groups', 1, 2)}, -1)).transpose(1, 2).flatten(1, 2)")


def _pooled_3d(kind: str) -> Callable[[Asked], str]:
    def found(ask: Asked) -> str:
        windows, shape = ask.pair("kernel_size", 1, 2), ask.shape
        strides = ask.pair("stride", 2, windows)
        plain = set(ask.pair("padding", 3, 0)) == {0} and strides == windows and len(shape) == 5
        if not plain or ask.get("ceil_mode", 4, False):
            return none("nothing has three dimensions; without padding and overlap it could be written in two")
        depth, height, width = windows * (3 // len(windows))
        image = f"F.{kind}(x.flatten(1, 2), ({height}, {width})).unflatten(1, ({shape[1]}, {shape[2]})).flatten(3)"
        return same(f"F.{kind}({image}, ({depth}, 1)).unflatten(3, {(shape[3] // height, shape[4] // width)})")

    return found


def _adaptive_3d(kind: str) -> Callable[[Asked], str]:
    def found(ask: Asked) -> str:
        if set(ask.pair("output_size", 1, 1)) != {1} or len(ask.shape) != 5:
            return none("nothing has three dimensions; to one value per channel it could be written")
        one = "x.mean((2, 3, 4), keepdim=True)" if kind == "avg" else ""
        return same(one or "F.adaptive_max_pool2d(x.flatten(3), 1).unsqueeze(-1)")

    return found


def _padded_3d(ask: Asked) -> str:
    pad, value = ask.pair("padding", 1, 0), ask.get("value", 2, 0.0)
    return padded("constant", pad, value, ask.shape) if value else same(f"F.pad(x, {pad})")


def _mirrored(mode: str) -> Callable[[Asked], str]:
    return lambda ask: padded(mode, ask.pair("padding", 1, 0), None, ask.shape)


def _powered(ask: Asked) -> str:
    power = ask.get("exponent", 1, None)
    if power in (2, 3, 4):
        return same(" * ".join(["x"] * power))
    rooted = {0.5: "x * torch.rsqrt(x)", -0.5: "torch.rsqrt(x)", -1: "r = torch.rsqrt(x); r * r"}
    return same(rooted[power], "where x is positive") if power in rooted else none("powers can be 2, 3, 4 or roots")


def _gated(ask: Asked) -> str:
    half = f"x.chunk(2, {ask.get('dim', 1, -1)})"
    return same(f"{half}[0] * torch.sigmoid({half}[1])")


def _rectified(ask: Asked) -> str:
    value = (ask.get("lower", 1, 1 / 8) + ask.get("upper", 2, 1 / 3)) / 2
    return same(f"nn.LeakyReLU({value})", "in evaluation; in training it is random")


def _shrunk(ask: Asked) -> str:
    by = ask.get("lambd", 1, 0.5)
    return same(f"F.relu(x - {by}) - F.relu(x * -1 - {by})")


#: Beyond its threshold PyTorch's function is x itself, from which it then differs by less than float32's steps.
_LEAST_THRESHOLD = 15


def _two_way_softmax(ask: Asked, x: str, part: int, factor: str) -> str:
    """Of each element and 0, ``log_softmax``. Beside one more axis no more than three are cut, so others are flat."""
    few = len(ask.shape) < 4
    row, back = (x, "") if few else (f"{x}.flatten(1)", f".unflatten(1, {ask.shape[1:]})")
    name, line = ("x", "") if row == "x" else ("a", f"a = {row}; ")
    both = f"torch.cat([{name}.unsqueeze(-1), ({name} * 0).unsqueeze(-1)], -1)"
    return f"{line}F.log_softmax({both}, -1)[..., {part}]{back}{factor}"


def _softplus(ask: Asked) -> str:
    beta = ask.get("beta", 1, 1)
    if ask.get("threshold", 2, 20) < _LEAST_THRESHOLD:
        return none(f"it jumps at its threshold; from threshold={_LEAST_THRESHOLD} on it can")
    x, factor = ("x", " * -1") if beta == 1 else (f"(x * {beta})", f" * (-1 / {beta})")
    return same(_two_way_softmax(ask, x, 1, factor), f"in steps of 1/16; nn.ReLU is one op, {_CHANGES}")


def _log_sigmoid(ask: Asked) -> str:
    return same(_two_way_softmax(ask, "x", 0, ""), "in steps of 1/16")


def _hard_shrunk(ask: Asked) -> str:
    by = ask.get("lambd", 1, 0.5)
    return none(f"it jumps; `F.relu(x - {by}) - F.relu(x * -1 - {by})` does not, and changes the network")


def _windows(ask: Asked) -> str:
    size = ask.pair("kernel_size", 1, 1)
    kernel = size * (2 // len(size))
    others = [ask.pair(name, at, default) for name, at, default in (("dilation", 2, 1), ("padding", 3, 0))]
    if len(ask.shape) != 4 or {*others[0]} != {1} or {*others[1]} != {0}:
        return none("without padding and dilation it is a convolution whose weights are zeros and a one each")
    channels, stride = ask.shape[1], ask.pair("stride", 4, 1)
    count = channels * kernel[0] * kernel[1]
    weight = f"torch.eye({count}).reshape({count}, {channels}, {kernel[0]}, {kernel[1]})"
    return same(f"F.conv2d(x, weight, stride={stride}).flatten(2)", f"weight being a buffer, {weight}")


def _stacked(ask: Asked) -> str:
    axis = ask.get("dim", 1, 0)
    if axis == 0:
        return none("it makes an axis before the batch's; along another it can")
    return same(
        f"torch.cat([x.unsqueeze({axis}), y.unsqueeze({axis})], {axis})", "along an axis other than the batch's"
    )


def _looked_up(ask: Asked) -> str:
    count, size = ask.get("num_embeddings", 9, "rows"), ask.get("embedding_dim", 9, "columns")
    return none(
        "the device's inputs are numbers, no indices, and it looks nothing up. Make the index a vector of zeros and a "
        f"one outside the network, F.one_hot(index, {count}).float(), and multiply with the table in it: "
        f"nn.Linear({count}, {size}, bias=False), its weight being the table transposed. Or look the rows up in the "
        "firmware, and make them the input"
    )


def _always(text: str) -> Callable[[Asked], str]:
    return lambda ask: text


_ABSOLUTE = same("torch.maximum(x, x * -1)")
_ONLY_3D = "nothing has three dimensions; nn.Conv2d over two of the axes changes the network"

#: By the call's name without underscores, in small letters.
FORMS: Mapping[str, Callable[[Asked], str]] = {
    # Activations.
    "silu": _always(same("x * torch.sigmoid(x)", f"in two ops; nn.Hardswish is one, {_CHANGES}")),
    "gelu": _gelu,
    "hardsigmoid": _always(same("F.relu6(x + 3) * (1 / 6)")),
    "elu": lambda ask: _exponential_unit(1.0, ask.get("alpha", 1, 1.0)),
    "celu": lambda ask: _exponential_unit(1.0, ask.get("alpha", 1, 1.0), ask.get("alpha", 1, 1.0)),
    "selu": _always(_exponential_unit(1.0507009873554805, 1.6732632423543772)),
    "mish": _always(
        same(
            "s = torch.sigmoid(x * -1); r = torch.rsqrt(s * s + 1); x * (1 - s * s) * r * r",
            f"{_STEPS}; nn.Hardswish is one, {_CHANGES}",
        )
    ),
    "softplus": _softplus,
    "logsigmoid": _log_sigmoid,
    "softsign": _always(same("r = torch.rsqrt(torch.maximum(x, x * -1) + 1); x * r * r")),
    "softshrink": _shrunk,
    "tanhshrink": _always(same("x - torch.tanh(x)")),
    "hardshrink": _hard_shrunk,
    "threshold": _always(none("it jumps; nn.ReLU does not, and changes the network")),
    "rrelu": _rectified,
    "glu": _gated,
    "softmin": softmin,
    "softmax2d": _always(same("F.softmax(x.movedim(1, -1), -1).movedim(-1, 1)")),
    "gumbelsoftmax": _always(_RANDOM),
    # Normalizations.
    "batchnorm": _batch_norm,
    "batchnorm3d": _batch_norm,
    "syncbatchnorm": _batch_norm,
    "groupnorm": _group_norm,
    **dict.fromkeys(("instancenorm", "instancenorm1d", "instancenorm2d", "instancenorm3d"), _instance_norm),
    "layernorm": _layer_norm,
    "rmsnorm": _rms_norm,
    "localresponsenorm": _response_norm,
    "crossmaplrn2d": _response_norm,
    # Shapes.
    "pixelshuffle": _shuffled_up,
    "pixelunshuffle": _shuffled_down,
    "channelshuffle": _channel_shuffle,
    "nativechannelshuffle": _channel_shuffle,
    "unfold": _windows,
    "fold": _always(none("nn.ConvTranspose2d adds up windows as well, and has weights to learn")),
    **dict.fromkeys(("constantpad3d", "zeropad3d"), _padded_3d),
    **{f"reflectionpad{n}d": _mirrored("reflect") for n in (1, 2, 3)},
    **{f"replicationpad{n}d": _mirrored("replicate") for n in (1, 2, 3)},
    **{f"circularpad{n}d": _mirrored("circular") for n in (1, 2, 3)},
    "stack": _stacked,
    "unbind": unbound,
    **dict.fromkeys(("expand", "expandas", "broadcastto"), _always(_SPREAD)),
    **dict.fromkeys(("repeat", "tile"), repeated),
    "repeatinterleave": repeated_elements,
    **dict.fromkeys(("flip", "fliplr"), flipped),
    "roll": rolled,
    **dict.fromkeys(("detach", "to", "typeas", "cpu", "cuda"), _always(_CONSTANT_PLACE)),
    **dict.fromkeys(("half", "double", "int", "long", "bfloat16"), _always(
        none("float32 is the type of networks; of an index, make a vector of zeros and a one outside the network"))),
    # Convolutions and poolings.
    **dict.fromkeys(("conv3d", "convtranspose3d", "convtbc"), _always(none(_ONLY_3D))),
    "avgpool3d": _pooled_3d("avg_pool2d"),
    "maxpool3d": _pooled_3d("max_pool2d"),
    "adaptiveavgpool3d": _adaptive_3d("avg"),
    "adaptivemaxpool3d": _adaptive_3d("max"),
    **{f"lppool{n}d": _always(none("it has a root; nn.AvgPool2d changes the network")) for n in (1, 2, 3)},
    **{f"fractionalmaxpool{n}d": _always(_RANDOM + "; nn.MaxPool2d changes the network") for n in (2, 3)},
    **{f"maxunpool{n}d": _always(none("there are no indices; nn.Upsample changes the network")) for n in (1, 2, 3)},
    **dict.fromkeys(("gridsample", "affinegrid"), _always(none("pixels lie where the shape says, not where data do"))),
    **dict.fromkeys(
        ("featurealphadropout", "dropout3d"),
        lambda ask: same(
            f"nn.Dropout({ask.get('p', 1, 0.5)})", "once trained; in training it drops single numbers, not channels"
        ),
    ),
    # Arithmetic.
    **dict.fromkeys(("truediv", "itruediv", "div", "divide", "truedivide"), _divided),
    **dict.fromkeys(("neg", "negative"), _always(same("x * -1"))),
    **dict.fromkeys(("abs", "absolute"), _always(_ABSOLUTE)),
    **dict.fromkeys(("rsub", "rsubtract"), _always(same("y - x"))),
    "square": _always(same("x * x")),
    "pow": _powered,
    "sqrt": _always(same("x * torch.rsqrt(x)", "where x is positive")),
    "reciprocal": _always(same("r = torch.rsqrt(x); r * r", "where x is positive")),
    "exp": _always(same(f"{_EXPONENTIAL}; y", "where x is not positive; beyond, no form of it can be exported")),
    "sum": summed,
    "amax": largest(""),
    "amin": largest(" * -1"),
    "var": variance(root=False),
    "std": variance(root=True),
    "cosinesimilarity": normalized_product,
    "pairwisedistance": _always(none("sums of squares have no root; return the difference, or its square's mean")),
    "pdist": _always(none("sums of squares have no root")),
    **dict.fromkeys(("matmul", "bmm", "mm", "einsum", "mv", "dot", "outer", "baddbmm", "addmm"), _always(
        _PRODUCT + ", as of nn.Linear or F.linear(x, weight)")),
    **dict.fromkeys(("scaleddotproductattention", "multiheadattention", "multiheadattentionforward", "bilinear",
                     "scaledmm", "scaledgroupedmm", "groupedmm", "imatmul"), _always(_PRODUCT)),
    **{f"transformer{part}": _always(_PRODUCT) for part in ("", "encoder", "decoder", "encoderlayer", "decoderlayer")},
    **dict.fromkeys(("gt", "lt", "ge", "le", "eq", "ne", "where", "maskedfill", "sign", "heaviside"),
                    _always(_NO_COMPARISON)),
    **dict.fromkeys(("argmax", "argmin", "topk", "sort", "argsort"), _always(_NO_INDEX)),
    # Others.
    **dict.fromkeys(("lstm", "gru", "rnn", "rnnbase", "lstmcell", "grucell", "rnncell"), _always(_RECURRENT)),
    **dict.fromkeys(("embedding", "embeddingbag", "onehot"), _looked_up),
    **{f"{kind}{name}": _always(_START) for kind in ("", "new") for name in ("zeros", "ones", "full", "empty")},
    **{f"{name}like": _always(_START) for name in ("zeros", "ones", "full", "empty")},
    **dict.fromkeys(("rand", "randn", "randlike", "randnlike", "bernoulli"), _always(_RANDOM)),
    "kldiv": _always(none("a loss belongs into the training step, behind the network")),
    "adaptivelogsoftmaxwithloss": _always(none("a loss belongs into the training step, behind the network")),
}  # fmt: skip
