"""Layers on which kernels are counted: shapes that tell their terms apart, and such as networks have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.graph.ir import Graph
from export.rows import sample_graph
from qtorch.families.convolution import weighted_sample
from qtorch.ops import ROWS

__all__ = ["SHAPES", "Shape"]


@dataclass(frozen=True)
class Shape:
    """A layer.

    Attributes:
        op: its row.
        image: rows, columns and channels; of a fully connected layer the inputs, or rows and inputs.
        outputs: channels; of a depthwise convolution as many as inputs.
        window: rows and columns.
        stride: of both.
        relu: whether all below the zero point is cut off, so that the short requantization does.
        low: zero point of the output, at -128 nothing else is cut off.
        bits: of the weights.
        dilation: of the columns and rows.
    """

    op: str
    image: tuple[int, ...]
    outputs: int
    window: tuple[int, int] = (1, 1)
    stride: int = 1
    relu: bool = True
    low: int = -128
    bits: int = 8
    dilation: int = 1

    def __str__(self) -> str:
        marks = {"exact": not self.relu, f"low {self.low}": self.low != -128, f"{self.bits} bits": self.bits != 8}
        rest = "".join(f", {mark}" for mark, there in marks.items() if there)
        sizes = [*self.image, self.outputs, *self.window, self.stride, self.dilation]
        return f"{self.op} {sizes}{rest}"

    def graph(self) -> Graph:
        """One node with random weights, those of a shape always the same."""
        rng = np.random.default_rng(0)
        output = (0.3, self.low) if self.relu else (0.3, 4)
        weights, activation = "int4" if self.bits == 4 else "int8", "relu" if self.relu else "none"
        image = (1, *self.image)
        if self.op == "fully_connected":
            attrs: dict[str, Any] = {"activation": activation, "keep_num_dims": len(self.image) > 1}
            kernel: tuple[int, ...] = (self.outputs, self.image[-1])
        else:
            attrs = {"stride_h": self.stride, "stride_w": self.stride, "dilation_h": self.dilation}
            attrs |= {"dilation_w": self.dilation, "padding": "same", "activation": activation}
            kernel = (self.outputs, *self.window, self.image[-1])
        axis = 0
        if self.op == "depthwise_conv_2d":
            attrs["depth_multiplier"] = self.outputs // self.image[-1]
            kernel, axis = (1, *self.window, self.outputs), 3
        # Fully connected weights of 4 bits have one scale.
        channels = self.bits != 4 or self.op != "fully_connected"
        sample = weighted_sample(
            rng, "", attrs, image, kernel, channel_axis=axis, output=output, weights=weights, per_channel=channels
        )
        return sample_graph(ROWS[self.op], sample)


def _dense() -> Iterator[Shape]:
    sizes = (
        (1, 1), (8, 4), (16, 16), (33, 5), (64, 12), (70, 6), (128, 10), (100, 3), (24, 32),
        (80, 24), (44, 40), (20, 18), (90, 16), (28, 9), (76, 11), (150, 10), (250, 16), (10, 30),
    )  # fmt: skip
    for inputs, outputs in sizes:
        yield Shape("fully_connected", (inputs,), outputs)
    yield Shape("fully_connected", (32,), 8, relu=False)
    yield Shape("fully_connected", (50,), 7, relu=False)
    yield Shape("fully_connected", (40,), 8, low=-100)
    yield Shape("fully_connected", (3, 16), 8)


def _pointwise() -> Iterator[Shape]:
    sizes = (
        ((5, 5, 64), 64), ((4, 7, 13), 7), ((8, 8, 16), 32), ((2, 2, 5), 1), ((6, 6, 3), 8), ((3, 3, 128), 40),
        ((10, 10, 8), 16), ((4, 4, 24), 10), ((3, 4, 33), 19), ((7, 7, 4), 4), ((2, 3, 2), 24),
        ((25, 5, 64), 64), ((12, 12, 32), 64), ((24, 24, 8), 16), ((6, 6, 128), 128), ((3, 3, 256), 256),
        ((9, 9, 21), 30), ((1, 20, 48), 24), ((1, 1, 64), 32),
    )  # fmt: skip
    for image, outputs in sizes:
        yield Shape("conv_2d", image, outputs)
    yield Shape("conv_2d", (5, 6, 24), 8, relu=False)
    yield Shape("conv_2d", (4, 4, 12), 16, relu=False)
    yield Shape("conv_2d", (5, 4, 16), 16, low=-100)
    yield Shape("conv_2d", (9, 9, 16), 8, stride=2)


def _convolution() -> Iterator[Shape]:
    sizes = (
        ((6, 6, 3), 8, (3, 3), 1), ((8, 8, 3), 16, (3, 3), 2), ((5, 5, 16), 16, (3, 3), 1), ((12, 6, 1), 8, (10, 4), 2),
        ((4, 4, 33), 9, (3, 3), 1), ((6, 5, 8), 12, (1, 3), 1), ((9, 9, 1), 4, (3, 3), 1), ((10, 10, 2), 6, (2, 2), 2),
        ((7, 7, 5), 10, (5, 5), 1), ((16, 1, 12), 8, (5, 1), 1), ((3, 3, 24), 3, (3, 3), 1), ((20, 3, 4), 4, (3, 1), 1),
        ((16, 16, 16), 16, (3, 3), 1), ((32, 32, 3), 16, (3, 3), 1), ((8, 8, 32), 64, (3, 3), 2),
        ((8, 8, 64), 64, (3, 3), 1), ((24, 10, 1), 64, (10, 4), 2), ((48, 48, 3), 8, (3, 3), 2),
        ((30, 1, 9), 20, (7, 1), 1), ((4, 4, 1), 1, (3, 3), 2), ((4, 4, 1), 3, (5, 5), 1), ((10, 10, 1), 4, (3, 3), 1),
        ((7, 5, 1), 8, (3, 3), 2), ((10, 10, 1), 1, (3, 3), 1), ((16, 16, 1), 3, (5, 5), 2), ((12, 7, 2), 5, (3, 3), 1),
        ((6, 6, 10), 7, (3, 3), 1), ((9, 9, 1), 2, (7, 7), 2), ((5, 5, 32), 5, (3, 3), 1), ((11, 4, 3), 12, (4, 2), 1),
    )  # fmt: skip
    for image, outputs, window, stride in sizes:
        yield Shape("conv_2d", image, outputs, window, stride)
    yield Shape("conv_2d", (6, 6, 8), 8, (3, 3), relu=False)
    yield Shape("conv_2d", (5, 5, 4), 12, (2, 3), relu=False)
    yield Shape("conv_2d", (5, 5, 6), 8, (3, 3), low=-100)


def _depthwise() -> Iterator[Shape]:
    sizes = (
        ((7, 5, 16), (3, 3), 1), ((6, 7, 5), (3, 3), 1), ((9, 8, 6), (3, 3), 2), ((12, 12, 8), (3, 3), 1),
        ((25, 5, 16), (3, 3), 1), ((6, 6, 32), (3, 3), 1), ((10, 3, 4), (3, 1), 2), ((8, 8, 4), (5, 4), 1),
        ((16, 16, 2), (3, 3), 1), ((3, 3, 40), (3, 3), 1), ((13, 13, 4), (3, 3), 2), ((6, 20, 3), (3, 5), 1),
        ((20, 1, 8), (5, 1), 1), ((4, 4, 24), (4, 4), 4), ((9, 9, 4), (2, 2), 2),
        ((25, 5, 64), (3, 3), 1), ((48, 48, 8), (3, 3), 1), ((24, 24, 32), (3, 3), 2), ((6, 6, 128), (3, 3), 1),
        ((3, 3, 256), (3, 3), 1), ((14, 9, 20), (5, 5), 1), ((4, 4, 3), (3, 3), 2), ((5, 9, 8), (3, 3), 2),
        ((15, 1, 6), (3, 1), 1), ((6, 6, 4), (7, 7), 1),
    )  # fmt: skip
    sequences = (
        ((30, 1, 8), (5, 1), 1), ((1, 40, 6), (1, 7), 1), ((49, 1, 12), (9, 1), 1), ((25, 1, 4), (13, 1), 1),
        ((16, 1, 32), (4, 1), 1), ((1, 12, 16), (1, 6), 1), ((60, 1, 3), (11, 1), 1), ((10, 1, 20), (5, 1), 1),
        ((12, 12, 8), (3, 3), 2), ((9, 6, 16), (4, 4), 1), ((7, 9, 5), (4, 2), 1), ((10, 16, 4), (2, 4), 2),
        ((5, 20, 18), (1, 3), 2), ((16, 16, 33), (3, 3), 2),
    )  # fmt: skip
    small = (
        ((10, 10, 24), (1, 3), 1), ((7, 9, 13), (1, 3), 1), ((1, 16, 12), (1, 3), 1), ((12, 5, 8), (1, 2), 1),
        ((8, 8, 16), (1, 1), 1), ((9, 6, 5), (1, 1), 2), ((6, 12, 20), (1, 3), 2),
    )  # fmt: skip
    for image, window, stride in (*sizes, *sequences, *small):
        yield Shape("depthwise_conv_2d", image, image[-1], window, stride)
    yield Shape("depthwise_conv_2d", (6, 6, 8), 8, (3, 3), relu=False)
    yield Shape("depthwise_conv_2d", (9, 7, 4), 4, (3, 3), relu=False)
    yield Shape("depthwise_conv_2d", (8, 6, 4), 4, (3, 3), low=-100)
    yield Shape("depthwise_conv_2d", (8, 6, 6), 6, (5, 5), relu=False, stride=2)


def _of_4_bits() -> Iterator[Shape]:
    dense = ((64, 12), (128, 10), (33, 15), (100, 20), (256, 7), (17, 24), (90, 9), (50, 16), (200, 3), (41, 11))
    for inputs, outputs in dense:
        yield Shape("fully_connected", (inputs,), outputs, bits=4, relu=outputs % 4 > 0)
    pointwise = (
        ((5, 5, 64), 32), ((4, 4, 24), 13), ((8, 8, 16), 32), ((6, 6, 33), 19), ((3, 3, 128), 40),
        ((10, 10, 12), 24), ((5, 4, 40), 9), ((7, 3, 21), 30), ((25, 5, 64), 64), ((6, 6, 48), 10),
    )  # fmt: skip
    for image, outputs in pointwise:
        yield Shape("conv_2d", image, outputs, bits=4, relu=outputs % 4 > 0)
    windows = (
        ((6, 6, 8), 8), ((5, 5, 16), 9), ((9, 7, 4), 16), ((8, 8, 3), 24), ((4, 4, 33), 12), ((10, 5, 10), 6),
        ((7, 7, 16), 16), ((12, 12, 2), 20), ((5, 6, 24), 7), ((16, 4, 6), 12),
    )  # fmt: skip
    for image, outputs in windows:
        yield Shape("conv_2d", image, outputs, (3, 3), bits=4, relu=outputs % 4 > 0)
    # What is left over and the arithmetic of the outputs, each without the other.
    for inputs, outputs in ((128, 64), (72, 16), (96, 14), (40, 9)):
        yield Shape("fully_connected", (inputs,), outputs, bits=4, relu=outputs % 4 == 0)
    for size, inputs, outputs in ((1, 64, 64), (1, 32, 24), (1, 40, 11), (3, 16, 32), (3, 12, 8), (3, 20, 10)):
        yield Shape("conv_2d", (5, 5, inputs), outputs, (size, size), bits=4, relu=outputs % 4 == 0)
    for image in ((6, 6, 64), (9, 9, 80), (7, 5, 71), (8, 8, 96), (5, 5, 120), (12, 4, 65), (4, 4, 72), (10, 10, 90)):
        yield Shape("depthwise_conv_2d", image, image[-1], (3, 3), bits=4, relu=image[-1] % 4 > 0)


#: All of them; those that a machine does not hold are left out there.
SHAPES = (*_dense(), *_pointwise(), *_convolution(), *_depthwise(), *_of_4_bits())
