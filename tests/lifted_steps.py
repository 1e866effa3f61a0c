"""Steps of random networks that no kernel does as they stand: uneven windows, volumes, resizings, known places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.random_networks import Shape, Step

if TYPE_CHECKING:
    from tests.random_drawing import Drawing

__all__ = ["LIFTED_KINDS"]


def _adaptive(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) not in (2, 3):
        return None
    axes = len(shape) - 1
    size = tuple(d.integer(1, n + 2) for n in shape[1:])
    name = d.pick(["avg", "max"])
    if d.rng.random() < 0.5:
        module = f"nn.Adaptive{name.capitalize()}Pool{axes}d({size})"
        return Step("{self}({0})", (source,), (shape[0], *size), module)
    return Step(f"F.adaptive_{name}_pool{axes}d({{0}}, {size})", (source,), (shape[0], *size))


def _windows(sizes: Shape, kernel: list[int], stride: list[int], padding: list[int], more: bool) -> list[int]:
    """How many windows PyTorch has; one more at the end that begins inside of what is padded before, with ``more``."""
    found = []
    for n, k, s, p in zip(sizes, kernel, stride, padding, strict=True):
        count = (n + 2 * p - k + (s - 1 if more else 0)) // s + 1
        found.append(count - 1 if more and (count - 1) * s >= n + p else count)
    return found


def _average(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) not in (2, 3):
        return None
    axes, more, counts = len(shape) - 1, bool(d.rng.random() < 0.5), bool(d.rng.random() < 0.5)
    kernel, stride = ([d.integer(1, high) for _ in range(axes)] for high in (4, 3))
    padding = [d.integer(0, k // 2) for k in kernel]
    sizes = _windows(shape[1:], kernel, stride, padding, more)
    if min(sizes) < 1:
        return None
    divisor = f", divisor_override={d.integer(1, 5)}" if axes == 2 and d.rng.random() < 0.3 else ""
    window = f"{tuple(kernel)}, {tuple(stride)}, {tuple(padding)}, {more}, {counts}{divisor}"
    return Step("{self}({0})", (source,), (shape[0], *sizes), f"nn.AvgPool{axes}d({window})")


def _holes(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) not in (2, 3):
        return None
    axes = len(shape) - 1
    kernel, stride, dilation = ([d.integer(1, high) for _ in range(axes)] for high in (3, 2, 3))
    padding = [d.integer(0, k // 2) for k in kernel]
    wide = [(k - 1) * h + 1 for k, h in zip(kernel, dilation, strict=True)]
    sizes = _windows(shape[1:], wide, stride, padding, False)
    if min(sizes) < 1:
        return None
    window = f"{tuple(kernel)}, {tuple(stride)}, {tuple(padding)}, {tuple(dilation)}"
    return Step("{self}({0})", (source,), (shape[0], *sizes), f"nn.MaxPool{axes}d({window})")


def _interpolation(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 3:
        return None
    mode = d.pick(["bicubic", "bilinear", "nearest", "nearest-exact", "area"])
    options = f", align_corners={bool(d.rng.random() < 0.5)}" if mode in ("bicubic", "bilinear") else ""
    if "False" in options and d.rng.random() < 0.4:
        options += ", antialias=True"
    if mode != "area" and d.rng.random() < 0.5:
        factor = round(float(d.rng.uniform(0.6, 2.2)), 2)
        size = tuple(int(n * factor) for n in shape[1:])
        given = f"scale_factor={factor}"
    else:
        size = (d.integer(1, 12), d.integer(1, 12))
        given = f"size={size}"
    if min(size) < 1:
        return None
    return Step(f"F.interpolate({{0}}, {given}, mode='{mode}'{options})", (source,), (shape[0], *size))


def _transposed(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) not in (2, 3):
        return None
    axes = len(shape) - 1
    kernel, stride, dilation = ([d.integer(1, high) for _ in range(axes)] for high in (3, 3, 2))
    groups = d.pick([g for g in range(1, shape[0] + 1) if shape[0] % g == 0])
    out = groups * d.integer(1, 2)
    padding = [d.integer(0, (k - 1) * h) for k, h in zip(kernel, dilation, strict=True)]
    extra = [d.integer(0, max(s, h) - 1) for s, h in zip(stride, dilation, strict=True)]
    each = zip(shape[1:], kernel, stride, padding, extra, dilation, strict=True)
    sizes = [(n - 1) * s - 2 * p + (k - 1) * h + 1 + e for n, k, s, p, e, h in each]
    if min(sizes) < 1:
        return None
    given = f"{tuple(kernel)}, {tuple(stride)}, {tuple(padding)}, {tuple(extra)}, {groups}, dilation={tuple(dilation)}"
    module = f"nn.ConvTranspose{axes}d({shape[0]}, {out}, {given})"
    return Step("{self}({0})", (source,), (out, *sizes), module)


def _volume(d: Drawing, source: int, shape: Shape) -> Step | None:
    """An image whose channels are the slices of a volume, and what is computed of it as an image again."""
    if len(shape) != 3 or min(shape) < 2 or shape[0] > 8:
        return None
    depth = d.pick([n for n in range(2, shape[0] + 1) if shape[0] % n == 0])
    channels, sizes = shape[0] // depth, (depth, *shape[1:])
    kernel = [d.integer(1, min(3, n)) for n in sizes]
    stride, padding = [d.integer(1, 2) for _ in sizes], [d.integer(0, k // 2) for k in kernel]
    left = _windows(sizes, kernel, stride, padding, False)
    window = f"{tuple(kernel)}, {tuple(stride)}, {tuple(padding)}"
    kind = d.pick(["convolution", "convolution", "norm", "AvgPool3d", "MaxPool3d"])
    if kind in ("convolution", "norm"):
        groups, out = d.pick([1, 1, channels]), channels * d.integer(1, 2)
        module = f"nn.Conv3d({channels}, {out}, {window}, groups={groups})"
        if kind == "norm":
            module = f"nn.Sequential({module}, nn.BatchNorm3d({out}), nn.ReLU())"
        channels = out
    else:
        module = f"nn.{kind}({window})"
    result = (channels * left[0], *left[1:])
    return Step(
        f"{{self}}({{0}}.unflatten(1, ({shape[0] // depth}, {depth}))).flatten(1, 2)", (source,), result, module
    )


def _places(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Of one axis, read."""
    axis = d.integer(0, len(shape) - 1)
    places = [d.integer(-shape[axis], shape[axis] - 1) for _ in range(d.integer(1, 6))]
    before = ":, " * (axis + 1)
    left = (*shape[:axis], len(places), *shape[axis + 1 :])
    chosen = f"torch.tensor({[place % shape[axis] for place in places]})"
    calls = [f"{{0}}[{before}{places}]", f"{{0}}.index_select({axis + 1}, {chosen})"]
    return Step(d.pick(calls), (source,), left)


def _written_places(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Every so many elements of an axis, or some that a list names, written or added to."""
    axis = d.integer(0, len(shape) - 1)
    before = ":, " * (axis + 1)
    if d.rng.random() < 0.6:
        start, step = d.integer(0, shape[axis] - 1), d.integer(2, 3)
        index, count = f"{start}::{step}", len(range(start, shape[axis], step))
    else:
        places = sorted({d.integer(0, shape[axis] - 1) for _ in range(3)})
        index, count = str(places), len(places)
    value = d.pick([f"{{0}}.flip({axis + 1}).narrow({axis + 1}, 0, {count})", "0.5", f"{{new}}[{before}{index}] * 2"])
    return Step(f"{{0}}.clone()\n        {{new}}[{before}{index}] = {value}", (source,), shape)


def _windows_as_axis(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 3:
        return None
    kernel, stride = [d.integer(1, min(3, n)) for n in shape[1:]], [d.integer(1, 3) for _ in range(2)]
    if d.rng.random() < 0.4:
        stride = kernel
    padding = [d.integer(0, k // 2) for k in kernel]
    left = _windows(shape[1:], kernel, stride, padding, False)
    given = f"{tuple(kernel)}, 1, {tuple(padding)}, {tuple(stride)}"
    rows = shape[0] * kernel[0] * kernel[1]
    if d.rng.random() < 0.5:
        return Step(f"F.unfold({{0}}, {given})", (source,), (rows, left[0] * left[1]))
    return Step(f"F.fold(F.unfold({{0}}, {given}), {shape[1:]}, {given})", (source,), shape)


def _masks(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) < 2:
        return None
    return Step(d.pick(["{0}.tril()", "{0}.triu()", "{0}.tril(-1)", "{0}.triu(1)"]), (source,), shape)


#: Drawn from a later seed on still.
LIFTED_KINDS: list[Any] = [
    *[_adaptive] * 3,
    *[_average] * 3,
    *[_holes] * 2,
    *[_interpolation] * 3,
    *[_transposed] * 3,
    *[_volume] * 3,
    *[_places] * 2,
    *[_written_places] * 3,
    *[_windows_as_axis] * 2,
    _masks,
]
