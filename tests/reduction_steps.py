"""Steps that only networks of later seeds draw: reductions over any axes, and norms by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.random_networks import Shape, Step

if TYPE_CHECKING:
    from tests.random_drawing import Drawing

__all__ = ["REDUCTION_KINDS"]


def _axes(d: Drawing, shape: Shape) -> list[int]:
    """Some of a tensor's axes, the batch's not counted."""
    return sorted({d.integer(0, len(shape) - 1) for _ in range(d.integer(1, 3))})


def _left(shape: Shape, axes: list[int], keep: bool) -> Shape:
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)


def _reduction(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Over several axes."""
    axes = _axes(d, shape)
    keep = bool(d.rng.random() < 0.5) or len(axes) == len(shape)
    call = d.pick(["amax", "amax", "amin", "amin", "sum", "var", "std"])
    count = 1
    for axis in axes:
        count *= shape[axis]
    if call in ("var", "std") and count < 2:
        return None
    arguments = f"{tuple(a + 1 for a in axes)}, keepdim={keep}"
    return Step(f"{{0}}.{call}({arguments})", (source,), _left(shape, axes, keep))


def _along_one(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Along one axis, by calls that take no more."""
    axis = d.integer(0, len(shape) - 1)
    keep = bool(d.rng.random() < 0.5) or len(shape) == 1
    call = d.pick(["max({axis}, {keep})[0]", "min({axis}, {keep})[0]", "max({axis}, keepdim={keep}).values",
                   "norm(dim={axis}, keepdim={keep})", "norm(p=1, dim={axis}, keepdim={keep})",
                   "norm(p=float('inf'), dim={axis}, keepdim={keep})"])  # fmt: skip
    return Step("{0}." + call.format(axis=axis + 1, keep=keep), (source,), _left(shape, [axis], keep))


def _unit(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Vectors along one axis or several, each divided by its length."""
    axes = tuple(a + 1 for a in _axes(d, shape))
    dim = axes[0] if len(axes) == 1 else axes
    more = d.pick(["", "", "", ", p=1", ", p=float('inf')", ", eps=0.3"])
    return Step(f"F.normalize({{0}}, dim={dim}{more})", (source,), shape)


def _similarity(d: Drawing, source: int, shape: Shape) -> Step | None:
    other = d.partner(source, lambda found: found == shape)
    if other is None or len(shape) < 2:
        return None
    axis = d.integer(0, len(shape) - 1)
    return Step(f"F.cosine_similarity({{0}}, {{1}}, {axis + 1})", (source, other), _left(shape, [axis], keep=False))


#: Of {0} alone, and of {0} and {1}.
_CHOICES = (
    "torch.where({0} > 0.2, {0}, {0} * 0.1)", "torch.where({0} >= 0, 1.0, -1.0)", "{0} * ({0} > 0)",
    "({0} < 0.3).float() * {0}", "({0} != 0).float()", "torch.where({0}.abs() < 1, {0} ** 2 * 0.5, {0}.abs() - 0.5)",
    "{0}.masked_fill(({0} > 1) | ({0} < -1), 0.5)", "torch.where(({0} > -1) & ~({0} >= 1), {0}, torch.zeros_like({0}))",
    "({0} > 0).{over}({axis}, keepdim=True).float() * {0}",
    "torch.where({0} > 0, {0}, torch.exp({0}.clamp(max=3)) - 1)",
)  # fmt: skip
_CHOICES_OF_TWO = (
    "torch.where({0} > {1}, {0}, {1})", "torch.where({0} > {1}, {1}, {0} * 0.5)", "torch.where({1} > 0.1, {0}, {1})",
    "torch.where(({0} > 0) & ({1} > 0), {0}, 0.0)", "{0} * ({1} > 0)", "{0} + ({1} <= 0)",
    "{0}.masked_fill({1} > 0, 2)",
)  # fmt: skip


def _choice(d: Drawing, source: int, shape: Shape) -> Step | None:
    """By what a condition says of one tensor, or of two."""
    other = d.partner(source, lambda found: found == shape)
    if other is not None and d.rng.random() < 0.5:
        return Step(d.pick(_CHOICES_OF_TWO), (source, other), shape)
    call = d.pick(_CHOICES).replace("{over}", d.pick(["any", "all"]))
    return Step(call.replace("{axis}", str(d.integer(1, len(shape)))), (source,), shape)


def _running_sum(d: Drawing, source: int, shape: Shape) -> Step | None:
    axis = d.integer(0, len(shape) - 1)
    if shape[axis] > 1 and d.rng.random() < 0.3:
        left = (*shape[:axis], shape[axis] - 1, *shape[axis + 1 :])
        return Step(f"{{0}}.diff(dim={axis + 1})", (source,), left)
    return Step(f"{{0}}.cumsum({axis + 1})", (source,), shape)


REDUCTION_KINDS: list[Any] = [
    *[_reduction] * 8,
    *[_along_one] * 6,
    *[_unit] * 3,
    _similarity,
    *[_choice] * 8,
    *[_running_sum] * 2,
]
