"""Log-mel energies: how loud a sound is over time in bands that widen with frequency as hearing does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qtorch.bounds import require_number, require_whole
from qtorch.errors import BadConfiguration, BadData

__all__ = ["LogMel", "log_mel", "mel_filters"]

#: Clips transformed at once: their frames fit the processor's caches and need no gigabytes.
_BATCH = 128
#: Hz, samples and bands beyond which a spectrum or its filters no longer fit a computer's memory.
_HIGHEST_RATE, _LONGEST, _MOST_BANDS = 10_000_000, 1 << 16, 1024


@dataclass(frozen=True)
class LogMel:
    """How frames are cut and bands are laid.

    Attributes:
        rate: samples per second.
        window: samples of a frame.
        hop: samples from one frame's beginning to the next's.
        fft: length of the transform, at least ``window``; frames are padded with zeros behind.
        bands: mel bands.
        low: lower edge of the first band, in Hz.
        high: upper edge of the last band, in Hz; at most half the rate.
        floor: energy added before the logarithm, so that digital silence has one; one that float32 tells from 0.

    Raises:
        BadConfiguration: a number is none, or can be of no setting; those that have to suit each other are compared
            where they are used.
    """

    rate: int
    window: int
    hop: int
    fft: int
    bands: int
    low: float
    high: float
    floor: float = 1e-7

    def __post_init__(self) -> None:
        wholes = {"rate": _HIGHEST_RATE, "window": _LONGEST, "hop": _LONGEST, "fft": _LONGEST, "bands": _MOST_BANDS}
        for name, most in wholes.items():
            require_whole(f"log-mel settings, {name}", getattr(self, name), 1, most, "correct it")
        for name in ("low", "high"):
            require_number(
                f"log-mel settings, {name}", getattr(self, name), -_HIGHEST_RATE, _HIGHEST_RATE, "correct it"
            )
        least, most_energy = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
        require_number("log-mel settings, floor", self.floor, least, most_energy, "try 1e-7")

    def frames(self, samples: int) -> int:
        """Whole frames in so many samples; none in fewer than a window.

        Raises:
            BadConfiguration: it is no number of samples.
        """
        require_whole("samples of a clip", samples, 0, 2**63 - 1, "pass the length of a clip")
        return max(0, 1 + (samples - self.window) // self.hop)


def mel_filters(settings: LogMel) -> Tensor:
    """Triangles over the bins of a spectrum, equally spaced in mel, each 1 at its peak and 0 at its neighbours' peaks.

    ``mel = 2595 log10(1 + f / 700)``: O'Shaughnessy 1987, "Speech Communication"; the triangles: Davis and Mermelstein
    1980, "Comparison of Parametric Representations for Monosyllabic Word Recognition".

    Returns:
        float64 ``[fft / 2 + 1, bands]``.

    Raises:
        BadConfiguration: the edges are out of order, the window is longer than the transform, or a band is so narrow
            that it holds no bin of the spectrum.
    """
    if not 0 <= settings.low < settings.high <= settings.rate / 2 or not 0 < settings.window <= settings.fft:
        raise BadConfiguration(
            where="log-mel settings",
            expected="0 <= low < high <= rate / 2, and 0 < window <= fft",
            got=f"{settings}",
            remedy="correct them",
        )
    if settings.bands > settings.fft // 2 + 1:
        raise BadConfiguration(
            where="log-mel settings",
            expected=f"at most {settings.fft // 2 + 1} bands, as the spectrum has bins",
            got=f"{settings.bands}",
            remedy="use fewer bands, or a longer transform",
        )
    edges = torch.tensor([settings.low, settings.high], dtype=torch.float64)
    first, last = (2595 * torch.log10(1 + edges / 700)).tolist()
    mels = torch.linspace(first, last, settings.bands + 2, dtype=torch.float64)
    points = 700 * (10 ** (mels / 2595) - 1)
    bins = torch.arange(settings.fft // 2 + 1, dtype=torch.float64)[:, None] * settings.rate / settings.fft
    left, peak, right = points[:-2], points[1:-1], points[2:]
    filters = torch.minimum((bins - left) / (peak - left), (right - bins) / (right - peak)).clamp_min(0)
    empty = (filters.sum(0) == 0).nonzero()
    if len(empty):
        band = int(empty[0])
        raise BadConfiguration(
            where="log-mel settings",
            expected="a bin of the spectrum in every band",
            got=f"none between {points[band]:.1f} and {points[band + 2]:.1f} Hz, band {band} of {settings.bands}",
            remedy="use fewer bands, a longer transform or a higher lower edge",
        )
    return filters


def log_mel(clips: Tensor, settings: LogMel) -> Tensor:
    """``log(floor + sum over bins of filter * |X|^2 / sum(w^2))``, X the spectrum of a frame times the Hann window w.

    ``w[n] = (1 - cos(2 pi n / window)) / 2`` and ``X[k] = sum over n of w[n] x[n] exp(-2 pi i k n / fft)``; white
    noise of variance v has the energy v in each bin.

    Args:
        clips: float32 ``[N, samples]`` in -1 .. 1, at least one clip, at least a frame long.
        settings: see :class:`LogMel`.

    Returns:
        float32 ``[N, frames, bands]``, natural logarithm.

    Raises:
        BadConfiguration: as :func:`mel_filters`, or the clips are shorter than a frame.
        BadData: there is no clip, or it is no floating-point table of samples.
    """
    if clips.ndim != 2 or not clips.is_floating_point() or not len(clips):
        raise BadData(
            where="clips for log-mel energies",
            expected="at least one, as floating-point [clips, samples]",
            got=f"{str(clips.dtype).removeprefix('torch.')} {list(clips.shape)}",
            remedy="pass recordings scaled to -1 .. 1, one per row",
        )
    if clips.shape[1] < settings.window:
        raise BadConfiguration(
            where="log-mel settings",
            expected=f"a window of at most {clips.shape[1]} samples, the length of the clips",
            got=f"{settings.window}",
            remedy="use a shorter window or longer clips",
        )
    filters = mel_filters(settings).to(clips.dtype)
    window = torch.hann_window(settings.window, periodic=True, dtype=torch.float64)
    scaled = (window / window.square().sum().sqrt()).to(clips.dtype)
    parts = []
    for batch in clips.split(_BATCH):
        spectrum = torch.fft.rfft(batch.unfold(1, settings.window, settings.hop) * scaled, settings.fft)
        parts.append(torch.log(float(settings.floor) + (spectrum.real.square() + spectrum.imag.square()) @ filters))
    return torch.cat(parts)
