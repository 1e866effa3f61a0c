"""Remedies for calls on images: other paddings than zeros, three dimensions, shuffled pixels, windows."""

from __future__ import annotations

import math
from collections.abc import Callable

from qtorch.remedies.asked import Asked, none, same

__all__ = [
    "adaptive_3d",
    "channel_shuffle",
    "padded",
    "pooled_3d",
    "shuffled_down",
    "shuffled_up",
    "windows",
]


def padded(mode: str, pad: tuple[int, ...], value: float | None, shape: tuple[int, ...]) -> str:
    """``F.pad`` with something else than zeros.

    Args:
        mode: of ``F.pad``.
        pad: before and behind along each axis, the last one first.
        value: of the constant.
        shape: of what is padded.
    """
    if mode == "constant" and not math.isfinite(value or 0.0):
        return none("pad with a number that the tensor may have; a max pooling's own padding stands for nothing")
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


def shuffled_up(ask: Asked) -> str:
    """``pixel_shuffle``."""
    r = ask.get("upscale_factor", 1, 2)
    rows = f"x.unflatten(1, (-1, {r})).permute(0, 1, 3, 4, 2).flatten(3)"
    return same(f"{rows}.unflatten(1, (-1, {r})).permute(0, 1, 3, 2, 4).flatten(2, 3)")


def shuffled_down(ask: Asked) -> str:
    """``pixel_unshuffle``."""
    r = ask.get("downscale_factor", 1, 2)
    rows = f"x.unflatten(2, (-1, {r})).permute(0, 1, 3, 2, 4).flatten(1, 2)"
    return same(f"{rows}.unflatten(3, (-1, {r})).permute(0, 1, 4, 2, 3).flatten(1, 2)")


def channel_shuffle(ask: Asked) -> str:
    """``channel_shuffle``."""
    return same(f"x.unflatten(1, ({ask.get('groups', 1, 2)}, -1)).transpose(1, 2).flatten(1, 2)")


def pooled_3d(kind: str) -> Callable[[Asked], str]:
    """``avg_pool3d`` and ``max_pool3d``, by the pooling ``kind`` over two axes and one."""

    def remedy(ask: Asked) -> str:
        windows, shape = ask.pair("kernel_size", 1, 2), ask.shape
        strides = ask.pair("stride", 2, windows)
        plain = set(ask.pair("padding", 3, 0)) == {0} and strides == windows and len(shape) == 5
        if not plain or ask.get("ceil_mode", 4, False):
            return none("nothing has three dimensions; without padding and overlap it could be written in two")
        depth, height, width = windows * (3 // len(windows))
        image = f"F.{kind}(x.flatten(1, 2), ({height}, {width})).unflatten(1, ({shape[1]}, {shape[2]})).flatten(3)"
        return same(f"F.{kind}({image}, ({depth}, 1)).unflatten(3, {(shape[3] // height, shape[4] // width)})")

    return remedy


def adaptive_3d(kind: str) -> Callable[[Asked], str]:
    """``adaptive_avg_pool3d`` and ``adaptive_max_pool3d``: to one value per channel."""

    def remedy(ask: Asked) -> str:
        if set(ask.pair("output_size", 1, 1)) != {1} or len(ask.shape) != 5:
            return none("nothing has three dimensions; to one value per channel it could be written")
        one = "x.mean((2, 3, 4), keepdim=True)" if kind == "avg" else ""
        return same(one or "F.adaptive_max_pool2d(x.flatten(3), 1).unsqueeze(-1)")

    return remedy


def windows(ask: Asked) -> str:
    """``unfold``."""
    size = ask.pair("kernel_size", 1, 1)
    kernel = size * (2 // len(size))
    others = [ask.pair(name, at, default) for name, at, default in (("dilation", 2, 1), ("padding", 3, 0))]
    if len(ask.shape) != 4 or {*others[0]} != {1} or {*others[1]} != {0}:
        return none("without padding and dilation it is a convolution whose weights are zeros and a one each")
    channels, stride = ask.shape[1], ask.pair("stride", 4, 1)
    count = channels * kernel[0] * kernel[1]
    weight = f"torch.eye({count}).reshape({count}, {channels}, {kernel[0]}, {kernel[1]})"
    return same(f"F.conv2d(x, weight, stride={stride}).flatten(2)", f"weight being a buffer, {weight}")
