"""Ways to store a network's input: images with channels last, rows of features as images, indices as they are."""

from __future__ import annotations

from export.graph.ir import Value, View

__all__ = ["input_views"]


def input_views(value: Value, input_layout: str) -> list[tuple[tuple[int, ...], View]]:
    """The preferred first: the stored shape, and the view of it.

    Args:
        value: the input, in PyTorch's order of axes.
        input_layout: ``"nchw"`` keeps that order.
    """
    shape = value.shape
    as_is = (shape, View.identity(shape))
    if input_layout == "nchw" or value.of_indices:
        return [as_is]
    if len(shape) == 4:
        n, c, h, w = shape
        return [((n, h, w, c), View(shape, (0, 3, 1, 2))), as_is]
    if len(shape) == 3:
        n, c, length = shape
        return [as_is, ((n, length, c), View(shape, (0, 2, 1))), ((n, 1, length, c), View(shape, (0, 3, 2)))]
    if len(shape) == 2:
        return [as_is, ((shape[0], 1, 1, shape[1]), View(shape, (0, 3)))]
    return [as_is]
