"""Constants as bytes, as files and flash hold them."""

from __future__ import annotations

import numpy as np

__all__ = ["raw_bytes"]


def raw_bytes(data: np.ndarray, dtype: str) -> bytes:
    """A constant as it lies in the file: little endian, int4 two to a byte with the earlier one in the low half."""
    if dtype == "int4":
        nibbles = np.append(data.reshape(-1), np.zeros(data.size % 2, data.dtype)).astype(np.uint8) & 15
        return (nibbles[0::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes()
    return np.ascontiguousarray(data, data.dtype.newbyteorder("<")).tobytes()
