"""What kernels do, and how often, from the numbers among a call's arguments: the terms that instructions are a sum of.

Terms are named by what is done so often; a term that costs nothing on some processor gets the factor 0 there.
"""

from __future__ import annotations

from dataclasses import dataclass

from export.c.requantization import requantization
from export.c.targets.kernel_row import Work
from export.c.targets.operands import accumulators, number
from qtorch.row.kernel_call import KernelCall

__all__ = ["Tile", "inside", "of_depthwise", "of_tiles", "requantized"]


@dataclass(frozen=True)
class Tile:
    """What a kernel computes at a time.

    Attributes:
        pixels: whose windows are multiplied by the same weights.
        outputs: channels.
        inputs: products of each.
    """

    pixels: int
    outputs: int
    inputs: int


def requantized(call: KernelCall, outputs: float) -> Work:
    """Outputs by the arithmetic that makes codes of their sums, and by what it has to clamp."""
    sums = accumulators(call)
    form = requantization(sums).form
    clamped = (sums.low, sums.high) != (-128, 127)
    return {f"outputs {form}": outputs, "outputs clamped": outputs if clamped else 0}


def of_tiles(call: KernelCall, tile: Tile) -> Work:
    """Terms of sums of products over all channels of a window, by tiles.

    Args:
        call: of ``fully_connected_s8``, ``pointwise_s8`` or ``conv_2d_s8``.
        tile: that is computed at a time.
    """
    groups = number(call, "groups")
    if "rows" in call.arguments:
        pixels, area, depth = number(call, "rows"), 1, number(call, "in_size")
        outputs = number(call, "out_size")
    else:
        pixels = number(call, "out_h") * number(call, "out_w")
        area = number(call, "window_h") * number(call, "window_w")
        depth, outputs = number(call, "in_c") // groups, number(call, "out_c") // groups
    together = -(-pixels // tile.pixels) * groups
    size, full, left = area * depth, outputs // tile.outputs, outputs % tile.outputs
    return {
        "calls": 1,
        "pixels": together,
        "window codes": together * size,
        "tiles": together * full,
        "steps": together * full * (size // tile.inputs),
        "codes left": together * full * (size % tile.inputs),
        "begun steps": together * full * -(-size // tile.inputs),
        "outputs left": together * left,
        "products left": together * left * size,
        "steps left": together * left * -(-size // tile.inputs),
        **(_of_patches(call) if call.kernel == "conv_2d_s8" else {}),
        **requantized(call, pixels * groups * outputs),
    }


def _of_patches(call: KernelCall) -> Work:
    """Rows of windows, each put side by side with the others: inside the image in one piece, else column by column."""
    groups, width = number(call, "groups"), number(call, "window_w")
    (rows, _), (_, columns) = inside(call, "h"), inside(call, "w")
    every = number(call, "out_h") * number(call, "out_w") * number(call, "window_h") * groups
    there = rows * number(call, "out_w") * groups
    whole = rows * columns if groups == 1 and number(call, "dilation_w") == 1 else 0
    return {
        "rows in one piece": whole,
        "rows outside": every - there,
        "rows by columns": there - whole,
        "columns": (there - whole) * width,
        "codes by columns": (there - whole) * width * (number(call, "in_c") // groups),
    }


def of_depthwise(call: KernelCall) -> Work:
    """Terms of ``depthwise_conv_2d_s8``: products of those of a window's pixels that are inside the image."""
    channels = number(call, "in_c") * number(call, "multiplier")
    (rows, rows_whole), (columns, columns_whole) = inside(call, "h"), inside(call, "w")
    whole = (rows_whole, columns_whole) == (number(call, "out_h"), number(call, "out_w"))
    pixels = number(call, "out_h") * number(call, "out_w")
    # Compilers make loops of their own of one row, and of one column.
    flat = "row" if number(call, "window_h") == 1 else "column" if number(call, "window_w") == 1 else "window"
    return {
        "calls": 1,
        "pixels": pixels,
        f"rows of a {flat}": channels * rows * number(call, "out_w"),
        f"products of a {flat}{', all alike' if whole else ''}": channels * rows * columns,
        "window sizes": pixels * (number(call, "window_h") + number(call, "window_w")),
        **requantized(call, pixels * channels),
    }


def inside(call: KernelCall, axis: str) -> tuple[int, int]:
    """Of all windows along an axis together the places inside the image, and windows that lie inside as a whole."""
    out, window, size = (number(call, f"{name}_{axis}") for name in ("out", "window", "in"))
    stride, dilation = number(call, f"stride_{axis}"), number(call, f"dilation_{axis}")
    padding = number(call, "padding_top" if axis == "h" else "padding_left", 0)
    places = [sum(0 <= at * stride - padding + i * dilation < size for i in range(window)) for at in range(out)]
    return sum(places), sum(there == window for there in places)
