"""Operators of a file that are one op: CAST and ADD count a tensor's codes from 0 on, and a third reads them.

The writer puts them before the operator of a row whose cell says ``counted_from_zero``; here they are found again. So
is a QUANTIZE in the place of both, which gives the same numbers to int32 codes, on a grid whose zero point lies higher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from export.tflite.file_data import FileOperator, FileSubgraph, FileTensor
from qtorch.numbers.grid import CODE_RANGE
from qtorch.ops import of_rows
from qtorch.row.row import Row, TFLite
from qtorch.row.tflite_cell import COUNTED_BY, QUANTIZED

__all__ = ["Folded", "fold"]

#: Options that the third operator may not have; the schema's names.
_PLAIN = {"Axis": 0, "BatchDims": 0}


class Folded(NamedTuple):
    """Operators, each with the row that is made of it, where it is one of three; and the tensors that lie between."""

    operators: tuple[tuple[str | None, FileOperator], ...]
    between: frozenset[int]


@of_rows
def _rows(rows: Mapping[str, Row]) -> dict[str, str]:
    """The row of each operator that reads codes counted from 0 on."""
    cells = ((name, row.tflite) for name, row in rows.items() if isinstance(row.tflite, TFLite))
    return {cell.operator: name for name, cell in cells if cell.counted_from_zero}


def fold(subgraph: FileSubgraph, constant: Callable[[FileTensor], np.ndarray | None]) -> Folded:
    """A subgraph's operators with each three that are one as that one, which reads the codes themselves.

    Args:
        subgraph: of a file.
        constant: the contents of a tensor, ``None`` where it has none.
    """
    operators: list[tuple[str | None, FileOperator]] = []
    between: set[int] = set()
    rest = list(subgraph.operators)
    while rest:
        count, found = 2, _quantized(rest[:2], subgraph)
        if found is None:
            count, found = 3, _counted(rest[:3], subgraph, constant)
        if found is None:
            operators.append((None, rest.pop(0)))
            continue
        reading, tensors = found
        operators.append((_rows()[reading.name], reading))
        between |= tensors
        del rest[:count]
    return Folded(tuple(operators), frozenset(between))


def _quantized(two: Sequence[FileOperator], subgraph: FileSubgraph) -> tuple[FileOperator, set[int]] | None:
    """The second of two operators, reading the first one's input, if they are one; and the tensor between them."""
    if len(two) < 2 or two[0].name != "QUANTIZE" or two[1].name not in _rows():
        return None
    counting, reading = two
    if len(counting.inputs) != 1 or len(counting.outputs) != 1 or -1 in counting.inputs:
        return None
    source, counted = (subgraph.tensors[each] for each in (*counting.inputs, *counting.outputs))
    if [source.dtype, counted.dtype] != ["int8", "int32"] or len(source.scale) != 1 or len(source.zero_point) != 1:
        return None
    wanted = (source.scale, (source.zero_point[0] - CODE_RANGE["int8"][0],))
    if (tuple(counted.scale), tuple(counted.zero_point)) != wanted or not _is_read_alone(
        subgraph, counted.index, reading
    ):
        return None
    reading = replace(reading, options={**reading.options, COUNTED_BY: QUANTIZED})
    return _reading(reading, counted.index, source.index), {counted.index}


def _is_read_alone(subgraph: FileSubgraph, index: int, reading: FileOperator) -> bool:
    """Whether a tensor is read by this operator alone, whose options are plain, and is no output."""
    read = [each for operator in subgraph.operators for each in operator.inputs] + list(subgraph.outputs)
    plain = all(reading.options.get(name, value) == value for name, value in _PLAIN.items())
    return read.count(index) == 1 and index in reading.inputs and plain


def _reading(reading: FileOperator, counted: int, source: int) -> FileOperator:
    return replace(reading, inputs=tuple(source if index == counted else index for index in reading.inputs))


def _counted(
    three: Sequence[FileOperator], subgraph: FileSubgraph, constant: Callable[[FileTensor], np.ndarray | None]
) -> tuple[FileOperator, set[int]] | None:
    """The last of three operators, reading the first one's input, if they are one; and the tensors between them."""
    if [each.name for each in three[:2]] != ["CAST", "ADD"] or len(three) < 3 or three[2].name not in _rows():
        return None
    cast, add, reading = three
    tensors = subgraph.tensors
    if len(cast.inputs) != 1 or len(add.inputs) != 2 or -1 in (*cast.inputs, *add.inputs):
        return None
    (source,), (wide, lowest), (counted,) = cast.inputs, add.inputs, add.outputs
    added = constant(tensors[lowest])
    dtypes = [tensors[each].dtype for each in (source, wide, lowest, counted)]
    # Read by the next of the three alone, and no output.
    read = [index for operator in subgraph.operators for index in operator.inputs] + list(subgraph.outputs)
    if (
        cast.outputs != (wide,)
        or dtypes != ["int8", "int32", "int32", "int32"]
        or added is None
        or added.shape != ()
        or int(added) != -CODE_RANGE["int8"][0]
        or add.options.get("FusedActivationFunction", 0) != 0
        or read.count(wide) != 1
        or not _is_read_alone(subgraph, counted, reading)
    ):
        return None
    return _reading(reading, counted, source), {wide, lowest, counted}
