"""TensorFlow's opinion: its post-training quantization of the same weights, its fake quantization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from export.optional_packages import tensorflow_calibrator, tensorflow_package
from qtorch.numbers.qparams import QParams

__all__ = ["FakeQuantAgreement", "fake_quantization", "quantized_by_tensorflow"]


def quantized_by_tensorflow(model: bytes, samples: tuple[np.ndarray, ...]) -> bytes:
    """A float32 .tflite file, calibrated and quantized to int8 by the second half of TFLiteConverter.

    What TFLiteConverter does with a representative data set once it has a float model; given our own float file, its
    ops and weights are the same.

    Args:
        model: with float32 ends.
        samples: of each input, as the file stores it, ``[N, ...]``.
    """
    int8, calibrator = tensorflow_package().int8, tensorflow_calibrator()(model)

    def batches() -> Iterator[list[np.ndarray]]:
        return ([array[i : i + 1] for array in samples] for i in range(len(samples[0])))

    # Types of inputs and outputs; no op may stay in float; type of the activations.
    return bytes(calibrator.calibrate_and_quantize(batches, int8, int8, False, int8))


@dataclass(frozen=True)
class FakeQuantAgreement:
    """``fake_quant_with_min_max_vars``, given the ends of a grid, against the grid.

    Attributes:
        largest: relative difference of the ends that it nudges them to; float32 has 6e-8.
        codes: numbers that were compared, none within float32's error of a tie.
        wrong: of these, with another code.
        ties: numbers halfway between two codes.
        ties_apart: of these, with another code: TensorFlow rounds them up, the device away from zero.
    """

    largest: float
    codes: int
    wrong: int
    ties: int
    ties_apart: int


def fake_quantization(qparams: QParams, seed: int = 0) -> FakeQuantAgreement:
    """An int8 grid's codes in TensorFlow and here, for random numbers in and around its range, and for every tie."""
    low, high = qparams.code_range
    scale, zero_point = qparams.scale[0], qparams.zero_point[0]
    ends = qparams.dequantize(np.array([low, high]))
    wide = np.random.default_rng(seed).uniform(1.2 * ends[0] - scale, 1.2 * ends[1] + scale, 4096)
    halves = scale * (np.arange(low, high) + 0.5 - zero_point)
    real = np.concatenate([wide, halves, [-np.inf, np.inf]]).astype(np.float32)
    operator = tensorflow_package().quantization.fake_quant_with_min_max_vars
    rounded = operator(real, ends[0], ends[1], num_bits=8, narrow_range=False).numpy().astype(np.float64)
    nudged = rounded[-2:]
    apart = np.abs(nudged - ends) / (ends[1] - ends[0])
    steps = real[:-2].astype(np.float64) / scale
    # float32 divides by the scale with this error at most.
    tie = np.abs(np.abs(steps % 1) - 0.5) <= np.abs(steps) * 2.0**-22
    differs = np.round(rounded[:-2] / scale) + zero_point != qparams.quantize(real[:-2])
    return FakeQuantAgreement(
        float(apart.max()), int((~tie).sum()), int(differs[~tie].sum()), int(tie.sum()), int(differs[tie].sum())
    )
