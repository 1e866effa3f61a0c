"""Steps that networks of the latest seeds draw: remainders, running products, places, masks of what comes in."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from tests.random_networks import Shape, Step

if TYPE_CHECKING:
    from tests.random_drawing import Drawing

__all__ = ["RARER_KINDS"]

#: Of each number, and of two.
_OF_ONE = (
    "{0}.round()", "{0}.frac()", "{0} % 0.7", "torch.fmod({0}, 0.6)", "{0} // 0.5", "{0}.floor()", "({0} * 3).trunc()",
    "torch.remainder({0}, -0.9)", "torch.nan_to_num({0}, 0.5)", "torch.logaddexp({0}, {0} * 0.5)", "{0}.ceil() * 0.5",
)  # fmt: skip
_OF_TWO = (
    "torch.hypot({0}, {1})", "torch.logaddexp({0}, {1})", "{0}.nan_to_num() + {1}.frac()", "{0} * {1}.round()",
)  # fmt: skip


def _of_each(d: Drawing, source: int, shape: Shape) -> Step | None:
    other = d.partner(source, lambda found: found == shape)
    if other is not None and d.rng.random() < 0.4:
        return Step(d.pick(_OF_TWO), (source, other), shape)
    return Step(d.pick(_OF_ONE), (source,), shape)


def _running(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Up to each place of an axis."""
    axis = d.integer(1, len(shape))
    call = d.pick(["{0}.tanh().cumprod(%d)", "{0}.cummax(%d)[0]", "torch.cummin({0}, %d).values"])
    return Step(call % axis, (source,), shape)


def _along_one(d: Drawing, source: int, shape: Shape) -> Step | None:
    axis, keep = d.integer(0, len(shape) - 1), bool(d.rng.random() < 0.5) or len(shape) == 1
    left = tuple(1 if i == axis else n for i, n in enumerate(shape) if keep or i != axis)
    call = d.pick(["{0}.tanh().prod(%d, keepdim=%s)", "{0}.nansum(%d, keepdim=%s)"])
    return Step(call % (axis + 1, keep), (source,), left)


def _places(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Places that are known, others for each line or the same for all."""
    axis, count = d.integer(0, len(shape) - 1), d.integer(1, 4)
    left = (*shape[:axis], count, *shape[axis + 1 :])
    index = left if prod(left) <= 40 else tuple(count if i == axis else 1 for i in range(len(shape)))
    places = d.rng.integers(0, shape[axis], prod(index)).tolist()
    tensor = f"torch.tensor({places}).view(1, {', '.join(map(str, index))})"
    return Step(f"torch.take_along_dim({{0}}, {tensor}, {axis + 1})", (source,), left)


def _product(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Of three tensors, and over axes."""
    if len(shape) != 2:
        return None
    rows, columns = shape
    other = d.partner(source, lambda found: len(found) == 2 and found[1] == columns)
    assert other is not None
    theirs, layer = d._shape(other)[0], f"nn.Linear({columns}, 3)"
    return d.pick(
        [
            Step("torch.einsum('bij,bkj,bkl->bil', {0}, {1}, {1})", (source, other), shape),
            Step("torch.einsum('bij,bkj,bij->bik', {0}, {1}, {0})", (source, other), (rows, theirs)),
            Step("torch.baddbmm({0}[:, :, :1], {0}, {1}.mT, beta=0.5, alpha=0.3)", (source, other), (rows, theirs)),
            Step("torch.tensordot({0}, {self}.weight, dims=([2], [1]))", (source,), (rows, 3), layer),
            Step("{self}({0}, {0})", (source,), (rows, 2), f"nn.Bilinear({columns}, {columns}, 2)"),
        ]
    )


def _masked(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Attention to those places that what comes in does not forbid."""
    if len(shape) != 2 or shape[0] < 2:
        return None
    scores = "({0} @ {0}.mT)"
    call = d.pick(
        [
            f"{scores}.masked_fill((({{0}}[:, :, 0] - {{0}}[:, :1, 0]) > 0.3)[:, None], -1e9).softmax(-1)",
            f"({scores} + ({{0}}[:, None, :, 0] > 50).float() * -1e4).softmax(-1)",
            f"torch.where({{0}}[:, None, :, 0] > 60, torch.full_like({scores}, -torch.inf), {scores}).softmax(-1)",
        ]
    )
    return Step(call, (source,), (shape[0], shape[0]))


RARER_KINDS: list[Any] = [
    *[_of_each] * 10,
    *[_running] * 4,
    *[_along_one] * 3,
    *[_places] * 4,
    *[_product] * 8,
    *[_masked] * 5,
]
