"""Steps that only networks of later seeds draw: calls that write into their input, and windows that are no squares.

Earlier networks keep their draws, so that a seed means the same network as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.random_networks import Shape, Step

if TYPE_CHECKING:
    from tests.random_drawing import Drawing

__all__ = ["FUNCTION_KINDS", "FURTHER_KINDS"]


def _written(statement: str) -> str:
    """Another name for the input, and a statement that writes into what both stand for."""
    return f"{{0}}\n        {statement}"


_ACTIVATIONS = (
    "F.relu_({0})",
    "{0}.relu_()",
    "F.relu({0}, inplace=True)",
    "F.relu6({0}, inplace=True)",
    "F.leaky_relu_({0}, 0.2)",
    "F.hardswish({0}, inplace=True)",
    "{0}.clamp_(min=0)",
)


def _call_in_place(d: Drawing, source: int, shape: Shape) -> Step | None:
    """A result that is its input, or a statement without one."""
    call = d.pick(_ACTIVATIONS)
    return Step(call if d.rng.random() < 0.5 else _written(call.replace("{0}", "{new}")), (source,), shape)


def _module_in_place(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Alone, or behind modules that return a view of their input, or the input itself."""
    act = d.pick(["nn.ReLU(True)", "nn.ReLU6(inplace=True)", "nn.LeakyReLU(0.1, True)", "nn.Hardswish(True)"])
    left = shape
    before = d.pick(["", "", "nn.Identity(), ", "nn.Dropout(0.3), ", "nn.Flatten(), ", "nn.Unflatten(), "])
    if "Flatten()" in before:
        left = (_product(shape),)
    if "Unflatten" in before:
        if len(shape) != 1:
            return None
        channels = d.pick([c for c in range(1, shape[0] + 1) if shape[0] % c == 0])
        left = (channels, shape[0] // channels)
        before = f"nn.Unflatten(1, {left}), "
    return Step("{self}({0})", (source,), left, f"nn.Sequential({before}{act})" if before else act)


def _view_in_place(d: Drawing, source: int, shape: Shape) -> Step | None:
    """A write into a part or another view of the input; the result is the input, or the view."""
    axis = d.integer(0, len(shape) - 1)
    before = ":, " * (axis + 1)
    half = max(1, shape[axis] // 2)
    views = {
        f"{{new}}[{before}:{half}]": (*shape[:axis], half, *shape[axis + 1 :]),
        f"{{new}}[{before}::2]": (*shape[:axis], (shape[axis] + 1) // 2, *shape[axis + 1 :]),
        f"{{new}}.narrow({axis + 1}, 0, {half})": (*shape[:axis], half, *shape[axis + 1 :]),
        f"{{new}}.transpose(1, {len(shape)})": (shape[-1], *shape[1:-1], shape[0]) if len(shape) > 1 else shape,
        "{new}.flatten(1)": (_product(shape),),
    }
    if len(shape) < 3:
        views["{new}.unsqueeze(1)"] = (1, *shape)
    if shape[axis] % 2 == 0:
        views[f"{{new}}.chunk(2, {axis + 1})[1]"] = (*shape[:axis], half, *shape[axis + 1 :])
    view = d.pick(sorted(views))
    write = d.pick(["F.relu_({view})", "{view}.mul_(0.5)", "{view}.add_(1.25)", "F.leaky_relu_({view}, 0.3)"])
    if d.rng.random() < 0.5:
        # Read afterwards as a whole.
        return Step(_written(write.replace("{view}", view)), (source,), shape)
    return Step(write.replace("{view}", view.replace("{new}", "{0}")), (source,), views[view])


def _assigned_in_place(d: Drawing, source: int, shape: Shape) -> Step | None:
    """``x += y`` with a tensor of the same shape, one that broadcasts, or a number; then perhaps more of the input."""
    symbol = d.pick(["+", "+", "-", "*"])
    more = d.pick(["", "", "", "\n        {new} = {new} + {0}"])
    if d.rng.random() < 0.4:
        number = round(float(d.rng.normal()), 3)
        return Step(_written(f"{{new}} {symbol}= {number}") + more, (source,), shape)

    def fits(other: Shape) -> bool:
        return len(other) == len(shape) and all(a in (1, b) for a, b in zip(other, shape, strict=True))

    other = d.partner(source, fits)
    if other is None:
        return None
    name = {"+": "add", "-": "sub", "*": "mul"}[symbol]
    plain = _written(f"{{new}} {symbol}= {{1}}")
    return Step(d.pick([plain, plain, f"{{0}}.{name}_({{1}})"]) + more, (source, other), shape)


def _rectangular_pooling(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Kernel, stride and padding each of its own along either axis."""
    if len(shape) != 3:
        return None
    kernel, stride = ([d.integer(1, 4), d.integer(1, 4)] for _ in range(2))
    padding = [d.integer(0, k // 2) for k in kernel]
    sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(shape[1:], padding, kernel, stride, strict=True)]
    if min(sizes) < 1 or any(n + 2 * p < k for n, p, k in zip(shape[1:], padding, kernel, strict=True)):
        return None
    window = f"{tuple(kernel)}, {tuple(stride)}, {tuple(padding)}"
    call = d.pick(["nn.MaxPool2d", "nn.AvgPool2d", "F.max_pool2d", "F.avg_pool2d"])
    left = (shape[0], *sizes)
    if call.startswith("F"):
        return Step(f"{call}({{0}}, {window})", (source,), left)
    return Step("{self}({0})", (source,), left, f"{call}({window})")


def _strided_convolution(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Ordinary or depthwise, up to three filters for a channel; another stride along either axis."""
    if len(shape) != 3 or min(shape[1:]) < 2:
        return None
    kernel, stride = ([d.integer(1, 4), d.integer(1, 3)] for _ in range(2))
    padding = [d.integer(0, k // 2) for k in kernel]
    sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(shape[1:], padding, kernel, stride, strict=True)]
    if min(sizes) < 1:
        return None
    depthwise = bool(d.rng.random() < 0.6)
    out = shape[0] * d.integer(1, 3) if depthwise else d.integer(1, 6)
    module = (
        f"nn.Conv2d({shape[0]}, {out}, {tuple(kernel)}, stride={tuple(stride)}, padding={tuple(padding)}, "
        f"groups={shape[0] if depthwise else 1}, bias={d.pick([True, True, False])})"
    )
    return Step("{self}({0})", (source,), (out, *sizes), module)


def _product(shape: Shape) -> int:
    found = 1
    for size in shape:
        found *= size
    return found


FURTHER_KINDS: list[Any] = [
    _call_in_place,
    *[_module_in_place] * 2,
    _view_in_place,
    *[_assigned_in_place] * 2,
    *[_rectangular_pooling] * 5,
    *[_strided_convolution] * 6,
]

_FUNCTIONS = (
    "F.gelu({0})", "F.gelu({0}, approximate='tanh')", "F.silu({0})", "F.mish({0})", "F.elu({0}, 0.7)", "F.selu({0})",
    "F.softplus({0})", "F.softsign({0})", "F.logsigmoid({0})", "F.hardsigmoid({0})", "F.hardtanh({0}, -0.3, 1.7)",
    "{0}.clamp(max=0.4)", "F.threshold({0}, 0.1, -0.2)", "F.softshrink({0}, 0.2)", "{0}.sin()", "-{0}", "{0}.sign()",
    "torch.erf({0})", "torch.exp({0}.clamp(max=3.0))", "({0} * {0} + 0.1).log()", "{0} ** 2", "({0} * {0}).sqrt()",
    "torch.reciprocal({0} * {0} + 0.5)", "1.5 - torch.sigmoid({0} * 0.5 + 0.25).log() * 2", "F.relu({0}.cos())",
)  # fmt: skip


def _function(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Of each number alone, or several one behind the other."""
    call = d.pick(_FUNCTIONS)
    if d.rng.random() < 0.4:
        call = d.pick(_FUNCTIONS).replace("{0}", f"({call})")
    return Step(call, (source,), shape)


#: Drawn from a later seed on still: functions that become tables of codes.
FUNCTION_KINDS: list[Any] = [_function] * 12
