"""How integers stand for real numbers: ``real = scale * (code - zero_point)``.

:class:`QParams` is the frozen, validated record that is exported, compared and hashed;
:class:`qtorch.numbers.grid.Grid` holds the same figures as tensors, unvalidated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from qtorch.numbers.functional import quantize
from qtorch.numbers.grid import CODE_RANGE, Grid

__all__ = ["INDICES", "WHOLE", "QParams"]

#: Types whose zero point every kernel takes to be 0.
_SYMMETRIC = ("int4", "int64", "uint32", "uint64")


@dataclass(frozen=True)
class QParams:
    """Quantization parameters of one tensor; an invalid one can't be built.

    Attributes:
        scale: one value per tensor, or one per channel; each is exactly a float32, positive and normal.
        zero_point: the code of 0.0, one per scale; in the type's range, and 0 per channel, for int4, int64 and the
            types without sign. Most kernels take it to be 0 for int16 and int32 too, as rows' constraints say.
        dtype: one of :data:`CODE_RANGE`.
        axis: the channel axis where ``scale`` has one value per channel, else ``None``.

    Raises:
        ValueError: the values break one of these rules; the message names it.

    Source: TFLite 8-bit quantization specification.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: str = "int8"
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in CODE_RANGE:
            raise ValueError(f"QParams.dtype: expected one of {sorted(CODE_RANGE)}, got {self.dtype!r}")
        if not self.scale or len(self.scale) != len(self.zero_point):
            raise ValueError(
                f"QParams: expected as many zero points as scales, at least one; "
                f"got {len(self.scale)} scales and {len(self.zero_point)} zero points"
            )
        if self.axis is None and len(self.scale) != 1:
            raise ValueError(f"QParams.axis: expected an axis for {len(self.scale)} scales, got None")
        tiny = float(np.finfo(np.float32).tiny)
        for scale in self.scale:
            if not (tiny <= scale < float("inf")) or float(np.float32(scale)) != scale:
                raise ValueError(f"QParams.scale: expected a positive normal float32, got {scale!r}")
        low, high = CODE_RANGE[self.dtype]
        for zero_point in self.zero_point:
            if not low <= zero_point <= high:
                raise ValueError(f"QParams.zero_point: expected {low}..{high} for {self.dtype}, got {zero_point}")
            if zero_point and (self.dtype in _SYMMETRIC or self.axis is not None):
                raise ValueError(f"QParams.zero_point: expected 0 for {self.dtype} or per channel, got {zero_point}")

    @classmethod
    def of(cls, grid: Grid, axis: int | None = None) -> QParams:
        """The record of a grid whose ``scale`` is ``[]`` or ``[C]``; ``axis`` names the channel axis of ``[C]``."""
        scales = tuple(float(s) for s in grid.scale.detach().to(torch.float32).reshape(-1).tolist())
        zero_points = tuple(int(z) for z in grid.zero_point.detach().reshape(-1).expand(len(scales)).tolist())
        return cls(scales, zero_points, grid.dtype, axis)

    @property
    def is_whole(self) -> bool:
        """Whether a code is the number itself, and files have no scale for it; see :data:`WHOLE`."""
        return self == WHOLE.get(self.dtype)

    @property
    def grid(self) -> Grid:
        """Tensor view: scale float32 ``[]`` per tensor or ``[C]`` with an axis; zero point int32 ``[]``."""
        scale = torch.tensor(self.scale, dtype=torch.float32)
        zero_point = torch.tensor(self.zero_point[0], dtype=torch.int32)
        return Grid(scale if self.axis is not None else scale[0], zero_point, self.dtype)

    @property
    def bits(self) -> int:
        """Of a code."""
        return int(self.code_range[1] - self.code_range[0]).bit_length()

    @property
    def code_range(self) -> tuple[int, int]:
        """Lowest and highest code."""
        return CODE_RANGE[self.dtype]

    def quantize(self, real: np.ndarray) -> np.ndarray:
        """Codes of float32 values as TFLM's QUANTIZE computes them: float32 division, half away from zero, clamp.

        Per tensor only. Source: ``reference_ops::AffineQuantize`` in TFLM's ``reference/quantize.h``.
        """
        grid = self.grid
        codes = quantize(torch.from_numpy(np.array(real, dtype=np.float32)), grid, *self.code_range)
        return codes.numpy().astype(self.dtype)

    def dequantize(self, codes: np.ndarray) -> np.ndarray:
        """float32 values of codes as TFLM's DEQUANTIZE computes them: product in double, rounded once.

        Source: ``reference_ops::Dequantize`` in TFLM's ``reference/dequantize.h``.
        """
        return self.unrounded(codes).astype(np.float32)

    def unrounded(self, codes: np.ndarray) -> np.ndarray:
        """What codes stand for in float64, per tensor or along the channel axis."""
        scale, zero_point = self.along(codes.ndim)
        return np.asarray((codes.astype(np.float64) - zero_point) * scale)

    def along(self, axes: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point, float64, shaped to be applied to codes with that many axes."""
        shape = [1] * axes
        if self.axis is not None:
            shape[self.axis] = len(self.scale)
        return np.array(self.scale).reshape(shape), np.array(self.zero_point, np.float64).reshape(shape)


#: By type, where a code is the number itself. Files have no scale for it, and nothing is ever measured or rounded.
WHOLE = {dtype: QParams((1.0,), (0,), dtype) for dtype in ("int32", "uint32", "uint64")}
#: Of indices.
INDICES = WHOLE["int32"]
