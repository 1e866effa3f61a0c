"""About how many instructions convolutions take on Cortex-M, kernel by kernel: sums fitted to counted runs of both.

The runs were some hundred layers drawn at random, of 1 to 32 channels, images of 1 to 24 rows and windows of 1 to 10,
on an emulated Cortex-M4. A kernel is taken only where its sum is well below that of the one for any processor, so that
no layer takes more instructions with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

__all__ = ["AT_ONCE", "Form", "convolution_instructions", "depthwise_instructions", "saves"]

#: ``"plain"`` is the kernel for any processor, ``"plain_by_one"`` the same without instructions for two products.
Form = Literal["plain", "plain_by_one", "joined", "pairs", "unpacked"]
#: Pairs of channels whose weights are words at a time, where these are made at run time.
AT_ONCE = 4
#: The largest part of the plain kernel's instructions with which another one is taken. Nine of ten sums err by less
#: than 30 percent, and most where layers are small.
_MOST = 0.8


def saves(sizes: Mapping[str, int], form: Form) -> bool:
    """Whether a kernel takes fewer instructions than the plain one, for certain."""
    count = depthwise_instructions if "multiplier" in sizes else convolution_instructions
    # Weights become words at run time only where there are no such instructions.
    return count(sizes, form) < _MOST * count(sizes, "plain_by_one" if form == "unpacked" else "plain")


def convolution_instructions(sizes: Mapping[str, int], form: Form) -> float:
    """Of a convolution over all channels.

    Args:
        sizes: as :func:`export.c.targets.windows.window_sizes` gives them.
        form: of the kernel.
    """
    pixels, outputs = sizes["out_h"] * sizes["out_w"], sizes["out_c"]
    rows, window = sizes["window_h"], sizes["window_h"] * sizes["window_w"]
    products = window * sizes["in_c"]
    cut = 1 - _whole(sizes)
    if form in ("plain", "plain_by_one"):
        gathering = 7 * rows + 1.4 * window * cut if cut or window > 1 else 0
        each = 7.3 if form == "plain" else 12.3
        sums = (66 + each * products) * (outputs // 4) + (15 + 4.3 * products) * (outputs % 4)
        return pixels * (gathering + sums)
    fours = -(-products // 4) * 4
    if form == "joined":
        windows = 72 + 11.3 * products + 115 * rows * cut
        sums = (64 + 4.75 * fours) * (outputs // 2) + 9.5 * fours * (outputs % 2)
        return -(-pixels // 3) * (windows + sums)
    windows = 79 + 14.8 * products + 110 * rows * cut
    sums = (56 + 3.5 * fours) * (outputs // 2) + 65 * (outputs % 2)
    if form == "pairs":
        return -(-pixels // 3) * (windows + sums)
    pairs = -(-outputs // 2)
    return -(-pixels // 3) * (windows * -(-pairs // AT_ONCE) + sums) + pairs * (60 + 8 * products)


def _whole(sizes: Mapping[str, int]) -> float:
    """The share of threes of windows that are all inside the image, about."""
    share = 1.0
    for axis, padding in (("h", "padding_top"), ("w", "padding_left")):
        starts = np.arange(sizes[f"out_{axis}"]) * sizes[f"stride_{axis}"] - sizes[padding]
        share *= float(np.mean((starts >= 0) & (starts + sizes[f"window_{axis}"] <= sizes[f"in_{axis}"])))
    return share**1.5


def depthwise_instructions(sizes: Mapping[str, int], form: Form) -> float:
    """Of a convolution of each channel by itself, without dilation.

    Pairs save little where few windows share what is made of the image and of the weights, or where most of a window
    is padding, whose products the plain kernel leaves out.
    """
    pixels, window = sizes["out_h"] * sizes["out_w"], sizes["window_h"] * sizes["window_w"]
    inside, reached = [], []
    for axis, padding in (("h", "padding_top"), ("w", "padding_left")):
        starts = np.arange(sizes[f"out_{axis}"]) * sizes[f"stride_{axis}"] - sizes[padding]
        ends = np.minimum(starts + sizes[f"window_{axis}"], sizes[f"in_{axis}"])
        inside.append(int(np.maximum(ends - np.maximum(starts, 0), 0).sum()))
        reached.append(int(ends.max() + sizes[padding]))
    if form == "plain":
        each = 11 * inside[0] * inside[1] + 5 * inside[0] * sizes["out_w"] + 4.5 * pixels
        return sizes["in_c"] * each + 19 * pixels
    products = 0 if sizes["window_h"] == 3 and sizes["out_h"] > 1 else 2.2 * window * pixels
    columns = 10 * sizes["out_w"] + 10.7 * pixels * sizes["window_w"]
    around = 14.5 * reached[0] * reached[1] + 7.2 * window + 10
    return (sizes["in_c"] + 1) // 2 * (products + columns + 27.5 * pixels + around)
