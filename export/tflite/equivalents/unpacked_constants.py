"""Constants that a file holds in a smaller form, written out: sparse ones, and float networks' of fewer bits."""

from __future__ import annotations

import math

import numpy as np

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileContents, FileOperator, FileSparsity

__all__ = ["densified", "with_float_constants"]

#: The schema's formats of an axis.
_DENSE = 0
#: Elements of a constant that is written out.
_MOST = 2**26


def densified(draft: Draft, operator: FileOperator) -> None:
    """DENSIFY of a constant: its elements, and 0 where none is stored.

    Source: TensorFlow Lite ``kernels/internal/utils/sparsity_format_converter.cc``.

    Raises:
        ValueError: it is computed, or its indices are no good.
    """
    (source,), (output,) = operator.inputs, operator.outputs
    tensor = draft.tensors[source]
    if tensor.sparsity is None:
        draft.settle(output, draft.known(source))
        return
    if tensor.dtype == "int4":
        raise ValueError(f"{draft.words(source)}: sparse constants of int4 are not read")
    stored = np.frombuffer(draft.contents.buffers[tensor.buffer].data, np.dtype(tensor.dtype).newbyteorder("<"))
    draft.settle(output, _dense(tensor.sparsity, tensor.shape, stored).astype(tensor.dtype))


def _dense(sparsity: FileSparsity, shape: tuple[int, ...], stored: np.ndarray) -> np.ndarray:
    """Level by level in the order in which the elements are stored: which place of each level each of them has."""
    rank, order = len(shape), sparsity.traversal_order
    if sorted(order) != list(range(rank + len(sparsity.block_map))) or len(sparsity.formats) != len(order):
        raise ValueError(f"sparse axes in the order {order}, of {len(sparsity.formats)} axes, for a shape of {rank}")
    if math.prod(shape) > _MOST:
        raise ValueError(f"a sparse constant of {math.prod(shape):,} elements; at most {_MOST:,} are written out")
    if any(not 0 <= axis < rank for axis in sparsity.block_map):
        raise ValueError(f"blocks of axes {sparsity.block_map}, for a shape of {rank}")
    # One row for each place that the levels so far lead to, one column for each level.
    places = np.zeros((1, 0), np.int64)
    # What is stored, or begins a stored row, bounds what a level may lead to, whatever sizes a damaged file claims.
    most = max(len(stored), *map(len, sparsity.segments), *map(len, sparsity.indices))
    for level in range(len(order)):
        if sparsity.formats[level] == _DENSE and len(places) * sparsity.dense_sizes[level] > most:
            raise ValueError(f"more sparse elements than the {len(stored)} that are stored")
        places = _next_level(sparsity, level, places)
    if len(places) != len(stored):
        raise ValueError(f"{len(places)} sparse elements, of which {len(stored)} are stored")
    at = {axis: places[:, level] for level, axis in enumerate(order)}
    sizes = {axis: sparsity.dense_sizes[level] for level, axis in enumerate(order)}
    for block, axis in enumerate(sparsity.block_map):
        at[axis] = at[axis] * sizes[rank + block] + at[rank + block]
    for axis, size in enumerate(shape):
        if len(stored) and not 0 <= at[axis].min() <= at[axis].max() < size:
            raise ValueError(f"a sparse element at {at[axis].max()} of axis {axis}, which has {size}")
    result = np.zeros(shape, stored.dtype)
    result[tuple(at[axis] for axis in range(rank))] = stored
    return result


def _next_level(sparsity: FileSparsity, level: int, places: np.ndarray) -> np.ndarray:
    """Each place once for each element of the next level's row that it leads to."""
    if sparsity.formats[level] == _DENSE:
        size = max(0, sparsity.dense_sizes[level])
        rows = np.repeat(places, size, axis=0)
        return np.column_stack([rows, np.tile(np.arange(size), len(places))])
    segments, indices = np.array(sparsity.segments[level], np.int64), np.array(sparsity.indices[level], np.int64)
    counts = np.diff(segments)
    if len(counts) != len(places) or np.any(counts < 0) or (len(segments) and segments[-1] != len(indices)):
        raise ValueError(f"{len(segments)} beginnings of {len(places)} sparse rows, with {len(indices)} indices")
    return np.column_stack([np.repeat(places, counts, axis=0), indices])


def with_float_constants(contents: FileContents) -> FileContents:
    """The file with float32 constants where DEQUANTIZE makes them of float16 or of integers, or DENSIFY of sparse ones.

    Raises:
        ValueError: a constant is no good; names the operator.
    """
    draft = Draft(contents)
    for index, operator in enumerate(draft.entry.operators):
        try:
            if operator.name == "DENSIFY":
                densified(draft, operator)
            elif operator.name == "DEQUANTIZE" and draft.data(operator.inputs[0]) is not None:
                draft.settle(operator.outputs[0], _floats(draft, operator.inputs[0]))
            else:
                draft.operators.append(operator)
        except (ValueError, IndexError) as error:
            raise ValueError(f"operator {index} ({operator.name}): {error}") from error
    return draft.finished()


def _floats(draft: Draft, index: int) -> np.ndarray:
    """As DEQUANTIZE rounds: each product of a code and its scale once."""
    tensor, data = draft.tensors[index], draft.known(index)
    if data.dtype.kind == "f":
        return data.astype(np.float32)
    if not tensor.scale or len(tensor.scale) not in (1, *tensor.shape):
        raise ValueError(f"{draft.words(index)} of {tensor.dtype}, without the scales that float32 is made by")
    axes = [1] * len(tensor.shape)
    if tensor.axis is not None:
        axes[tensor.axis] = len(tensor.scale)
    scale = np.array(tensor.scale, np.float32).astype(np.float64).reshape(axes)
    zero_point = np.array(tensor.zero_point or [0] * len(tensor.scale), np.float64).reshape(axes)
    return ((data.astype(np.float64) - zero_point) * scale).astype(np.float32)
