"""Which rows of the image the windows of convolutions and poolings cover."""

from __future__ import annotations

from collections.abc import Mapping

from qtorch.families.windows import explicit_padding
from qtorch.row.image_rows import ImageRows, RowWindow
from qtorch.row.shape_rule import Attrs, Shape

__all__ = ["rows_of_convolution", "rows_of_pooling", "rows_of_scattering"]


def rows_of_convolution(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """Weight ``[.., h, w, ..]``; see :data:`qtorch.row.image_rows.RowsRule`."""
    kernel = shapes["weight"][1:3]
    dilations = (attrs["dilation_h"], attrs["dilation_w"])
    window = tuple((size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True))
    return _covered(attrs, shapes, (window[0], window[1]), axis)


def rows_of_pooling(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """See :data:`qtorch.row.image_rows.RowsRule`."""
    return _covered(attrs, shapes, (attrs["filter_h"], attrs["filter_w"]), axis)


def _covered(attrs: Attrs, shapes: Mapping[str, Shape], window: tuple[int, int], axis: int) -> ImageRows:
    image, output = shapes["input"], shapes["output"]
    stride = (attrs["stride_h"], attrs["stride_w"])
    padding = explicit_padding(attrs["padding"], (image[1], image[2]), window, stride)
    rows = RowWindow(window[axis - 1], stride[axis - 1], padding[axis - 1][0])
    # What comes behind the last column, kernels see from the image's own width.
    columns = (padding[2 - axis][0], 0)
    one = ((0, 0), columns) if axis == 1 else (columns, (0, 0))
    inside, missing = ("in_h", "padding_top") if axis == 1 else ("in_w", "padding_left")
    numbers = {inside: "{to} - {from}", missing: "{from} - {top}"} if rows.leaves(output[axis], image[axis]) else {}
    return ImageRows({"input": rows}, {"padding": one}, numbers)


def rows_of_scattering(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows:
    """Weight ``[.., h, w, ..]`` of a convolution that is transposed; see :data:`qtorch.row.image_rows.RowsRule`.

    Row ``r`` gathers the input's rows whose windows reach it: the last ones, ``window / stride`` of them, that begin
    at ``r + cut`` or before.
    """
    output, windows = shapes["output"], shapes["weight"][1:3]
    strides = (attrs["stride_h"], attrs["stride_w"])
    cuts = explicit_padding(attrs["padding"], (output[1], output[2]), (windows[0], windows[1]), strides)
    window, stride, cut = windows[axis - 1], strides[axis - 1], cuts[axis - 1][0]
    reaching = -(-window // stride)
    rows = RowWindow(reaching, 1, (reaching - 1) * stride - cut, stride)
    columns = (cuts[2 - axis][0], 0)
    one = {
        "padding": ((0, 0), columns) if axis == 1 else (columns, (0, 0)),
        "output_shape": (*output[:axis], 1, *output[axis + 1 :]),
    }
    inside, before = ("in_h", "cut_top") if axis == 1 else ("in_w", "cut_left")
    above = "{step}" + (f" + {cut}" if cut else "")
    return ImageRows({"input": rows}, one, {inside: "{to} - {from}", before: f"{above} - {{from}} * {stride}"})
