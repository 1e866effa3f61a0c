"""What quantization costs one tensor: a row of ``quantization_report.csv``."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["COLUMNS", "TensorError"]

#: Of the file, in order.
COLUMNS = (
    *("op_name", "tensor_idx", "num_elements", "stddev", "mean_error", "max_abs_error", "mean_squared_error"),
    *("scale", "zero_point", "tensor_name", "range", "rmse/scale", "snr_db", "saturation", "finding", "advice"),
)


@dataclass(frozen=True)
class TensorError:
    """One quantized tensor; errors are dequantized minus float, in real units. Fields as :data:`COLUMNS`.

    Attributes:
        op_name: of the op that makes it or reads it, as TFLite calls it; QUANTIZE for an input.
        tensor_idx: in the model file; -1 where the file, in forms for an older TFLite Micro, has no such tensor.
        num_elements: of one sample, or of the constant.
        stddev: of the errors.
        mean_error: their mean.
        max_abs_error: the largest magnitude.
        mean_squared_error: mean of the squares.
        scale: of the grid; the largest, of a grid per channel.
        zero_point: of the grid.
        tensor_name: as in a model file that has names.
        range: real width of the grid: ``scale`` times the number of codes less one.
        rmse_over_scale: root of the mean squared error in steps; per channel, in each channel's own.
        snr_db: power of the float values over that of the errors, in decibels; infinite without errors.
        saturation: share of values that lie more than half a step beyond the grid.
        finding: what is wrong, in a word; empty if nothing is.
        advice: what to do about it.
    """

    op_name: str
    tensor_idx: int
    num_elements: int
    stddev: float
    mean_error: float
    max_abs_error: float
    mean_squared_error: float
    scale: float
    zero_point: int
    tensor_name: str
    range: float
    rmse_over_scale: float
    snr_db: float
    saturation: float
    finding: str
    advice: str


assert len(COLUMNS) == len(fields(TensorError))
