"""What stands in a file's constant tensors, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.tflite.file_data import FileBuffer, FileTensor

__all__ = ["constant"]


def constant(tensor: FileTensor, buffers: Sequence[FileBuffer]) -> np.ndarray | None:
    """The contents of a tensor, int4 as int8; ``None`` where it has none.

    Raises:
        ValueError: the buffer has more or fewer bytes than the shape says.
    """
    if tensor.buffer == 0 or not tensor.constant_bytes:
        return None
    raw = np.frombuffer(buffers[tensor.buffer].data, np.uint8)
    if tensor.dtype == "int4":
        nibbles = np.stack([raw << 4, raw], -1).reshape(-1).view(np.int8) >> 4
        return nibbles[: math.prod(tensor.shape)].reshape(tensor.shape)
    stored = np.frombuffer(raw, np.dtype(tensor.dtype).newbyteorder("<"))
    array: np.ndarray = stored.reshape(tensor.shape).astype(tensor.dtype)
    return array
