"""Log-mel energies against the formula, computed slowly in double precision."""

from __future__ import annotations

import math

import pytest
import torch

from qtorch.data.log_mel import LogMel, log_mel, mel_filters
from qtorch.errors import BadConfiguration

SETTINGS = LogMel(rate=16000, window=640, hop=320, fft=1024, bands=10, low=100, high=7600)


def hertz(mel: float) -> float:
    return 700 * (10 ** (mel / 2595) - 1)


def slow_log_mel(frame: list[float], settings: LogMel) -> list[float]:
    """One frame: a discrete Fourier transform by its definition, and triangles by interpolation."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / settings.window) for n in range(settings.window)]
    norm = sum(w * w for w in window)
    power = []
    for k in range(settings.fft // 2 + 1):
        angles = [2 * math.pi * k * n / settings.fft for n in range(settings.window)]
        real = math.fsum(w * x * math.cos(a) for w, x, a in zip(window, frame, angles, strict=True))
        imaginary = math.fsum(w * x * math.sin(a) for w, x, a in zip(window, frame, angles, strict=True))
        power.append((real**2 + imaginary**2) / norm)
    low, high = (2595 * math.log10(1 + f / 700) for f in (settings.low, settings.high))
    step = (high - low) / (settings.bands + 1)
    energies = []
    for band in range(settings.bands):
        left, peak, right = (hertz(low + (band + i) * step) for i in range(3))
        energy = 0.0
        for k, p in enumerate(power):
            f = k * settings.rate / settings.fft
            if left < f <= peak:
                energy += p * (f - left) / (peak - left)
            elif peak < f < right:
                energy += p * (right - f) / (right - peak)
        energies.append(math.log(settings.floor + energy))
    return energies


def test_a_frame_is_what_the_definition_says() -> None:
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(3, 16000, generator=generator) - 0.5 + 0.4 * torch.sin(torch.arange(16000) * 0.3)
    clips[2] *= 1e-3
    features = log_mel(clips, SETTINGS)
    assert features.shape == (3, 49, 10)
    assert features.dtype == torch.float32
    for clip, frame in ((1, 17), (2, 48)):
        expected = slow_log_mel(clips[clip, 320 * frame :][:640].tolist(), SETTINGS)
        assert features[clip, frame].tolist() == pytest.approx(expected, abs=2e-4)


def test_a_tone_sounds_in_its_band_and_silence_at_the_floor() -> None:
    _, peak = mel_filters(SETTINGS).max(0)
    tones = torch.sin(2 * math.pi * (peak[:, None] * 16000 / 1024) * torch.arange(16000) / 16000)
    assert log_mel(tones, SETTINGS)[:, 20].argmax(-1).tolist() == list(range(10))
    assert log_mel(torch.zeros(1, 640), SETTINGS).flatten().tolist() == pytest.approx([math.log(1e-7)] * 10)


def test_white_noise_has_its_variance_in_each_bin() -> None:
    noise = 0.1 * torch.randn(20, 16000, generator=torch.Generator().manual_seed(0))
    energies = log_mel(noise, SETTINGS).exp().mean((0, 1)).double() / mel_filters(SETTINGS).sum(0)
    assert energies.tolist() == pytest.approx([0.01] * 10, rel=0.06)


def test_batches_do_not_show() -> None:
    clips = torch.rand(300, 1300, generator=torch.Generator().manual_seed(0))
    together = log_mel(clips, SETTINGS)
    assert together.shape == (300, SETTINGS.frames(1300), 10) == (300, 3, 10)
    torch.testing.assert_close(together[-3:], log_mel(clips[-3:], SETTINGS))


def test_filters_fill_the_range_between_the_first_and_the_last_peak() -> None:
    filters = mel_filters(SETTINGS)
    assert filters.shape == (513, 10)
    peaks = filters.argmax(0)
    inside = filters[int(peaks[0]) + 1 : int(peaks[-1])].sum(1)
    torch.testing.assert_close(inside, torch.ones_like(inside))
    assert float(filters[: int(100 * 1024 / 16000) + 1].sum()) == 0
    assert float(filters[7600 * 1024 // 16000 + 1 :].sum()) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"high": 8001}, "high=8001"),
        ({"low": 7600}, "low=7600"),
        ({"low": -1}, "low=-1"),
        ({"window": 1025}, "window=1025"),
        ({"bands": 400}, r"a bin of the spectrum in every band, got none between .* Hz, band \d+ of 400"),
    ],
)
def test_settings_that_can_not_be(change: dict, words: str) -> None:
    settings = LogMel(**{**SETTINGS.__dict__, **change})
    with pytest.raises(BadConfiguration, match=words):
        mel_filters(settings)


def test_clips_shorter_than_a_frame() -> None:
    with pytest.raises(BadConfiguration, match="at most 639 samples"):
        log_mel(torch.zeros(1, 639), SETTINGS)
