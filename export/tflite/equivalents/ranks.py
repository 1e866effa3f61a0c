"""Operands of elementwise operators with as many axes as the other one: the first axis of each counts samples."""

from __future__ import annotations

from dataclasses import replace

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator

__all__ = ["with_equal_ranks"]

_OF_TWO = frozenset({"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"})


def with_equal_ranks(draft: Draft, operator: FileOperator) -> FileOperator:
    """The operator, with axes of size 1 put in front of a computed operand that has fewer than the other."""
    if operator.name not in _OF_TWO or len(operator.inputs) != 2:
        return operator
    rank = max(len(draft.shape(index)) for index in operator.inputs)
    return replace(operator, inputs=tuple(_of_rank(draft, index, rank) for index in operator.inputs))


def _of_rank(draft: Draft, index: int, rank: int) -> int:
    shape = draft.shape(index)
    if len(shape) == rank or draft.data(index) is not None:
        return index
    made = draft.computed(index, (1,) * (rank - len(shape)) + shape)
    draft.reshape(index, made)
    return made
