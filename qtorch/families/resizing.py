"""What the resizing rows share: reading PyTorch's arguments, and the output's shape."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from qtorch.row.image_rows import RowWindow
from qtorch.row.row import Attrs, Call, Refused, Shape
from qtorch.row.shape_rule import require

__all__ = ["require_image", "resized", "resized_shapes", "window_of_rows"]


def require_image(call: Call) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sizes before and after, ``(height, width)``.

    Raises:
        Refused: the tensor is no ``[N, C, H, W]``.
    """
    before, after = call.shapes["input"], call.output_shape
    if len(before) != 4:
        raise Refused(expected="an image [N, C, H, W]", got=f"shape {before}", remedy="insert an axis with unsqueeze")
    return (before[2], before[3]), (after[2], after[3])


def resized(call: Call, image: Tensor, mode: str) -> Tensor:
    """What PyTorch makes of an image ``[H, W]`` in this very call; ``mode`` is that of an operator."""
    if call.module is not None:
        return call.module(image[None, None])[0, 0]
    return F.interpolate(image[None, None], call.get("output_size"), call.get("scale_factors"), mode)[0, 0]


def resized_shapes(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """``[N, H, W, C]`` of another height and width.

    Raises:
        BadShape: it is no image, or the size is none.
    """
    source, size = shapes["input"], attrs["size"]
    require(len(source) == 4, "an image [N, H, W, C]", f"shape {source}")
    pair = isinstance(size, tuple) and len(size) == 2 and all(isinstance(n, int) and n >= 1 for n in size)
    require(pair, "a size of two numbers of at least 1", size)
    return ((source[0], *size, source[3]),)


#: Where a window begins is counted in an int of the smallest processors.
_MOST = 2**15


def window_of_rows(low: Tensor, high: Tensor, size: int) -> RowWindow | None:
    """The smallest window that holds what each row of an output is made of; ``None`` where they are too many.

    Args:
        low: the first row of the input, int64 ``[rows of the output]``.
        high: the last one, likewise.
        size: rows of the input.
    """
    rows = len(low)
    common = math.gcd(size, rows)
    stride, per = size // common, rows // common
    steps = [row * stride for row in range(rows)]
    # The window that begins latest, and no later than any row needs.
    padding = max(step - (first + 1) * per + 1 for step, first in zip(steps, low.tolist(), strict=True))
    window = RowWindow(1, stride, padding, per)
    if steps[-1] + abs(padding) + per >= _MOST:
        return None
    reach = max(last - window.first(row) + 1 for row, last in enumerate(high.tolist()))
    return RowWindow(reach, stride, padding, per)
