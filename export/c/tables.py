"""What tells tables of constants in flash apart: those that are alike stand once, however many calls read them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from export.c.requantization import requantization
from qtorch.row.kernel_call import Accumulators, ConstantTable, KernelCall, Rescaling

__all__ = ["Table", "table_of", "tables_of"]

#: Type of the elements, whether they are read as words, and a hash of the bytes.
Table = tuple[str, bool, bytes]


def table_of(data: np.ndarray, words: bool = False) -> Table:
    """Identity of a table, equal for two exactly where one array of C can be both.

    Args:
        data: its elements, in any shape: C has them in one row.
        words: whether they are bytes that begin where words do.
    """
    return data.dtype.name, words, hashlib.sha256(data.tobytes()).digest()


def tables_of(calls: Iterable[KernelCall]) -> dict[Table, int]:
    """Bytes of the tables that calls read, each once."""
    found = dict[Table, int]()
    for call in calls:
        for argument in call.arguments.values():
            if isinstance(argument, ConstantTable):
                found[table_of(argument.data, argument.words)] = argument.data.nbytes
            elif isinstance(argument, Accumulators | Rescaling):
                words = argument.words if isinstance(argument, Rescaling) else requantization(argument).words
                found[table_of(words)] = words.nbytes
    return found
