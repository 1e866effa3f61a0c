"""Files drawn at random as other converters write them: options left out, negative axes, odd ranks and grids.

What TFLite Micro makes of a file is what it is; nothing here knows whether it does run it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.foreign_file import Drawing
from tests.foreign_layers import (
    convolution,
    dense,
    function,
    index,
    matmul,
    of_two,
    padding,
    pool,
    quantize,
    reduction,
    resize,
    transposed,
)
from tests.foreign_movements import concatenation, movement, reshape, slice_of, split, transpose

__all__ = ["STEPS", "Drawing", "draw_file"]

#: What may be put behind what is there; the likely ones more than once.
STEPS: tuple[Callable[[Drawing], None], ...] = (
    convolution, convolution, convolution, transposed, dense, dense, pool, padding, reshape, reshape,
    transpose, concatenation, concatenation, split, slice_of, slice_of, of_two, of_two, of_two, reduction,
    function, function, quantize, resize, movement, matmul,
)  # fmt: skip

_SHAPES = (
    (1, 6, 5, 2),
    (1, 4, 4, 4),
    (2, 4, 3, 2),
    (1, 8),
    (3, 4),
    (1, 5, 3),
    (2, 3, 4),
    (1, 7, 1, 3),
    (6,),
    (1, 1, 9, 1),
)


def draw_file(seed: int, steps: int | None = None) -> Drawing:
    """The file of a seed.

    Args:
        seed: any; a fourth of them are of 16 bits.
        steps: fewer of them, which are the first of the same file.
    """
    d = Drawing(seed)
    dtype = "int16" if seed % 4 == 3 else "int8"
    for _ in range(d.number(1, 2)):
        d.tensor(d.one_of(_SHAPES), dtype, end="input")
    count = d.number(1, 8)
    # Of its own, so that fewer steps are the first ones.
    ends = np.random.default_rng(seed + 1)
    for _ in range(min(count, steps or count)):
        d.one_of(STEPS)(d)
    if d.chance(0.1):
        index(d)
    _end(d, ends)
    return d


def _end(d: Drawing, rng: np.random.Generator) -> None:
    """Outputs: all that nothing reads, mostly; one that something reads, one twice, an input, now and then."""
    computed = [h.index for h in d.held if h.index not in d.file.graph.inputs]
    outputs = [i for i in computed if i not in d.read]
    if rng.random() < 0.15 and computed:
        outputs.append(int(rng.choice(computed)))
    if rng.random() < 0.05 and len(outputs) > 1:
        outputs.pop(0)
    if rng.random() < 0.04:
        outputs.append(d.file.graph.inputs[0])
    d.file.graph.outputs = [*d.file.graph.outputs, *(outputs or d.file.graph.inputs[:1])]
    d.file.model.description = "MLIR Converted." if rng.random() < 0.5 else None
