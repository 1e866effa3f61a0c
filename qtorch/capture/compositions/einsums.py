"""Einstein sums, as sums, permutes, elementwise products and products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from qtorch.capture.compositions.table import is_constant, permuted, reshaped, shape_of

__all__ = ["einsum", "in_pairs", "labels_of"]

aten = torch.ops.aten


def einsum(equation: str, operands: Sequence[Any]) -> Any:
    """``equation`` of one or two tensors; None where an axis is named twice in one, or samples are added up.

    A product of matrices is left to whoever knows whether one is a constant: ``[..., m, k]`` times ``[..., k, n]``.
    """
    terms, result = labels_of(equation, [len(shape_of(x)) for x in operands])
    if any(len(set(term)) < len(term) for term in (*terms, result)):
        return None
    if any(not set(term) <= set("".join(terms)) for term in terms) or not set(result) <= set("".join(terms)):
        return None
    xs = list(operands)
    for i, term in enumerate(terms):
        elsewhere = set(result).union(*(other for j, other in enumerate(terms) if j != i))
        alone = [axis for axis, label in enumerate(term) if label not in elsewhere]
        if any(not isinstance(shape_of(xs[i])[axis], int) for axis in alone):
            return None
        if alone:
            xs[i] = aten.sum.dim_IntList(xs[i], alone)
            terms[i] = "".join(label for label in term if label in elsewhere)
    if len(xs) == 1:
        return permuted(xs[0], [terms[0].index(label) for label in result])
    if is_constant(xs[0]):
        xs, terms = xs[::-1], terms[::-1]
    inner = [label for label in terms[0] if label in terms[1] and label not in result]
    if not inner:
        first, second = (_aligned(x, term, result) for x, term in zip(xs, terms, strict=True))
        return aten.mul.Tensor(first, second)
    return _product(xs, terms, result, inner)


def in_pairs(equation: str, operands: Sequence[Any]) -> Any:
    """An Einstein sum of more tensors than two, the first two first; None where one of its parts has no form."""
    terms, result = labels_of(equation, [len(shape_of(x)) for x in operands])
    xs = list(operands)
    while len(xs) > 2:
        later = set(result).union(*terms[2:])
        kept = "".join(label for label in dict.fromkeys(terms[0] + terms[1]) if label in later)
        product = einsum(f"{terms[0]},{terms[1]}->{kept}", xs[:2])
        if product is None:
            return None
        xs, terms = [product, *xs[2:]], [kept, *terms[2:]]
    return einsum(f"{','.join(terms)}->{result}", xs)


def labels_of(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The labels of each operand and of the result, a letter per axis: an ellipsis becomes capital ones of its own."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    spare = [letter for letter in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if letter not in equation]
    most = max(rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True))
    dots = "".join(spare[:most])
    named = [
        term.replace("...", dots[most - (rank - len(term.replace("...", ""))) :])
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if arrow:
        return named, right.replace("...", dots)
    once = sorted(label for label in set(left) if label.isalpha() and left.count(label) == 1)
    return named, (dots if "..." in left else "") + "".join(once)


def _aligned(x: Any, term: str, result: str) -> Any:
    """A tensor with its axes in the result's order, of size 1 where it has none."""
    order = [term.index(label) for label in result if label in term]
    shape = shape_of(x)
    missing_in_front = min((i for i, label in enumerate(result) if label in term), default=len(result))
    sizes = [shape[term.index(label)] if label in term else 1 for label in result[missing_in_front:]]
    return reshaped(permuted(x, order), sizes)


def _product(xs: Sequence[Any], terms: Sequence[str], result: str, inner: Sequence[str]) -> Any:
    """Products of matrices, for each place along the axes that both tensors and the result have."""
    sizes = {
        label: size for x, term in zip(xs, terms, strict=True) for label, size in zip(term, shape_of(x), strict=True)
    }
    if any(not isinstance(sizes[label], int) for label in inner):
        return None
    both = [label for label in result if label in terms[0] and label in terms[1]]
    rows, columns = ([label for label in result if label in term and label not in both] for term in terms)
    # Samples that the second tensor has not are in front, and have all its matrices each.
    samples = [label for label in rows if both and not isinstance(sizes[label], int)]
    rows = [label for label in rows if label not in samples]
    # A matrix that is the same for all is multiplied from the right, whatever the axes of the other are.
    places: list[Any] = [both] if samples else both
    first = _merged(xs[0], terms[0], sizes, [*samples, *places, *([rows] if both else rows), inner])
    second = _merged(xs[1], terms[1], sizes, [*places, inner, columns])
    if first is None or second is None:
        return None
    product = aten.matmul.default(first, second)
    order = [*samples, *both, *rows, *columns]
    return permuted(reshaped(product, [sizes[label] for label in order]), [order.index(label) for label in result])


def _merged(x: Any, term: str, sizes: dict[str, Any], axes: Sequence[str | Sequence[str]]) -> Any:
    """A tensor as matrices, each of whose axes may be several of the tensor's."""
    order = [term.index(label) for labels in axes for label in labels]
    merged = [math.prod(sizes[label] for label in labels) for labels in axes]
    if sum(not isinstance(size, int) for size in merged) > 1:
        return None
    return reshaped(permuted(x, order), merged)
