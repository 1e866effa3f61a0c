"""Draws programs at random: which calls there are, and with which arguments on a tensor of a given shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.attention_steps import ATTENTION_KINDS
from tests.further_steps import FUNCTION_KINDS, FURTHER_KINDS
from tests.lifted_steps import LIFTED_KINDS
from tests.random_networks import Program, Shape, Step, pruned
from tests.rarer_steps import RARER_KINDS
from tests.recurrent_steps import RECURRENT_KINDS
from tests.reduction_steps import REDUCTION_KINDS

#: Networks from this seed on are also drawn from :mod:`tests.further_steps`.
FURTHER = 1_000_000
#: From this one on with functions of each number alone, too.
FUNCTIONS = 2_000_000
#: From this one on with attention instead.
ATTENTION = 3_000_000
#: From this one on with recurrent layers and cells, and no functions.
RECURRENT = 4_000_000
#: From this one on with reductions, comparisons and choices instead.
REDUCTIONS = 5_000_000
#: From this one on with forms that are composed of several ops.
LIFTED = 6_000_000
#: From this one on with remainders, running products, places and masks of what comes in.
RARER = 7_000_000


def draw(seed: int) -> Program:
    """A network of up to a dozen steps, with branches."""
    return Drawing(seed).program()


class Drawing:
    """A network in the making: what has been drawn, and what the next draws come from."""

    def __init__(self, seed: int) -> None:
        self.kinds = [*_KINDS, *next((kinds for first, kinds in _FURTHER if seed >= first), ())]
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.inputs: list[Shape] = []
        self.steps: list[Step] = []

    def program(self) -> Program:
        shape = self._input_shape()
        self.inputs = [shape] if self.rng.random() < 0.85 else [shape, shape]
        for _ in range(int(self.rng.integers(1, 12))):
            self._step()
        used = {value for step in self.steps for value in step.inputs}
        ends = [len(self.inputs) + i for i in range(len(self.steps)) if len(self.inputs) + i not in used]
        program = pruned(Program(tuple(self.inputs), tuple(self.steps), tuple(ends[:3]), self.seed))
        used = {value for step in program.steps for value in step.inputs}
        if len(self.inputs) == 2 and not {0, 1} <= used:
            # An input that nothing reads is not drawn: the other one takes its place.
            one = [replace(s, inputs=tuple(max(0, v - 1) for v in s.inputs)) for s in program.steps]
            program = replace(
                program, inputs=program.inputs[:1], steps=tuple(one), outputs=tuple(o - 1 for o in program.outputs)
            )
        return program

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def _input_shape(self) -> Shape:
        kind = self.pick(["image", "image", "sequence", "features", "tokens"])
        if kind == "image":
            return (self.integer(1, 6), self.integer(1, 11), self.integer(1, 11))
        if kind == "sequence":
            return (self.integer(1, 5), self.integer(3, 17))
        return (self.integer(1, 20),) if kind == "features" else (self.integer(2, 6), self.integer(1, 9))

    def _shape(self, value: int) -> Shape:
        count = len(self.inputs)
        return self.inputs[value] if value < count else self.steps[value - count].shape

    def _step(self) -> None:
        count = len(self.inputs) + len(self.steps)
        # Later values more often, so that networks grow deep; now and then an early one, so that they branch.
        source = count - 1 if self.rng.random() < 0.7 else int(self.rng.integers(count))
        for _ in range(20):
            kind = self.pick(self.kinds)
            found = kind(self, source, self._shape(source))
            if found is not None and np.prod(found.shape) <= 3000:
                self.steps.append(found)
                return

    def partner(self, source: int, fits: Callable[[Shape], bool]) -> int | None:
        """Another value whose shape fits, or the same one."""
        values = [v for v in range(len(self.inputs) + len(self.steps)) if fits(self._shape(v))]
        others = [v for v in values if v != source]
        return self.pick(others) if others else (source if source in values else None)


def _unary(expression: str, weight: int = 1, rank: int | None = None, module: str = "") -> list[Any]:
    def kind(drawing: Drawing, source: int, shape: Shape) -> Step | None:
        return Step(expression, (source,), shape, module) if rank in (None, len(shape)) else None

    return [kind] * weight


def _convolution(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) not in (2, 3):
        return None
    axes = len(shape) - 1
    kernel, stride, dilation = ([d.integer(1, high) for _ in range(axes)] for high in (4, 2, 2))
    # PyTorch itself crashes on some windows that lie wholly in the padding (torch 2.13).
    padding = [d.integer(0, min(2, (k - 1) * dl)) for k, dl in zip(kernel, dilation, strict=True)]
    groups = d.pick([g for g in range(1, shape[0] + 1) if shape[0] % g == 0])
    out = groups * d.integer(1, 3)
    sizes = [
        (n + 2 * p - (k - 1) * dl - 1) // s + 1
        for n, p, k, dl, s in zip(shape[1:], padding, kernel, dilation, stride, strict=True)
    ]
    if min(sizes) < 1:
        return None
    bias = d.pick([True, True, False])
    module = (
        f"nn.Conv{axes}d({shape[0]}, {out}, {tuple(kernel)}, stride={tuple(stride)}, padding={tuple(padding)}, "
        f"dilation={tuple(dilation)}, groups={groups}, bias={bias})"
    )
    return Step("{self}({0})", (source,), (out, *sizes), module)


def _separable(d: Drawing, source: int, shape: Shape) -> Step | None:
    """The usual block: depthwise, batch norm, activation, in one module."""
    if len(shape) != 3 or min(shape[1:]) < 3:
        return None
    channels = shape[0]
    out = d.integer(1, 2) * channels
    act = d.pick(["nn.ReLU()", "nn.ReLU6()", "nn.Identity()", "nn.LeakyReLU(0.1)"])
    module = (
        f"nn.Sequential(nn.Conv2d({channels}, {out}, 3, padding=1, groups={channels}), nn.BatchNorm2d({out}), {act})"
    )
    return Step("{self}({0})", (source,), (out, *shape[1:]), module)


def _transposed_convolution(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) not in (2, 3):
        return None
    axes = len(shape) - 1
    kernel, stride = d.integer(1, 4), d.integer(1, 3)
    padding = d.integer(0, kernel - 1)
    extra = d.integer(0, stride - 1)
    out = d.integer(1, 4)
    sizes = [(n - 1) * stride - 2 * padding + kernel + extra for n in shape[1:]]
    if min(sizes) < 1:
        return None
    module = (
        f"nn.ConvTranspose{axes}d({shape[0]}, {out}, {kernel}, stride={stride}, padding={padding}, "
        f"output_padding={extra})"
    )
    return Step("{self}({0})", (source,), (out, *sizes), module)


def _pooling(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) not in (2, 3):
        return None
    axes = len(shape) - 1
    kernel, stride = d.integer(1, 3), d.integer(1, 3)
    padding = d.integer(0, kernel // 2)
    sizes = [(n + 2 * padding - kernel) // stride + 1 for n in shape[1:]]
    if min(sizes) < 1:
        return None
    name = d.pick(["MaxPool", "AvgPool"])
    module = f"nn.{name}{axes}d({kernel}, stride={stride}, padding={padding})"
    return Step("{self}({0})", (source,), (shape[0], *sizes), module)


def _global_pooling(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 3:
        return None
    return Step("{self}({0})", (source,), (shape[0], 1, 1), "nn.AdaptiveAvgPool2d(1)")


def _batch_norm(d: Drawing, source: int, shape: Shape) -> Step | None:
    name = {1: "BatchNorm1d", 2: "BatchNorm1d", 3: "BatchNorm2d"}[len(shape)]
    return Step("{self}({0})", (source,), shape, f"nn.{name}({shape[0]}, eps={d.pick([1e-5, 1e-3])})")


def _linear(d: Drawing, source: int, shape: Shape) -> Step | None:
    out = d.integer(1, 12)
    bias = d.pick([True, False])
    return Step("{self}({0})", (source,), (*shape[:-1], out), f"nn.Linear({shape[-1]}, {out}, bias={bias})")


def _flatten(d: Drawing, source: int, shape: Shape) -> Step | None:
    return Step("{0}.flatten(1)", (source,), (int(np.prod(shape)),)) if len(shape) > 1 else None


def _unflatten(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 1:
        return None
    channels = d.pick([c for c in range(1, shape[0] + 1) if shape[0] % c == 0])
    rest = shape[0] // channels
    return d.pick(
        [
            Step(f"{{0}}.view(-1, {channels}, {rest})", (source,), (channels, rest)),
            Step(f"{{0}}.reshape({{0}}.shape[0], {channels}, {rest}, 1)", (source,), (channels, rest, 1)),
        ]
    )


def _permute(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) < 2:
        return None
    axes = [int(a) for a in d.rng.permutation(len(shape))]
    dims = (0, *(a + 1 for a in axes))
    return Step(f"{{0}}.permute{dims}", (source,), tuple(shape[a] for a in axes))


def _pad(d: Drawing, source: int, shape: Shape) -> Step | None:
    ends = [(d.integer(0, 2), d.integer(0, 2)) for _ in shape]
    given = tuple(n for pair in reversed(ends) for n in pair)
    sizes = tuple(n + sum(pair) for n, pair in zip(shape, ends, strict=True))
    return Step(f"F.pad({{0}}, {given})", (source,), sizes)


def _binary(d: Drawing, source: int, shape: Shape) -> Step | None:
    """With a tensor of the same shape, one that broadcasts, or a number."""
    symbol = d.pick(["+", "-", "*"])
    if d.rng.random() < 0.2:
        number = round(float(d.rng.normal()), 3)
        return Step(d.pick([f"{{0}} {symbol} {number}", f"{number} {symbol} {{0}}"]), (source,), shape)

    def fits(other: Shape) -> bool:
        return len(other) == len(shape) and all(a in (1, b) for a, b in zip(other, shape, strict=True))

    other = d.partner(source, fits)
    if other is None:
        return None
    return Step(d.pick([f"{{0}} {symbol} {{1}}", f"{{1}} {symbol} {{0}}"]), (source, other), shape)


def _concatenation(d: Drawing, source: int, shape: Shape) -> Step | None:
    axis = d.integer(0, len(shape) - 1)

    def fits(other: Shape) -> bool:
        return len(other) == len(shape) and other[:axis] == shape[:axis] and other[axis + 1 :] == shape[axis + 1 :]

    other = d.partner(source, fits)
    if other is None:
        return None
    width = shape[axis] + d._shape(other)[axis]
    joined = (*shape[:axis], width, *shape[axis + 1 :])
    return Step(f"torch.cat([{{0}}, {{1}}], {axis + 1})", (source, other), joined)


def _mean(d: Drawing, source: int, shape: Shape) -> Step | None:
    axes = sorted({d.integer(0, len(shape) - 1) for _ in range(d.integer(1, 2))})
    keep = bool(d.rng.random() < 0.5) or len(axes) == len(shape)
    left = tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)
    return Step(f"{{0}}.mean({tuple(a + 1 for a in axes)}, keepdim={keep})", (source,), left)


def _selection(d: Drawing, source: int, shape: Shape) -> Step | None:
    axis = d.integer(0, len(shape) - 1)
    before = ":, " * (axis + 1)
    if len(shape) > 1 and d.rng.random() < 0.3:
        at = d.integer(0, shape[axis] - 1)
        return Step(f"{{0}}[{before}{at}]", (source,), shape[:axis] + shape[axis + 1 :])
    step, start = d.integer(1, 3), d.integer(0, shape[axis] - 1)
    left = len(range(start, shape[axis], step))
    return Step(f"{{0}}[{before}{start}::{step}]", (source,), (*shape[:axis], left, *shape[axis + 1 :]))


def _split(d: Drawing, source: int, shape: Shape) -> Step | None:
    axis = d.integer(0, len(shape) - 1)
    parts = d.pick([p for p in range(1, 5) if shape[axis] % p == 0])
    left = (*shape[:axis], shape[axis] // parts, *shape[axis + 1 :])
    return Step(f"torch.chunk({{0}}, {parts}, {axis + 1})[{d.integer(0, parts - 1)}]", (source,), left)


def _largest(d: Drawing, source: int, shape: Shape) -> Step | None:
    other = d.partner(source, lambda found: found == shape)
    function = d.pick(["maximum", "minimum"])
    return None if other is None else Step(f"torch.{function}({{0}}, {{1}})", (source, other), shape)


def _prelu(d: Drawing, source: int, shape: Shape) -> Step | None:
    return Step("{self}({0})", (source,), shape, f"nn.PReLU({d.pick([1, shape[0]])})")


def _narrow(d: Drawing, source: int, shape: Shape) -> Step | None:
    axis = d.integer(0, len(shape) - 1)
    start = d.integer(0, shape[axis] - 1)
    length = d.integer(1, shape[axis] - start)
    cut = (*shape[:axis], length, *shape[axis + 1 :])
    return Step(f"{{0}}.narrow({axis + 1}, {start}, {length})", (source,), cut)


def _resize(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 3:
        return None
    if d.rng.random() < 0.5:
        factor = d.integer(1, 3)
        size = (shape[1] * factor, shape[2] * factor)
        return Step("{self}({0})", (source,), (shape[0], *size), f"nn.Upsample(scale_factor={factor})")
    size = (d.integer(1, 9), d.integer(1, 9))
    aligned = bool(d.rng.random() < 0.5)
    call = f"F.interpolate({{0}}, {size}, mode='bilinear', align_corners={aligned})"
    return Step(call, (source,), (shape[0], *size))


def _layer_norm(d: Drawing, source: int, shape: Shape) -> Step | None:
    return Step("{self}({0})", (source,), shape, f"nn.LayerNorm({shape[-1]})")


_KINDS: list[Any] = [
    *[_convolution] * 5,
    *[_separable] * 2,
    _transposed_convolution,
    *[_pooling] * 2,
    _global_pooling,
    *[_batch_norm] * 2,
    *[_linear] * 3,
    _flatten,
    _unflatten,
    _permute,
    _pad,
    *[_binary] * 4,
    *[_concatenation] * 2,
    _narrow,
    _mean,
    _selection,
    _split,
    _largest,
    _prelu,
    _resize,
    _layer_norm,
    *_unary("F.hardswish({0})"),
    *_unary("{0}.log_softmax(-1)"),
    *_unary("F.normalize({0}, dim=-1)"),
    *_unary("F.relu({0})", 3),
    *_unary("F.relu6({0})"),
    *_unary("F.leaky_relu({0}, 0.2)"),
    *_unary("torch.sigmoid({0})"),
    *_unary("{0}.tanh()"),
    *_unary("{0}.softmax(-1)"),
    *_unary("{self}({0})", module="nn.Dropout(0.5)"),
]

#: From which seed on which others are drawn too.
_FURTHER: tuple[tuple[int, list[Any]], ...] = (
    (RARER, RARER_KINDS),
    (LIFTED, LIFTED_KINDS),
    (REDUCTIONS, REDUCTION_KINDS),
    (RECURRENT, RECURRENT_KINDS),
    (ATTENTION, ATTENTION_KINDS),
    (FUNCTIONS, FUNCTION_KINDS),
    (FURTHER, FURTHER_KINDS),
)
