"""Synthetic keywords: sounds that differ in how their pitch and loudness move, not in the pitch or loudness itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from qtorch.data.coloured_noise import coloured_noise

from .features import RATE

__all__ = ["SOUNDS", "synthesize"]

#: In alphabetical order. A "two-tone" is a fall in one step.
SOUNDS = ("fall", "hiss", "pulses", "rise", "silence", "tone", "two-tone", "warble")

_BATCH = 128
_TIME = np.arange(RATE) / RATE

#: Octaves above the pitch, and loudness, over the sound's own time 0 .. 1: from [N, 1] draws and [N, samples] times.
_Contour = Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray]]


def synthesize(sound: str, count: int, seed: int) -> Iterator[np.ndarray]:
    """Clips of one sound, in batches float32 ``[up to 128, 16000]`` within -1 .. 1.

    Pitch (300 to 1,500 Hz), onset, length, loudness, overtones and the background's loudness and colour are drawn for
    each clip; the loudest background drowns the quietest sounds.

    Args:
        sound: one of :data:`SOUNDS`.
        count: clips in all.
        seed: of the draws; a sound's clips are the same whichever other sounds are made.
    """
    rng = np.random.default_rng([seed, SOUNDS.index(sound)])
    for first in range(0, count, _BATCH):
        size = min(_BATCH, count - first)
        loudness = np.exp(rng.uniform(np.log(0.03), np.log(0.4), (size, 1)))
        background = np.exp(rng.uniform(np.log(0.002), np.log(0.05), (size, 1))) * _background(rng, size)
        clip = background if sound == "silence" else background + loudness * _sound(sound, rng, size)
        yield np.clip(clip, -1, 1).astype(np.float32)


def _background(rng: np.random.Generator, count: int) -> np.ndarray:
    slope = rng.uniform(0, 0.8, (count, 1))
    return coloured_noise(rng, (count, RATE), RATE, lambda frequency: frequency**-slope)


def _sound(sound: str, rng: np.random.Generator, count: int) -> np.ndarray:
    length = rng.uniform(0.3, 0.6, (count, 1))
    onset = rng.uniform(0.03, 0.97 - length)
    time = (_TIME - onset) / length
    envelope = np.clip(np.minimum(time, 1 - time) * length / 0.02, 0, 1)  # 20 ms to fade in and out
    if sound == "hiss":
        centre = np.exp(rng.uniform(np.log(800), np.log(5000), (count, 1)))
        width = rng.uniform(0.2, 0.5, (count, 1))  # octaves
        return envelope * coloured_noise(
            rng, (count, RATE), RATE, lambda f: np.exp(-0.5 * (np.log2(f / centre) / width) ** 2)
        )
    octaves, gate = _CONTOURS[sound](rng, time)
    pitch = np.exp(rng.uniform(np.log(300), np.log(1500), (count, 1)))
    phase = 2 * np.pi * np.cumsum(pitch * 2.0**octaves, axis=1) / RATE
    overtone = rng.uniform(0, 0.6, (count, 1))
    return envelope * gate * (np.sin(phase) + overtone * np.sin(2 * phase)) / (1 + overtone)


def _steady(time: np.ndarray) -> np.ndarray:
    return np.ones_like(time)


def _tone(rng: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0, 0.05, (len(time), 1)) * time, _steady(time)


def _rise(rng: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(0.6, 1.6, (len(time), 1)) * (np.clip(time, 0, 1) - 0.5), _steady(time)


def _fall(rng: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    octaves, gate = _rise(rng, time)
    return -octaves, gate


def _two_tone(rng: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = rng.uniform(0.6, 1.3, (len(time), 1))
    return step * np.where(time < rng.uniform(0.4, 0.6, (len(time), 1)), 0.5, -0.5), _steady(time)


def _warble(rng: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    swings, depth, begin = rng.uniform([[2.5, 0.3, 0]], [[4.5, 0.6, 1]], (len(time), 3)).T[..., None]
    return depth * np.sin(2 * np.pi * (swings * time + begin)), _steady(time)


def _pulses(rng: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count, share = rng.uniform([[2.5, 0.4]], [[4.5, 0.6]], (len(time), 2)).T[..., None]
    return np.zeros_like(time), ((count * time) % 1 < share).astype(float)


_CONTOURS: dict[str, _Contour] = {
    "fall": _fall,
    "pulses": _pulses,
    "rise": _rise,
    "tone": _tone,
    "two-tone": _two_tone,
    "warble": _warble,
}
