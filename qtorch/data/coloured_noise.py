"""Random noise of a given spectrum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["coloured_noise"]


def coloured_noise(
    rng: np.random.Generator, shape: tuple[int, int], rate: int, colour: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Gaussian noise without a constant part whose amplitude follows ``colour``; each row has variance 1.

    Example:
        >>> pink = coloured_noise(np.random.default_rng(0), (3, 16000), 16000, lambda hertz: hertz**-0.5)

    Args:
        rng: source of the draws.
        shape: rows and samples, the samples even.
        rate: samples per second.
        colour: amplitude ``[F]`` or ``[rows, F]`` at the positive frequencies ``[F]`` in Hz that it is given.

    Returns:
        float64 of that shape.
    """
    rows, samples = shape
    hertz = np.arange(1, samples // 2 + 1) * (rate / samples)
    drawn = rng.normal(size=(rows, len(hertz), 2)) @ np.array([1, 1j])
    spectrum = np.pad(colour(hertz) * drawn, ((0, 0), (1, 0)))
    noise: np.ndarray = np.fft.irfft(spectrum, samples)
    return noise / noise.std(1, keepdims=True)
