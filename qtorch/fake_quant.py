"""The quantizer of one activation tensor: an observer and a fake quantization."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor, nn

from qtorch.errors import BadConfiguration
from qtorch.functional import dequantize, fake_quantize, range_to_grid
from qtorch.observers import MinMaxObserver
from qtorch.qparams import Grid, QParams

__all__ = ["Mode", "Quantizer"]


class Mode(Enum):
    """What a quantized network computes.

    FLOAT: the float network it was prepared from. CALIBRATE: the same, while observers watch. FAKE: float arithmetic
    on values rounded to their grids. EXACT: the device's own integers, with FAKE's gradients.
    """

    FLOAT = "float"
    CALIBRATE = "calibrate"
    FAKE = "fake"
    EXACT = "exact"


class Quantizer(nn.Module):
    """Fake-quantizes one activation tensor of any shape.

    Args:
        margin: see :class:`qtorch.QuantizationConfig`.
        rectified: whether the tensor is never negative, so that no code is spent below zero.
        dtype: ``"int8"`` or ``"int16"``.
        fixed: the one grid that the kernel assumes; then nothing is measured.
        smallest: the scale's lower bound.

    Buffers ``scale`` (float32 ``[]``, 0 until calibrated) and ``zero_point`` (int32 ``[]``).
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        margin: float = 0.0,
        *,
        rectified: bool = False,
        dtype: str = "int8",
        fixed: QParams | None = None,
        smallest: float = 0.0,
    ) -> None:
        super().__init__()
        self.margin, self.rectified, self.dtype, self.fixed = margin, rectified, dtype, fixed
        self.smallest = smallest
        self.mode = Mode.FLOAT
        self.observer = MinMaxObserver()
        self.register_buffer("scale", torch.tensor(0.0 if fixed is None else fixed.scale[0]))
        zero_point = 0 if fixed is None else fixed.zero_point[0]
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.int32))

    @property
    def grid(self) -> Grid:
        """The grid as tensors; ``scale`` is 0 before calibration."""
        return Grid(self.scale, self.zero_point, self.dtype)

    @property
    def calibrated(self) -> bool:
        """Whether the range was measured, or is fixed."""
        return bool(self.scale > 0)

    def qparams(self) -> QParams:
        """The frozen record for export.

        Raises:
            BadConfiguration: the range was never measured.
        """
        if not self.calibrated:
            raise BadConfiguration(
                where="quantizer",
                expected="a calibrated range",
                got="none",
                remedy="call qtorch.calibrate(network, batches) before training with quantization or exporting",
            )
        return QParams.of(self.grid)

    def settle(self) -> None:
        """Take the range that the observer saw, with the margin; from zero up where the tensor can't be negative."""
        if self.fixed is not None:
            return
        low, high = self.observer.range()
        more = self.margin * (high - low)
        low = torch.zeros(()) if self.rectified else low - more
        grid = range_to_grid(low, high + more, self.dtype, self.smallest)
        self.scale.copy_(grid.scale)
        self.zero_point.copy_(grid.zero_point)

    def coarsen(self, scale: float) -> None:
        """Take a coarser scale; zero keeps its code."""
        self.scale.fill_(scale)

    def forward(self, x: Tensor, inner: Tensor | None = None) -> Tensor:
        """``x`` as it is (FLOAT, CALIBRATE) or on the grid (FAKE, EXACT); same shape.

        ``inner``: see :func:`qtorch.functional.inner_steps`.
        """
        if self.mode is Mode.FLOAT:
            return x
        if self.mode is Mode.CALIBRATE:
            self.observer.observe(x)
            return x
        return fake_quantize(x, self.grid, *self.grid.limits, inner=inner)

    def dequantize(self, codes: Tensor) -> Tensor:
        """float32 values of integer codes."""
        return dequantize(codes, self.grid)

    def extra_repr(self) -> str:
        """Scale and zero point, for ``print(network)``."""
        return f"{self.dtype}, scale={float(self.scale):.6g}, zero_point={int(self.zero_point)}"
