"""The synthetic sound of a rotating machine, in order and out of order."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qtorch.data.coloured_noise import coloured_noise
from qtorch.data.log_mel import LogMel, log_mel

__all__ = ["FAULTS", "SAMPLES", "SETTINGS", "machine_clips", "machine_features"]

_RATE = 16_000
#: Frames of 64 ms every 32 ms and 128 bands, as Koizumi et al. 2020 (arXiv:2006.05822).
SETTINGS = LogMel(rate=_RATE, window=1024, hop=512, fft=1024, bands=128, low=50.0, high=8000.0)
#: Of a clip: five frames, 0.19 s.
SAMPLES = SETTINGS.window + 4 * SETTINGS.hop

#: A damaged bearing whistles with sidebands at 3.6 times the rotation speed; a harmonic is missing where a gear or a
#: blade is; a part that rubs makes noise once per turn; a loose one rattles now and then.
FAULTS = ("bearing", "missing harmonic", "rub", "rattle")

_HARMONICS = np.arange(1, 13)
#: Loudness of each harmonic of this machine: it falls, and resonances lift the third and the eighth.
_LOUDNESS = 0.15 * _HARMONICS**-0.7 * (1 + 1.5 * np.isin(_HARMONICS, (3, 8)))
#: Of the microphone.
_GAIN = 0.4
_BATCH = 256


def machine_features(clips: np.ndarray) -> Tensor:
    """Clips ``[N, 3072]`` to float32 ``[N, 640]``: 128 log-mel energies of the first frame, then of the second."""
    return log_mel(torch.from_numpy(clips), SETTINGS).flatten(1)


def machine_clips(count: int, fault: str | None, rng: np.random.Generator) -> np.ndarray:
    """Sounds of the machine at random speeds (90 to 130 turns per second) and loads.

    Args:
        count: clips.
        fault: one of :data:`FAULTS`, each as loud as the draw has it, from hardly audible to plain; ``None`` for none.
        rng: source of the draws.

    Returns:
        float32 ``[count, 3072]`` within -1 .. 1, at which rattles rarely clip.
    """
    batches = [_batch(min(_BATCH, count - first), fault, rng) for first in range(0, count, _BATCH)]
    return np.concatenate(batches) if batches else np.zeros((0, SAMPLES), np.float32)


def _batch(count: int, fault: str | None, rng: np.random.Generator) -> np.ndarray:
    turns = rng.uniform(90, 130, (count, 1)) * np.arange(SAMPLES) / _RATE + rng.random((count, 1))
    load = np.exp(rng.normal(0, 0.1, (count, 1)))
    loudness = _LOUDNESS * np.exp(rng.normal(0, 0.15, (count, len(_HARMONICS))))
    severity = rng.uniform(0.2, 1, (count, 1))
    if fault == "missing harmonic":
        gone = rng.integers(2, 8, count)  # the third to the eighth
        loudness[np.arange(count), gone] *= (1 - severity[:, 0]) ** 2
    sound = np.zeros(turns.shape)
    for harmonic, volume, phase in zip(_HARMONICS, loudness.T, rng.random((len(_HARMONICS), count)), strict=True):
        sound += volume[:, None] * np.sin(2 * np.pi * (harmonic * turns + phase[:, None]))
    sound += 0.1 * coloured_noise(rng, turns.shape, _RATE, lambda hertz: 1 / (1 + hertz / 500))
    # As faults grow: over 16 dB.
    strength = 0.1 ** (1 - severity)
    if fault == "bearing":
        whistle = rng.uniform(2000, 6000, (count, 1)) * np.arange(SAMPLES) / _RATE
        sound += 0.15 * strength * (1 + 0.8 * np.sin(2 * np.pi * 3.6 * turns)) * np.sin(2 * np.pi * whistle)
    elif fault == "rub":
        contact = np.clip(np.sin(2 * np.pi * turns), 0, 1) ** 2
        sound += 0.35 * strength * contact * coloured_noise(rng, turns.shape, _RATE, _bright)
    elif fault == "rattle":
        hits = rng.random(turns.shape) < 12 / SAMPLES
        decay = np.exp(-np.arange(160) / 30)  # 2 ms
        ringing = np.fft.irfft(np.fft.rfft(hits, 2 * SAMPLES) * np.fft.rfft(decay, 2 * SAMPLES))[:, :SAMPLES]
        sound += 0.5 * strength * ringing * coloured_noise(rng, turns.shape, _RATE, _bright)
    return np.clip(_GAIN * load * sound, -1, 1).astype(np.float32)


def _bright(hertz: np.ndarray) -> np.ndarray:
    shape: np.ndarray = np.exp(-0.5 * (np.log2(hertz / 4000) / 0.7) ** 2)
    return shape
