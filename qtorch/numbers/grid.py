"""A grid as tensors, for arithmetic inside a training step; :class:`qtorch.numbers.qparams.QParams` is the record."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["CODE_RANGE", "Grid"]

#: Lowest and highest code of each integer type, as TFLite's quantization specification has it; of the two without sign,
#: which hold whole numbers alone, as C has them.
CODE_RANGE = {
    "int4": (-8, 7),
    "int8": (-128, 127),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


class Grid(NamedTuple):
    """Tensor view of quantization parameters: ``scale`` float32 ``[]`` or ``[C]``, ``zero_point`` int32 ``[]``."""

    scale: Tensor
    zero_point: Tensor
    dtype: str = "int8"

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest code."""
        return CODE_RANGE[self.dtype]
