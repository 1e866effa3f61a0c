"""Max unpoolings: what was pooled goes back to where the largest of each window stood, and all else is zero.

No code of the device says where that was. Each place of a window is compared with the largest instead, and the first
that equals it, in PyTorch's order, takes the value. On the device numbers that have one code are equal.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from qtorch.capture.compositions.picked_elements import every
from qtorch.capture.compositions.table import concatenated, decomposes, permuted, reshaped, shape_of, sliced
from qtorch.capture.nodes import operator_name, schema_arguments

aten = torch.ops.aten

#: More places in a window than this are no way to compute it.
_MOST = 16


@decomposes("max_unpool2d")
def _max_unpool2d(input: Any, indices: Any, output_size: Any) -> Any:
    """``[N, C, H, W]``, by the places that a pooling of windows side by side found; what it left over is zero."""
    pooled = _pooling(indices)
    if pooled is None:
        return None
    x, (down, across) = pooled
    shape, large = shape_of(input), shape_of(x)
    if list(large[2:]) != list(output_size)[-2:] or shape[1:2] != large[1:2] or down * across > _MOST:
        return None
    height, width = shape[2:]
    inner = (height * down, width * across)
    # What stands behind the last whole windows.
    left = [size - each for size, each in zip(large[2:], inner, strict=True)]
    if not (0 <= left[0] < down and 0 <= left[1] < across):
        return None
    for axis in (2, 3):
        x = sliced(x, axis, 0, inner[axis - 2]) if left[axis - 2] else x
    largest = aten.max_pool2d.default(x, [down, across], [down, across])
    parts, free = [], None
    for row in range(down):
        for column in range(across):
            place = every(every(x, 2, range(row, inner[0], down)), 3, range(column, inner[1], across))
            here = aten.to.dtype(aten.eq.Tensor(place, largest), torch.float32)
            first = here if free is None else aten.mul.Tensor(here, free)
            free = aten.rsub.Scalar(first, 1) if free is None else aten.sub.Tensor(free, first)
            parts.append(reshaped(aten.mul.Tensor(first, input), (*shape[:2], 1, height, width)))
    together = concatenated(parts, 2)
    if down == across:
        channels = (shape[0], shape[1] * down * across, height, width)
        found = aten.pixel_shuffle.default(reshaped(together, channels), down)
    else:
        rows = permuted(reshaped(together, (shape[0], shape[1] * down, across, height, width)), [0, 1, 3, 4, 2])
        rows = permuted(reshaped(rows, (*shape[:2], down, height, width * across)), [0, 1, 3, 2, 4])
        found = reshaped(rows, (*shape[:2], *inner))
    return aten.constant_pad_nd.default(found, [0, left[1], 0, left[0]]) if any(left) else found


def _pooling(indices: Any) -> tuple[Any, tuple[int, int]] | None:
    """What was pooled, and the windows, of places in an image that they were found in; None of others."""
    node = indices.node if isinstance(indices, fx.Proxy) else None
    if node is None or node.target is not operator.getitem or node.args[1] != 1:
        return None
    pool: Any = node.args[0]
    if operator_name(pool) != "max_pool2d_with_indices":
        return None
    given = schema_arguments(pool)
    window = given["kernel_size"] * (2 // len(given["kernel_size"]))
    steps = given["stride"] or window
    apart = list(steps) * (2 // len(steps)) == list(window) and not any(given["padding"])
    plain = apart and all(each == 1 for each in given["dilation"])
    return (fx.Proxy(given["self"], indices.tracer), (window[0], window[1])) if plain else None
