"""What a layer computes in integers that were written to be right, not to be traced: a call that compilers keep.

In a compiled graph such a call is an operator of its own, which finds its layer by number when the graph runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from qtorch.numbers.grid import CODE_RANGE
from qtorch.row.steps_by_table import StepTables

__all__ = ["integers_of", "numbered", "tables_of"]


_LAYERS: WeakValueDictionary[int, Any] = WeakValueDictionary()
_NUMBERS = count()


def numbered(layer: Any) -> int:
    """A number by which a :class:`qtorch.network.quantized_op.QuantizedOp` is found; a copy needs another."""
    number = next(_NUMBERS)
    _LAYERS[number] = layer
    return number


# What it reads of the layer changes, so nothing may be recorded of a run but the call.
_TAGS = (torch.Tag.cudagraph_unsafe,)


@torch.library.custom_op("qtorch::tables", mutates_args=(), tags=_TAGS)
def _tables(number: int, anywhere: Tensor) -> list[Tensor]:
    # Copies, because a compiler may write into what a call gives it.
    return [each.clone() for each in _LAYERS[number].tables()]


@_tables.register_fake
def _(number: int, anywhere: Tensor) -> list[Tensor]:
    low, high = CODE_RANGE[_LAYERS[number].sources["input"].dtype]
    return [anywhere.new_empty((high - low + 2,), dtype=torch.float32) for _ in range(2)]


@torch.library.custom_op("qtorch::integers", mutates_args=(), tags=_TAGS)
def _integers(number: int, inputs: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    found = _LAYERS[number].integers(inputs)
    return [each.clone() for each in (found if isinstance(found, tuple) else (found,))]


@_integers.register_fake
def _(number: int, inputs: list[Tensor], like: list[Tensor]) -> list[Tensor]:
    return [torch.empty_like(each, memory_format=torch.contiguous_format) for each in like]


def tables_of(number: int, anywhere: Tensor) -> StepTables:
    """The tables of a numbered layer, on the device where ``anywhere`` is, as they are."""
    return StepTables(*_tables(number, anywhere.detach()))


def integers_of(number: int, inputs: Sequence[Tensor], like: Any) -> Any:
    """The integers of a numbered layer; ``like`` is a tensor of their shape, a tuple where there are several."""
    several = isinstance(like, tuple)
    shaped = [each.detach() for each in (like if several else (like,))]
    found = _integers(number, [each.detach() for each in inputs], shaped)
    return tuple(found) if several else found[0]
