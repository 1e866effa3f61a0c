"""Synthetic gestures: what an accelerometer on a wrist would record of punches and of flexed arms.

One g is 32 of the sensor's codes, so that its range is about +-4 g. A recording is 50 samples, some 0.4 s.
"""

from __future__ import annotations

import numpy as np

from .recordings import LIMIT, SAMPLES

__all__ = ["GRAVITY", "generate"]

#: In codes.
GRAVITY = 32.0


def generate(recordings: int, seed: int) -> dict[str, np.ndarray]:
    """Recordings of the classes ``flex`` and ``punch``.

    A punch is a half-sine burst along the forearm of 4 to 9 samples, then a longer and weaker one of the opposite sign
    as the fist is caught. A flex turns gravity by up to 130 degrees and back, in a half-sine over the whole recording.
    Either arm and either way of strapping the board on occur, so that both signs of either motion do: a weighted sum of
    the samples is left with little but the gravity that a flex takes from aZ. Each recording has its own tilt, gain,
    offsets, tremor and noise.

    Args:
        recordings: of each class.
        seed: of the draws.

    Returns:
        By class, float32 ``[recordings, 50, 3]``: whole numbers within -127 .. 127.
    """
    rng = np.random.default_rng(seed)
    return {"flex": _sensed(_flex(recordings, rng), rng), "punch": _sensed(_punch(recordings, rng), rng)}


def _punch(count: int, rng: np.random.Generator) -> np.ndarray:
    onset = rng.uniform(3, 14, (count, 1))
    width = rng.uniform(4, 9, (count, 1))
    strength = rng.uniform(30, 150, (count, 1)) * rng.choice([-1.0, 1.0], (count, 1))
    caught = rng.uniform(1.2, 2.0, (count, 1))
    time = np.arange(SAMPLES)
    burst = _half_sine((time - onset) / width) - _half_sine((time - onset - width) / (caught * width)) / caught
    forearm = _turn(np.tile([1.0, 0.0, 0.0], (count, 1)), _axes(count, rng), rng.normal(0, 0.3, (count, 1)))
    return _rest(count, rng)[:, None] + (strength * burst)[..., None] * forearm[:, None]


def _flex(count: int, rng: np.random.Generator) -> np.ndarray:
    begin = rng.uniform(-6, 6, (count, 1))
    length = rng.uniform(40, 56, (count, 1))
    reach = rng.uniform(0.6, 2.3, (count, 1)) * rng.choice([-1.0, 1.0], (count, 1))
    angle = reach * _half_sine((np.arange(SAMPLES) - begin) / length)
    elbow = np.tile([0.0, 1.0, 0.0], (count, 1)) + rng.normal(0, 0.3, (count, 3))
    elbow /= np.linalg.norm(elbow, axis=-1, keepdims=True)
    return _turn(_rest(count, rng)[:, None], elbow[:, None], angle[..., None])


def _rest(count: int, rng: np.random.Generator) -> np.ndarray:
    """Gravity ``[count, 3]`` on a board that lies about flat."""
    return _turn(np.tile([0.0, 0.0, GRAVITY], (count, 1)), _axes(count, rng), rng.normal(0, 0.6, (count, 1)))


def _sensed(motion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the sensor makes of true accelerations ``[count, 50, 3]``: whole codes, clipped."""
    count = len(motion)
    time = np.arange(SAMPLES)[:, None]
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 3))
    tremor = rng.uniform(0, 5, (count, 1, 3)) * np.sin(2 * np.pi * time * rng.uniform(0.06, 0.1, (count, 1, 1)) + phase)
    gain = rng.normal(1, 0.05, (count, 1, 3))
    offset = rng.normal(0, 1, (count, 1, 3))
    noise = rng.normal(0, 2.5, motion.shape)
    codes = np.clip(np.rint(gain * (motion + tremor) + offset + noise), -LIMIT, LIMIT)
    return codes.astype(np.float32) + np.float32(0)  # no negative zeros, which a file would show


def _half_sine(x: np.ndarray) -> np.ndarray:
    return np.where((x > 0) & (x < 1), np.sin(np.pi * np.clip(x, 0, 1)), 0.0)


def _axes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Directions ``[count, 3]`` of length 1, uniform on the sphere."""
    drawn = rng.normal(size=(count, 3))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def _turn(v: np.ndarray, axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """``v`` ``[..., 3]`` turned about ``axis`` of length 1 by ``angle`` ``[..., 1]`` in radians (Rodrigues 1840)."""
    along = (axis * v).sum(-1, keepdims=True)
    return v * np.cos(angle) + np.cross(axis, v) * np.sin(angle) + axis * along * (1 - np.cos(angle))
