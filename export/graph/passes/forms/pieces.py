"""REVERSE_V2 and TRANSPOSE as SPLITs and CONCATENATIONs, which move codes of any type and have always been there.

An axis of ``p * q`` is two axes, of ``p`` and ``q``, so that what is cut into pieces is a prime: 128 columns are seven
times two pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["pieces"]

#: Beyond so many, what the operators cost in memory is more than a small device has.
_MOST = 128


def pieces(graph: Graph, outputs: frozenset[str]) -> Graph:
    """An op that would be cut into more than 128 pieces, or that moves the first axis, stays as it is."""
    return rewritten(graph, outputs, _pieces)


def _pieces(draft: Draft, node: Node) -> bool:
    if node.op == "reverse_v2":
        return _reversed(draft, node)
    return node.op == "transpose" and _transposed(draft, node)


def _factors(size: int) -> list[int]:
    """Primes whose product is ``size``, ascending."""
    found, divisor = list[int](), 2
    while size > 1:
        if size % divisor:
            divisor += 1
        else:
            found.append(divisor)
            size //= divisor
    return found


def _cut(draft: Draft, source: str, sizes: tuple[int, ...], axis: int, stem: str) -> list[str]:
    """``source``, in the shape ``sizes``, in pieces of one along an axis."""
    image = draft.reshape(source, sizes, stem=f"{stem}.cut")
    piece = (*sizes[:axis], 1, *sizes[axis + 1 :])
    grid = draft.values[source].qparams
    made = tuple(draft.named(f"{stem}.piece", piece, grid) for _ in range(sizes[axis]))
    draft.nodes.append(Node("split", {"axis": axis, "num_splits": sizes[axis]}, (image,), made))
    return list(made)


def _reversed(draft: Draft, node: Node) -> bool:
    source, stem, shape = node.inputs[0], node.output, draft.shape(node.output)
    axes = [axis for axis in node.attrs["axes"] if shape[axis] > 1]
    if 0 in axes or sum(sum(_factors(shape[axis])) for axis in axes) > _MOST:
        return False
    for axis in axes:
        before = 1
        for prime in _factors(shape[axis]):
            outer = math.prod(shape[1:axis]) * before
            sizes = (shape[0], outer, prime, math.prod(shape[1:]) // outer // prime)
            source = draft.join(_cut(draft, source, sizes, 2, stem)[::-1], 2, stem=f"{stem}.turned")
            before *= prime
    draft.reshape(source, shape, output=stem)
    return True


def _moves(shape: tuple[int, ...], perm: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Swaps of neighbouring blocks: what lies before both, the first, the second, and what lies behind."""
    order = list(range(len(shape)))
    for place, axis in enumerate(perm):
        at = order.index(axis)
        sizes = [shape[each] for each in order]
        first, second = math.prod(sizes[place:at]), shape[axis]
        if first > 1 and second > 1:
            yield math.prod(sizes[1:place]), first, second, math.prod(sizes[at + 1 :])
        order.insert(place, order.pop(at))


def _transposed(draft: Draft, node: Node) -> bool:
    source, stem, perm = node.inputs[0], node.output, tuple(node.attrs["perm"])
    shape = draft.shape(source)
    if perm[0] != 0:
        return False
    moves = list(_moves(shape, perm))
    if sum(min(sum(_factors(a)), sum(_factors(b))) for _, a, b, _ in moves) > _MOST:
        return False
    for before, first, second, behind in moves:
        if sum(_factors(second)) <= sum(_factors(first)):
            done = 1
            for prime in _factors(second):
                sizes = (shape[0], before * done, first, prime, second // done // prime * behind)
                source = _swapped(draft, source, sizes, 3, stem)
                done *= prime
        else:
            left = first
            for prime in _factors(first):
                left //= prime
                sizes = (shape[0], before * left, prime, second, first // left // prime * behind)
                source = _swapped(draft, source, sizes, 2, stem)
    draft.reshape(source, draft.shape(stem), output=stem)
    return True


def _swapped(draft: Draft, source: str, sizes: tuple[int, ...], axis: int, stem: str) -> str:
    """Of five axes the third and the fourth change places, one of which is cut into pieces."""
    n, before, first, second, behind = sizes
    cut = _cut(draft, source, sizes, axis, stem)
    turned = (n, before, 1, first, behind) if axis == 3 else (n, before, second, 1, behind)
    placed = [draft.reshape(each, turned, stem=f"{stem}.placed") for each in cut]
    return draft.join(placed, 5 - axis, stem=f"{stem}.swapped")
