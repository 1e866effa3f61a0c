"""uint8 codes as int8 codes that are 128 less: the same numbers, and the same integers in kernels that take both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tflite.file_data import FileBuffer, FileContents, FileTensor

__all__ = ["SHIFT", "shifted_codes", "with_shifted_codes"]

#: What a uint8 code has more than the int8 code for the same number.
SHIFT = 128


def shifted_codes(codes: np.ndarray) -> np.ndarray:
    """int8 for uint8 codes, which are 128 more, and uint8 for int8 ones: either way the highest bit is the other."""
    other = np.int8 if codes.dtype == np.uint8 else np.uint8
    return (codes.view(np.uint8) ^ np.uint8(SHIFT)).view(other)


def with_shifted_codes(contents: FileContents) -> FileContents:
    """The file with int8 where it has quantized uint8; such tensors say so in ``shift``."""
    entry, *others = contents.subgraphs
    if not any(_is_shifted(tensor) for tensor in entry.tensors):
        return contents
    buffers = list(contents.buffers)
    tensors = tuple(_shifted(tensor, buffers) if _is_shifted(tensor) else tensor for tensor in entry.tensors)
    return replace(contents, buffers=tuple(buffers), subgraphs=(replace(entry, tensors=tensors), *others))


def _is_shifted(tensor: FileTensor) -> bool:
    return tensor.dtype == "uint8" and len(tensor.scale) == len(tensor.zero_point) == 1


def _shifted(tensor: FileTensor, buffers: list[FileBuffer]) -> FileTensor:
    buffer = tensor.buffer
    if tensor.constant_bytes:
        codes = shifted_codes(np.frombuffer(buffers[buffer].data, np.uint8))
        buffers.append(FileBuffer(0, memoryview(codes.tobytes())))
        buffer = len(buffers) - 1
    zero_point = (tensor.zero_point[0] - SHIFT,)
    return replace(tensor, kind=schema.TensorType.INT8, zero_point=zero_point, buffer=buffer, shift=SHIFT)
