"""How reshaped and permuted values lie in memory: random shapes and orders, with NumPy for the oracle."""

from __future__ import annotations

import math
from itertools import chain, pairwise, permutations

import numpy as np
import pytest

from export.graph.memory_order import MemoryOrder, steps

#: Drawn from these, so that shapes often have common divisors and often none.
SIZES = (1, 2, 2, 3, 4, 6)


def random_shape(rng: np.random.Generator, elements: int) -> tuple[int, ...]:
    """``[1, ...]`` of so many elements, up to five axes."""
    shape, left = [1], elements
    for _ in range(rng.integers(0, 4)):
        size = int(rng.choice([n for n in range(1, left + 1) if left % n == 0]))
        shape.append(size)
        left //= size
    return (*shape, left)


def random_order(rng: np.random.Generator) -> MemoryOrder:
    """Of a value that lies permuted, perhaps reshaped and permuted again."""
    shape = (1, *(int(n) for n in rng.choice(SIZES, rng.integers(1, 5))))
    order = MemoryOrder.permuted(shape, (0, *(1 + int(i) for i in rng.permutation(len(shape) - 1))))
    for _ in range(rng.integers(0, 3)):
        order = order.reshaped(random_shape(rng, math.prod(shape))) or order
        order = order.transposed((0, *(1 + int(i) for i in rng.permutation(len(order.axes) - 1))))
    return order


def value(order: MemoryOrder) -> np.ndarray:
    """The value whose elements are their places in memory."""
    named = list(chain(*order.axes))
    rest = [part for part in range(len(order.sizes)) if part not in named]
    memory = np.arange(math.prod(order.sizes)).reshape(order.sizes)
    return memory.transpose([*named, *rest]).reshape(order.shape)


def boundaries(sizes: list[int]) -> set[int]:
    """How many elements lie behind each cut between axes."""
    return {math.prod(sizes[i:]) for i in range(len(sizes) + 1)}


@pytest.mark.parametrize("seed", range(5))
def test_reshapes_and_transposes_move_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    carried = 0
    for _ in range(200):
        order = random_order(rng)
        shape = random_shape(rng, math.prod(order.sizes))
        reshaped = order.reshaped(shape)
        cuts = boundaries([order.sizes[part] for part in chain(*order.axes)]) | boundaries(list(shape))
        assert (reshaped is not None) == all(b % a == 0 for a, b in pairwise(sorted(cuts))), (order, shape)
        if reshaped is not None:
            carried += 1
            assert reshaped.shape == shape
            np.testing.assert_array_equal(value(reshaped), value(order).reshape(shape))
        perm = (0, *(1 + int(i) for i in rng.permutation(len(order.axes) - 1)))
        np.testing.assert_array_equal(value(order.transposed(perm)), value(order).transpose(perm))
    assert 100 < carried < 200


def test_a_reshape_keeps_a_device_order_where_what_it_merges_lies_side_by_side() -> None:
    rng = np.random.default_rng(7)
    kept = 0
    for _ in range(300):
        order = random_order(rng)
        memory, axes = value(order), range(1, len(order.axes))
        possible = any((np.diff(memory.transpose(0, *p).ravel()) == 1).all() for p in permutations(axes))
        named = order.order_of_axes()
        assert sorted(named) == list(range(len(order.axes)))
        assert bool((np.diff(memory.transpose(named).ravel()) == 1).all()) == possible, order
        kept += possible
    assert 50 < kept < 250


def test_fewer_parts_say_the_same() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        order = random_order(rng)
        coarse = order.coarsest()
        np.testing.assert_array_equal(value(coarse), value(order))
        assert 1 not in coarse.sizes[1:]
        assert not any(b == a + 1 for parts in coarse.axes for a, b in pairwise(parts))


def test_a_constant_is_broadcast_along_the_parts_of_its_axes() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        order = random_order(rng)
        shape = [n if rng.random() < 0.6 else 1 for n in order.shape]
        constant = rng.integers(-9, 9, shape)
        in_memory = np.broadcast_to(order.in_memory_order(constant), order.sizes)
        np.testing.assert_array_equal(in_memory.ravel()[value(order)], np.broadcast_to(constant, order.shape))


def test_a_value_is_cut_as_another_lies() -> None:
    channels_last = MemoryOrder.permuted((1, 8, 3, 5), (0, 2, 3, 1))
    grouped = channels_last.reshaped((1, 2, 4, 3, 5))
    assert grouped is not None
    assert (grouped.sizes, grouped.axes) == ((1, 3, 5, 2, 4), ((0,), (3,), (4,), (1,), (2,)))
    shuffled = grouped.transposed((0, 2, 1, 3, 4)).reshaped((1, 8, 3, 5))
    assert shuffled is not None
    assert (shuffled.sizes, shuffled.axes) == ((1, 3, 5, 2, 4), ((0,), (4, 3), (1,), (2,)))
    per_channel = MemoryOrder.identity((1, 8, 1, 1)).cut_as(shuffled)
    assert per_channel is not None
    assert per_channel.shape == (1, 1, 1, 2, 4)
    assert value(per_channel).ravel().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert MemoryOrder.identity((1, 6, 1, 1)).reshaped((1, 2, 3)) is not None
    assert MemoryOrder((1, 2, 3), ((0,), (1, 2))).cut_as(MemoryOrder((1, 3, 2), ((0,), (1, 2)))) is None


@pytest.mark.parametrize("count", [3, 5, 6, 7, 8])
def test_many_axes_are_permuted_a_few_at_a_time(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(20):
        sizes = (1, *(int(n) for n in rng.integers(2, 4, count - 1)))
        blocks = MemoryOrder(sizes, ((0,), tuple(1 + int(i) for i in rng.permutation(count - 1)))).coarsest()
        memory = np.arange(math.prod(sizes))
        moves = steps(blocks, 5)
        for shape, perm in moves:
            assert len(shape) <= 5
            memory = memory.reshape(shape).transpose(perm).ravel()
        np.testing.assert_array_equal(memory, value(blocks).ravel())
        assert len(moves) <= 1 + max(0, len(blocks.sizes) - 5)
