"""Which rows of the image the windows of convolutions and poolings cover."""

from __future__ import annotations

from collections.abc import Mapping

from qtorch.families.windows import explicit_padding
from qtorch.row.image_rows import ImageRows, RowWindow
from qtorch.row.shape_rule import Attrs, Shape

__all__ = ["rows_of_convolution", "rows_of_pooling"]


def rows_of_convolution(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Weight ``[.., h, w, ..]``; see :data:`qtorch.row.image_rows.RowsRule`."""
    kernel = shapes["weight"][1:3]
    dilations = (attrs["dilation_h"], attrs["dilation_w"])
    window = tuple((size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True))
    return _covered(attrs, shapes["input"], (window[0], window[1]), axis)


def rows_of_pooling(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """See :data:`qtorch.row.image_rows.RowsRule`."""
    return _covered(attrs, shapes["input"], (attrs["filter_h"], attrs["filter_w"]), axis)


def _covered(attrs: Attrs, image: Shape, window: tuple[int, int], axis: int) -> ImageRows:
    stride = (attrs["stride_h"], attrs["stride_w"])
    padding = explicit_padding(attrs["padding"], (image[1], image[2]), window, stride)
    return {"input": RowWindow(window[axis - 1], stride[axis - 1], padding[axis - 1][0])}
