"""Tensors as loops: sizes and strides for the C kernels that walk through several tensors at once.

Every such kernel has :data:`LOOPS` loops, and takes ``n_0`` to ``n_3`` and one stride for each of them and each tensor.
A loop that runs once costs nothing, because the compiler knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from qtorch.row.kernel_call import Argument, NoKernel

__all__ = ["LOOPS", "Walk", "bytes_each", "copied_box", "row_major", "walk"]

#: How many loops the kernels have.
LOOPS = 4

_BYTES = {"int8": 1, "int4": 1, "int16": 2, "int32": 4}


def bytes_each(dtype: str) -> int:
    """Of one code as C holds it."""
    return _BYTES[dtype]


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a tensor in C order, in elements."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True)
class Walk:
    """Loops, the outermost first.

    Attributes:
        sizes: ``LOOPS`` of them.
        strides: by tensor, as many.
    """

    sizes: tuple[int, ...]
    strides: Mapping[str, tuple[int, ...]]

    def arguments(self) -> dict[str, Argument]:
        """``n_0``, ... and ``<tensor>_0``, ..."""
        return {f"{name}_{i}": each for name, all_ in {"n": self.sizes, **self.strides}.items()
                for i, each in enumerate(all_)}  # fmt: skip


def merged(sizes: Sequence[int], strides: Mapping[str, Sequence[int]]) -> Walk:
    """As few loops as do: none that runs once, and one where two follow each other in every tensor."""
    kept: list[tuple[int, dict[str, int]]] = []
    for axis, size in enumerate(sizes):
        step = {name: each[axis] for name, each in strides.items()}
        if size == 1:
            continue
        if kept and all(kept[-1][1][name] == size * step[name] for name in step):
            kept[-1] = (kept[-1][0] * size, step)
        else:
            kept.append((size, step))
    return Walk(tuple(n for n, _ in kept), {name: tuple(step[name] for _, step in kept) for name in strides})


def walk(sizes: Sequence[int], strides: Mapping[str, Sequence[int]], loops: int = LOOPS) -> Walk:
    """:func:`merged`, filled up to ``loops``.

    Raises:
        NoKernel: more loops are needed.
    """
    loop = merged(sizes, strides)
    missing = loops - len(loop.sizes)
    if missing < 0:
        raise NoKernel(f"{len(loop.sizes)} axes that do not follow each other in memory, where {loops} are the most")
    return Walk((1,) * missing + loop.sizes, {name: (0,) * missing + each for name, each in loop.strides.items()})


def copied_box(
    sizes: Sequence[int], source: Sequence[int], target: Sequence[int], firsts: tuple[int, int], each: int
) -> dict[str, Argument]:
    """What ``strided_copy`` is told.

    Args:
        sizes: of the box.
        source: strides in the input, in elements; ``target`` likewise, in the output.
        target: see there.
        firsts: the box's first element in either.
        each: bytes of an element.
    """
    box = merged(sizes, {"in": source, "out": target})
    run = 1
    if box.sizes and box.strides["in"][-1] == box.strides["out"][-1] == 1:
        run, box = box.sizes[-1], Walk(box.sizes[:-1], {n: s[:-1] for n, s in box.strides.items()})
    steps = {name: tuple(each * step for step in strides) for name, strides in box.strides.items()}
    numbers = {"in_first": each * firsts[0], "out_first": each * firsts[1], "run": each * run}
    return {**walk(box.sizes, steps).arguments(), **numbers}
