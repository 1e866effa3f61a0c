"""Fourier transforms as products with constant matrices: linear layers along an axis, convolutions of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qtorch.capture.compositions.known_values import known_value
from qtorch.capture.compositions.table import (
    axis_of,
    concatenated,
    constant,
    permuted,
    reshaped,
    result_shape,
    shape_of,
    sliced,
)

__all__ = ["TRANSFORMS", "Parts", "frames_of", "signal_of", "transformed"]

aten = torch.ops.aten

#: Numbers along an axis that is transformed: the matrix of so many real ones is 1 MiB.
_MOST_TRANSFORMED = 1024


class Parts(NamedTuple):
    """Real and imaginary part of complex numbers, tensors of one shape; None is zero throughout."""

    real: Any
    imaginary: Any

    @property
    def is_whole(self) -> bool:
        """Whether no part is zero throughout."""
        return self.real is not None and self.imaginary is not None

    @property
    def either(self) -> Any:
        """The real part, or the other one where that is zero throughout."""
        return self.imaginary if self.real is None else self.real


class _Transform(NamedTuple):
    """A transform along several axes: ``last`` along the last of them, ``others`` along those before it."""

    last: Callable[..., Tensor]
    others: Callable[..., Tensor]
    last_first: bool = True
    axes: int | None = 1


_FORWARD, _BACK = torch.fft.fft, torch.fft.ifft

#: By operator, without the number of axes in its name.
_BY_STEM = {
    "fft": _Transform(torch.fft.fft, _FORWARD),
    "ifft": _Transform(torch.fft.ifft, _BACK),
    "rfft": _Transform(torch.fft.rfft, _FORWARD),
    "irfft": _Transform(torch.fft.irfft, _BACK, last_first=False),
    "hfft": _Transform(torch.fft.hfft, _FORWARD, last_first=False),
    "ihfft": _Transform(torch.fft.ihfft, _BACK),
}

TRANSFORMS: Mapping[str, _Transform] = {
    f"fft_{stem}{count}": transform._replace(axes={"": 1, "2": 2, "n": None}[count])
    for stem, transform in _BY_STEM.items()
    for count in ("", "2", "n")
}


def transformed(transform: _Transform, z: Parts, given: Mapping[str, Any]) -> Any:
    """What a transform gives, parts or a real tensor; None of the batch's axis, and of very long ones."""
    rank = len(shape_of(z.either))
    if transform.axes == 1:
        dims, sizes = [given["dim"]], [given["n"]]
    else:
        count = len(given["s"] or ()) or rank
        dims = list(given["dim"] if given["dim"] is not None else range(rank - count, rank))
        sizes = list(given["s"] or [None] * len(dims))
    axes = [axis_of(z.either, dim) for dim in dims]
    steps = [(transform.others, axis, size) for axis, size in zip(axes[:-1], sizes[:-1], strict=True)]
    steps.insert(0 if transform.last_first else len(steps), (transform.last, axes[-1], sizes[-1]))
    result: Any = z
    for function, axis, size in steps:
        result = _along(function, result, axis, size, given["norm"])
        if result is None:
            return None
    return result


def _along(function: Callable[..., Tensor], z: Parts, axis: int, size: Any, norm: Any) -> Any:
    """A transform along one axis, a product with the matrix of what it makes of each unit alone."""
    like = z.either
    shape = shape_of(like)
    length = shape[axis]
    if not isinstance(length, int) or max(length, size or 0) > _MOST_TRANSFORMED:
        return None
    one = torch.eye(length, dtype=torch.float64)
    units = [unit for part, unit in zip(z, (one, 1j * one), strict=True) if part is not None]
    images = torch.cat([function(unit, size, norm=norm).to(torch.complex128) for unit in units])
    order = [i for i in range(len(shape)) if i != axis] + [axis]
    both = concatenated([permuted(part, order) for part in z if part is not None], len(shape) - 1)

    def product(matrix: Tensor) -> Any:
        along_last = aten.linear.default(both, constant(like, matrix.T.float().contiguous()))
        return permuted(along_last, [order.index(i) for i in range(len(shape))])

    if not function(one[:1], size, norm=norm).is_complex():
        return product(images.real)
    return Parts(product(images.real), product(images.imag))


def frames_of(x: Any, given: Mapping[str, Any]) -> Any:
    """A short-time Fourier transform, ``[N, T]`` to ``[N, frequencies, frames]``, as convolutions."""
    length, window = given["n_fft"], _window(given)
    if len(shape_of(x)) != 2 or window is None or length > _MOST_TRANSFORMED or given.get("center"):
        return None
    transform = torch.fft.fft if given["onesided"] is False else torch.fft.rfft
    waves = transform(torch.diag(window), norm="ortho" if given["normalized"] else None).T
    image = aten.unsqueeze.default(x, 1)
    step = [given["hop_length"] or length // 4]
    filters = (constant(x, part.float().unsqueeze(1).contiguous()) for part in (waves.real, waves.imag))
    result = Parts(*(aten.conv1d.default(image, each, None, step) for each in filters))
    if given["return_complex"]:
        return result
    return aten.stack.default(list(result), 3)


def signal_of(z: Parts, given: Mapping[str, Any]) -> Any:
    """What :func:`frames_of` was made of: each frame transformed back, windowed, and added where it belongs."""
    length, window, onesided = given["n_fft"], _window(given), given["onesided"] is not False
    shape = shape_of(z.either)
    if len(shape) != 3 or window is None or length > _MOST_TRANSFORMED or not z.is_whole or given["return_complex"]:
        return None
    bins, count, step = shape[1], shape[2], given["hop_length"] or length // 4
    transform = torch.fft.irfft if onesided else torch.fft.ifft
    one, norm = torch.eye(bins, dtype=torch.float64), "ortho" if given["normalized"] else None
    back = torch.cat([transform(unit.to(torch.complex128), length, norm=norm).real for unit in (one, 1j * one)])
    filters = (back * window).float().unsqueeze(1).contiguous()
    spectrum = concatenated(list(z), 1)
    whole = aten.conv_transpose1d.default(spectrum, constant(spectrum, filters), None, [step])
    weight = torch.zeros(shape_of(whole)[-1], dtype=torch.float64)
    for frame in range(count):
        weight[frame * step :][:length] += window**2
    start = length // 2 if given["center"] else 0
    end = start + result_shape(spectrum)[-1]
    if end > len(weight) or float(weight[start:end].min()) < 1e-11:
        return None
    signal = sliced(reshaped(whole, (shape[0], len(weight))), 1, start, end)
    return aten.mul.Tensor(signal, constant(spectrum, (1 / weight[start:end]).float()))


def _window(given: Mapping[str, Any]) -> Tensor | None:
    """A window over a whole frame, in double precision; None where training changes it."""
    length = given["n_fft"]
    size = given["win_length"] or length
    window = torch.ones(size) if given["window"] is None else known_value(given["window"])
    if window is None:
        return None
    left = (length - size) // 2
    return torch.nn.functional.pad(window.double(), (left, length - size - left))
