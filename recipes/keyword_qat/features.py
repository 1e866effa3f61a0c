"""What the network hears of a clip: 49 frames of 10 log-mel energies."""

from __future__ import annotations

from torch import Tensor

from qtorch.data.log_mel import LogMel, log_mel

__all__ = ["RATE", "SETTINGS", "keyword_features"]

#: Samples per second, and of a clip.
RATE = 16_000
#: Frames of 40 ms every 20 ms, as Zhang et al. 2017, "Hello Edge" (arXiv:1711.07128). A transform of 1,024 points,
#: because a microcontroller's take powers of two.
SETTINGS = LogMel(rate=RATE, window=640, hop=320, fft=1024, bands=10, low=100.0, high=7600.0)


def keyword_features(clips: Tensor) -> Tensor:
    """Clips float32 ``[N, 16000]`` in -1 .. 1 to log-mel energies float32 ``[N, 1, 49, 10]``: time, then bands."""
    return log_mel(clips, SETTINGS).unsqueeze(1)
