"""The quantizer of one activation tensor: an observer and a fake quantization."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor, nn

from qtorch.errors import BadConfiguration
from qtorch.functional import dequantize, fake_quantize, range_to_grid
from qtorch.observers import MinMaxObserver
from qtorch.qparams import CODE_RANGE, Grid, QParams

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
    """Fake-quantizes one int8 activation tensor of any shape.

    Args:
        margin: see :class:`qtorch.QuantizationConfig`.
        rectified: whether the tensor is never negative, so that no code is spent below zero.

    Buffers ``scale`` (float32 ``[]``, 0 until calibrated) and ``zero_point`` (int32 ``[]``).
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, margin: float = 0.0, *, rectified: bool = False) -> None:
        super().__init__()
        self.dtype = "int8"
        self.margin, self.rectified = margin, rectified
        self.mode = Mode.FLOAT
        self.observer = MinMaxObserver()
        self.register_buffer("scale", torch.tensor(0.0))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int32))

    @property
    def grid(self) -> Grid:
        """The grid as tensors; ``scale`` is 0 before calibration."""
        return Grid(self.scale, self.zero_point)

    @property
    def calibrated(self) -> bool:
        """Whether the range was measured."""
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
        return QParams.of(self.grid, self.dtype)

    def settle(self) -> None:
        """Take the range that the observer saw, with the margin; from zero up where the tensor can't be negative."""
        grid = self.observer.grid(self.margin)
        if self.rectified:
            high = self.observer.high + self.margin * (self.observer.high - self.observer.low)
            grid = range_to_grid(torch.zeros(()), high)
        self.scale.copy_(grid.scale)
        self.zero_point.copy_(grid.zero_point)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` as it is (FLOAT, CALIBRATE) or on the grid (FAKE, EXACT); same shape."""
        if self.mode is Mode.FLOAT:
            return x
        if self.mode is Mode.CALIBRATE:
            self.observer.observe(x)
            return x
        return fake_quantize(x, self.grid, *CODE_RANGE[self.dtype])

    def dequantize(self, codes: Tensor) -> Tensor:
        """float32 values of integer codes."""
        return dequantize(codes, self.grid)

    def extra_repr(self) -> str:
        """Scale and zero point, for ``print(network)``."""
        return f"scale={float(self.scale):.6g}, zero_point={int(self.zero_point)}"
