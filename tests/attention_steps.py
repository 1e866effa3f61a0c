"""Steps that networks of a later seed on draw: products of two activations, attention and what stands around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.random_networks import Shape, Step

if TYPE_CHECKING:
    from tests.random_drawing import Drawing

__all__ = ["ATTENTION_KINDS"]


def _product(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Of matrices, either way round; axes in front may repeat."""
    if len(shape) < 2:
        return None
    (*front, rows, length), turned = shape, bool(d.rng.random() < 0.5)
    at = len(shape) - (1 if turned else 2)

    def fits(other: Shape) -> bool:
        alike = len(other) == len(shape) and other[at] == length
        return alike and all(a == b or 1 in (a, b) for a, b in zip(front, other[:-2], strict=True))

    other = d.partner(source, fits)
    if other is None:
        # The product with itself always fits.
        call = d.pick(["{0} @ {0}.mT", "{0}.transpose(-1, -2) @ {0}"])
        size = rows if call.startswith("{0} @") else length
        return Step(call, (source,), (*front, size, size))
    theirs = d._shape(other)
    both = tuple(max(a, b) for a, b in zip(front, theirs[:-2], strict=True))
    call = "{0} @ {1}.mT" if turned else d.pick(["{0} @ {1}", "torch.matmul({0}, {1})"])
    return Step(call, (source, other), (*both, rows, theirs[-2] if turned else theirs[-1]))


def _sum_of_products(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 2:
        return None
    other = d.partner(source, lambda other: len(other) == 2 and other[1] == shape[1])
    assert other is not None
    rows, theirs = shape[0], d._shape(other)[0]
    equation, left = d.pick([("bij,bkj->bik", (rows, theirs)), ("bij,bkj->bki", (theirs, rows))])
    return Step(f"torch.einsum('{equation}', {{0}}, {{1}})", (source, other), left)


def _heads_apart(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 2:
        return None
    heads = d.pick([n for n in range(1, shape[1] + 1) if shape[1] % n == 0])
    width = shape[1] // heads
    call = f"{{0}}.view({{0}}.shape[0], {shape[0]}, {heads}, {width}).transpose(1, 2)"
    return Step(call, (source,), (heads, shape[0], width))


def _heads_together(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 3:
        return None
    return Step("{0}.transpose(1, 2).flatten(2)", (source,), (shape[1], shape[0] * shape[2]))


def _mask(d: Drawing, rows: int, columns: int) -> str:
    """Of which every row keeps a place."""
    return f"torch.ones({rows}, {columns}, dtype=torch.bool).tril({d.integer(0, 2)})"


def _dot_product_attention(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Of a tensor to itself, or to another of as many heads."""
    if len(shape) not in (2, 3):
        return None

    def fits(other: Shape) -> bool:
        return len(other) == len(shape) and other[:-2] == shape[:-2] and other[-1] == shape[-1]

    other = d.partner(source, fits)
    assert other is not None
    length = d._shape(other)[-2]
    mask = _mask(d, shape[-2], length)
    more = d.pick([
        "", "", ", scale=0.4", ", is_causal=True", f", attn_mask={mask}",
        f", attn_mask=torch.zeros({shape[-2]}, {length}).masked_fill(~{mask}, -torch.inf)",
        f", attn_mask=torch.arange({length})[None] * -0.3",
    ])  # fmt: skip
    return Step(f"F.scaled_dot_product_attention({{0}}, {{1}}, {{1}}{more})", (source, other), shape)


def _attention_layer(d: Drawing, source: int, shape: Shape) -> Step | None:
    if len(shape) != 2:
        return None
    other = d.partner(source, lambda other: len(other) == 2 and other[1] == shape[1])
    assert other is not None
    heads = d.pick([n for n in range(1, shape[1] + 1) if shape[1] % n == 0])
    module = f"nn.MultiheadAttention({shape[1]}, {heads}, bias={d.pick([True, False])}, batch_first=True)"
    more = d.pick(["", "", f", attn_mask=~{_mask(d, shape[0], d._shape(other)[0])}"])
    if d.rng.random() < 0.3:
        left = (shape[0], d._shape(other)[0])
        return Step(f"{{self}}({{0}}, {{1}}, {{1}}{more})[1]", (source, other), left, module)
    return Step(f"{{self}}({{0}}, {{1}}, {{1}}, need_weights=False{more})[0]", (source, other), shape, module)


def _scores(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Factors and masks in front of a softmax."""
    if len(shape) < 2:
        return None
    scaled = d.pick(["{0}", "({0} * 0.25)", "({0} / 3)", "({0} * 1.7)"])
    mask = _mask(d, *shape[-2:])
    masked = d.pick(["", f".masked_fill(~{mask}, -torch.inf)", f".masked_fill(~{mask}, -1e9)"])
    return Step(f"{scaled}{masked}{d.pick(['', '.mul(0.5)'])}.softmax(-1)", (source,), shape)


#: Drawn from a later seed on still.
ATTENTION_KINDS: list[Any] = [
    *[_product] * 6,
    *[_sum_of_products] * 2,
    *[_heads_apart] * 3,
    *[_heads_together] * 2,
    *[_dot_product_attention] * 4,
    *[_attention_layer] * 4,
    *[_scores] * 3,
]
