"""Tensors of zeros, to which converters give the scale 0, or one that float32 can hardly hold: a state at the start of
an unrolled LSTM, and what its weights make of it.

TFLite Micro takes them: whatever scale codes of 0 have, the number is 0, and a multiplier that is too small for 31 bits
is 0 too. Here they get a scale that is smaller than any of a tensor that holds numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from export.tflite.constants import constant
from export.tflite.file_data import FileContents, FileOperator, FileSubgraph, FileTensor

__all__ = ["tensors_of_zeros", "with_scales_of_zeros"]

#: A power of two, as int16's ADD asks for, beyond the 31 bits by which a product is shifted.
_SCALE = 2.0**-40
_SMALLEST = float(np.finfo(np.float32).smallest_normal)
_INTEGERS = frozenset({"int8", "int16", "int32", "int64"})
#: Of operators that make zeros of zeros: whether they do, by the inputs that are zeros.
_MAKE_ZEROS: dict[str, Callable[[FileOperator, list[bool]], bool]] = {
    "FILL": lambda operator, zeros: zeros[1:2] == [True],
    "FULLY_CONNECTED": lambda operator, zeros: zeros[0] and all(each == -1 for each in operator.inputs[2:]),
    "MUL": lambda operator, zeros: any(zeros),
}


def tensors_of_zeros(contents: FileContents, subgraph: FileSubgraph) -> frozenset[int]:
    """Indices of tensors without a scale that float32 holds to the full that are nothing but zeros: constants, and what
    operators make of those."""
    found = {each.index for each in subgraph.tensors if _is_scaleless(each) and _is_zero(contents, each)}
    for operator in subgraph.operators if found else ():
        makes = _MAKE_ZEROS.get(operator.name)
        if makes is not None and operator.inputs and makes(operator, [each in found for each in operator.inputs]):
            found |= {each for each in operator.outputs if each >= 0 and _is_scaleless(subgraph.tensors[each])}
    return frozenset(found)


def with_scales_of_zeros(contents: FileContents) -> FileContents:
    """A file with scales that hold numbers of its tensors of zeros; the same where it has them."""
    subgraphs = tuple(_with_scales(contents, subgraph) for subgraph in contents.subgraphs)
    same = all(new is old for new, old in zip(subgraphs, contents.subgraphs, strict=True))
    return contents if same else replace(contents, subgraphs=subgraphs)


def _with_scales(contents: FileContents, subgraph: FileSubgraph) -> FileSubgraph:
    zeros = tensors_of_zeros(contents, subgraph)
    if not zeros:
        return subgraph
    tensors = (replace(each, scale=(_SCALE,)) if each.index in zeros else each for each in subgraph.tensors)
    return replace(subgraph, tensors=tuple(tensors))


def _is_scaleless(tensor: FileTensor) -> bool:
    return (
        tensor.dtype in _INTEGERS
        and len(tensor.scale) == 1
        and 0 <= tensor.scale[0] < _SMALLEST
        and tensor.zero_point == (0,)
    )


def _is_zero(contents: FileContents, tensor: FileTensor) -> bool:
    """Whether it is a whole constant of zeros; of a damaged one that is said elsewhere."""
    if not tensor.constant_bytes or tensor.sparsity is not None:
        return False
    try:
        codes = constant(tensor, contents.buffers)
    except ValueError:
        return False
    return codes is not None and not codes.any()
