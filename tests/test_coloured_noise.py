"""Noise of a given spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from qtorch.data.coloured_noise import coloured_noise


def test_power_follows_the_colour_at_variance_one() -> None:
    noise = coloured_noise(np.random.default_rng(0), (400, 1000), 16000, lambda hertz: 1 / hertz)
    assert noise.shape == (400, 1000)
    np.testing.assert_allclose(noise.std(1), 1)
    np.testing.assert_allclose(noise.mean(1), 0, atol=1e-12)
    amplitude = np.sqrt((np.abs(np.fft.rfft(noise)) ** 2).mean(0))
    assert amplitude[10] / amplitude[40] == pytest.approx(4, rel=0.2)
    assert amplitude[10] / amplitude[100] == pytest.approx(10, rel=0.2)


def test_frequencies_are_in_hertz_and_rows_may_differ() -> None:
    given = []

    def colour(hertz: np.ndarray) -> np.ndarray:
        given.append(hertz)
        return (hertz == np.array([[1600.0], [16.0]])).astype(float)

    noise = coloured_noise(np.random.default_rng(0), (2, 1000), 16000, colour)
    assert given[0].tolist() == pytest.approx([16 * k for k in range(1, 501)])
    assert np.abs(np.fft.rfft(noise)).argmax(1).tolist() == [100, 1]
